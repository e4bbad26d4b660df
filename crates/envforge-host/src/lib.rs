//! The host daemon: one organization's machine.
//!
//! ```text
//!   server ◄── control stream ──┐                        ┌── driver per workspace ── engine ── layers ── inits
//!   (commands, reports)         ├── registry ────────────┤         │
//!   gateway, relay ◄── uplinks ─┘                        └── view ─┴── journal, services, resources, jobs
//! ```
//!
//! The host dials out and nothing dials in. It obeys one org, and of each workspace only commands that are not older than what it
//! has obeyed. It decides nothing that costs: what wakes, what sleeps and what is allowed is the server's, and it reports what
//! is. What it touches is its own: files, users, processes, ports, cgroups and resource daemons of this machine.
//!
//! Where things are: [`stream`] and [`uplink`] speak with others; [`workspace`] drives one workspace, [`commands`] holds
//! its verbs, [`fork`] one workspace's files for another; [`elevation`] opens root terminals, [`exec`] runs single commands; [`transfer`] moves databases out and in; [`recorded`] writes down what terminals print; [`engines`] builds sandboxes over [`sys`], and [`init`] is what runs inside them; [`services`] and
//! [`resources`] keep what runs there; [`journal`] is what survives, and [`disk`] what it needs for that.
//!
//! What must stay true:
//!
//! - Ending the daemon ends nothing else. Sandboxes, services, terminals and databases go on, and the next daemon finds them.
//!   Only root terminals and `exec`'s commands end with it: nobody would record the ones, or read the others.
//! - The daemon writes nowhere that a workspace's user could have prepared: checkouts and homes are written by
//!   processes that run as that user.
//! - A Git credential goes from the server to the program that asked, and nowhere else.
//! - An address with a password goes into the environment of services and jobs, and nowhere else; a secret into that of
//!   the services that declare it, and what these write of it is marked out before it is kept ([`redact`]).

mod checkout;
mod checkout_log;
mod claim;
mod clear;
mod commands;
mod config;
mod console;
mod context;
mod copy_tree;
mod ctx;
mod elevation;
mod databases;
mod disk;
pub mod engines;
mod egress_proxy;
mod exec;
pub mod faults;
mod files;
mod fork;
mod git;
mod host;
pub mod init;
mod journal;
mod metrics;
pub mod place;
mod recorded;
mod redact;
mod registration;
mod removal;
mod reports;
mod resources;
mod script;
mod services;
mod stream;
pub mod sys;
mod tasks;
mod terminal;
mod transfer;
mod trouble;
mod uplink;
mod workspace;

pub use claim::Taken;
pub use clear::clear;
pub use config::{HostConfig, ShellLimits};
pub use databases::{Databases, DatabasesError};
pub use disk::LowWater;
pub use host::{Host, Operated, RunningHost, StartError};
pub use registration::RegistrationError;

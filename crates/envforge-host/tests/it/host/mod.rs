//! The whole daemon against a scripted server: what it answers, reports and runs.
//!
//! Each test has a data directory, instance, user range and network pool of its own, and a server that speaks the
//! control stream on a Unix socket. Services are small Python programs of the repository a test makes.

mod consoles;
mod destroying;
mod disk;
mod git;
mod elevation;
mod exec;
mod egress_proxy;
mod forks;
mod hooks;
pub(crate) mod faults;
mod jobs;
pub(crate) mod machine;
mod ports;
mod resources;
mod resting;
mod restarts;
mod rotation;
mod secrets;
mod runtime;
pub(crate) mod server;
mod services;
mod shell;
mod speed;
mod terminals;
mod thaws;
mod transfers;

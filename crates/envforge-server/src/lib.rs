//! The control plane: decides, remembers, bills.
//!
//! `ls src` is the product's table of contents: `platform/` carries everything, then one folder (slice) per noun,
//! each with the same few files: `mod.rs` the essay, `ops.rs` the verbs, `store.rs` the only SQL, `http.rs` the only
//! axum. A slice calls only slices named before it in the list below; later ones learn of earlier ones through
//! the bus ([`platform::bus`]), which tells only that something changed, never what.
//!
//! A change of state is one transaction: new state, ledger event, outgoing commands. Whatever was committed survives
//! the death of this process; whatever was not, did not happen.

pub mod app;
pub mod platform;
pub mod providers;

// In the order in which they may call one another: each only those above it.
pub mod ledger;
pub mod vault;
pub mod signing_keys;
pub mod accounts;
pub mod activity;
pub mod settings;
pub mod queues;
pub mod groups;
pub mod orgs;
pub mod invitations;
pub mod sessions;
pub mod signin;
pub mod devices;
pub mod hosts;
pub mod projects;
pub mod git;
pub mod git_keys;
pub mod secrets;
pub mod workspaces;
pub mod forks;
pub mod links;
pub mod caps;
pub mod usage;
pub mod receipts;
pub mod member_sessions;
pub mod runtimes;
pub mod schedules;
pub mod runs;
pub mod services;
pub mod resources;
pub mod elevations;
pub mod recordings;
pub mod streams;
pub mod terminals;
pub mod exec;
pub mod databases;
pub mod gateways;
pub mod consoles;
pub mod control;
pub mod system;

mod start;

pub use platform::config::{Bootstrap, GithubApp, ServerConfig};
pub use platform::http::openapi::document as openapi_document;
pub use platform::schema::{self, migrate, schema_fingerprint};
pub use start::{RunningServer, Server};

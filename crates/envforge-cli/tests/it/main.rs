//! The program from outside: command line in; stdout, stderr and exit code out, against a scripted server.
#![allow(clippy::disallowed_methods, reason = "tests start the program and measure how long they wait for it")]
#![allow(clippy::needless_raw_string_hashes, reason = "the snapshots are written by a tool")]

mod admin;
mod attach;
mod consoles;
mod errors;
mod exec;
mod git_credentials;
mod ledger;
mod links;
mod orgs;
mod resources;
mod resume;
mod root;
mod runs;
mod schedules;
mod secrets;
mod settings;
mod sign_in;
mod support;
mod terminals;
mod up;
mod workspaces;

//! The whole daemon against a scripted server: what it answers, reports and runs.
//!
//! Each test has a data directory, instance, user range and network pool of its own, and a server that speaks the
//! control stream on a Unix socket. Services are small Python programs of the repository a test makes.

mod destroying;
mod git;
mod elevation;
mod egress_proxy;
mod jobs;
mod machine;
mod resources;
mod restarts;
mod secrets;
mod runtime;
mod server;
mod services;
mod shell;
mod speed;

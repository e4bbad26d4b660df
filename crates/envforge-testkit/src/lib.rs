//! Test kit: private databases, waiting, broken wires, redaction, short temporary directories.
//!
//! - [`TestDatabase`]: a real, private PostgreSQL database per test in milliseconds, cloned from a template that
//!   is migrated once. No database is mocked anywhere in this repository.
//! - [`dump`]: a database as text, to look for what must lie nowhere.
//! - [`wait_until`], [`wait_for`]: tests never sleep for a guess; they wait for what they need, up to a limit.
//! - [`Wire`]: a line between two programs that can be cut, delayed and restored.
//! - [`redact`]: ids, tokens and times out of snapshots.
//! - [`MailSink`]: a mail server that keeps what it is given.
//! - [`temp_dir`]: a directory whose path is short enough for Unix sockets and reachable by unprivileged roles.
//! - [`Browser`], [`Shell`]: a reviewer and a member of a real box, as far as its stories need them.
//! - [`python_judge`], [`node_judge`], [`system_judge`], [`wycheproof_file`]: independent programs and vectors that judge ours.
//! - [`Planted`]: looks for planted secrets, in whatever form, wherever it is told to; each begins with [`MARKER`].
//! - [`end_leftovers`]: ends what is meant to outlive a box, after a test of a whole one; [`processes_of`] finds it.
//!
//! The kit knows nothing of the programs it tests: what migrates a database is a closure its user passes.
//! A failure here is a failure of the machine, so its functions panic with a sentence instead of returning errors.
#![warn(missing_docs)]

mod browser;
mod cluster;
mod database;
mod dirs;
mod judges;
mod leaks;
mod leftovers;
mod redact;
mod shell;
mod smtp;
mod wait;
mod wire;

pub use browser::Browser;
pub use cluster::dump;
pub use database::TestDatabase;
pub use dirs::{Slot, free_port, temp_dir};
pub use judges::{node_judge, python_judge, system_judge, wycheproof_file};
pub use leaks::{Leak, MARKER, Planted};
pub use leftovers::{end_leftovers, processes_of};
pub use redact::redact;
pub use shell::Shell;
pub use smtp::{MailSink, Received};
pub use wait::{LIMIT, wait_for, wait_until, wait_until_within};
pub use wire::Wire;

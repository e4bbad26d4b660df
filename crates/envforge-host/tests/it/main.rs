//! The host daemon against a real kernel. Most tests need root and say so when they are skipped; each makes its own names,
//! users, groups and networks, so that all may run at once.
//!
//! The test program itself is also the sandboxes' init and the program that tests run inside them (see `entry`), so
//! nothing has to be installed for them.

mod entry;
mod support;

mod cgroups;
mod conformance;
mod elevated;
mod escape;
mod host;
mod isolation;
mod logs;
mod networks;
mod processes;
mod rootless;
mod starting;
mod vm;

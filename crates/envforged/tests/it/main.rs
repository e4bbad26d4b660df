//! Whole boxes: the supervisor and what it keeps running, and the product's stories from end to end.
//!
//! Each test starts the real programs on ports of its own and ends everything they leave, sandboxes included.

#![allow(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod acme;
mod doctor;
mod front;
mod operating;
mod stories;
mod supervisor;
mod support;

//! Parties outside of the installation, each behind a trait: what the rest knows of them is what the trait says.

pub mod billing;
pub mod git_host;
pub mod identity;
pub mod mail;
pub mod webhook;

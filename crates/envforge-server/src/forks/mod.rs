//! Forks: new workspaces that begin as copies of one that is there.
//!
//! A fork is on its source's host, where the files are. All that one request asks for is written in one transaction, with
//! its source's size and cap and copies of its own secrets; its host then copies checkout, home, data and database
//! while the source goes on. From then on it is a workspace like any other: nothing that happens to its source matters to it.

pub mod http;
pub mod ops;

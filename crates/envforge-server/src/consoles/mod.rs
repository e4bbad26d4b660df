//! Consoles: members look into a workspace's mail, objects and database.
//!
//! A ticket is signed for the question, and the workspace's host answers with a pipe ([`envforge_api::console`]). Nothing is
//! woken and nothing is kept here. What comes back are strangers' words, written by a process of the workspace's own user: it is
//! bounded and read into the types of the API, and content is only ever given as a file to save.

pub mod http;
pub mod ops;

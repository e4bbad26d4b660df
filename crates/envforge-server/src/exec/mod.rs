//! Single commands in the shell layer, with their streams apart.
//!
//! A command is a stream like a terminal ([`crate::streams`]): who may is checked, a ticket is signed, a host answers with a
//! descriptor. What goes through it are frames ([`envforge_api::exec`]), and it lives as long as its client's connection.

pub mod http;

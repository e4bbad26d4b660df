//! `envforge.yml`: what a repository says about how it runs.
//!
//! One file per repository names its services, the resources they need and the checks that prove they work.
//! This module turns the bytes of that file into a [`Manifest`], or into every mistake found in them.
//!
//! ```text
//!  bytes ──tree──► nodes with positions ──parse──► Manifest ──check──► Manifest that can run
//!                                                     │
//!                          wiring: who provides each input, who may start when
//!                          explain: the same, in words           schema: the file format, for editors
//! ```
//!
//! What must stay true:
//!
//! - **All mistakes, with positions.** A person fixes a file in one pass, so nothing stops at the first mistake
//!   that does not make the rest meaningless. Each [`Diagnostic`] has a stable code, a file, line and column, the
//!   cause, and what to write instead.
//! - **No start order.** There is no `depends_on`. A service asks for inputs; whoever provides them comes first,
//!   and only as far as it has to: a declared port is known before anything runs.
//! - **Hostile bytes are ordinary bytes.** The file comes from a repository anyone may have written: size, depth and
//!   alias expansion are bounded before anything is built from them, and text is made printable before it is quoted back.
//! - **The YAML library is known to `tree` alone.** Everything else reads our own nodes.

mod check;
mod diagnostic;
mod explain;
mod extensions;
mod hints;
mod model;
mod names;
mod parse;
mod read;
mod resource;
mod scalar;
mod schema;
mod service;
mod syntax;
mod tree;
mod wiring;

#[cfg(test)]
mod tests;

pub use diagnostic::Diagnostic;
pub use explain::explain;
pub use extensions::EXTENSIONS;
pub use model::{
    Check, DEFAULT_START_TIMEOUT, EnvValue, Health, Hooks, Manifest, Protocol, Requirement, ResourceKind, ResourceMode,
    RestartPolicy, Rewrite, RuntimeDefaults, START_TIMEOUT_MAX, Service, Shell,
};
pub use parse::{HOOK_KEYS, MAX_BYTES, parse, too_large};
pub use scalar::duration;
pub use schema::json_schema;
pub use wiring::{InputValues, MissingInput, Port, ServiceWiring, Source, Supply, WiredInput, Wiring};

/// The name of the file at the root of a repository.
pub const FILE_NAME: &str = "envforge.yml";

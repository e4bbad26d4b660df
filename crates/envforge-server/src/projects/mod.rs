//! Projects: one repository with one `envforge.yml`.
//!
//! The repository is a Git URL, or an absolute path when the org has a host on this very box: then, and only for
//! members who may create projects, the host reads it with the rights of the directory's owner.

pub mod http;
pub mod ops;
pub(crate) mod store;

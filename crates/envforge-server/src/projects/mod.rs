//! Projects: one repository with one `envforge.yml`.
//!
//! The repository is a Git URL, or an absolute path when the org has a host on this very box: then, and only for
//! members who may create projects, the host reads it with the rights of the directory's owner.
//!
//! A project is open to all members or restricted to groups; owners and admins see all. The database decides
//! (`hidden_list` in the migrations): a transaction of a member does not find what they may not see, nor anything
//! below it, so it answers like what does not exist.

pub mod http;
pub mod ops;
pub(crate) mod store;

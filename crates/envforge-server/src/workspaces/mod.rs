//! Workspaces: one branch of one project, pinned to one host of its org.
//!
//! Creating one writes workspace, runtime (asleep), ledger event and `PREPARE_SHELL` in one transaction; asking again
//! for the same branch answers the one that exists. What a workspace *is* (shell, parts, manifest) is what its
//! host reports; this slice stores and shows it. Waking and sleeping are [`crate::runtimes`]'.
//!
//! Labels of dev hosts are stored the moment the manifest names a service, before anything runs, and are never
//! given to another org afterwards.

pub mod http;
pub mod ops;
pub(crate) mod store;

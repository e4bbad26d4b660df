//! Branch-scoped resources: what a workspace's services store things in.
//!
//! Each workspace has its own of each kind, reached at the usual address inside its own network, so configuration
//! is the same in every branch. Provisioning happens on the way to the first use and may be repeated; an address holds a
//! password and goes nowhere but into the environment of services and jobs.
//!
//! - [`postgres`]: a database and role of its own in one cluster per host, never the control plane's.
//! - [`redis`]: an instance of its own, a process in the runtime like any service.

pub(crate) mod postgres;
pub(crate) mod redis;

use crate::trouble::Blocked;
use envforge_core::secret::Secret;

/// Where one resource of one workspace stands.
#[derive(Debug, Clone)]
pub(crate) enum Provision {
    /// It is being made, or is starting.
    Pending,
    /// It can be used, at this address.
    Ready(Secret),
    /// It can't be had.
    Blocked(Blocked),
}

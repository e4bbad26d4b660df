//! PostgreSQL: one cluster per host, one database and role per workspace.
//!
//! The cluster is this host's own, with its own files and socket; it is started at need, outlives the daemon, is taken up
//! again by the next one, and is stopped when nobody needs it. It listens on a Unix socket only. Who may connect where is
//! one rule: a role named like the database, with its password; the administrator is whoever runs as the cluster's Linux
//! user, which is how the daemon speaks to it. A workspace's services reach it at `127.0.0.1:5432`, carried to the socket by
//! the runtime's init. Nothing else in the sandbox sees the socket, so the init holds each workspace to its share of the
//! connections.
//!
//! - [`server`]: the cluster itself, made, started, stopped;
//! - [`need`]: who needs it, which keeps it running;
//! - [`programs`]: PostgreSQL's own programs, and SQL through them;
//! - [`database`]: what one workspace has of it;
//! - [`copy`]: a database that starts as a copy of another workspace's;
//! - [`replace`]: a database that becomes what a dump holds;
//! - [`extensions`]: those that the file asks for.
//!
//! What is in a workspace's database was made by whoever works there, who may have planted functions in it. The
//! administrator never runs what could call them: sessions in such a database look for names in `pg_catalog` alone, and
//! what evaluates expressions of theirs runs as a role that may no more than they.

mod copy;
mod database;
mod extensions;
mod need;
mod programs;
mod replace;
mod server;
#[cfg(test)]
mod tests;

use crate::config::HostConfig;
use crate::place::DataDir;
use crate::trouble::{Blocked, blocked};
use database::Change;
pub(crate) use database::known;
use envforge_core::id::WorkspaceId;
pub(crate) use need::InUse;
pub(crate) use replace::{Ended, Filler, LOCK_WAIT, owner};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

/// The port in the socket's name, and inside a workspace with a network of its own.
pub(crate) const PORT: u16 = 5432;

/// Connections the cluster takes. Each costs some 45 KB of shared memory, used or not (measured: 27 MB more than with 400).
const CONNECTIONS: u32 = 1_000;
/// Of these, kept for the administrator.
const RESERVED: u32 = 20;
/// What one workspace may hold of the others: a twentieth. Twenty whose pools hold all they may leave nobody without.
pub(crate) const SHARE: u32 = (CONNECTIONS - RESERVED) / 20;
/// Of a share, what is kept for whoever has not logged in yet: who comes when the role's own limit is reached is told so by
/// the cluster, and only who comes when all of the share is held waits.
const LOGGING_IN: u32 = 4;
const INSTALL: &str = "install PostgreSQL on the host: apt-get install postgresql";

/// The host's cluster.
pub(crate) struct Cluster {
    base: PathBuf,
    configured_bin: Option<PathBuf>,
    user: String,
    /// Held while the cluster is made or started: one at a time.
    starting: tokio::sync::Mutex<()>,
    /// Held while owners are changed in a copy, which for a moment concerns the database copied from too.
    handing_over: tokio::sync::Mutex<()>,
    /// What is being done to each workspace's database.
    changes: Mutex<BTreeMap<WorkspaceId, Arc<Change>>>,
    /// A workspace was given a database since the daemon started, or stopped the cluster.
    is_needed: AtomicBool,
    /// How often it was used.
    uses: AtomicU64,
}

impl Cluster {
    pub(crate) fn new(config: &HostConfig, data: &DataDir) -> Self {
        Self {
            base: data.resources().join("postgres"),
            configured_bin: config.postgres_bin.clone(),
            user: config.resource_user.clone(),
            starting: tokio::sync::Mutex::default(),
            handing_over: tokio::sync::Mutex::default(),
            changes: Mutex::default(),
            is_needed: AtomicBool::new(false),
            uses: AtomicU64::new(0),
        }
    }

    /// The directory of the socket; there before the cluster is, so that a sandbox can be given it at any time.
    pub(crate) fn socket_dir(&self) -> PathBuf {
        self.base.join("socket")
    }

    fn data_dir(&self) -> PathBuf {
        self.base.join("data")
    }
}

fn disk(error: &io::Error) -> Blocked {
    blocked("resource.postgres_failed", error.to_string(), "see that the host's disk has room")
}

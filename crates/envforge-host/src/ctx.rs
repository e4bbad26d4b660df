//! What every part of the daemon is given: who the host is, its engine, its clock, its line to the server.

use crate::config::HostConfig;
use crate::disk::Disk;
use crate::egress_proxy::EgressProxy;
use crate::elevation::Elevations;
use crate::engines::Engine;
use crate::metrics::Metrics;
use crate::place::DataDir;
use crate::registration::Identity;
use crate::resources::postgres::Cluster;
use crate::stream::outbox::Outbox;
use crate::tasks::Tasks;
use envforge_api::client::Client;
use envforge_core::clock::{Clock, Entropy};
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::Notify;

/// The daemon's context; shared by everything.
pub(crate) struct HostContext {
    pub(crate) config: HostConfig,
    pub(crate) data: DataDir,
    pub(crate) disk: Arc<Disk>,
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) postgres: Cluster,
    pub(crate) elevations: Arc<Elevations>,
    pub(crate) outbox: Outbox,
    /// Asks the server. One for all: each has the certificates that the machine trusts in memory.
    pub(crate) server: Client,
    pub(crate) egress: EgressProxy,
    pub(crate) tasks: Tasks,
    /// Of the last stream; none before the first.
    pub(crate) generation: AtomicU64,
    pub(crate) metrics: Metrics,
    /// Files of a deleted workspace are to be removed.
    pub(crate) deleted: Notify,
}

impl HostContext {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

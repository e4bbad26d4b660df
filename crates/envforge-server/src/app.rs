//! What every operation is given first: database, clock, random source, signer, bus, configuration.

use crate::git_keys;
use crate::ledger;
use crate::platform::bus::Bus;
use crate::platform::config::ServerConfig;
use crate::platform::db::Db;
use crate::platform::metrics::Metrics;
use crate::providers::git_host::GitApp;
use crate::providers::identity::Providers;
use crate::providers::mail::ActiveMailer;
use crate::settings;
use crate::signin::jobs::Refusals;
use crate::signing_keys::ops::Ring;
use crate::system::ops::LastLook;
use crate::terminals::ops::Sessions;
use crate::vault::ops::Unwrapped;
use envforge_api::uplink::Uplinks;
use envforge_core::clock::{Clock, Entropy};
use envforge_core::id::Id;
use envforge_core::token::{Keyring, Signer};
use jiff::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The control plane's parts; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Tells that something changed.
    pub bus: Bus,
    /// When this server started: before that it heard of nobody.
    pub started_at: Timestamp,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub entropy: Arc<dyn Entropy>,
    /// Sign links, sessions, tickets and host passes.
    pub signing_keys: Ring,
    /// Signs checkpoints and anchors of the ledger, and nothing else.
    pub ledger_signer: Arc<Signer>,
    /// The public half of it.
    pub ledger_keyring: Keyring,
    /// Data keys unwrapped by them, for a while.
    pub unwrapped: Unwrapped,
    /// Signatures given to workspaces in this minute.
    pub signatures: git_keys::ops::Given,
    /// What this process remembers of the ledger.
    pub ledger: ledger::Memory,
    /// The app at a Git host, if there is one.
    pub git_app: Option<Box<dyn GitApp>>,
    /// Sends mail.
    pub mailer: ActiveMailer,
    /// Identity providers.
    pub identity: Providers,
    /// What of the settings is in use; held while that changes.
    pub in_use: settings::jobs::InUse,
    /// Refused sign-ins that the ledger was not told of yet.
    pub refusals: Refusals,
    /// Configuration.
    pub config: ServerConfig,
    /// Uplinks of hosts to the terminal relay here.
    pub uplinks: Arc<Uplinks>,
    /// Terminals that outlive their connections.
    pub terminals: Sessions,
    /// What is counted for the operator.
    pub metrics: Metrics,
    /// What readiness was last founded on.
    pub last_look: LastLook,
    /// Told to end: not ready any more, and still answering for a while.
    pub drain: CancellationToken,
    /// Ends everything.
    pub cancel: CancellationToken,
    /// Owns every background task.
    pub tasks: TaskTracker,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh id.
    pub fn mint<T: Id>(&self) -> T {
        T::mint(&*self.clock, &*self.entropy)
    }

    /// Runs a named background task until it ends or the server stops; the tracker waits for it at shutdown.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => tracing::debug!(task = name, "stopped"),
                () = work => tracing::debug!(task = name, "ended"),
            }
        });
    }
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

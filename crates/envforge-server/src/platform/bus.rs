//! Tells that something changed, and never what: whoever listens looks for itself.
//!
//! A nudge is sent inside the transaction that makes the change (`NOTIFY`), so other replicas hear of exactly what
//! was committed; this process hears of it directly after the commit, without the round trip. Hearing twice is
//! harmless, missing one is mended by each listener's own timer. When the database connection that listens was
//! lost, [`Nudge::Resync`] says that anything may have been missed.

use envforge_core::id::{BackgroundJobId, HostId, LinkId, OrgId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::sync::broadcast;

/// The channel of `NOTIFY`.
pub const CHANNEL: &str = "envforge";

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "n", rename_all = "snake_case")]
pub enum Nudge {
    /// A workspace, its runtime or its parts.
    Workspace {
        /// The org.
        org: OrgId,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// A host has commands to fetch.
    Commands {
        /// The host.
        host: HostId,
    },
    /// A link was revoked.
    Revoked {
        /// The link.
        link: LinkId,
    },
    /// What members may do or see.
    Membership {
        /// The org.
        org: OrgId,
        /// The member; `None` is any of them.
        user: Option<UserId>,
    },
    /// A key or a session has ended.
    CredentialEnded {
        /// Which.
        id: uuid::Uuid,
    },
    /// A chain has events to seal; `None` is the installation's. Told to this process only: it seals what it wrote, and
    /// every process looks each second for what others left. PostgreSQL commits transactions that notify one by one.
    Ledger {
        /// The chain.
        org: Option<OrgId>,
    },
    /// Jobs were enqueued.
    Jobs,
    /// A job that runs was asked to end.
    JobCancelled {
        /// The job.
        job: BackgroundJobId,
    },
    /// A setting; `None` is one of the installation's.
    Setting {
        /// Whose.
        org: Option<OrgId>,
    },
    /// A data key was retired: what lies under it is to be sealed anew.
    DataKeys,
    /// Signing keys were rotated, revoked or dropped.
    SigningKeys,
    /// Anything may have been missed.
    Resync,
}

impl Nudge {
    /// Whether other replicas hear of it.
    pub fn is_for_others(self) -> bool {
        !matches!(self, Self::Ledger { .. })
    }

    /// Whether what a member may do or see may have changed.
    pub fn touches(self, of: OrgId, member: UserId) -> bool {
        match self {
            Self::Membership { org, user } => org == of && user.is_none_or(|user| user == member),
            Self::Resync => true,
            _ => false,
        }
    }
}

/// The bus of this process.
#[derive(Debug, Clone)]
pub struct Bus(broadcast::Sender<Nudge>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::channel(4096).0)
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Nudge>);

impl Listener {
    /// The next nudge; one that lagged hears [`Nudge::Resync`].
    pub async fn next(&mut self) -> Nudge {
        match self.0.recv().await {
            Ok(nudge) => nudge,
            Err(broadcast::error::RecvError::Lagged(_)) => Nudge::Resync,
            // The bus lives as long as the app; if it is gone, so is everyone who could send.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Bus {
    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }

    /// Tells this process.
    pub fn send(&self, nudge: Nudge) {
        // Nobody listening is fine.
        drop(self.0.send(nudge));
    }

    /// Hears other replicas through the database, for ever.
    pub async fn hear_others(self, pool: sqlx::PgPool) {
        loop {
            if let Err(error) = self.hear_until_lost(&pool).await {
                tracing::warn!(%error, "the database's notifications were lost, listening again");
            }
            self.send(Nudge::Resync);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn hear_until_lost(&self, pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        self.send(Nudge::Resync);
        while let Some(notification) = listener.try_recv().await? {
            if let Ok(nudge) = serde_json::from_str(notification.payload()) {
                self.send(nudge);
            }
        }
        Ok(())
    }
}

//! What an operation answers when it does not succeed: a refusal for the caller, or a fault of ours for the log.

use envforge_core::refusal::{Refusal, RefusalKind};

/// An operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The answer is no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Something broke.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

/// What operations return.
pub type Answer<T> = Result<T, Fault>;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        match code.as_deref() {
            // Disk full, out of memory, too many connections, shutting down (PostgreSQL, appendix A).
            Some("53100") => {
                Refusal::unavailable("database.disk_full", "the control plane's disk is full, nothing was changed")
                    .hint("free space on the disk that holds the data directory, then try again")
                    .into()
            }
            // Also lost connections, and transactions that stood in each other's way and were rolled back.
            Some("08000" | "08003" | "08006" | "40001" | "40P01" | "53200" | "53300" | "57P01" | "57P02" | "57P03") => {
                Refusal::unavailable("database.unavailable", "the database can't answer now, nothing was changed")
                    .into()
            }
            _ if matches!(
                error,
                sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
            ) =>
            {
                tracing::warn!(%error, "the database is out of reach");
                Refusal::unavailable("database.unavailable", "the database is out of reach, nothing was changed").into()
            }
            _ => Self::Broken(anyhow::Error::new(error).context("database")),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(anyhow::Error::new(error).context("stored JSON"))
    }
}

impl Fault {
    /// Whether trying again can help: the database is out of reach, not the data wrong.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind == RefusalKind::Unavailable)
    }

    /// The refusal to show. A fault of ours is logged here, once, and shown without its cause.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Broken(error) => {
                tracing::error!(error = %format!("{error:#}"), "an operation failed");
                Refusal::new(RefusalKind::Internal, "internal", "something broke on our side; it was logged")
                    .hint("try again; if it stays, look at the server's log")
            }
        }
    }
}

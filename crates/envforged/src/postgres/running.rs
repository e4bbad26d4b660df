//! The process that serves a data directory, if one does.
//!
//! `postmaster.pid` outlives a killed process, and its number may belong to another one by now. PostgreSQL works in its
//! data directory, as do its own children: that is what tells. A directory some of them still work in is left alone
//! until they are gone; only then a stale file is removed.

use super::PORT;
use crate::process::{Identity, working_directory, working_in};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the children of a killed server may take to notice.
const ORPHANS: Duration = Duration::from_secs(10);
/// How often a running one is looked at: it is nobody's child, so nobody is told of its end.
const LOOK: Duration = Duration::from_millis(250);

/// A running PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Postmaster {
    /// The process.
    pub(crate) identity: Identity,
    /// Where its socket is.
    pub(crate) sockets: PathBuf,
}

impl Postmaster {
    /// The one that serves `data`.
    pub(crate) fn find(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid: i32 = lines.next()?.trim().parse().ok()?;
        let sockets = PathBuf::from(lines.nth(3)?.trim());
        let here = fs_err::canonicalize(data).ok()?;
        let identity = Identity::of(pid)?;
        (working_directory(pid)? == here).then_some(Self { identity, sockets })
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self) {
        while self.identity.is_alive() {
            sleep(LOOK).await;
        }
    }
}

/// Removes `postmaster.pid` and the socket's lock when nobody stands behind them; the server, if one turns up.
pub(super) async fn clear_stale(data: &Path, sockets: &Path) -> anyhow::Result<Option<Postmaster>> {
    let end = Instant::now() + ORPHANS;
    loop {
        if let Some(postmaster) = Postmaster::find(data) {
            return Ok(Some(postmaster));
        }
        let workers = working_in(data);
        if workers.is_empty() {
            break;
        }
        if Instant::now() >= end {
            bail!("processes {workers:?} still work in {}, whose server is gone", data.display());
        }
        sleep(Duration::from_millis(50)).await;
    }
    // PostgreSQL believes these when *any* process has the number in them.
    for path in [data.join("postmaster.pid"), sockets.join(format!(".s.PGSQL.{PORT}.lock"))] {
        if path.exists() {
            tracing::warn!(path = %path.display(), "removing what a killed PostgreSQL left behind");
            fs_err::remove_file(&path).context("removing a stale file")?;
        }
    }
    Ok(None)
}

//! Enqueueing.

use super::{Job, store};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::{Context as _, ensure};
use envforge_core::id::BackgroundJobId;
use jiff::Timestamp;

/// Most bytes of a job's arguments as JSON: they name things, they don't carry them.
const ARGUMENTS_MAX: usize = 16 * 1024;
/// Most bytes of a unique key.
const KEY_MAX: usize = 200;

/// How a job is enqueued; by default at once, like any other, as often as asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    priority: i16,
    unique_key: Option<String>,
    run_at: Option<Timestamp>,
}

impl Options {
    /// Larger runs first; 0 is usual.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// At most one job of the same kind and org with this key is not finished. One that runs already counts: what
    /// changed after it looked is not seen by it.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Not before this time.
    #[must_use]
    pub fn at(mut self, run_at: Timestamp) -> Self {
        self.run_at = Some(run_at);
        self
    }
}

pub(super) fn prepare<J: Job>(job: &J, options: Options) -> anyhow::Result<store::NewJob> {
    let arguments = serde_json::to_value(job).context("a job's arguments")?;
    ensure!(arguments.to_string().len() <= ARGUMENTS_MAX, "the arguments of `{}` are too large", J::KIND);
    ensure!(options.unique_key.as_ref().is_none_or(|key| key.len() <= KEY_MAX), "the key of `{}` is too long", J::KIND);
    Ok(store::NewJob {
        queue: J::QUEUE,
        kind: J::KIND,
        arguments,
        priority: options.priority,
        unique_key: options.unique_key,
        max_attempts: J::MAX_ATTEMPTS,
        run_at: options.run_at,
    })
}

/// Enqueues a job of the transaction's org, or of the installation: it exists once the transaction is committed.
/// `None` when one with the same unique key is not finished.
pub async fn enqueue<J: Job>(app: &App, tx: &mut Tx, job: &J, options: Options) -> Answer<Option<BackgroundJobId>> {
    let new = prepare(job, options)?;
    insert(app, tx, &new).await
}

pub(super) async fn insert(app: &App, tx: &mut Tx, new: &store::NewJob) -> Answer<Option<BackgroundJobId>> {
    let id: BackgroundJobId = app.mint();
    if !store::insert(tx, id, new, app.now()).await? {
        return Ok(None);
    }
    tx.nudge(Nudge::Jobs);
    Ok(Some(id))
}

//! Recurring jobs: one enqueue per due time, over all servers.
//!
//! The due time acted on last is a row; whoever moves it forward enqueues, in the same transaction. A server that
//! starts late, or a row that is far behind, sees only the last due time: what was missed is made up for once.

use super::job::Recurring;
use super::{Registry, queue, store};
use crate::app::App;
use crate::platform::fault::Answer;
use jiff::Timestamp;
use std::collections::HashMap;

/// The schedules of one server.
#[derive(Debug)]
pub(super) struct Scheduler {
    recurring: Vec<Recurring>,
    /// What needs no look at the database any more.
    seen: HashMap<&'static str, Timestamp>,
}

impl Scheduler {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { recurring: registry.recurring.clone(), seen: HashMap::new() }
    }

    /// Enqueues what is due.
    pub(super) async fn look(&mut self, app: &App) {
        for recurring in &self.recurring {
            let kind = recurring.job.kind;
            let due = recurring.schedule.latest_due(app.now());
            if self.seen.get(kind).is_some_and(|seen| *seen >= due) {
                continue;
            }
            match fire(app, recurring, due).await {
                Ok(()) => {
                    self.seen.insert(kind, due);
                }
                Err(fault) => tracing::warn!(%fault, kind, "a recurring job could not be enqueued, it will be"),
            }
        }
    }
}

async fn fire(app: &App, recurring: &Recurring, due: Timestamp) -> Answer<()> {
    let mut tx = app.db.begin_jobs().await?;
    if store::take_due(&mut tx, recurring.job.kind, due).await? {
        queue::insert(app, &mut tx, &recurring.job).await?;
    }
    tx.commit().await
}

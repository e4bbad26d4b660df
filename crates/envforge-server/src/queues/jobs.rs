//! Finished jobs are history for a while, then deleted.

use super::store;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use envforge_core::job::JobState;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long jobs are kept that need nobody's look.
const KEEP_DONE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long jobs are kept that somebody may want to look at.
const KEEP_FAILED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Deletes jobs that were finished long ago.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetFinished {}

impl Job for ForgetFinished {
    const KIND: &'static str = "jobs.forget_finished";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        for (states, keep) in
            [([JobState::Done, JobState::Cancelled], KEEP_DONE), ([JobState::Failed, JobState::Dead], KEEP_FAILED)]
        {
            let before = app.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
            loop {
                let mut tx = app.db.begin_jobs().await?;
                let forgotten = store::forget(&mut tx, states, before).await?;
                tx.commit().await?;
                if forgotten == 0 || ctx.cancel.is_cancelled() {
                    break;
                }
                tracing::debug!(forgotten, "finished jobs were deleted");
            }
        }
        Ok(())
    }
}

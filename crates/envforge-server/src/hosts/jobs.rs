//! Commands that were answered long ago are deleted.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Commands are kept for so long after their answer.
const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// Deletes old answered commands of every org, but the last of each workspace.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetAnswered {}

impl Job for ForgetAnswered {
    const KIND: &'static str = "host_commands.forget_answered";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let before = app.now().checked_sub(KEEP).unwrap_or(Timestamp::MIN);
        for org in accounts::store::system_orgs(&app.db).await? {
            if ctx.cancel.is_cancelled() {
                return Err(JobError::later(anyhow::anyhow!("it was told to end")));
            }
            let mut tx = app.db.begin(org).await?;
            let forgotten = store::forget_answered(&mut tx, before).await?;
            tx.commit().await?;
            tracing::debug!(org = %org.org(), forgotten, "answered commands were deleted");
        }
        Ok(())
    }
}

//! Members' sessions on dev hosts that ended long ago are deleted.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Sessions are kept for so long after they expired; who entered stays in the ledger.
const KEEP: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Deletes old sessions of every org.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetSessions {}

impl Job for ForgetSessions {
    const KIND: &'static str = "member_sessions.forget_expired";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let before = app.now().checked_sub(KEEP).unwrap_or(Timestamp::MIN);
        for org in accounts::store::system_orgs(&app.db).await? {
            if ctx.cancel.is_cancelled() {
                return Err(JobError::later(anyhow::anyhow!("it was told to end")));
            }
            let mut tx = app.db.begin(org).await?;
            let forgotten = store::forget(&mut tx, before).await?;
            tx.commit().await?;
            tracing::debug!(org = %org.org(), forgotten, "expired sessions of members on dev hosts were deleted");
        }
        Ok(())
    }
}

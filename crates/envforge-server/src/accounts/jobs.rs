//! What jobs do in every org, one after another.

use super::store;
use crate::app::App;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::jobs::{JobContext, JobError};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// Deletes in every org what is older than `keep`, a transaction each, until told to end; what was done stays done.
pub(crate) async fn forget_in_every_org(
    app: &App,
    ctx: &JobContext,
    keep: SignedDuration,
    forget: impl for<'a> Fn(&'a mut Tx, Timestamp) -> BoxFuture<'a, Answer<u64>> + Send + Sync,
) -> Result<(), JobError> {
    let before = app.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
    for org in store::system_orgs(&app.db).await? {
        if ctx.cancel.is_cancelled() {
            return Err(JobError::later(anyhow::anyhow!("it was told to end")));
        }
        let mut tx = app.db.begin(org).await?;
        let forgotten = forget(&mut tx, before).await?;
        tx.commit().await?;
        tracing::debug!(org = %org.org(), forgotten, "what had had its time was deleted");
    }
    Ok(())
}

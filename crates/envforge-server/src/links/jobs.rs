//! Browser sessions that ended long ago are deleted.

use super::store;
use crate::accounts::jobs::forget_in_every_org;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Sessions are kept for so long after they expired; the visit stays in the ledger.
const KEEP: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Deletes old browser sessions of every org.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetSessions {}

impl Job for ForgetSessions {
    const KIND: &'static str = "link_sessions.forget_expired";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        forget_in_every_org(&app, &ctx, KEEP, |tx, before| store::forget_sessions(tx, before).boxed()).await
    }
}

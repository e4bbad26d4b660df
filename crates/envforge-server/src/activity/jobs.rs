//! Minutes that are too old are forgotten.

use super::ops::DAYS_KEPT;
use super::store;
use crate::accounts::jobs::forget_in_every_org;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Deletes old minutes of every org.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetActivity {}

impl Job for ForgetActivity {
    const KIND: &'static str = "activity.forget";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let keep = SignedDuration::from_hours(24 * i64::from(DAYS_KEPT));
        forget_in_every_org(&app, &ctx, keep, |tx, before| store::forget(tx, before).boxed()).await
    }
}

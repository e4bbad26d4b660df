//! Commands that were answered long ago are deleted.

use super::store;
use crate::accounts::jobs::forget_in_every_org;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Commands are kept for so long after their answer.
const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// Deletes old answered commands of every org, but the last of each workspace.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetAnswered {}

impl Job for ForgetAnswered {
    const KIND: &'static str = "host_commands.forget_answered";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        forget_in_every_org(&app, &ctx, KEEP, |tx, before| store::forget_answered(tx, before).boxed()).await
    }
}

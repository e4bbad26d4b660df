//! Keeps this server's keys fresh, and tidies up behind a rotation.

use super::ops;
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::jobs::{Job, JobContext, JobError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often the keys are read, nudged or not.
const EVERY: Duration = Duration::from_secs(2);

/// Reads the keys for ever.
pub async fn run(app: App) {
    let mut nudges = app.bus.listen();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            nudge = nudges.next() => if !matches!(nudge, Nudge::SigningKeys | Nudge::Resync) { continue },
        }
        if let Err(fault) = ops::refresh(&app).await {
            tracing::warn!(%fault, "the signing keys could not be read, those known go on being used");
        }
    }
}

/// Destroys private halves of keys that sign no more, and forgets keys of which nothing holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct TidySigningKeys {}

impl Job for TidySigningKeys {
    const KIND: &'static str = "signing_keys.tidy";

    async fn run(self, app: App, _: JobContext) -> Result<(), JobError> {
        ops::tidy(&app).await?;
        Ok(())
    }
}

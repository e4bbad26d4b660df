//! Old sessions are forgotten.

use super::store;
use crate::app::App;
use crate::platform::fault::Answer;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often ended sessions are looked for.
const ROUND: Duration = Duration::from_mins(10);
/// How long an ended session is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Forgets for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(ROUND);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "ended sessions could not be deleted now, it will be tried again");
        }
    }
}

/// Deletes what ended a day ago. May run twice.
pub async fn round(app: &App) -> Answer<()> {
    store::delete_ended(&app.db, app.now().saturating_sub(KEPT).unwrap_or(Timestamp::MIN)).await
}

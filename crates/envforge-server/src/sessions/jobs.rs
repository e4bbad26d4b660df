//! Old sessions are forgotten, and providers asked about live ones.

use super::{ops, store};
use crate::app::App;
use crate::platform::fault::Answer;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often ended sessions are looked for.
const ROUND: Duration = Duration::from_mins(10);
/// How often sessions are looked for that a provider is to be asked about.
const ASKING_ROUND: Duration = Duration::from_secs(10);
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

/// Asks for ever.
pub async fn ask_again(app: App) {
    let mut tick = tokio::time::interval(ASKING_ROUND);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(fault) = ops::ask_again(&app).await {
            tracing::warn!(%fault, "it could not be seen which sessions are due, it will be tried again");
        }
    }
}

/// Deletes what ended a day ago. May run twice.
pub async fn round(app: &App) -> Answer<()> {
    store::delete_ended(&app.db, app.now().saturating_sub(KEPT).unwrap_or(Timestamp::MIN)).await
}

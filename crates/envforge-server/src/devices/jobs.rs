//! Machines that waited too long are forgotten.

use super::store;
use crate::app::App;
use std::time::Duration;

/// How often.
const ROUND: Duration = Duration::from_mins(1);

/// Forgets for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(ROUND);
    loop {
        tick.tick().await;
        if let Err(fault) = store::delete_expired(&app.db, app.now()).await {
            tracing::warn!(%fault, "machines that waited too long could not be forgotten now, it will be tried again");
        }
    }
}

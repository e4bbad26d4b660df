//! Ends what is due: time boxes and requests that are over, and what its org, its workspace or its requester's role no longer
//! allow; also what came due while no server ran.

use super::{ops, store};
use crate::app::App;
use crate::platform::fault::Answer;
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "elevations could not be looked at, they will be again");
        }
    }
}

/// Looks at every org once.
pub async fn round(app: &App) -> Answer<()> {
    for org in store::system_orgs_with_open(&app.db).await? {
        if let Err(fault) = ops::settle(app, org).await {
            tracing::warn!(%fault, "an org's elevations could not be ended, they will be");
        }
    }
    Ok(())
}

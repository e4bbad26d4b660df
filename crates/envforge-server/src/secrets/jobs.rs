//! Follows a rotation of data keys: seals anew, batch by batch, what lies under a retired one: secrets, and settings.
//!
//! A batch is one transaction and picks what is left by looking at the values themselves, so it may be killed at any
//! point and goes on where it was; two servers at it share the work.

use super::ops;
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::{settings, vault};
use std::time::Duration;

/// Values sealed anew in one transaction.
pub const BATCH: i64 = 100;
/// How often is looked, nudged or not: a value may have been sealed the moment its key was retired.
const SWEEP: Duration = Duration::from_mins(10);

/// Seals anew for ever.
pub async fn run(app: App) {
    let mut nudges = app.bus.listen();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = sweep.tick() => {}
            nudge = nudges.next() => if !matches!(nudge, Nudge::DataKeys) { continue },
        }
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "values under a retired data key could not be sealed anew, it will be tried again");
        }
    }
}

/// Seals anew until nothing is left; how many values that were.
pub async fn round(app: &App) -> Answer<usize> {
    let mut total = 0;
    for scope in vault::ops::rotated(app).await? {
        loop {
            let mut tx = match scope {
                Some(scope) => app.db.begin(scope).await?,
                None => app.db.begin_installation().await?,
            };
            let mut done = settings::ops::reseal(app, &mut tx, BATCH).await?;
            if scope.is_some() {
                done += ops::reseal(app, &mut tx, BATCH).await?;
            }
            tx.commit().await?;
            total += done;
            if done == 0 {
                break;
            }
        }
    }
    if total > 0 {
        tracing::info!(values = total, "sealed anew under data keys in use");
    }
    Ok(total)
}

//! Follows a change of the key-encryption key: wraps data keys anew, batch by batch, while everything runs.
//!
//! A batch is one transaction and picks what is left by looking at the rows, so it may be killed at any point and goes on
//! where it was; two servers at it share the work. The old key stays configured until it wraps none
//! ([`ops::key_encryption_keys`] tells).

use super::{ops, store};
use crate::app::App;
use crate::platform::fault::Answer;
use std::time::Duration;

/// Data keys wrapped anew in one transaction.
pub const BATCH: i64 = 50;
/// How often is looked; a key changes with a restart of the server.
const SWEEP: Duration = Duration::from_mins(5);

/// Wraps anew for ever.
pub async fn run(app: App) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        sweep.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "data keys could not be wrapped anew, it will be tried again");
        }
    }
}

/// Wraps anew until nothing is left; how many keys that were. A key that only a missing key opens is left, and told of.
pub async fn round(app: &App) -> Answer<usize> {
    let known = ops::key_encryption_keys(app).await?;
    for missing in known.keys.iter().filter(|key| !key.configured) {
        tracing::error!(
            key = missing.name,
            data_keys = missing.data_keys,
            "a key-encryption key that wraps data keys is not configured any more: what lies under them can't be opened; configure it again behind the one in use"
        );
    }
    let old: Vec<String> =
        known.keys.into_iter().filter(|key| key.configured && !key.in_use).map(|key| key.name).collect();
    let mut total = 0;
    for scope in store::system_to_rewrap(&app.db, &old).await? {
        loop {
            let mut tx = match scope {
                Some(scope) => app.db.begin(scope).await?,
                None => app.db.begin_installation().await?,
            };
            let done = ops::rewrap(app, &mut tx, &old, BATCH).await?;
            tx.commit().await?;
            total += done;
            if done == 0 {
                break;
            }
        }
    }
    if total > 0 {
        tracing::info!(data_keys = total, key = app.config.key_wrappers.in_use().name(), "wrapped anew");
    }
    Ok(total)
}

//! Compares the windows that are kept for reading with the ledger, again and again.

use super::{ops, store};
use crate::app::App;
use crate::ledger;
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use std::time::Duration;

/// How often all of it is compared. The first time is soon after the start.
const EVERY: Duration = Duration::from_hours(6);

/// Compares for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "usage could not be compared with the ledger, it will be again");
        }
    }
}

/// Compares every org's; answers how many workspaces did not say what the ledger says, and do now.
pub async fn round(app: &App) -> Answer<usize> {
    let mut mended = 0;
    for org in ledger::store::system_chains(&app.db).await?.into_iter().flatten() {
        mended += compare(app, OrgScope::established(org)).await?;
    }
    Ok(mended)
}

/// Compares one org's, a workspace at a time.
async fn compare(app: &App, org: OrgScope) -> Answer<usize> {
    let mut tx = app.db.begin(org).await?;
    let workspaces = store::with_windows(&mut tx).await?;
    drop(tx);
    let mut mended = 0;
    for workspace in workspaces {
        if let Some(different) = ops::verify(app, org, workspace).await? {
            tracing::error!(%workspace, different, "usage was not what the ledger says; it was made anew from it");
            mended += 1;
        }
    }
    let mut tx = app.db.begin(org).await?;
    if !store::org_months_hold(&mut tx).await? {
        tracing::error!(org = %org.org(), "an organization's usage was not the sum of its workspaces'; it was made anew");
        store::system_rebuild_org(&mut tx).await?;
        tx.commit().await?;
        mended += 1;
    }
    Ok(mended)
}

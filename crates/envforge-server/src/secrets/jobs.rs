//! Follows a rotation of data keys: seals anew, batch by batch, what lies under a retired one: secrets, settings, and
//! signing keys. And takes out of a store outside the database what no secret refers to.
//!
//! A batch is one transaction and picks what is left by looking at the values themselves, so it may be killed at any
//! point and goes on where it was; two servers at it share the work.

use super::{ops, store};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::platform::jobs::{Job, JobContext, JobError};
use crate::{settings, signing_keys, vault};
use anyhow::Context as _;
use envforge_api::values::ValuePlace;
use envforge_core::id::SecretId;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Values sealed anew in one transaction.
pub const BATCH: i64 = 100;
/// How often is looked, nudged or not: a value may have been sealed the moment its key was retired.
const SWEEP: Duration = Duration::from_mins(10);

/// How long after a value was put outside its transaction may still be on its way. Until then nothing of a secret that
/// is not there is taken for left behind.
pub const UNDER_WAY: SignedDuration = SignedDuration::from_mins(10);

/// Deletes the values of a secret that is not there, or not any more, from the store outside the database. It is written
/// when a secret is deleted, and before each put, for what a crash leaves behind.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetValues {
    pub(super) store: String,
    pub(super) secret: SecretId,
}

impl Job for ForgetValues {
    const KIND: &'static str = "secret.forget_values";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let scope = ctx.org.context("secrets are an org's").map_err(JobError::give_up)?;
        let is_there = store::lock(&mut app.db.begin(scope).await?, self.secret).await?;
        if is_there {
            return Ok(());
        }
        let store = app.config.secret_stores.named(&self.store).map_err(JobError::later)?;
        let place = ValuePlace { org: scope.org(), secret: self.secret };
        store.delete(place).await.map_err(JobError::later)
    }
}

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
            done += match scope {
                Some(_) => ops::reseal(app, &mut tx, BATCH).await?,
                None => signing_keys::ops::reseal(app, &mut tx).await?,
            };
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

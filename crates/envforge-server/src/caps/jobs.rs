//! Tells an org's webhook of its caps.

use crate::app::App;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::jobs::{self, Job, JobContext, JobError};
use crate::providers::webhook;
use crate::settings;
use envforge_core::setting::Setting;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// An event to deliver. It is tried again, with the same id, until its receiver answers 2xx: for about six hours.
#[derive(Debug, Serialize, Deserialize)]
pub struct CapEvent {
    /// By which the receiver knows one that it has already.
    pub id: Uuid,
    /// What it is told.
    pub event: serde_json::Value,
}

impl CapEvent {
    /// Sends an event once this transaction is committed, if the org has a webhook.
    pub(super) async fn send(app: &App, tx: &mut Tx, mut event: serde_json::Value) -> Answer<()> {
        if settings::store::newest(tx, "cap_webhook").await?.is_none() {
            return Ok(());
        }
        let id: envforge_core::id::EventId = app.mint();
        event["id"] = id.to_string().into();
        let job = Self { id: envforge_core::id::Id::uuid(id), event };
        jobs::enqueue(app, tx, &job, jobs::Options::default().unique(id.to_string())).await?;
        Ok(())
    }
}

impl Job for CapEvent {
    const KIND: &'static str = "cap.webhook";
    const MAX_ATTEMPTS: u32 = 16;
    const TIME_LIMIT: Duration = Duration::from_mins(1);

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let Some(org) = ctx.org else { return Err(JobError::give_up(anyhow::anyhow!("it is of no org"))) };
        let mut tx = app.db.begin(org).await?;
        let setting = Setting::find("cap_webhook", true).map_err(JobError::give_up)?;
        let values = settings::ops::in_force(&app, &mut tx, &setting).await?;
        drop(tx);
        // Taken out of force meanwhile: nobody wants to hear of it.
        let Some(values) = values else { return Ok(()) };
        let (Some(url), Some(secret)) = (values.text("url"), values.secret("secret")) else { return Ok(()) };
        let reach = settings::ops::webhook_reach(&app).await?;
        let body = self.event.to_string();
        match webhook::deliver(url, secret, &self.id.simple().to_string(), &body, reach, app.now()).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_final() => Err(JobError::give_up(error)),
            Err(error) => Err(JobError::later(error)),
        }
    }
}

//! Receipts are made when sessions end, caught up with, and reported.

use super::ops::{self, NotReported};
use crate::app::App;
use crate::ledger;
use crate::platform::db::OrgScope;
use crate::platform::jobs::{Job, JobContext, JobError};
use anyhow::Context as _;
use envforge_core::id::{UsageSessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Makes the receipt of a session that has ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct MakeReceipt {
    pub(super) workspace: WorkspaceId,
    pub(super) session: UsageSessionId,
}

impl Job for MakeReceipt {
    const KIND: &'static str = "receipt.make";
    const MAX_ATTEMPTS: u32 = 50;
    const IS_KEPT: bool = false;

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let org = ctx.org.context("receipts are an org's").map_err(JobError::give_up)?;
        ops::make(&app, org, self.workspace, self.session).await?;
        Ok(())
    }
}

/// Makes receipts that no job makes any more: of before there were any, or of a job that somebody ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct CatchUp {}

impl Job for CatchUp {
    const KIND: &'static str = "receipt.catch_up";

    async fn run(self, app: App, _: JobContext) -> Result<(), JobError> {
        for org in ledger::store::system_chains(&app.db).await?.into_iter().flatten() {
            match ops::catch_up(&app, OrgScope::established(org)).await {
                Ok(0) => {}
                Ok(made) => tracing::info!(%org, made, "receipts were made up for"),
                // The other orgs' are made all the same; this one's the next time.
                Err(fault) => tracing::error!(%org, %fault, "receipts could not be made up for"),
            }
        }
        Ok(())
    }
}

/// Reports a final receipt for billing. What the provider refuses is parked: it stays on the board as failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub(super) session: UsageSessionId,
}

impl Job for Report {
    const KIND: &'static str = "billing.report";
    const MAX_ATTEMPTS: u32 = 40;
    const IS_KEPT: bool = false;

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let org = ctx.org.context("receipts are an org's").map_err(JobError::give_up)?;
        ops::report(&app, org, self.session).await.map_err(|error| match error {
            NotReported::Later { cause, after: Some(after) } => JobError::later_in(after, anyhow::anyhow!(cause)),
            NotReported::Later { cause, after: None } => JobError::later(anyhow::anyhow!(cause)),
            NotReported::Parked(cause) => JobError::give_up(anyhow::anyhow!(cause)),
            NotReported::Broken(fault) => fault.into(),
        })
    }
}

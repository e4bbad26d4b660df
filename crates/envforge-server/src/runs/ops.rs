//! Create, show, and take in what hosts report.

use super::store;
use crate::app::App;
use crate::caps;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::runtimes;
use crate::runtimes::ops::Waker;
use crate::services;
use crate::workspaces;
use envforge_api::host::{JobReport, Order, RunJob, Trouble};
use envforge_api::http::runs::{CreateRun, Run, RunState};
use envforge_core::access::Action;
use envforge_core::id::{JobId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::readiness::without_log;
use envforge_core::refusal::{Refusal, RefusalKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Longest command line, in bytes.
const ARGV_MAX: usize = 32 * 1024;
/// Most runs of one workspace that have not ended.
const OPEN_MAX: i64 = 20;
/// One whose end was never told counts no longer than this.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Asks for a run, waking the runtime.
pub async fn create(app: &App, permit: &Permit, slug: &Slug, request: &CreateRun) -> Answer<Run> {
    let bytes: usize = request.argv.iter().map(String::len).sum();
    let empty = request.argv.first().is_none_or(String::is_empty);
    if empty || bytes > ARGV_MAX || request.argv.iter().any(|argument| argument.contains('\0')) {
        return Err(Refusal::invalid(
            "run.argv",
            "a run needs a program, and at most 32 KiB of arguments without NUL bytes",
        )
        .into());
    }
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?;
    let mut row = row.ok_or_else(|| workspaces::ops::not_found(slug))?;
    if let Some(service) = &request.service
        && row.manifest.is_some()
    {
        services::ops::check_declared(&row, service)?;
    }
    let since = app.now().checked_sub(OPEN_FOR).unwrap_or(Timestamp::MIN);
    if store::open(&mut tx, row.id, since).await? >= OPEN_MAX {
        let refusal = Refusal::new(
            RefusalKind::Limit,
            "run.too_many",
            format!("{OPEN_MAX} runs of this workspace have not ended yet"),
        );
        return Err(refusal
            .hint("wait for one of them, or put the runtime to sleep to end them")
            .retry_after(5)
            .into());
    }
    let waker =
        Waker { actor: permit.actor(), cause: format!("envforge run by {}", permit.actor()), size: None, link: None };
    runtimes::ops::wake_locked(app, &mut tx, &mut row, &waker).await?;
    caps::ops::check_run(&row)?;
    let (id, host, generation) = (row.id, row.host, row.runtime.generation);
    let job: JobId = app.mint();
    store::insert(&mut tx, job, id, &request.argv, permit.user, app.now()).await?;
    let run = RunJob { job, argv: request.argv.clone(), service: request.service.clone() };
    hosts::ops::command(app, &mut tx, host, id, generation, Order::RunJob(run)).await?;
    let entry = Entry::new(&waker.actor, "run.asked", id, "envforge run")
        .details(json!({ "job": job, "program": request.argv[0], "service": request.service }));
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await?;
    show(app, permit, slug, job).await
}

/// One run.
pub async fn show(app: &App, permit: &Permit, slug: &Slug, job: JobId) -> Answer<Run> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let run = store::find(&mut tx, row.id, job).await?.map(|run| match &run.cause {
        Some(cause) if !permit.also(Action::ReadLogs) => Run { cause: Some(without_log(cause).to_owned()), ..run },
        _ => run,
    });
    run.ok_or_else(|| Refusal::not_found("run.not_found", "there is no such run in this workspace").into())
}

/// Takes in what a host reports of a job. An ended run stays as it ended.
pub async fn reported(app: &App, tx: &mut Tx, workspace: WorkspaceId, report: &JobReport) -> Answer<()> {
    let ended = matches!(report.state, RunState::Ended | RunState::Failed).then(|| app.now());
    if !store::update(tx, workspace, report, ended).await? {
        return Ok(());
    }
    if ended.is_some() {
        let details = json!({ "job": report.job, "exit_code": report.exit_code });
        // Who reads the ledger may not be one who reads logs.
        let cause = report.cause.as_deref().map_or("ended", without_log);
        ledger::record(app, tx, Entry::new("system:host", "run.ended", workspace, cause).details(details)).await?;
    }
    if let Some(org) = tx.org() {
        tx.nudge(Nudge::Workspace { org, workspace });
    }
    Ok(())
}

/// The host could not run it.
pub async fn failed(app: &App, tx: &mut Tx, workspace: WorkspaceId, job: JobId, trouble: &Trouble) -> Answer<()> {
    let cause = Some(format!("{} ({})", trouble.cause, trouble.fix));
    reported(app, tx, workspace, &JobReport { job, state: RunState::Failed, exit_code: None, cause }).await
}

//! `envforge admin`: what the installation's operator does.

use crate::args::{AdminVerb, JobsList, JobsVerb, KeysVerb};
use crate::ask;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::jobs::{BackgroundJob, BackgroundJobs, QueueStatus, Queues};
use envforge_api::http::vault::{RotateSigningKey, SigningKeys};
use envforge_core::job::JobState;
use envforge_core::refusal::Refusal;
use envforge_core::signing::SigningState;
use jiff::Timestamp;
use serde_json::json;

/// The path of background jobs.
const JOBS: &str = "/v1/operator/jobs";
/// Longest error in a table, in characters; `--json` has it whole.
const ERROR_SHOWN: usize = 60;

/// The path of signing keys.
const KEYS: &str = "/v1/operator/signing-keys";

/// Operates the installation.
pub(crate) async fn admin(ctx: &mut Context<'_>, verb: AdminVerb) -> Result<ExitCode, Refusal> {
    match verb {
        AdminVerb::Jobs(verb) => jobs(ctx, verb).await,
        AdminVerb::Keys(verb) => signing_keys(ctx, verb).await,
    }
}

async fn signing_keys(ctx: &mut Context<'_>, verb: KeysVerb) -> Result<ExitCode, Refusal> {
    let shown: SigningKeys = match verb {
        KeysVerb::List => ctx.get(KEYS).await?,
        KeysVerb::Rotate { revoke, yes } => {
            if revoke && !yes {
                confirm_revocation(ctx)?;
            }
            ctx.post(&format!("{KEYS}/rotate"), &RotateSigningKey { revoke }).await?
        }
    };
    ctx.printer.answer(&shown, || keys(&shown));
    Ok(ExitCode::Ok)
}

fn confirm_revocation(ctx: &Context<'_>) -> Result<(), Refusal> {
    if !ctx.printer.is_interactive() {
        let message = "revoking the signing keys ends every link and session, and nobody can be asked here";
        return Err(Refusal::invalid("signing_key.revoke_unconfirmed", message).hint("`--yes` revokes without asking"));
    }
    if ask::confirm("Revoke all signing keys? Every link, session and ticket that they signed ends at once")? {
        return Ok(());
    }
    Err(Refusal::conflict("asked.cancelled", "cancelled"))
}

fn keys(shown: &SigningKeys) -> String {
    let since = |at: Timestamp| if at == Timestamp::UNIX_EPOCH { "ever".to_owned() } else { render::time(at) };
    let rows = shown.keys.iter().map(|key| {
        let state = match key.state {
            SigningState::Announced => "announced",
            SigningState::Signing => "signing",
            SigningState::Verifying => "verifying",
            SigningState::Dropped => "dropped",
        };
        let until = key.verifies_until.map_or_else(String::new, render::time);
        vec![key.id.clone(), state.to_owned(), since(key.signs_from), until, key.public_key.clone()]
    });
    render::table(&["KEY", "STATE", "SIGNS FROM", "VERIFIES UNTIL", "PUBLIC KEY"], &rows.collect::<Vec<_>>())
}

/// Shows, retries and cancels background jobs.
async fn jobs(ctx: &mut Context<'_>, verb: JobsVerb) -> Result<ExitCode, Refusal> {
    match verb {
        JobsVerb::List(arguments) => {
            let page: BackgroundJobs = ctx.get(&list_path(&arguments)).await?;
            ctx.printer.answer(&page, || list(&page.jobs));
            if let Some(next) = page.next {
                ctx.printer.note(&format!("there are more: `--before {next}`"));
            }
        }
        JobsVerb::Queues => {
            let all: Queues = ctx.get("/v1/operator/queues").await?;
            ctx.printer.answer(&all, || queues(&all.queues));
        }
        JobsVerb::Retry { job } => {
            let path = format!("{JOBS}/{}/retry", segment(&job));
            let job: BackgroundJob = ctx.post(&path, &json!({})).await?;
            ctx.printer.answer(&job, || format!("{} waits to be run again", job.id));
        }
        JobsVerb::Cancel { job } => {
            let path = format!("{JOBS}/{}/cancel", segment(&job));
            let job: BackgroundJob = ctx.post(&path, &json!({})).await?;
            ctx.printer.answer(&job, || {
                if job.cancelling { format!("{} was told to end", job.id) } else { format!("{} is cancelled", job.id) }
            });
        }
    }
    Ok(ExitCode::Ok)
}

fn list_path(arguments: &JobsList) -> String {
    let queue = arguments.queue.map(|queue| queue.as_str().to_owned());
    let state = arguments.state.map(|state| state.as_str().to_owned());
    let (kind, before) = (arguments.kind.clone(), arguments.before.clone());
    let mut parameters = vec![format!("limit={}", arguments.limit)];
    for (name, value) in [("queue", queue), ("state", state), ("kind", kind), ("before", before)] {
        parameters.extend(value.map(|value| format!("{name}={}", segment(&value))));
    }
    format!("{JOBS}?{}", parameters.join("&"))
}

fn list(jobs: &[BackgroundJob]) -> String {
    if jobs.is_empty() {
        return "no background jobs".to_owned();
    }
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            let state = if job.cancelling { "cancelling" } else { job.state.as_str() };
            let at = match job.state {
                JobState::Waiting => job.run_at,
                _ => job.finished_at.or(job.started_at).unwrap_or(job.run_at),
            };
            let error = job.error.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
            vec![
                job.id.to_string(),
                job.queue.to_string(),
                job.kind.clone(),
                state.to_owned(),
                format!("{}/{}", job.attempt, job.max_attempts),
                render::time(at),
                error.chars().take(ERROR_SHOWN).collect(),
            ]
        })
        .collect();
    render::table(&["JOB", "QUEUE", "KIND", "STATE", "ATTEMPT", "AT", "ERROR"], &rows)
}

fn queues(queues: &[QueueStatus]) -> String {
    let rows: Vec<_> = queues
        .iter()
        .map(|queue| {
            vec![
                queue.queue.to_string(),
                queue.concurrency.to_string(),
                queue.waiting.to_string(),
                queue.running.to_string(),
                queue.failed.to_string(),
                queue.dead.to_string(),
                queue.oldest_due_at.map_or_else(String::new, render::time),
            ]
        })
        .collect();
    render::table(&["QUEUE", "PLACES", "WAITING", "RUNNING", "FAILED", "DEAD", "OLDEST DUE"], &rows)
}

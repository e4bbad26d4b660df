//! `envforge admin`: what the installation's operator does.

use crate::args::{AdminVerb, JobsList, JobsVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::jobs::{BackgroundJob, BackgroundJobs, QueueStatus, Queues};
use envforge_core::job::JobState;
use envforge_core::refusal::Refusal;
use serde_json::json;

/// The path of background jobs.
const JOBS: &str = "/v1/operator/jobs";
/// Longest error in a table, in characters; `--json` has it whole.
const ERROR_SHOWN: usize = 60;

/// Shows, retries and cancels background jobs.
pub(crate) async fn admin(ctx: &mut Context<'_>, verb: AdminVerb) -> Result<ExitCode, Refusal> {
    let AdminVerb::Jobs(verb) = verb;
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

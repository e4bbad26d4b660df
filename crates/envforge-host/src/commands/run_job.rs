//! `RUN_JOB`: noted, answered, and run as soon as the runtime can.

use super::{journaled, not_prepared};
use crate::files::Durability;
use crate::journal::JobRecord;
use crate::trouble::blocked;
use crate::workspace::driver::Driver;
use envforge_api::host::{HostCommand, Outcome, RunJob};
use envforge_api::http::runs::RunState;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, job: RunJob) {
    if driver.state.prepared.is_none() {
        return driver.answer(command.id, Outcome::Failed(not_prepared().into()), Durability::Process);
    }
    if job.argv.first().is_none_or(String::is_empty) {
        let block = blocked("job.no_command", "the job names no program", "give a program and its arguments");
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    let record =
        JobRecord { argv: job.argv, service: job.service, state: RunState::Pending, exit_code: None, cause: None };
    // A job that came before, under another command or before a crash, is the same job.
    if !journaled(driver, &command, Durability::Process, |state| {
        state.jobs.entry(job.job).or_insert(record);
    }) {
        return;
    }
    driver.news.jobs.insert(job.job);
    if let Some(trouble) = driver.runtime.trouble.clone() {
        driver.fail_pending_jobs(&trouble.cause);
    }
    driver.settle().await;
    driver.answer(command.id, Outcome::Done, Durability::Process);
}

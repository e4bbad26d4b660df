//! `RUN_JOB`.

use super::machine::Machine;
use crate::support::{is_root, wait_until};
use envforge_api::host::{JobReport, Order, Outcome};
use envforge_api::http::runs::RunState;
use envforge_core::id::{JobId, WorkspaceId};
use envforge_core::runtime::ObservedPhase;

/// What was last reported of a job.
fn last(machine: &Machine, workspace: WorkspaceId, job: JobId) -> Option<JobReport> {
    let reports = machine.server.reports(workspace);
    reports.iter().rev().flat_map(|report| &report.jobs).find(|report| report.job == job).cloned()
}

/// Waits for a job's end; other news of the workspace may follow it at once.
pub(super) async fn ended(machine: &Machine, workspace: WorkspaceId, job: JobId) -> JobReport {
    let over = |report: &JobReport| matches!(report.state, RunState::Ended | RunState::Failed);
    wait_until("the job's end", async || last(machine, workspace, job).is_some_and(|report| over(&report))).await;
    last(machine, workspace, job).expect("reported")
}

// proves RUN-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_the_runtime_runs_once_and_tells_its_code() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\nvariables: { region: eu }\n";
    let mut machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    let (job, command) = machine.job(ws, 2, &["sh", "-c", "echo at $REGION $WEB_URL; echo once >> runs; exit 7"]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    wait_until("it is pending", async || {
        last(&machine, ws.id, job).is_some_and(|report| report.state == RunState::Pending)
    })
    .await;
    machine.wake(ws, 2).await;
    let report = ended(&machine, ws.id, job).await;
    assert_eq!((report.state, report.exit_code), (RunState::Ended, Some(7)));
    wait_until("its log", async || {
        machine.server.log(ws.id, &job.to_string(), 5).await.contains("at eu http://127.0.0.1:3000")
    })
    .await;
    // The same command, and the same job by another command: it does not run again.
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    assert_eq!(machine.order(ws, 2, command.order.clone()).await, Outcome::Done);
    assert_eq!(machine.read(ws, "checkout/runs"), "once\n");

    let (missing, command) = machine.job(ws, 2, &["no-such-program"]);
    machine.server.obeyed(&command).await;
    assert_eq!(ended(&machine, ws.id, missing).await.state, RunState::Failed);
    let (nothing, command) = machine.job(ws, 2, &[]);
    assert!(matches!(machine.server.obeyed(&command).await, Outcome::Failed(_)));
    assert!(last(&machine, ws.id, nothing).is_none());

    // Its end is kept while no daemon is there to see it.
    let (long, command) = machine.job(ws, 2, &["sh", "-c", "while [ ! -f go ]; do sleep 0.02; done; exit 5"]);
    machine.server.obeyed(&command).await;
    wait_until("it runs", async || last(&machine, ws.id, long).is_some_and(|report| report.state == RunState::Running))
        .await;
    machine.stop().await;
    machine.edit(ws, "go", "");
    machine.start().await;
    assert_eq!(ended(&machine, ws.id, long).await.exit_code, Some(5));

    // A stop ends what runs, and what waits will not run.
    std::fs::remove_file(machine.place(ws).join("checkout/go")).expect("there");
    let (killed, command) = machine.job(ws, 2, &["sleep", "1000"]);
    machine.server.obeyed(&command).await;
    wait_until("it runs", async || {
        last(&machine, ws.id, killed).is_some_and(|report| report.state == RunState::Running)
    })
    .await;
    machine.order(ws, 3, Order::StopRuntime).await;
    assert_eq!(ended(&machine, ws.id, killed).await.exit_code, Some(128 + 15));
    machine.phase(ws, ObservedPhase::Absent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_services_runs_and_is_metered() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n  web:\n    command: no-such-program\n    port: 3000\n";
    let machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Blocked).await;
    let (job, command) = machine.job(ws, 2, &["sh", "-c", "while [ ! -f go ]; do sleep 0.02; done"]);
    machine.server.obeyed(&command).await;
    let up = machine.phase(ws, ObservedPhase::Up).await;
    assert!(up.process_runs);
    machine.edit(ws, "go", "");
    assert_eq!(ended(&machine, ws.id, job).await.exit_code, Some(0));
    machine.phase(ws, ObservedPhase::Blocked).await;
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_forgotten_jobs_are_removed() {
    if !is_root() {
        return;
    }
    let machine = Machine::new("services:\n  web:\n    command: python3 serve.py web\n    port: 3000\n", &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let log = |job: JobId| machine.place(ws).join(format!("logs/job-{job}.log"));
    let run = async || {
        let (job, command) = machine.job(ws, 2, &["echo", "hello"]);
        assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
        ended(&machine, ws.id, job).await;
        job
    };
    let first = run().await;
    wait_until("its log", async || log(first).exists()).await;
    let mut last = first;
    for _ in 0..64 {
        last = run().await;
    }
    wait_until("the oldest is forgotten", async || !log(first).exists()).await;
    assert!(log(last).exists());
}

// proves RUN-3, REPO-4, ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_like_a_service_has_its_environment_secrets_and_directory() {
    if !is_root() {
        return;
    }
    // As with a migration: its service comes up only after it ran, and what the service waits for need not be there.
    let manifest = "services:
  api:
    command: test -f ../migrated && exec python3 ../serve.py api
    port: 4000
    directory: server
    inputs: { region: required, api_key: required, other_url: required }
    environment: { APP_REGION: input.region, APP_KEY: input.api_key, OTHER: input.other_url, PORT: '4000', MODE: plain }
  other:
    command: sleep 1000
variables: { region: eu }
";
    let machine = Machine::new(manifest, &[]).await;
    machine.server.keep_secret("API_KEY", "planted-secret-4712");
    let ws = machine.workspace().await;
    std::fs::create_dir(machine.place(ws).join("checkout/server")).expect("directory");
    machine.wake(ws, 2).await;
    let script = "echo $APP_REGION $APP_KEY $MODE $PORT ${OTHER-none} ${REGION-none} $PWD; touch ../migrated";
    let (job, command) = machine.job_like(ws, 2, "api", &["sh", "-c", script]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    assert_eq!(ended(&machine, ws.id, job).await.exit_code, Some(0));
    let said = "eu [secret API_KEY] plain 4000 none none /workspace/server";
    wait_until("its log", async || machine.server.log(ws.id, &job.to_string(), 5).await.contains(said)).await;
    assert!(machine.place(ws).join("checkout/migrated").exists());

    let (unknown, command) = machine.job_like(ws, 2, "none", &["true"]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    let report = ended(&machine, ws.id, unknown).await;
    assert!(report.cause.is_some_and(|cause| cause.ends_with("declares no service none")));
}

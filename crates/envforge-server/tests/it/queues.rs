//! The operator's board: what it shows, and what it may change.

use crate::jobs::{How, enqueue, probe, row, runs, until, work};
use crate::support::{TestServer, code};
use envforge_api::http::jobs::{BackgroundJob, BackgroundJobs, Queues};
use envforge_core::job::{JobState, Queue};
use envforge_core::refusal::Refusal;
use envforge_server::platform::jobs::{self, Options};
use envforge_testkit::wait_until;
use jiff::SignedDuration;
use serde_json::{Value, json};

async fn list(server: &TestServer, query: &str) -> BackgroundJobs {
    server.owner.get(&format!("/v1/operator/jobs{query}")).await.unwrap()
}

async fn ask(server: &TestServer, id: impl std::fmt::Display, verb: &str) -> Result<BackgroundJob, Refusal> {
    let path = format!("/v1/operator/jobs/{id}/{verb}");
    server.owner.post(&path, &json!({})).await.map_err(envforge_api::client::CallError::into_refusal)
}

// proves OPS-3
#[tokio::test]
async fn the_board_shows_jobs_by_page_and_queues_by_state() {
    let server = TestServer::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(enqueue(&server, &format!("listed-{n}"), How::Succeed).await);
        server.clock.advance(SignedDuration::from_millis(2));
    }
    ids.reverse();
    let page = list(&server, "?kind=test.probe&limit=2").await;
    assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[..2]);
    let next = list(&server, &format!("?kind=test.probe&limit=3&before={}", page.next.unwrap())).await;
    assert_eq!(next.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(next.next, None);
    assert_eq!(next.jobs[0].arguments["name"], "listed-2");
    assert_eq!(list(&server, "?queue=default&state=waiting").await.jobs.len(), 5);
    assert_eq!(list(&server, "?queue=ai").await.jobs.len(), 0);
    for query in ["?state=nothing", "?limit=0", "?limit=201", "?stat=done", "?before=ws_1"] {
        let refused = server.owner.get::<Value>(&format!("/v1/operator/jobs{query}")).await;
        assert!(code(refused).contains('.'), "{query}");
    }
    let queues: Queues = server.owner.get("/v1/operator/queues").await.unwrap();
    let default = queues.queues.iter().find(|queue| queue.queue == Queue::Default).unwrap();
    assert_eq!((default.waiting, default.running, default.concurrency), (5, 0, 10));
    assert_eq!(default.oldest_due_at, Some(next.jobs[2].run_at));
    let others: Vec<u32> = queues.queues.iter().map(|queue| queue.concurrency).collect();
    assert_eq!(others, [10, 5, 3, 3, 3]);
}

// proves OPS-3
#[tokio::test]
async fn a_job_that_waits_is_cancelled_and_one_that_runs_is_told_to_end() {
    let server = TestServer::start().await;
    let app = server.server.app();
    work(app);
    let mut tx = app.db.begin_installation().await.unwrap();
    let later = Options::default().at(app.now() + SignedDuration::from_hours(1));
    let waits = jobs::enqueue(app, &mut tx, &probe("waits", How::Succeed), later).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask(&server, waits, "cancel").await.unwrap().state, JobState::Cancelled);
    assert_eq!(ask(&server, waits, "cancel").await.unwrap().state, JobState::Cancelled, "asking twice is harmless");
    let running = enqueue(&server, "running", How::Wait).await;
    wait_until("it runs", async || runs("running") == 1).await;
    let told = ask(&server, running, "cancel").await.unwrap();
    assert!(told.cancelling && told.state == JobState::Running);
    until(&server, running, JobState::Cancelled, 1).await;
    assert_eq!(
        ask(&server, "bgjob_00000000000000000000000000000000", "cancel").await.unwrap_err().code,
        "job.not_found"
    );
    assert_eq!(server.events("job.cancelled").await, 2);
    server.advance(3_601);
    let other = enqueue(&server, "other", How::Succeed).await;
    until(&server, other, JobState::Done, 1).await;
    assert_eq!((runs("waits"), runs("running")), (0, 1));
    assert_eq!(ask(&server, other, "cancel").await.unwrap_err().code, "job.finished");
}

// proves OPS-3
#[tokio::test]
async fn a_dead_letter_is_retried_from_its_first_attempt() {
    let server = TestServer::start().await;
    work(server.server.app());
    let id = enqueue(&server, "dies", How::Fail(3)).await;
    for attempt in 1..3 {
        until(&server, id, JobState::Waiting, attempt).await;
        server.advance(10);
    }
    until(&server, id, JobState::Dead, 3).await;
    assert_eq!(list(&server, "?state=dead").await.jobs.len(), 1);
    let retried = ask(&server, id, "retry").await.unwrap();
    assert_eq!((retried.state, retried.attempt), (JobState::Waiting, 0));
    until(&server, id, JobState::Done, 1).await;
    assert!(row(&server, id).await.error.is_some(), "what it died of is still told");
    assert_eq!(ask(&server, id, "retry").await.unwrap_err().code, "job.not_retryable");
    assert_eq!(server.events("job.retried").await, 1);
}

// proves OPS-3
#[tokio::test]
async fn a_retry_makes_no_second_of_a_unique_job() {
    let server = TestServer::start().await;
    let app = server.server.app();
    let enqueue = async || {
        let mut tx = app.db.begin_installation().await.unwrap();
        let options = Options::default().unique("one");
        let id = jobs::enqueue(app, &mut tx, &probe("one", How::Succeed), options).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        id
    };
    let first = enqueue().await;
    ask(&server, first, "cancel").await.unwrap();
    let second = enqueue().await;
    assert_eq!(ask(&server, first, "retry").await.unwrap_err().code, "job.duplicate");
    assert_eq!(server.events("job.retried").await, 0, "a refused retry changes nothing");
    ask(&server, second, "cancel").await.unwrap();
    assert_eq!(ask(&server, first, "retry").await.unwrap().state, JobState::Waiting);
}

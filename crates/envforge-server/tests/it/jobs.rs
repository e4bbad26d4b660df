//! Background jobs: their transaction, order, failures, leases and schedules, with a clock that stands still.

use crate::sign_in::Browser;
use crate::support::TestServer;
use envforge_core::clock::{Clock as _, FixedClock};
use envforge_core::id::BackgroundJobId;
use envforge_core::job::{JobState, Queue};
use envforge_core::schedule::Schedule;
use envforge_server::app::App;
use envforge_server::platform::db::OrgScope;
use envforge_server::platform::jobs::{self, Job, JobContext, JobError, LEASE, Options, Registry};
use envforge_testkit::{wait_until, wait_until_within};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::Row as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What a probe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Succeed,
    /// Fails so many times, to come again after 10 seconds, then succeeds.
    Fail(u32),
    /// Fails once, to come again after a back-off, then succeeds.
    Jitter,
    GiveUp,
    Panic,
    /// Waits until it is let go or told to end; the first attempt then gives up.
    Wait,
}

/// A job that does as the test says, and writes down that it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Probe {
    name: String,
    how: How,
}

pub(crate) fn probe(name: &str, how: How) -> Probe {
    Probe { name: name.to_owned(), how }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    begun: u32,
    ended: u32,
    at_once: u32,
    most_at_once: u32,
}

static SEEN: Mutex<BTreeMap<String, Seen>> = Mutex::new(BTreeMap::new());
static ORDER: Mutex<Vec<String>> = Mutex::new(Vec::new());
static GATES: Mutex<BTreeMap<String, Arc<Semaphore>>> = Mutex::new(BTreeMap::new());

fn seen(name: &str) -> Seen {
    SEEN.lock().unwrap().get(name).copied().unwrap_or_default()
}

pub(crate) fn runs(name: &str) -> u32 {
    seen(name).begun
}

fn gate(name: &str) -> Arc<Semaphore> {
    Arc::clone(GATES.lock().unwrap().entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
}

/// Counts a run from its begin until it is over, also when it is dropped.
struct Counted(String);

impl Counted {
    fn new(name: &str) -> Self {
        ORDER.lock().unwrap().push(name.to_owned());
        let mut seen = SEEN.lock().unwrap();
        let seen = seen.entry(name.to_owned()).or_default();
        seen.begun += 1;
        seen.at_once += 1;
        seen.most_at_once = seen.most_at_once.max(seen.at_once);
        Self(name.to_owned())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut seen = SEEN.lock().unwrap();
        let seen = seen.get_mut(&self.0).unwrap();
        seen.at_once -= 1;
        seen.ended += 1;
    }
}

impl Job for Probe {
    const KIND: &'static str = "test.probe";
    const MAX_ATTEMPTS: u32 = 3;

    async fn run(self, _app: App, ctx: JobContext) -> Result<(), JobError> {
        let _counted = Counted::new(&self.name);
        let failed = || anyhow::anyhow!("attempt {} failed\u{0}", ctx.attempt);
        match self.how {
            How::Succeed => tokio::task::yield_now().await,
            How::Fail(times) if seen(&self.name).begun <= times => {
                return Err(JobError::later_in(SignedDuration::from_secs(10), failed()));
            }
            How::Jitter if ctx.attempt == 1 => return Err(JobError::later(failed())),
            How::Fail(_) | How::Jitter => {}
            How::GiveUp => return Err(JobError::give_up(failed())),
            How::Panic => panic!("a probe panics"),
            How::Wait => {
                tokio::select! {
                    _ = gate(&self.name).acquire_owned() => if ctx.attempt == 1 {
                        return Err(JobError::give_up(failed()));
                    },
                    () = ctx.cancel.cancelled() => return Err(JobError::later(failed())),
                }
            }
        }
        Ok(())
    }
}

/// A recurring probe.
#[derive(Debug, Serialize, Deserialize)]
struct Tick {}

impl Job for Tick {
    const KIND: &'static str = "test.tick";

    async fn run(self, _app: App, _ctx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

/// Adds a worker that knows probes to a server.
pub(crate) fn work(app: &App) {
    app.tasks.spawn(jobs::run(app.clone(), Registry::default().with::<Probe>()));
}

async fn enqueue_in(app: &App, scope: Option<OrgScope>, job: &Probe, options: Options) -> Option<BackgroundJobId> {
    let mut tx = match scope {
        Some(scope) => app.db.begin(scope).await.unwrap(),
        None => app.db.begin_installation().await.unwrap(),
    };
    let id = jobs::enqueue(app, &mut tx, job, options).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Enqueues a job of the installation.
pub(crate) async fn enqueue(server: &TestServer, name: &str, how: How) -> BackgroundJobId {
    enqueue_in(server.server.app(), None, &probe(name, how), Options::default()).await.unwrap()
}

pub(crate) struct Row {
    pub(crate) state: JobState,
    pub(crate) attempt: i32,
    pub(crate) error: Option<String>,
    run_at: Timestamp,
}

pub(crate) async fn row(server: &TestServer, id: BackgroundJobId) -> Row {
    let row = sqlx::query("SELECT state, attempt, error, run_at FROM jobs WHERE id = $1")
        .bind(envforge_core::id::Id::uuid(id))
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
    Row {
        state: row.get::<String, _>("state").parse().unwrap(),
        attempt: row.get("attempt"),
        error: row.get("error"),
        run_at: row.get::<jiff_sqlx::Timestamp, _>("run_at").to_jiff(),
    }
}

pub(crate) async fn until(server: &TestServer, id: BackgroundJobId, state: JobState, attempt: i32) {
    wait_until("the job is as far as that", async || {
        let row = row(server, id).await;
        (row.state, row.attempt) == (state, attempt)
    })
    .await;
}

async fn count(server: &TestServer, kind: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = $1")
        .bind(kind)
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap()
}

// proves OPS-3
#[tokio::test]
async fn a_job_exists_exactly_if_its_transaction_does() {
    let server = TestServer::start().await;
    let app = server.server.app();
    work(app);
    let mut tx = app.db.begin_installation().await.unwrap();
    jobs::enqueue(app, &mut tx, &probe("dropped", How::Succeed), Options::default()).await.unwrap().unwrap();
    drop(tx);
    let kept = enqueue(&server, "kept", How::Succeed).await;
    until(&server, kept, JobState::Done, 1).await;
    assert_eq!((count(&server, Probe::KIND).await, runs("dropped"), runs("kept")), (1, 0, 1));
}

// proves OPS-3
#[tokio::test]
async fn one_job_per_unique_key_is_not_finished() {
    let server = TestServer::start().await;
    let app = server.server.app();
    let (acme, rival) = (server.scope("acme").await, server.scope("rival").await);
    let once = || Options::default().unique("once");
    let job = probe("unique", How::Succeed);
    let first = enqueue_in(app, Some(acme), &job, once()).await.unwrap();
    assert_eq!(enqueue_in(app, Some(acme), &job, once()).await, None);
    assert!(enqueue_in(app, Some(rival), &job, once()).await.is_some(), "another org's key is another key");
    assert!(enqueue_in(app, None, &job, once()).await.is_some());
    work(app);
    until(&server, first, JobState::Done, 1).await;
    assert!(enqueue_in(app, Some(acme), &job, once()).await.is_some(), "once it is done, there may be another");
}

// proves OPS-3
#[tokio::test]
async fn the_highest_priority_runs_first_and_no_org_holds_up_another() {
    let server = TestServer::configured(|config| {
        config.queue_concurrency.insert(Queue::Default, 1);
    })
    .await;
    let app = server.server.app();
    let (acme, rival) = (server.scope("acme").await, server.scope("rival").await);
    for n in 0..30 {
        enqueue_in(app, Some(acme), &probe(&format!("acme-{n:02}"), How::Succeed), Options::default()).await;
        server.clock.advance(SignedDuration::from_millis(1));
    }
    let last = enqueue_in(app, Some(rival), &probe("rival", How::Succeed), Options::default()).await.unwrap();
    enqueue_in(app, Some(acme), &probe("low", How::Succeed), Options::default().priority(-1)).await.unwrap();
    enqueue_in(app, Some(acme), &probe("high", How::Succeed), Options::default().priority(1)).await.unwrap();
    work(app);
    until(&server, last, JobState::Done, 1).await;
    wait_until("all have run", async || runs("low") == 1).await;
    let order = ORDER.lock().unwrap().clone();
    assert_eq!((order[0].as_str(), order[32].as_str()), ("high", "low"));
    let acme: Vec<_> = order.iter().filter(|name| name.starts_with("acme")).collect();
    assert!(acme.is_sorted(), "within an org in the order of their due times: {acme:?}");
    // By lot each time: that rival's comes after 20 of acme's has a chance of one in a million.
    let place = order.iter().position(|name| name == "rival").unwrap();
    assert!(place <= 21, "rival's one job waited for {place} of acme's");
}

// proves OPS-3
#[tokio::test]
async fn a_failure_is_tried_again_later_and_too_many_are_a_dead_letter() {
    let server = TestServer::start().await;
    work(server.server.app());
    let jittered = enqueue(&server, "jittered", How::Jitter).await;
    wait_until("it failed", async || {
        let row = row(&server, jittered).await;
        row.attempt > 0 && row.state != JobState::Running
    })
    .await;
    let failed = row(&server, jittered).await;
    assert_eq!(failed.error.as_deref(), Some("attempt 1 failed"), "its text is storable");
    let pause = failed.run_at.duration_since(server.clock.now());
    assert!(pause >= SignedDuration::ZERO && pause <= SignedDuration::from_secs(5), "{pause:?}");
    let exact = enqueue(&server, "exact", How::Fail(3)).await;
    for attempt in 1..=2 {
        until(&server, exact, JobState::Waiting, attempt).await;
        server.advance(9);
        // Something else runs meanwhile: the worker has looked, and left it alone.
        let other = enqueue(&server, "other", How::Succeed).await;
        until(&server, other, JobState::Done, 1).await;
        assert_eq!(row(&server, exact).await.attempt, attempt);
        server.advance(1);
    }
    until(&server, exact, JobState::Dead, 3).await;
    until(&server, jittered, JobState::Done, 2).await;
    let hopeless = enqueue(&server, "hopeless", How::GiveUp).await;
    until(&server, hopeless, JobState::Failed, 1).await;
}

// proves OPS-3
#[tokio::test]
async fn a_panic_is_one_jobs_failure() {
    let server = TestServer::start().await;
    work(server.server.app());
    let panics = enqueue(&server, "panics", How::Panic).await;
    until(&server, panics, JobState::Waiting, 1).await;
    assert_eq!(row(&server, panics).await.error.as_deref(), Some("its handler panicked: a probe panics"));
    let next = enqueue(&server, "next", How::Succeed).await;
    until(&server, next, JobState::Done, 1).await;
}

// proves OPS-3
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_killed_server_is_run_again() {
    let server = TestServer::start().await;
    let id = enqueue(&server, "half-way", How::Wait).await;
    // A server of its own runtime: taking that away is the death of the process.
    let process = tokio::runtime::Runtime::new().unwrap();
    let started = server.another(Arc::clone(&server.clock), CancellationToken::new());
    let killed = std::thread::scope(|scope| scope.spawn(|| process.block_on(started)).join().unwrap());
    process.spawn(jobs::run(killed.app().clone(), Registry::default().with::<Probe>()));
    until(&server, id, JobState::Running, 1).await;
    wait_until("it is half-way", async || runs("half-way") == 1).await;
    process.shutdown_background();
    wait_until("the process is gone", async || seen("half-way").ended == 1).await;
    assert_eq!(row(&server, id).await.state, JobState::Running, "nobody has told the database");
    server.clock.advance(LEASE);
    server.advance(1);
    gate("half-way").add_permits(1);
    work(server.server.app());
    until(&server, id, JobState::Done, 2).await;
    assert_eq!(runs("half-way"), 2);
}

// proves OPS-3
#[tokio::test]
async fn a_late_end_does_not_count() {
    let server = TestServer::start().await;
    let slow_cancel = CancellationToken::new();
    // Its clock stands still: for everyone else its lease ends although it goes on.
    let stuck = Arc::new(FixedClock::new(server.clock.now()));
    let slow = server.another(stuck, slow_cancel.clone()).await;
    work(slow.app());
    let id = enqueue(&server, "late", How::Wait).await;
    wait_until("the slow server has it", async || runs("late") == 1).await;
    server.clock.advance(LEASE);
    server.advance(1);
    work(server.server.app());
    wait_until("another has it too", async || runs("late") == 2).await;
    // Both are let go; the slow one's first attempt gives up, which is not what counts.
    gate("late").add_permits(2);
    until(&server, id, JobState::Done, 2).await;
    slow_cancel.cancel();
    slow.wait().await;
    let row = row(&server, id).await;
    assert_eq!((row.state, row.attempt), (JobState::Done, 2));
    assert!(row.error.unwrap().contains("not heard of any more"));
}

// proves OPS-3
#[tokio::test]
async fn a_server_that_stops_gives_its_jobs_back() {
    let server = TestServer::start().await;
    let cancel = CancellationToken::new();
    let stopping = server.another(Arc::clone(&server.clock), cancel.clone()).await;
    work(stopping.app());
    let id = enqueue(&server, "given-back", How::Wait).await;
    wait_until("it runs", async || runs("given-back") == 1).await;
    cancel.cancel();
    stopping.wait().await;
    let row = row(&server, id).await;
    assert_eq!((row.state, row.attempt), (JobState::Waiting, 0), "the attempt does not count");
    work(server.server.app());
    wait_until("another server runs it", async || runs("given-back") == 2).await;
}

// proves OPS-3
#[tokio::test]
async fn an_unknown_kind_waits_and_says_why() {
    let server = TestServer::start().await;
    let app = server.server.app();
    let id = enqueue(&server, "unknown", How::Succeed).await;
    app.tasks.spawn(jobs::run(app.clone(), Registry::default()));
    wait_until("it says why", async || row(&server, id).await.error.is_some()).await;
    let told = row(&server, id).await;
    assert_eq!(told.state, JobState::Waiting);
    assert!(told.error.unwrap().contains("knows jobs of the kind `test.probe`"));
    work(app);
    until(&server, id, JobState::Done, 1).await;
    assert_eq!(row(&server, id).await.error, None);
}

// proves OPS-3
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_run_one_job_at_once() {
    let server = TestServer::start().await;
    let another = server.another(Arc::clone(&server.clock), CancellationToken::new()).await;
    let jobs: usize = 400;
    work(server.server.app());
    work(another.app());
    for n in 0..jobs {
        let app = if n % 2 == 0 { server.server.app() } else { another.app() };
        enqueue_in(app, None, &probe(&format!("stress-{n}"), How::Succeed), Options::default()).await.unwrap();
    }
    wait_until_within("all are done", Duration::from_secs(30), async || {
        let states: Vec<(String, i64)> =
            sqlx::query_as("SELECT state, count(*) FROM jobs WHERE kind = 'test.probe' GROUP BY state")
                .fetch_all(&mut server.database_owner().await)
                .await
                .unwrap();
        states == [("done".to_owned(), i64::try_from(jobs).unwrap())]
    })
    .await;
    for n in 0..jobs {
        let seen = seen(&format!("stress-{n}"));
        assert_eq!((seen.begun, seen.most_at_once), (1, 1), "job {n}");
    }
}

// proves OPS-3
#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_is_one_job_however_many_servers_and_a_silence_is_made_up_for_once() {
    let server = TestServer::start().await;
    let another = server.another(Arc::clone(&server.clock), CancellationToken::new()).await;
    for app in [server.server.app(), another.app()] {
        let registry = Registry::default().recurring(Schedule::Every { minutes: 5 }, &Tick {});
        app.tasks.spawn(jobs::run(app.clone(), registry));
    }
    wait_until("the schedule is known", async || {
        let known = sqlx::query("SELECT 1 FROM job_schedules WHERE kind = 'test.tick'");
        known.fetch_optional(&mut server.database_owner().await).await.unwrap().is_some()
    })
    .await;
    assert_eq!(count(&server, Tick::KIND).await, 0, "a new schedule begins with its next due time");
    for (minutes, jobs) in [(5, 1), (5, 2), (24 * 60, 3), (5, 4)] {
        server.advance(minutes * 60);
        wait_until("it was enqueued and done", async || {
            let done: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'test.tick' AND state = 'done'")
                .fetch_one(&mut server.database_owner().await)
                .await
                .unwrap();
            done >= jobs
        })
        .await;
        assert_eq!(count(&server, Tick::KIND).await, jobs);
    }
}

// proves OPS-3
#[tokio::test]
async fn an_org_sees_its_own_jobs_and_changes_none() {
    let server = TestServer::start().await;
    let (acme, rival) = (server.scope("acme").await, server.scope("rival").await);
    let app = server.server.app();
    enqueue_in(app, Some(acme), &probe("acmes", How::Succeed), Options::default()).await.unwrap();
    enqueue(&server, "installations", How::Succeed).await;
    for (scope, visible) in [(acme, 1), (rival, 0)] {
        let mut tx = app.db.begin(scope).await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(tx.conn()).await.unwrap();
        assert_eq!(seen, visible);
        for statement in ["UPDATE jobs SET priority = 9", "DELETE FROM jobs"] {
            assert_eq!(sqlx::query(statement).execute(tx.conn()).await.unwrap().rows_affected(), 0, "{statement}");
        }
        let planted = sqlx::query(
            "INSERT INTO jobs (id, org_id, queue, kind, arguments, priority, max_attempts, run_at, created_at) VALUES (gen_random_uuid(), NULL, 'default', 'x', '{}', 0, 1, now(), now())",
        )
        .execute(tx.conn())
        .await;
        assert!(planted.unwrap_err().to_string().contains("row-level security"));
    }
}

// proves OPS-3
#[tokio::test]
async fn what_is_old_is_forgotten_by_jobs() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let link: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/links", &json!({ "service": "web" })).await.unwrap();
    server.exchange("web--main--acme", link["token"].as_str().unwrap()).await.unwrap();
    let mut browser = Browser::with_key(&server, server.owner.key().unwrap().expose()).await;
    let state = envforge_core::entry::state_of("a nonce");
    assert_eq!(browser.get(&format!("/open/web--main--acme?state={state}")).await.status, 303);
    work(server.server.app());
    let done = enqueue(&server, "old", How::Succeed).await;
    let failed = enqueue(&server, "old-failure", How::GiveUp).await;
    until(&server, done, JobState::Done, 1).await;
    until(&server, failed, JobState::Failed, 1).await;
    server.advance(10 * 24 * 3_600);
    wait_until("they are gone", async || {
        let kept: (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM link_sessions) + (SELECT count(*) FROM member_sessions), (SELECT count(*) FROM jobs WHERE kind = 'test.probe'), \
             (SELECT count(*) FROM host_commands WHERE verb = 'PREPARE_SHELL')",
        )
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
        kept == (0, 1, 0)
    })
    .await;
    assert_eq!(row(&server, failed).await.state, JobState::Failed, "somebody may want to look at it");
}

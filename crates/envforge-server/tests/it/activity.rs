//! What runtimes do by the minute, why they are awake, and what another rule would have made of it, with a clock that
//! stands still until it is moved.

use crate::support::{FakeHost, TestServer, code, report};
use envforge_api::client::CallError;
use envforge_api::host::{Order, Pulse, Work};
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::http::activity::{IdleLimit, Replayed, Why};
use envforge_api::http::ledger::LedgerEvents;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::idle::{self, Holder, IdleSource, IdleVerdict};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_testkit::wait_until;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const WHY: &str = "/v1/orgs/acme/workspaces/main/why";

async fn why(server: &TestServer) -> Why {
    server.owner.get(WHY).await.unwrap()
}

/// When the runtime was last proven to run.
async fn last_proof(server: &TestServer) -> Option<Timestamp> {
    let mut connection = server.database_owner().await;
    let proof: Option<jiff_sqlx::Timestamp> =
        sqlx::query_scalar("SELECT last_proof FROM runtimes").fetch_one(&mut connection).await.unwrap();
    proof.map(jiff_sqlx::Timestamp::to_jiff)
}

/// A heartbeat in which it computed for so many milliseconds, which is taken in.
async fn beat(server: &TestServer, host: &mut FakeHost, workspace: &Workspace, generation: u64, jobs: u32, cpu: u64) {
    let work = Some(Work { cpu, disk: 1 << 20, network: 1_000 });
    host.pulse(Pulse {
        workspace: workspace.id,
        generation,
        process_runs: true,
        service_milli_cpu: 400,
        memory: 0,
        jobs_running: jobs,
        work,
    })
    .await;
    let now = server.clock.now();
    wait_until("the pulse is taken in", async || last_proof(server).await == Some(now)).await;
}

// proves RUN-4, COST-6
#[tokio::test]
async fn work_is_added_up_by_the_minute_and_why_says_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let before = why(&server).await;
    assert_eq!((before.state, before.cause, before.idle), (RuntimeState::Asleep, None, None));
    let start = server.awake(&mut host, &workspace).await;
    // Bursts that are a little in a minute: what looks for work every second does nothing.
    let pulse = |cpu| Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 400,
        memory: 0,
        jobs_running: 0,
        work: Some(Work { cpu, disk: 1 << 20, network: 1_000 }),
    };
    let mut beat = async |cpu| {
        host.pulse(pulse(cpu)).await;
        let now = server.clock.now();
        wait_until("the pulse is taken in", async || last_proof(&server).await == Some(now)).await;
    };
    // To the beginning of a minute, so that the beats of one are of one.
    let into = server.clock.now().as_second().rem_euclid(60);
    server.advance(60 - into);
    let idle = async || serde_json::to_value(why(&server).await.idle).unwrap()["verdict"].clone();
    for _ in 0..3 {
        beat(900).await;
        assert_eq!(idle().await, "idle");
        server.advance(2);
    }
    beat(900).await;
    let told = why(&server).await;
    let Some(IdleVerdict::Busy { reason, holders, earliest }) = told.idle else { panic!("{told:?}") };
    assert_eq!(
        (reason.as_str(), holders),
        ("services computed 3.6 s this minute", vec![Holder::Cpu { milliseconds: 3_600 }])
    );
    assert!(told.cause.unwrap().starts_with("member "), "who woke it is named");
    let end = idle::minute_of(told.now) + SignedDuration::from_mins(1);
    assert_eq!(earliest, Some(end + SignedDuration::from_mins(10)), "the minute counts to its end");
    // The minute counts to its end, also once the next one has begun and nothing happens in it.
    server.reconcile().await;
    server.advance(60);
    beat(1).await;
    let told = why(&server).await;
    let Some(IdleVerdict::Idle { sleeps_at }) = told.idle else { panic!("{told:?}") };
    assert_eq!(end, idle::minute_of(told.now));
    assert_eq!(told.last_work, Some(end));
    assert_eq!(sleeps_at, end + jiff::SignedDuration::from_mins(10));
    server.advance(601);
    beat(1).await;
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    wait_until("it is asleep", async || why(&server).await.state == RuntimeState::Frozen).await;
    assert!(why(&server).await.cause.unwrap().starts_with("idle for 6"));
    // A shorter rule on what was: awake from its wake to a minute after its work.
    let replay = async |query: &str| -> Result<Replayed, CallError> {
        server.owner.get(&format!("/v1/orgs/acme/workspaces/main/why/replay?{query}")).await
    };
    let was = replay("").await.unwrap().replay;
    let short = replay("freeze_after=60&days=28").await.unwrap().replay;
    assert_eq!((was.wakes_were, short.wakes_were, short.wakes_would_be), (1, 1, 1));
    assert!(short.would_be_awake + 500 < was.would_be_awake, "{short:?} {was:?}");
    assert!(was.would_be_awake.abs_diff(was.was_awake) <= 60, "the rule in force makes of it what was: {was:?}");
    for (query, name) in
        [("days=29", "replay.days"), ("days=0", "replay.days"), ("freeze_after=29", "replay.freeze_after")]
    {
        let refused = replay(query).await.unwrap_err().into_refusal();
        assert!(refused.code == name, "{query}: {refused:?}");
    }
}

// proves RUN-4 COST-6
#[tokio::test]
async fn what_runs_is_named_as_what_holds_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let run = json!({ "argv": ["pytest", "-q"] });
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/runs", &run).await.unwrap();
    let command = host.command("RUN_JOB").await;
    let Order::RunJob(job) = &command.order else { panic!("a job") };
    host.done(&command).await;
    let mut up = report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready);
    let running = json!({ "job": job.job, "state": "running", "exit_code": null, "cause": null });
    up.jobs = vec![serde_json::from_value(running).unwrap()];
    host.report(up).await;
    server.advance(3);
    beat(&server, &mut host, &workspace, start.generation, 1, 0).await;
    let told = why(&server).await;
    let Some(IdleVerdict::Busy { reason, holders, earliest }) = told.idle else { panic!("{told:?}") };
    assert_eq!(reason, "pytest -q running");
    assert_eq!(holders, vec![Holder::Jobs { running: 1, names: vec!["pytest -q".to_owned()] }]);
    assert_eq!(earliest, Some(told.now + SignedDuration::from_mins(10)));
    // A key that sees usage alone reads no command lines.
    let key = json!({ "name": "billing", "scopes": ["usage.view"] });
    let key: CreatedApiKey = server.owner.post("/v1/api-keys", &key).await.unwrap();
    let limited = server.with_key(&key.value);
    let told: Why = limited.get(WHY).await.unwrap();
    let Some(IdleVerdict::Busy { reason, .. }) = told.idle else { panic!("{told:?}") };
    assert_eq!(reason, "1 job running");
}

// proves RUN-4 COST-6
#[tokio::test]
async fn a_project_and_an_org_may_say_that_runtimes_sleep_sooner() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let project = format!("/v1/orgs/acme/projects/{}/idle-limit", workspace.project);
    let org = "/v1/orgs/acme/idle-limit";
    let set = async |path: &str, seconds: Option<u32>| -> Result<IdleLimit, CallError> {
        server.owner.put(path, &IdleLimit { seconds }).await
    };
    let rule = async || {
        let told = why(&server).await;
        (told.policy.freeze_after, told.rule_of)
    };
    assert_eq!(rule().await, (600, IdleSource::Manifest));
    set(org, Some(300)).await.unwrap();
    assert_eq!(rule().await, (300, IdleSource::Org));
    for _ in 0..2 {
        set(&project, Some(120)).await.unwrap();
    }
    assert_eq!(rule().await, (120, IdleSource::Project));
    assert_eq!(server.owner.get::<IdleLimit>(&project).await.unwrap().seconds, Some(120));
    assert_eq!(server.owner.get::<IdleLimit>(org).await.unwrap().seconds, Some(300));
    let told: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=idle_limit.changed").await.unwrap();
    assert_eq!(told.events.len(), 2, "what is so already is no change");
    for seconds in [29, 86_401] {
        assert_eq!(code(set(org, Some(seconds)).await), "idle_limit.seconds");
    }
    let developer = server.member("acme", Role::Developer).await;
    assert_eq!(code(developer.put::<_, IdleLimit>(org, &IdleLimit::default()).await), "access.denied");
    assert_eq!(code(developer.put::<_, IdleLimit>(&project, &IdleLimit::default()).await), "access.denied");
    assert_eq!(code(set("/v1/orgs/acme/projects/none/idle-limit", None).await), "project.not_found");
    // It sleeps by it, and says by whose.
    server.advance(119);
    beat(&server, &mut host, &workspace, start.generation, 0, 0).await;
    server.reconcile().await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Awake);
    server.advance(1);
    let freeze = host.command("FREEZE_RUNTIME").await;
    assert_eq!(freeze.generation, start.generation + 1);
    set(&project, None).await.unwrap();
    assert_eq!(rule().await, (300, IdleSource::Org));
}

//! Caps of workspaces, projects and orgs: races, overrides, grace, what is told once, and the webhook.

use crate::support::{FakeHost, TestServer, code, lock_waits, report};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use envforge_api::client::{CallError, Client};
use envforge_api::host::{HostCommand, Pulse};
use envforge_api::http::caps::{CapStanding, WorkspaceCaps};
use envforge_api::http::jobs::BackgroundJobs;
use envforge_api::http::usage::{OrgUsage, WorkspaceUsage};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_core::secret::Secret;
use envforge_core::usage::{CapLevel, CapMode, CapPosture, Month};
use envforge_server::providers::webhook;
use envforge_testkit::wait_until;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const ORG: &str = "/v1/orgs/acme/cap";
const PROJECT: &str = "/v1/orgs/acme/projects/planner/cap";
const MAIN: &str = "/v1/orgs/acme/workspaces/main/cap";

async fn set(client: &Client, path: &str, cap: Value) -> Value {
    client.put(path, &json!({ "cap": cap })).await.unwrap()
}

async fn frozen(server: &TestServer, host: &mut FakeHost, workspace: &Workspace) {
    let path = format!("/v1/orgs/acme/workspaces/{}/sleep", workspace.slug);
    let _: Value = server.owner.post(&path, &json!({ "tier": "frozen" })).await.unwrap();
    freezes(host, workspace).await;
}

/// It is told to freeze, and does.
async fn freezes(host: &mut FakeHost, workspace: &Workspace) {
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
}

/// Awake for so long, with a host that is heard of: one that is not counts as lost, and its window ends.
async fn awake_for(server: &TestServer, host: &mut FakeHost, workspace: &Workspace, seconds: i64) {
    let start = server.awake(host, workspace).await;
    let mut left = seconds;
    while left > 0 {
        server.advance(left.min(10));
        pulse(server, host, &start, 0).await;
        left -= 10;
    }
    frozen(server, host, workspace).await;
}

async fn wake(client: Client, slug: &'static str) -> Result<Value, CallError> {
    client.post(&format!("/v1/orgs/acme/workspaces/{slug}/wake"), &json!({})).await
}

/// A host's word that it runs, busy, with so many jobs.
async fn pulse(server: &TestServer, host: &mut FakeHost, start: &HostCommand, jobs_running: u32) {
    let now = server.clock.now();
    host.pulse(Pulse {
        workspace: start.workspace,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 900,
        memory: 0,
        jobs_running,
        work: None,
    })
    .await;
    let mut connection = server.database_owner().await;
    wait_until("the pulse is taken in", async || {
        let told: (Option<jiff_sqlx::Timestamp>, i32) =
            sqlx::query_as("SELECT last_proof, jobs_running FROM runtimes WHERE workspace_id = $1")
                .bind(envforge_core::id::Id::uuid(start.workspace))
                .fetch_one(&mut connection)
                .await
                .unwrap();
        told.0.map(jiff_sqlx::Timestamp::to_jiff) == Some(now) && told.1 == jobs_running.cast_signed()
    })
    .await;
}

// proves COST-3
#[tokio::test]
async fn of_two_wakes_at_once_only_one_takes_the_last_second() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let first = server.workspace(&mut host).await;
    server.named_workspace(&mut host, "second").await;
    awake_for(&server, &mut host, &first, 59).await;
    for (path, hold) in [
        (PROJECT, "SELECT pg_advisory_xact_lock(hashtextextended('cap/' || id::text, 0)) FROM projects"),
        (ORG, "UPDATE org_usage_months SET small = small"),
    ] {
        set(&server.owner, path, json!({ "mode": "stop", "minutes": 1 })).await;
        let mut connection = server.database_owner().await;
        let mut held = sqlx::Connection::begin(&mut connection).await.unwrap();
        sqlx::query(hold).execute(&mut *held).await.unwrap();
        let wakes = ["main", "second"].map(|slug| tokio::spawn(wake(server.owner.clone(), slug)));
        let mut looking = server.database_owner().await;
        wait_until("both wait for one another", async || lock_waits(&mut looking).await == 2).await;
        held.commit().await.unwrap();
        let mut woken = Vec::new();
        for (slug, wake) in ["main", "second"].into_iter().zip(wakes) {
            match wake.await.unwrap() {
                Ok(_) => woken.push(slug),
                Err(error) => assert_eq!(error.into_refusal().code, "cap.stopped"),
            }
        }
        assert_eq!(woken.len(), 1, "{path}: the last second is one runtime's: {woken:?}");
        let start = host.command("START_RUNTIME").await;
        host.done(&start).await;
        let sleep = format!("/v1/orgs/acme/workspaces/{}/sleep", woken[0]);
        let _: Value = server.owner.post(&sleep, &json!({ "tier": "frozen" })).await.unwrap();
        let freeze = host.command("FREEZE_RUNTIME").await;
        host.done(&freeze).await;
        host.report(report(freeze.workspace, freeze.generation, ObservedPhase::Absent, false, ReadinessState::Asleep))
            .await;
        set(&server.owner, path, json!({ "mode": "none" })).await;
    }
    wait_until("what was refused is told", async || server.events("cap.blocked").await > 0).await;
}

// proves COST-3
#[tokio::test]
async fn wakes_and_changes_of_all_caps_at_once_end() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    server.named_workspace(&mut host, "second").await;
    let project = json!({ "slug": "other", "repository": "https://example.org/other.git" });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    server.named_workspace_of(&mut host, "other", "third").await;
    let other = "/v1/orgs/acme/projects/other/cap";
    let stop = json!({ "mode": "stop", "minutes": 600 });
    for path in [ORG, PROJECT, other, MAIN] {
        set(&server.owner, path, stop.clone()).await;
    }
    // One that waits for the org holds its project already: whoever comes next can't have taken them the other way round.
    let mut connection = server.database_owner().await;
    let mut looking = server.database_owner().await;
    let mut held = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("UPDATE org_usage_months SET small = small").execute(&mut *held).await.unwrap();
    let mut calls = Vec::new();
    for (waiting, slug) in [(1, "main"), (2, "second"), (3, "third")] {
        calls.push(tokio::spawn(wake(server.owner.clone(), slug)));
        wait_until("it waits", async || lock_waits(&mut looking).await == waiting).await;
    }
    held.commit().await.unwrap();
    for _ in 0..3 {
        for slug in ["main", "second", "third"] {
            calls.push(tokio::spawn(wake(server.owner.clone(), slug)));
        }
        for path in [ORG, PROJECT, other, MAIN] {
            let (client, body) = (server.owner.clone(), json!({ "cap": stop }));
            calls.push(tokio::spawn(async move { client.put::<_, Value>(path, &body).await }));
        }
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for slug in ["main", "second", "third"] {
        assert_eq!(server.show(slug).await.runtime.state, RuntimeState::Waking);
    }
}

// proves COST-3
#[tokio::test]
async fn an_override_lifts_a_stop_for_its_reason_its_time_and_its_minutes() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(&server, &mut host, &workspace, 60).await;
    set(&server.owner, PROJECT, json!({ "mode": "stop", "minutes": 1, "grace_minutes": 0 })).await;
    assert_eq!(code(wake(server.owner.clone(), "main").await), "cap.stopped");
    let path = format!("{PROJECT}/override");
    let lift = async |client: &Client, body: Value| client.post::<_, CapStanding>(&path, &body).await;
    for (role, expected) in [(Role::Developer, "access.denied"), (Role::Reviewer, "access.denied")] {
        let client = server.member("acme", role).await;
        assert_eq!(code(lift(&client, json!({ "reason": "demo" })).await), expected);
    }
    let late = Month::of(server.clock.now()).end() + jiff::SignedDuration::from_secs(1);
    for (body, expected) in [
        (json!({ "reason": " " }), "cap.reason"),
        (json!({ "reason": "demo", "until": late.to_string() }), "cap.until"),
        (json!({ "reason": "demo", "until": server.clock.now().to_string() }), "cap.until"),
        (json!({ "reason": "demo", "minutes": 1, "micros": 1 }), "cap.limit"),
    ] {
        assert_eq!(code(lift(&server.owner, body).await), expected);
    }
    assert_eq!(code(lift(&server.owner, json!({})).await), "request.body");
    let nothing = server.owner.post::<_, Value>(&format!("{ORG}/override"), &json!({ "reason": "demo" })).await;
    assert_eq!(code(nothing), "cap.stops_nothing");
    assert_eq!(server.events("cap.overridden").await, 0, "what is refused changes nothing");
    let billing = server.member("acme", Role::Billing).await;
    let given = lift(&billing, json!({ "reason": "the demo at noon", "minutes": 1 })).await.unwrap();
    assert_eq!(given.posture, Some(CapPosture::Warning { percent: 100 }));
    let shown = given.overridden.unwrap();
    assert_eq!((shown.reason.as_str(), shown.up_to_seconds), ("the demo at noon", Some(120)));
    assert!(!shown.by.contains("user:"), "people are told by name: {}", shown.by);
    let start = server.awake(&mut host, &workspace).await;
    assert_eq!((server.events("cap.overridden").await, server.events("cap.continued").await), (1, 1));
    let caps: WorkspaceCaps = server.owner.get(MAIN).await.unwrap();
    assert_eq!(caps.caps.len(), 1);
    assert_eq!(caps.caps[0].words().as_deref(), Some("100 % of the month's 1 minute"));
    server.advance(19);
    pulse(&server, &mut host, &start, 0).await;
    server.reconcile().await;
    assert_eq!(server.events("cap.override_ended").await, 0);
    server.advance(20);
    pulse(&server, &mut host, &start, 0).await;
    server.advance(20);
    pulse(&server, &mut host, &start, 0).await;
    server.advance(1);
    server.reconcile().await;
    assert_eq!(server.events("cap.override_ended").await, 1, "its minute is used");
    freezes(&mut host, &workspace).await;
    assert_eq!(code(wake(server.owner.clone(), "main").await), "cap.stopped");
    let until = server.clock.now() + jiff::SignedDuration::from_secs(3_600);
    lift(&server.owner, json!({ "reason": "again", "until": until.to_string() })).await.unwrap();
    let ended: CapStanding = server.owner.delete(&path).await.unwrap();
    assert!(ended.overridden.is_none() && matches!(ended.posture, Some(CapPosture::Stopped { .. })));
    assert_eq!(server.events("cap.override_ended").await, 2);
    assert_eq!(code(server.owner.delete::<Value>(&path).await), "cap.not_overridden");
    assert_eq!(code(wake(server.owner.clone(), "main").await), "cap.stopped");
    lift(&server.owner, json!({ "reason": "for an hour", "until": until.to_string() })).await.unwrap();
    server.advance(3_600);
    assert_eq!(code(wake(server.owner.clone(), "main").await), "cap.stopped", "its time is over");
}

// proves COST-3
#[tokio::test]
async fn jobs_that_run_at_the_cap_have_their_grace_and_no_new_one_begins() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server.owner, MAIN, json!({ "mode": "stop", "minutes": 1, "grace_minutes": 1 })).await;
    let start = server.awake(&mut host, &workspace).await;
    let run = async || {
        let run = json!({ "argv": ["true"] });
        server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/runs", &run).await
    };
    let go_on = async |host: &mut FakeHost, seconds: &[i64], jobs: u32| {
        for second in seconds {
            server.advance(*second);
            pulse(&server, host, &start, jobs).await;
        }
        server.reconcile().await;
    };
    go_on(&mut host, &[19, 20, 20], 1).await;
    assert_eq!(server.events("cap.grace_begun").await, 0);
    go_on(&mut host, &[1], 1).await;
    assert_eq!((server.events("cap.grace_begun").await, server.events("runtime.sleep_asked").await), (1, 0));
    let caps: WorkspaceCaps = server.owner.get(MAIN).await.unwrap();
    assert_eq!(caps.grace_until, Some(server.clock.now() + jiff::SignedDuration::from_secs(60)));
    assert_eq!(code(run().await), "cap.stopped", "no new job begins");
    go_on(&mut host, &[20, 20, 19], 1).await;
    assert_eq!((server.events("cap.grace_begun").await, server.events("runtime.sleep_asked").await), (1, 0));
    go_on(&mut host, &[1], 1).await;
    assert_eq!((server.events("cap.grace_ended").await, server.events("runtime.sleep_asked").await), (1, 1));
    freezes(&mut host, &workspace).await;
    // Another, whose job ends by itself.
    set(&server.owner, MAIN, json!({ "mode": "stop", "minutes": 3, "grace_minutes": 10 })).await;
    let start = server.awake(&mut host, &workspace).await;
    for _ in 0..3 {
        server.advance(20);
        pulse(&server, &mut host, &start, 2).await;
    }
    server.reconcile().await;
    assert_eq!((server.events("cap.grace_begun").await, server.events("runtime.sleep_asked").await), (2, 1));
    pulse(&server, &mut host, &start, 0).await;
    server.reconcile().await;
    assert_eq!((server.events("cap.grace_ended").await, server.events("runtime.sleep_asked").await), (2, 2));
    freezes(&mut host, &workspace).await;
    let usage: WorkspaceUsage = server.owner.get("/v1/orgs/acme/workspaces/main/usage").await.unwrap();
    let cause = usage.receipts[0].windows.last().unwrap().end_cause.clone().unwrap();
    assert!(cause.contains("the workspace's cap is used up") && cause.ends_with("no job runs"), "{cause}");
}

// proves COST-3
#[tokio::test]
async fn each_step_is_told_once_a_month_and_anew_when_the_cap_is_set() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server.owner, ORG, json!({ "mode": "warn", "minutes": 2, "warn_at": 50 })).await;
    awake_for(&server, &mut host, &workspace, 59).await;
    let told = async || (server.events("cap.warned").await, server.events("cap.reached").await);
    assert_eq!(told().await, (0, 0));
    for _ in 0..2 {
        awake_for(&server, &mut host, &workspace, 10).await;
        server.awake(&mut host, &workspace).await;
        server.reconcile().await;
        frozen(&server, &mut host, &workspace).await;
        assert_eq!(told().await, (1, 0), "not at each wake");
    }
    awake_for(&server, &mut host, &workspace, 60).await;
    server.awake(&mut host, &workspace).await;
    server.reconcile().await;
    frozen(&server, &mut host, &workspace).await;
    assert_eq!(told().await, (1, 1));
    set(&server.owner, ORG, json!({ "mode": "warn", "minutes": 2, "warn_at": 50 })).await;
    assert_eq!(told().await, (2, 2), "a cap that is set is told of anew");
    server.advance(31 * 24 * 3_600);
    awake_for(&server, &mut host, &workspace, 60).await;
    server.awake(&mut host, &workspace).await;
    assert_eq!(told().await, (3, 2), "in another month too");
}

// proves COST-3 ORG-2
#[tokio::test]
async fn caps_in_money_of_every_level_are_set_shown_and_checked() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(&server, &mut host, &workspace, 60).await;
    // A second costs 1,000 micro-units.
    set(&server.owner, ORG, json!({ "mode": "stop", "micros": 60_000 })).await;
    set(&server.owner, PROJECT, json!({ "mode": "warn", "minutes": 10 })).await;
    for (path, cap, expected) in [
        (MAIN, json!({ "mode": "stop", "minutes": 44_641 }), "cap.minutes"),
        (PROJECT, json!({ "mode": "stop", "minutes": 1, "micros": 1 }), "cap.limit"),
        (ORG, json!({ "mode": "stop", "minutes": 1, "warn_at": 0 }), "cap.warn_at"),
        (ORG, json!({ "mode": "stop", "minutes": 1, "grace_minutes": 2_000 }), "cap.grace"),
        ("/v1/orgs/acme/projects/nothing/cap", json!({ "mode": "none" }), "project.not_found"),
    ] {
        assert_eq!(code(server.owner.put::<_, Value>(path, &json!({ "cap": cap })).await), expected);
    }
    let org: CapStanding = server.owner.get(ORG).await.unwrap();
    assert_eq!((org.cap.mode, org.cap.micros, org.cost_micros), (CapMode::Stop, Some(60_000), Some(60_000)));
    assert_eq!(org.words().as_deref(), Some("100 % of the month's 0.0600 EUR"));
    assert_eq!(code(wake(server.owner.clone(), "main").await), "cap.stopped");
    let usage: WorkspaceUsage = server.owner.get("/v1/orgs/acme/workspaces/main/usage").await.unwrap();
    let levels: Vec<_> = usage.caps.iter().map(|cap| (cap.level, cap.posture)).collect();
    assert_eq!(
        levels,
        [
            (CapLevel::Project, Some(CapPosture::Within { percent: 10 })),
            (CapLevel::Organization, Some(CapPosture::Stopped { percent: 100 })),
        ]
    );
    let all: OrgUsage = server.owner.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!((all.caps.len(), all.cap_posture), (2, Some(CapPosture::Stopped { percent: 100 })));
    // Whoever does not see all hears of a stop, and not of sums; and nothing of what is hidden.
    let developer = server.member("acme", Role::Developer).await;
    let told: CapStanding = developer.get(ORG).await.unwrap();
    assert_eq!((told.posture, told.awake_seconds), (Some(CapPosture::Stopped { percent: 100 }), None));
    set(&server.owner, ORG, json!({ "mode": "stop", "micros": 90_000 })).await;
    let told: CapStanding = developer.get(ORG).await.unwrap();
    assert_eq!((told.posture, told.cost_micros), (None, None));
    let access = json!({ "is_restricted": true, "groups": [] });
    let _: Value = server.owner.put("/v1/orgs/acme/projects/planner/access", &access).await.unwrap();
    assert_eq!(code(developer.get::<Value>(PROJECT).await), "project.not_found");
    let all: OrgUsage = developer.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!(all.caps.len(), 1);
}

/// What a receiver has got: event id, signature and body of each call.
type Got = Arc<Mutex<Vec<(String, String, String)>>>;

/// A receiver that is broken at first.
async fn receiver() -> (String, Got) {
    async fn take(State(got): State<Got>, headers: HeaderMap, body: String) -> StatusCode {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let mut got = got.lock().unwrap();
        got.push((header("envforge-event"), header("envforge-signature"), body));
        if got.len() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/caps", listener.local_addr().unwrap());
    let got = Got::default();
    let router = Router::new().route("/caps", post(take)).with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, got)
}

// proves COST-3
#[tokio::test]
async fn a_webhook_hears_of_caps_signed_and_again_until_it_answers_and_leads_nowhere_inside() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let (url, got) = receiver().await;
    let (hook, network) = ("/v1/orgs/acme/settings/cap_webhook", "/v1/operator/settings/webhook_network");
    let values = json!({ "values": { "url": url, "secret": "whsec_planted" }, "reason": "a test" });
    let allow = |private: bool| json!({ "values": { "private": private }, "reason": "a test" });
    let refused = server.owner.put::<_, Value>(hook, &values).await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "setting.value");
    assert!(refused.message.contains("webhook_network"), "{}", refused.message);
    let _: Value = server.owner.put(network, &allow(true)).await.unwrap();
    let metadata = json!({ "values": { "url": "https://169.254.169.254/x", "secret": "x" }, "reason": "a test" });
    assert_eq!(code(server.owner.put::<_, Value>(hook, &metadata).await), "setting.value");
    let _: Value = server.owner.put(hook, &values).await.unwrap();
    set(&server.owner, PROJECT, json!({ "mode": "warn", "minutes": 1 })).await;
    awake_for(&server, &mut host, &workspace, 48).await;
    server.awake(&mut host, &workspace).await;
    // Asleep again, so that the time until the next call uses nothing.
    frozen(&server, &mut host, &workspace).await;
    wait_until("it was called", async || got.lock().unwrap().len() == 1).await;
    wait_until("it is called again", async || {
        server.advance(1);
        got.lock().unwrap().len() >= 2
    })
    .await;
    let calls = got.lock().unwrap().clone();
    assert_eq!((&calls[0].0, &calls[0].2), (&calls[1].0, &calls[1].2), "the same event, by its id");
    let body: Value = serde_json::from_str(&calls[1].2).unwrap();
    assert_eq!(
        (&body["type"], &body["level"], &body["name"]),
        (&"cap.warned".into(), &"project".into(), &"planner".into())
    );
    assert_eq!(body["percent"], 80);
    let (instant, signature) = calls[1].1.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let expected = webhook::signature(&Secret::new("whsec_planted".to_owned()), instant.parse().unwrap(), &calls[1].2);
    assert_eq!(signature, expected);
    // The operator takes it back: from now on nothing is sent there.
    let _: Value = server.owner.put(network, &allow(false)).await.unwrap();
    set(&server.owner, PROJECT, json!({ "mode": "warn", "minutes": 1 })).await;
    let refused = async || {
        let jobs: BackgroundJobs = server.owner.get("/v1/operator/jobs?kind=cap.webhook").await.unwrap();
        assert!(!serde_json::to_string(&jobs).unwrap().contains("planted"), "the board shows no secret");
        jobs.jobs.iter().any(|job| job.error.as_deref().is_some_and(|error| error.contains("webhook_network")))
    };
    wait_until("its delivery is refused", refused).await;
    let before: Timestamp = server.clock.now();
    assert!(got.lock().unwrap().iter().all(|call| !call.2.contains(&before.to_string())));
}

//! Windows, caps, idle sleep and receipts, with a clock that stands still until it is moved.

use crate::support::{FakeHost, MANIFEST, TestServer, code, report};
use envforge_api::host::{HostCommand, ManifestReport, Pulse};
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::manifest;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_core::usage::CapPosture;
use envforge_testkit::wait_until;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

async fn usage(server: &TestServer) -> WorkspaceUsage {
    server.owner.get("/v1/orgs/acme/workspaces/main/usage").await.unwrap()
}

/// When the runtime was last proven to run.
async fn last_proof(server: &TestServer) -> Option<Timestamp> {
    let mut connection = server.database_owner().await;
    let proof: Option<jiff_sqlx::Timestamp> =
        sqlx::query_scalar("SELECT last_proof FROM runtimes").fetch_one(&mut connection).await.unwrap();
    proof.map(jiff_sqlx::Timestamp::to_jiff)
}

async fn sleep(server: &TestServer, host: &mut FakeHost, workspace: &Workspace, tier: &str) -> HostCommand {
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({ "tier": tier })).await.unwrap();
    let (verb, phase) = if tier == "frozen" {
        ("FREEZE_RUNTIME", ObservedPhase::Frozen)
    } else {
        ("STOP_RUNTIME", ObservedPhase::Absent)
    };
    let command = host.command(verb).await;
    host.done(&command).await;
    host.report(report(workspace.id, command.generation, phase, tier == "frozen", ReadinessState::Asleep)).await;
    command
}

// proves COST-1 COST-2 ORG-6
#[tokio::test]
async fn only_awake_time_is_metered_and_the_receipt_is_kept() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.advance(100);
    assert_eq!(usage(&server).await.awake_seconds_this_month, 0, "a shell costs nothing");
    server.awake(&mut host, &workspace).await;
    server.advance(60);
    let awake = usage(&server).await;
    assert_eq!((awake.awake_seconds_this_month, awake.state), (60, RuntimeState::Awake));
    assert_eq!(awake.wake_cause.as_deref(), Some("member local owner"));
    sleep(&server, &mut host, &workspace, "frozen").await;
    server.advance(1_000);
    assert_eq!(usage(&server).await.awake_seconds_this_month, 60, "frozen time costs nothing");
    server.awake(&mut host, &workspace).await;
    server.advance(5);
    sleep(&server, &mut host, &workspace, "stopped").await;
    let done = usage(&server).await;
    assert_eq!(done.receipts.len(), 1, "a freeze and thaw is one session");
    let receipt = &done.receipts[0];
    assert_eq!((receipt.awake_seconds, receipt.windows.len(), receipt.is_final), (65, 2, true));
    for window in &receipt.windows {
        assert_eq!(window.end_cause.as_deref(), Some("asked by local owner"));
    }
    assert_eq!(done.state, RuntimeState::Asleep);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_events e WHERE e::text LIKE '%local owner%'")
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(kept, 0, "the ledger names people by reference");
}

// proves COST-4
#[tokio::test]
async fn repeated_and_late_reports_bill_nothing_twice() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let mut again = report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready);
    for sequence in [1, 2, 2] {
        again.sequence = sequence;
        host.report_as_is(again.clone()).await;
    }
    server.advance(10);
    sleep(&server, &mut host, &workspace, "frozen").await;
    // A report of before the freeze comes once more, after a reconnect.
    host.reconnect().await;
    again.sequence = 2;
    host.report_as_is(again).await;
    server.advance(50);
    assert_eq!(usage(&server).await.awake_seconds_this_month, 10);
    assert_eq!((server.events("window.opened").await, server.events("window.closed").await), (1, 1));
}

// proves COST-3
#[tokio::test]
async fn a_stop_cap_refuses_the_wake_in_the_wakes_own_transaction() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.advance(60);
    sleep(&server, &mut host, &workspace, "frozen").await;
    let cap = json!({ "cap": { "mode": "stop", "minutes": 1 } });
    let set: WorkspaceUsage = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    assert_eq!(set.cap_posture, CapPosture::Stopped { percent: 100 });
    let wake = server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/wake", &json!({})).await;
    assert_eq!(code(wake), "cap.stopped");
    let run = server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/runs", &json!({ "argv": ["true"] })).await;
    assert_eq!(code(run), "cap.stopped", "a run is a wake too");
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Frozen, "a refused wake changes nothing");
}

// proves RUN-4
#[tokio::test]
async fn an_idle_runtime_is_frozen_and_later_stopped() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let busy = Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 900,
        memory: 0,
        jobs_running: 0,
        work: None,
    };
    server.advance(595);
    // 3.6 s of a processor in one minute; half of that would be none.
    host.pulse(busy.clone()).await;
    host.pulse(busy.clone()).await;
    wait_until("the pulses are taken in", async || {
        let view = server.show("main").await.runtime;
        serde_json::to_value(view.idle).unwrap()["verdict"] == "busy"
    })
    .await;
    server.reconcile().await;
    host.pulse(Pulse { service_milli_cpu: 1, ..busy.clone() }).await;
    server.advance(590);
    host.pulse(Pulse { service_milli_cpu: 1, ..busy.clone() }).await;
    wait_until("it is idle and says when it sleeps", async || {
        let view = server.show("main").await.runtime;
        serde_json::to_value(view.idle).unwrap()["verdict"] == "idle"
    })
    .await;
    // The minute with work counts to its end.
    server.advance(11 + 60);
    host.pulse(Pulse { service_milli_cpu: 1, ..busy }).await;
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    server.advance(1_801);
    let stop = host.command("STOP_RUNTIME").await;
    assert_eq!(stop.generation, freeze.generation + 1);
}

// proves COST-4
#[tokio::test]
async fn a_lost_hosts_window_closes_at_its_last_heartbeat() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    server.advance(30);
    let pulse = Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 0,
        memory: 0,
        jobs_running: 0,
        work: None,
    };
    host.pulse(pulse.clone()).await;
    wait_until("the heartbeat is stored", async || last_proof(&server).await.is_some()).await;
    server.advance(21);
    wait_until("the window is closed", async || server.events("window.closed").await == 1).await;
    let usage = usage(&server).await;
    assert_eq!(
        (usage.awake_seconds_this_month, usage.receipts[0].unproven_seconds),
        (30, 21),
        "an unproven second is never billed"
    );
    host.pulse(pulse).await;
    wait_until("what still runs is metered again", async || server.events("window.opened").await == 2).await;
}

// proves COST-4
#[tokio::test]
async fn a_server_that_was_away_calls_nobody_lost_at_its_start() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.advance(60);
    server.restart().await;
    server.advance(20);
    server.reconcile().await;
    assert_eq!(server.events("window.closed").await, 0, "its host may just be coming back");
    server.advance(1);
    wait_until("the window is closed", async || server.events("window.closed").await == 1).await;
}

// proves RUN-4
#[tokio::test]
async fn a_runtime_that_never_comes_up_sleeps_when_it_is_idle_too() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    host.report(report(workspace.id, start.generation, ObservedPhase::Starting, true, ReadinessState::Waking)).await;
    let pulse = Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 10,
        memory: 0,
        jobs_running: 0,
        work: None,
    };
    server.advance(601);
    host.pulse(pulse).await;
    let freeze = host.command("FREEZE_RUNTIME").await;
    assert_eq!(server.events("runtime.sleep_asked").await, 1);
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
    let cause = usage(&server).await.receipts[0].windows[0].end_cause.clone().unwrap();
    assert!(cause.starts_with("idle for 6"), "{cause}");
}

// proves COST-2
#[tokio::test]
async fn the_panel_tells_cost_what_others_bill_and_a_warning() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let text = format!("{MANIFEST}resources:\n  postgres: {{ mode: customer_cloud, secret: DATABASE_URL }}\n");
    let mut seen = report(workspace.id, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
    let manifest = manifest::parse(text.as_bytes(), "envforge.yml").unwrap();
    seen.manifest = Some(ManifestReport::Valid { manifest: Box::new(manifest) });
    host.report(seen).await;
    let cap = json!({ "cap": { "mode": "warn", "minutes": 1 } });
    let _: WorkspaceUsage = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    server.awake(&mut host, &workspace).await;
    assert_eq!(usage(&server).await.cap_posture, CapPosture::Within { percent: 0 });
    server.advance(90);
    sleep(&server, &mut host, &workspace, "stopped").await;
    let panel = usage(&server).await;
    // 90 s at 3.60 an hour.
    assert_eq!((panel.estimate_micros, panel.receipts[0].cost_micros), (90_000, 90_000));
    assert_eq!((panel.currency.as_str(), panel.receipts[0].currency.as_str()), ("EUR", "EUR"));
    assert_eq!(panel.billed_separately, ["postgres"]);
    assert_eq!(panel.cap_posture, CapPosture::Warning { percent: 150 });
    server.awake(&mut host, &workspace).await;
    assert_eq!(server.events("cap.warned").await, 1, "a warning is recorded, and wakes all the same");
}

// proves COST-3
#[tokio::test]
async fn a_stop_cap_reached_while_awake_puts_to_sleep() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let cap = json!({ "cap": { "mode": "stop", "minutes": 1, "grace_minutes": 0 } });
    let _: WorkspaceUsage = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    let start = server.awake(&mut host, &workspace).await;
    let busy = Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 900,
        memory: 0,
        jobs_running: 1,
        work: None,
    };
    for (seconds, asked) in [(19, 0), (20, 0), (20, 0), (1, 1)] {
        server.advance(seconds);
        host.pulse(busy.clone()).await;
        wait_until("the pulse is taken in", async || last_proof(&server).await == Some(server.clock.now())).await;
        server.reconcile().await;
        assert_eq!(server.events("runtime.sleep_asked").await, asked, "however busy it is");
    }
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
    let wake = server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/wake", &json!({})).await;
    assert_eq!(code(wake), "cap.stopped");
}

// proves COST-4
#[tokio::test]
async fn a_hosts_clock_that_is_wrong_bills_nothing_that_is_not_proven() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let now = || server.clock.now();
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    server.advance(2);
    let mut up = report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready);
    up.at = now() - SignedDuration::from_hours(1);
    host.report(up).await;
    assert_eq!(usage(&server).await.awake_seconds_this_month, 0, "it can't have run before it was woken");
    server.advance(10);
    let pulse = Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 0,
        memory: 0,
        jobs_running: 0,
        work: None,
    };
    host.pulse(pulse).await;
    wait_until("the heartbeat is stored", async || last_proof(&server).await == Some(now())).await;
    server.advance(3);
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    let mut frozen = report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep);
    frozen.at = now() + SignedDuration::from_hours(1);
    host.report(frozen).await;
    let usage = usage(&server).await;
    assert_eq!((usage.awake_seconds_this_month, usage.receipts[0].unproven_seconds), (10, 3));
}

// proves COST-4
#[tokio::test]
async fn what_is_deleted_before_its_first_heartbeat_costs_nothing_that_is_not_proven() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.advance(15);
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    let destroy = host.command("DESTROY_WORKSPACE").await;
    // Its last report is lost.
    host.done(&destroy).await;
    wait_until("the window is closed", async || server.events("window.closed").await == 1).await;
    let (seconds, unproven): (i64, i64) =
        sqlx::query_as("SELECT extract(epoch FROM closed_at - opened_at)::bigint, unproven_seconds FROM awake_windows")
            .fetch_one(&mut server.database_owner().await)
            .await
            .unwrap();
    assert_eq!((seconds, unproven), (0, 15));
}

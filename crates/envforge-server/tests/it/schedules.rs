//! Workspaces that wake and sleep by themselves, with a clock that stands still until it is moved: it begins on a Thursday at
//! 08:53:20 UTC.

use crate::support::{TestServer, code, lock_waits, report};
use envforge_api::host::{Order, Pulse};
use envforge_api::http::ledger::LedgerEvents;
use envforge_api::http::schedules::{OrgQuietHours, WorkspaceSchedule};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::idle::IdleVerdict;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_server::schedules::jobs;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const SCHEDULE: &str = "/v1/orgs/acme/workspaces/main/schedule";
const QUIET: &str = "/v1/orgs/acme/quiet-hours";
const WAKE: &str = "/v1/orgs/acme/workspaces/main/wake";
/// From the clock's beginning to nine.
const TO_NINE: i64 = 400;
const DAY: i64 = 86_400;

fn daily(entries: &[(&str, &str)]) -> Value {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let entry = |(action, at): &(&str, &str)| json!({ "action": action, "days": days, "at": at });
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "schedule": { "zone": "UTC", "entries": entries } })
}

async fn set(server: &TestServer, schedule: &Value) -> WorkspaceSchedule {
    server.owner.put(SCHEDULE, schedule).await.unwrap()
}

/// What the schedule says now, as JSON.
async fn shown(server: &TestServer) -> Value {
    server.owner.get(SCHEDULE).await.unwrap()
}

async fn round(server: &TestServer) {
    jobs::round(server.server.app()).await.unwrap();
}

// proves UP-9
#[tokio::test]
async fn a_workspace_wakes_when_it_is_due_and_once() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let wanted = set(&server, &daily(&[("wake", "09:00"), ("sleep", "19:00")])).await;
    let next = wanted.next.unwrap();
    assert_eq!(next.at.to_string(), "2025-10-09T09:00:00Z");
    server.advance(TO_NINE - 1);
    round(&server).await;
    assert_eq!(server.show("main").await.runtime.generation, 0, "not before");
    server.advance(1);
    round(&server).await;
    let Order::StartRuntime(start) = host.command("START_RUNTIME").await.order else { unreachable!("a start") };
    assert_eq!(start.cause, "schedule");
    assert_eq!(server.show("main").await.runtime.wake_cause.as_deref(), Some("schedule"));
    for _ in 0..3 {
        round(&server).await;
    }
    assert_eq!(server.events("runtime.wake_asked").await, 1);
    let woken: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=runtime.wake_asked").await.unwrap();
    assert_eq!(woken.events[0].event.actor, "system:schedule");
    let shown = shown(&server).await;
    assert_eq!(shown["next"], json!({ "at": "2025-10-09T19:00:00Z", "action": "sleep" }));
    assert_eq!(shown["last"], json!({ "at": "2025-10-09T09:00:00Z", "action": "wake", "outcome": "done" }));
}

// proves UP-9
#[tokio::test]
async fn a_sleep_that_is_due_waits_for_the_end_of_work() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server, &daily(&[("sleep", "09:00")])).await;
    server.advance(TO_NINE - 10);
    let start = server.awake(&mut host, &workspace).await;
    let working = |jobs_running| Pulse {
        workspace: workspace.id,
        generation: start.generation,
        process_runs: true,
        service_milli_cpu: 0,
        memory: 0,
        jobs_running,
        work: None,
    };
    let is_busy = async || {
        let idle = server.show("main").await.runtime.idle;
        matches!(idle, Some(IdleVerdict::Busy { .. }))
    };
    host.pulse(working(1)).await;
    wait_until("it works", is_busy).await;
    server.advance(10);
    for _ in 0..3 {
        round(&server).await;
    }
    let view = server.show("main").await.runtime;
    assert_eq!((view.state, view.generation), (RuntimeState::Awake, start.generation), "work goes on");
    assert_eq!(shown(&server).await["last"], Value::Null);
    host.pulse(working(0)).await;
    wait_until("it works no more", async || !is_busy().await).await;
    round(&server).await;
    let freeze = host.command("FREEZE_RUNTIME").await;
    assert_eq!(freeze.generation, start.generation + 1);
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    let asked: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=runtime.sleep_asked").await.unwrap();
    assert_eq!((asked.events.len(), asked.events[0].event.cause.as_str()), (1, "schedule"));
    assert_eq!(shown(&server).await["last"]["outcome"], "done");
    // Who wakes it after the hour is left alone.
    server.advance(5);
    server.owner.post::<_, Workspace>(WAKE, &json!({})).await.unwrap();
    round(&server).await;
    assert_eq!(server.events("runtime.sleep_asked").await, 1);
}

// proves UP-9
#[tokio::test]
async fn after_a_long_silence_the_latest_due_time_alone_counts() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server, &daily(&[("wake", "09:00"), ("sleep", "19:00")])).await;
    // Three days later, sixteen minutes after nine.
    server.stop();
    server.advance(TO_NINE + 3 * DAY + 16 * 60);
    server.restart().await;
    for _ in 0..3 {
        round(&server).await;
    }
    assert_eq!(server.show("main").await.runtime.generation, 0, "a wake that old is none");
    let skipped: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=schedule.skipped").await.unwrap();
    assert_eq!(skipped.events.len(), 1);
    assert_eq!(skipped.events[0].event.details["reason"], "late");
    assert_eq!(skipped.events[0].event.details["due"], "2025-10-12T09:00:00Z");
    // The next is in time, and so is one of fifteen minutes ago.
    host.reconnect().await;
    server.advance(DAY - 60);
    round(&server).await;
    let start = host.command("START_RUNTIME").await;
    assert_eq!(start.generation, 1);
    assert_eq!(server.events("schedule.skipped").await, 1);
}

// proves UP-9 COST-3
#[tokio::test]
async fn a_refused_wake_is_told_of_once_and_not_tried_again() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.advance(60);
    let _: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({ "tier": "stopped" })).await.unwrap();
    let stop = host.command("STOP_RUNTIME").await;
    host.done(&stop).await;
    host.report(report(workspace.id, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    let cap = json!({ "cap": { "mode": "stop", "minutes": 1 } });
    let _: Value = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    set(&server, &daily(&[("wake", "09:00")])).await;
    server.advance(TO_NINE - 60);
    for _ in 0..3 {
        round(&server).await;
    }
    let last = shown(&server).await["last"].take();
    assert_eq!((&last["outcome"], &last["code"]), (&json!("refused"), &json!("cap.stopped")));
    let refused: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=schedule.refused").await.unwrap();
    assert_eq!(refused.events.len(), 1);
    assert_eq!(refused.events[0].event.details["code"], "cap.stopped");
    assert_eq!(server.events("runtime.wake_asked").await, 1, "what was refused left nothing behind");
    // With room again, it is over all the same; the next day's wakes.
    let cap = json!({ "cap": { "mode": "none", "minutes": 0 } });
    let _: Value = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    round(&server).await;
    assert_eq!(server.events("runtime.wake_asked").await, 1);
    server.advance(DAY);
    round(&server).await;
    host.command("START_RUNTIME").await;
    assert_eq!((server.events("runtime.wake_asked").await, server.events("schedule.refused").await), (2, 1));
}

// proves UP-9
#[tokio::test]
async fn two_servers_act_once_on_what_is_due() {
    let server = TestServer::start().await;
    // A server that starts knows of no host's stream; the host comes after it.
    let cancel = CancellationToken::new();
    let another = server.another(Arc::clone(&server.clock), cancel.clone()).await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server, &daily(&[("wake", "09:00")])).await;
    // Both have found it due before either can act.
    let (mut holder, mut watcher) = (server.database_owner().await, server.database_owner().await);
    let mut busy = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM workspaces FOR UPDATE").execute(&mut *busy).await.unwrap();
    server.advance(TO_NINE);
    let release = async {
        wait_until("both wait", async || lock_waits(&mut watcher).await >= 2).await;
        busy.rollback().await.unwrap();
    };
    let ((), first, second) = tokio::join!(release, jobs::round(server.server.app()), jobs::round(another.app()));
    first.unwrap();
    second.unwrap();
    host.command("START_RUNTIME").await;
    assert_eq!(server.events("runtime.wake_asked").await, 1);
    assert_eq!(shown(&server).await["last"]["outcome"], "done");
    cancel.cancel();
}

// proves UP-9
#[tokio::test]
async fn a_schedule_is_set_by_who_may_told_to_the_ledger_and_removed() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let reviewer = server.member("acme", Role::Reviewer).await;
    let developer = server.member("acme", Role::Developer).await;
    let wanted = daily(&[("wake", "09:00")]);
    assert_eq!(code(reviewer.put::<_, Value>(SCHEDULE, &wanted).await), "access.denied");
    let mut odd = wanted.clone();
    odd["schedule"]["zone"] = json!("europe/berlin");
    for _ in 0..2 {
        let now: WorkspaceSchedule = developer.put(SCHEDULE, &odd).await.unwrap();
        assert_eq!(now.schedule.unwrap().zone, "Europe/Berlin");
    }
    assert_eq!(reviewer.get::<Value>(SCHEDULE).await.unwrap()["next"]["at"], "2025-10-10T07:00:00Z");
    assert_eq!(server.events("schedule.set").await, 1, "the same again is no change");
    for (field, value, refused) in [
        ("zone", json!("Berlin"), "schedule.zone"),
        ("entries", json!([]), "schedule.empty"),
        ("entries", json!([{ "action": "wake", "days": ["mon"], "at": "25:00" }]), "schedule.time"),
        ("entries", json!([{ "action": "wake", "days": [], "at": "09:00" }]), "schedule.day"),
    ] {
        let mut odd = wanted.clone();
        odd["schedule"][field] = value;
        assert_eq!(code(developer.put::<_, Value>(SCHEDULE, &odd).await), refused);
    }
    let none = json!({ "schedule": null });
    for _ in 0..2 {
        let now: WorkspaceSchedule = developer.put(SCHEDULE, &none).await.unwrap();
        assert_eq!(now, WorkspaceSchedule { schedule: None, next: None, last: None });
    }
    assert_eq!((server.events("schedule.set").await, server.events("schedule.removed").await), (1, 1));
    server.advance(DAY);
    round(&server).await;
    assert_eq!(server.show("main").await.runtime.generation, 0, "nothing is due any more");
}

// proves UP-9
#[tokio::test]
async fn in_quiet_hours_no_schedule_wakes_visits_do_and_sleep_comes_sooner() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server, &daily(&[("wake", "09:00")])).await;
    let hours =
        json!({ "quiet_hours": { "zone": "UTC", "days": ["thu"], "from": "08:55", "to": "07:00", "quiet_idle": 60 } });
    let developer = server.member("acme", Role::Developer).await;
    assert_eq!(code(developer.put::<_, Value>(QUIET, &hours).await), "access.denied");
    let mut odd = hours.clone();
    odd["quiet_hours"]["quiet_idle"] = json!(5);
    assert_eq!(code(server.owner.put::<_, Value>(QUIET, &odd).await), "quiet_hours.idle");
    for _ in 0..2 {
        let _: OrgQuietHours = server.owner.put(QUIET, &hours).await.unwrap();
    }
    assert_eq!(server.events("quiet_hours.changed").await, 1);
    assert_eq!(developer.get::<Value>(QUIET).await.unwrap(), hours);
    server.advance(TO_NINE);
    for _ in 0..3 {
        round(&server).await;
    }
    assert_eq!(server.show("main").await.runtime.generation, 0);
    let skipped: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=schedule.skipped").await.unwrap();
    assert_eq!((skipped.events.len(), &skipped.events[0].event.details["reason"]), (1, &json!("quiet")));
    // Who wants it wakes it, and it idles a minute instead of ten.
    server.awake(&mut host, &workspace).await;
    let Some(IdleVerdict::Idle { sleeps_at }) = server.show("main").await.runtime.idle else { unreachable!("idle") };
    assert_eq!(sleeps_at.to_string(), "2025-10-09T09:01:00Z");
    server.advance(59);
    server.reconcile().await;
    assert_eq!(server.events("runtime.sleep_asked").await, 0);
    server.advance(1);
    server.reconcile().await;
    host.command("FREEZE_RUNTIME").await;
}

// proves UP-9
#[tokio::test]
async fn two_servers_tell_once_of_a_refused_wake() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let cancel = CancellationToken::new();
    let another = server.another(Arc::clone(&server.clock), cancel.clone()).await;
    let cap = json!({ "cap": { "mode": "stop", "minutes": 0 } });
    let _: Value = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    set(&server, &daily(&[("wake", "09:00")])).await;
    // Each is refused before either can note it: they wait for one another in turn.
    let (mut holder, mut watcher) = (server.database_owner().await, server.database_owner().await);
    let mut busy = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM workspaces FOR UPDATE").execute(&mut *busy).await.unwrap();
    server.advance(TO_NINE);
    let release = async {
        wait_until("both wait", async || lock_waits(&mut watcher).await >= 2).await;
        busy.rollback().await.unwrap();
    };
    let ((), first, second) = tokio::join!(release, jobs::round(server.server.app()), jobs::round(another.app()));
    first.unwrap();
    second.unwrap();
    for app in [server.server.app(), another.app()] {
        jobs::round(app).await.unwrap();
    }
    assert_eq!((server.events("schedule.refused").await, server.events("runtime.wake_asked").await), (1, 0));
    assert_eq!(shown(&server).await["last"]["code"], "cap.stopped");
    cancel.cancel();
}

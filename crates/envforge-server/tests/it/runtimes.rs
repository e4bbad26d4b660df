//! What runtimes do by themselves, and what a host says of it late, twice or badly.

use crate::support::{FakeHost, MANIFEST, TestServer, code, lock_waits, report};
use envforge_api::gateway::Route;
use envforge_api::host::{ManifestReport, NameDevHosts, Order, Trouble};
use envforge_api::http::accounts::Hosts;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::manifest::{self, Protocol, Rewrite};
use envforge_core::readiness::{Part, ReadinessState};
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use sqlx::Connection as _;

const WAKE: &str = "/v1/orgs/acme/workspaces/main/wake";

// proves RUN-3 COST-1
#[tokio::test]
async fn a_runtime_that_ended_by_itself_is_asleep_and_wakes_again() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    server.advance(30);
    host.report(report(workspace.id, start.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Asleep);
    let usage: WorkspaceUsage = server.owner.get("/v1/orgs/acme/workspaces/main/usage").await.unwrap();
    assert_eq!((usage.receipts[0].awake_seconds, usage.receipts[0].is_final), (30, true));
    assert_eq!(usage.receipts[0].windows[0].end_cause.as_deref(), Some("it ended by itself"));
    let again = server.awake(&mut host, &workspace).await;
    assert_eq!(again.generation, start.generation + 1);
    // The same while it is frozen: the machine was restarted.
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    assert_eq!(server.events("session.ended").await, 2);
}

// proves RUN-1 REPO-4 (the server's part)
#[tokio::test]
async fn a_runtime_woken_before_its_dev_hosts_are_known_is_told_of_them() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let project = json!({ "slug": "planner", "repository": "https://example.org/planner.git" });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    let request = json!({ "project": "planner", "branch": "main" });
    let workspace: Workspace = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    let prepare = host.command("PREPARE_SHELL").await;
    let _: Workspace = server.owner.post(WAKE, &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    let Order::StartRuntime(order) = &start.order else { unreachable!("a start") };
    assert_eq!((order.public_urls.len(), order.dev_hosts_known), (0, false));
    host.done(&prepare).await;
    host.prepared(workspace.id).await;
    let named = host.command("NAME_DEV_HOSTS").await;
    assert_eq!(named.generation, start.generation);
    let Order::NameDevHosts(NameDevHosts { public_urls }) = &named.order else { unreachable!("names") };
    assert!(public_urls["web"].contains("//web--main--acme."), "{public_urls:?}");
    host.done(&named).await;
    host.done(&start).await;
    host.up(&start).await;
    // The same file again is no news, an edit that adds a service is.
    host.prepared(workspace.id).await;
    assert_eq!(host.pending(), 0);
    let more = MANIFEST.replace("services:\n", "services:\n  docs: { command: run, port: 3009 }\n");
    let mut seen = report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready);
    let parsed = manifest::parse(more.as_bytes(), "envforge.yml").unwrap();
    seen.manifest = Some(ManifestReport::Valid { manifest: Box::new(parsed) });
    host.report(seen).await;
    let named = host.command("NAME_DEV_HOSTS").await;
    let Order::NameDevHosts(NameDevHosts { public_urls }) = &named.order else { unreachable!("names") };
    assert!(public_urls.contains_key("docs") && public_urls.contains_key("web"), "{public_urls:?}");
    host.done(&named).await;
    // From now on a start knows them.
    let _: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({ "tier": "stopped" })).await.unwrap();
    let stop = host.command("STOP_RUNTIME").await;
    host.done(&stop).await;
    host.report(report(workspace.id, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    let _: Workspace = server.owner.post(WAKE, &json!({})).await.unwrap();
    let Order::StartRuntime(order) = host.command("START_RUNTIME").await.order else { unreachable!("a start") };
    assert_eq!((order.public_urls.len(), order.dev_hosts_known), (public_urls.len(), true));
}

// proves RUN-3 (the server's part)
#[tokio::test]
async fn a_run_may_be_like_a_service_that_is_declared() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let runs = "/v1/orgs/acme/workspaces/main/runs";
    let unknown = json!({ "argv": ["true"], "service": "none" });
    assert_eq!(code(server.owner.post::<_, Value>(runs, &unknown).await), "service.unknown");
    assert_eq!((host.pending(), server.show("main").await.runtime.generation), (0, 0));
    let _: Value = server.owner.post(runs, &json!({ "argv": ["true"], "service": "web" })).await.unwrap();
    let Order::RunJob(job) = host.command("RUN_JOB").await.order else { unreachable!("a job") };
    assert_eq!(job.service.as_deref(), Some("web"));
}

// proves RUN-3
#[tokio::test]
async fn a_report_from_before_the_start_does_not_undo_the_wake() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let _: Workspace = server.owner.post(WAKE, &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    // The daemon was restarted between noting the order and obeying it.
    let absent = report(workspace.id, start.generation, ObservedPhase::Absent, false, ReadinessState::Asleep);
    host.report(absent.clone()).await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Waking);
    host.up(&start).await;
    host.done(&start).await;
    server.answered(&start).await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Awake);
    host.report(absent).await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Asleep);
}

// proves RUN-3
#[tokio::test]
async fn a_start_answered_after_its_end_was_reported_is_an_end() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let _: Workspace = server.owner.post(WAKE, &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    // The first answer was lost with its stream; the end that followed is reported before the answer comes again.
    host.report(report(workspace.id, start.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    host.done(&start).await;
    wait_until("it is asleep", async || server.show("main").await.runtime.state == RuntimeState::Asleep).await;
}

// proves OPS-2
#[tokio::test]
async fn a_report_that_cant_be_stored_as_it_is_does_not_keep_the_host_away() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let mut odd = report(workspace.id, start.generation, ObservedPhase::Blocked, false, ReadinessState::Blocked);
    odd.trouble = Some(Trouble {
        code: "service.exited".to_owned(),
        cause: "it said:\n\tno\0 such\u{1b}[0m file".to_owned(),
        fix: "x".repeat(1 << 20),
    });
    odd.parts[1].cause = Some("\0".to_owned());
    host.report(odd.clone()).await;
    let view = server.show("main").await.runtime;
    assert_eq!(view.blocked_cause.as_deref(), Some("it said:\n\tno such[0m file"));
    assert!(view.blocked_fix.unwrap().len() <= 16 * 1024);
    // What no cleaning mends is given up, and the next report counts.
    let mut manifest = manifest::parse(MANIFEST.as_bytes(), "envforge.yml").unwrap();
    let web = manifest.services["web"].clone();
    manifest.services.insert("w\0b".to_owned(), web);
    odd.manifest = Some(ManifestReport::Valid { manifest: Box::new(manifest) });
    host.report(odd).await;
    host.report(report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready)).await;
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Awake);
}

// proves LINK-3
#[tokio::test]
async fn a_gateway_is_told_what_a_service_speaks_and_what_to_rewrite() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let mut seen = report(workspace.id, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
    let declared = MANIFEST.replace("    port: 4000\n", "    protocol: h2c\n    rewrite: [redirects]\n");
    let manifest = manifest::parse(declared.as_bytes(), "envforge.yml").unwrap();
    seen.manifest = Some(ManifestReport::Valid { manifest: Box::new(manifest) });
    let found = |part: &mut Part| part.port = (part.name == "api").then_some(4711);
    seen.parts.iter_mut().for_each(found);
    host.report(seen).await;
    let route: Route = server.gateway().get("/internal/gateway/routes/web--main--acme").await.unwrap();
    let told = |service: &str| {
        let rule = route.rules.iter().find(|rule| rule.service == service).unwrap();
        (rule.protocol, rule.rewrite.iter().copied().collect::<Vec<_>>(), rule.port)
    };
    assert_eq!(told("web"), (Protocol::Http, Vec::new(), Some(3000)));
    assert_eq!(told("api"), (Protocol::H2c, vec![Rewrite::Redirects], Some(4711)));
}

// proves RUN-3
#[tokio::test]
async fn two_wakes_at_once_dont_share_the_memory_of_one() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    server.named_workspace(&mut host, "other").await;
    let (mut holder, mut watcher) = (server.database_owner().await, server.database_owner().await);
    sqlx::query("UPDATE hosts SET memory = 1").execute(&mut holder).await.unwrap();
    // Both wakes come as far as they can without the host's row.
    let mut busy = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM hosts FOR UPDATE").execute(&mut *busy).await.unwrap();
    let wake = async |slug: &str| {
        server.owner.post::<_, Workspace>(&format!("/v1/orgs/acme/workspaces/{slug}/wake"), &json!({})).await
    };
    let release = async {
        wait_until("both wait", async || lock_waits(&mut watcher).await == 2).await;
        busy.commit().await.unwrap();
    };
    let (one, other, ()) = tokio::join!(wake("main"), wake("other"), release);
    let (woken, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!(woken.len(), 1);
    assert_eq!(code(refused.into_iter().next().unwrap()), "runtime.no_capacity");
}

/// Wakes and freezes a workspace.
async fn frozen(server: &TestServer, host: &mut FakeHost, workspace: &Workspace) {
    server.awake(host, workspace).await;
    let path = format!("/v1/orgs/acme/workspaces/{}/sleep", workspace.slug);
    let _: Value = server.owner.post(&path, &json!({ "tier": "frozen" })).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
}

// proves RUN-5
#[tokio::test]
async fn where_memory_is_short_what_was_frozen_longest_is_stopped_and_nothing_awake() {
    const GIB: u64 = 1 << 30;
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let mut frozen_first_to_last = Vec::new();
    for branch in ["one", "two", "three"] {
        let workspace = server.named_workspace(&mut host, branch).await;
        frozen(&server, &mut host, &workspace).await;
        frozen_first_to_last.push(workspace);
        server.advance(1);
    }
    let awake = server.named_workspace(&mut host, "awake").await;
    server.awake(&mut host, &awake).await;
    let hosts = async || server.owner.get::<Hosts>("/v1/orgs/acme/hosts").await.unwrap().hosts.remove(0);
    assert_eq!((hosts().await.swap, hosts().await.memory_short), (Some(0), None));

    host.memory(2 * GIB, 230).await;
    let stop = host.command("STOP_RUNTIME").await;
    assert_eq!(stop.workspace, frozen_first_to_last[0].id);
    let short = "2.0 of 24.0 GiB are available, and processes waited for memory 23 % of the time";
    assert_eq!(hosts().await.memory_short.as_deref(), Some(short));
    let mut ledger = server.database_owner().await;
    let told = "SELECT cause FROM ledger_events WHERE verb = 'runtime.sleep_asked' AND actor = 'system:memory'";
    let cause: String = sqlx::query_scalar(told).fetch_one(&mut ledger).await.unwrap();
    assert_eq!(cause, format!("its host is short of memory: {short}; it was frozen longest"));
    host.done(&stop).await;
    host.report(report(stop.workspace, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;

    // The machine is given the time to feel it, and then the next goes; a machine that is not at ease yet is still short.
    server.advance(19);
    host.memory(3 * GIB, 21).await;
    server.reconcile().await;
    assert_eq!(sqlx::query_scalar::<_, String>(told).fetch_all(&mut ledger).await.unwrap().len(), 1);
    server.advance(1);
    let stop = host.command("STOP_RUNTIME").await;
    assert_eq!(stop.workspace, frozen_first_to_last[1].id);
    host.done(&stop).await;
    host.report(report(stop.workspace, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;

    // At ease again, what is frozen stays.
    host.memory(20 * GIB, 0).await;
    wait_until("it is at ease", async || hosts().await.memory_short.is_none()).await;
    server.advance(60);
    server.reconcile().await;
    for (slug, state) in [
        ("one", RuntimeState::Asleep),
        ("two", RuntimeState::Asleep),
        ("three", RuntimeState::Frozen),
        ("awake", RuntimeState::Awake),
    ] {
        assert_eq!(server.show(slug).await.runtime.state, state, "{slug}");
    }
    // However short it is: what is awake stays so, and what was stopped is not stopped again.
    host.memory(GIB, 900).await;
    let stop = host.command("STOP_RUNTIME").await;
    assert_eq!(stop.workspace, frozen_first_to_last[2].id);
    server.advance(60);
    server.reconcile().await;
    assert_eq!(sqlx::query_scalar::<_, String>(told).fetch_all(&mut ledger).await.unwrap().len(), 3);
    assert_eq!(server.show("awake").await.runtime.state, RuntimeState::Awake);
}

//! What runtimes do by themselves, and what a host says of it late, twice or badly.

use crate::support::{MANIFEST, TestServer, code, lock_waits, report};
use envforge_api::gateway::Route;
use envforge_api::host::{ManifestReport, Trouble};
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

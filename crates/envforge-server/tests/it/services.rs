//! Services, one at a time.

use crate::support::{FakeHost, TestServer, code, report, unknown};
use envforge_api::gateway::{WAKE_PATH, WakeAnswer, WakeRequest};
use envforge_api::host::{ChangeService, HostCommand, Order, Outcome, StartRuntime, Trouble};
use envforge_api::http::links::CreatedLink;
use envforge_api::http::workspaces::{ServiceAction, Workspace};
use envforge_core::access::Role;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use serde_json::{Value, json};

const WEB: &str = "/v1/orgs/acme/workspaces/main/services/web";

/// The host is told, answers, and whoever asked hears of it.
async fn changed(
    server: &TestServer,
    host: &mut FakeHost,
    action: &str,
    outcome: Outcome,
) -> (HostCommand, Result<Workspace, String>) {
    let body = json!({ "action": action });
    let asked = async { server.owner.post::<_, Workspace>(WEB, &body).await };
    let obeyed = async {
        let command = host.command("CHANGE_SERVICE").await;
        host.answer(&command, outcome).await;
        command
    };
    let (answer, command) = tokio::join!(asked, obeyed);
    (command, answer.map_err(|error| error.into_refusal().code))
}

// proves RUN-3 (the server's part)
#[tokio::test]
async fn a_service_is_changed_by_its_host_and_a_runtime_that_sleeps_is_woken_for_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    // From stopped everything is started anyway: the wake is all there is.
    let woken: Workspace = server.owner.post(WEB, &json!({ "action": "restart" })).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    assert_eq!((woken.runtime.generation, start.generation, host.pending()), (1, 1, 0));
    host.done(&start).await;
    host.up(&start).await;
    let (command, answer) = changed(&server, &mut host, "restart", Outcome::Done).await;
    let wanted = ChangeService { service: "web".to_owned(), action: ServiceAction::Restart };
    assert_eq!((command.order, command.generation), (Order::ChangeService(wanted), 1));
    assert_eq!(answer.unwrap().id, workspace.id);
    let trouble = Trouble { code: "runtime.not_awake".to_owned(), cause: "no".to_owned(), fix: "wake it".to_owned() };
    let (_, answer) = changed(&server, &mut host, "start", Outcome::Failed(trouble)).await;
    assert_eq!(answer.unwrap_err(), "runtime.not_awake");
    assert_eq!(server.events("service.change_asked").await, 3);
}

// proves RUN-3 ORG-2 (the server's part)
#[tokio::test]
async fn what_is_no_service_or_does_not_run_is_refused_and_wakes_nothing() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let ask = async |service: &str, action: &str| {
        let path = format!("/v1/orgs/acme/workspaces/main/services/{service}");
        code(server.owner.post::<_, Value>(&path, &json!({ "action": action })).await)
    };
    assert_eq!(ask("none", "start").await, "service.unknown");
    assert_eq!(ask("web", "stop").await, "service.asleep");
    assert_eq!(ask("web", "explode").await, "request.body");
    let reviewer = server.member("acme", Role::Reviewer).await;
    assert_eq!(code(reviewer.post::<_, Value>(WEB, &json!({ "action": "start" })).await), "access.denied");
    assert_eq!((host.pending(), server.show("main").await.runtime.generation), (0, 0));
}

// proves RUN-3 RUN-8 (the server's part)
#[tokio::test]
async fn what_is_blocked_in_an_awake_runtime_is_started_again_by_a_members_wake_and_by_no_visitor() {
    const WAKE: &str = "/v1/orgs/acme/workspaces/main/wake";
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let wake = || async { server.owner.post::<_, Workspace>(WAKE, &json!({})).await };
    wake().await.unwrap();
    assert_eq!(host.pending(), 0, "nothing is blocked");

    let link = json!({ "service": "web", "wake_budget": 3 });
    let link: CreatedLink = server.owner.post("/v1/orgs/acme/workspaces/main/links", &link).await.unwrap();
    let session = server.exchange("web--main--acme", &link.token).await.unwrap().session;
    let knock = WakeRequest { session, session_id: unknown(), path: "/".to_owned() };
    let mut seen = report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready);
    seen.parts[1].state = ReadinessState::Blocked;
    host.report(seen.clone()).await;
    let knocked: WakeAnswer = server.gateway().post(WAKE_PATH, &knock).await.unwrap();
    assert_eq!(knocked.runtime.state, RuntimeState::Awake);
    let run = json!({ "argv": ["true"] });
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/runs", &run).await.unwrap();
    assert_eq!((host.next().await.order.verb(), host.pending()), ("RUN_JOB", 0), "neither reads it again");

    // Asked by two at once it is one order, of the same generation: nothing else is wanted than before.
    let obeyed = async {
        let again = host.command("START_RUNTIME").await;
        wake().await.unwrap();
        seen.parts[1].state = ReadinessState::Waking;
        host.report(seen.clone()).await;
        host.done(&again).await;
        again
    };
    let (woken, again) = tokio::join!(wake(), obeyed);
    assert!(
        matches!(&again.order, Order::StartRuntime(StartRuntime { again: true, public_urls, .. }) if !public_urls.is_empty())
    );
    assert_eq!((again.generation, host.pending()), (start.generation, 0));
    let woken = woken.unwrap();
    assert_eq!((woken.runtime.state, woken.runtime.generation), (RuntimeState::Awake, start.generation));
    assert_eq!(woken.parts[0].state, ReadinessState::Waking, "as it is once the host has begun");

    // A file that can't be read is refused, and what runs goes on, metered as before.
    seen.parts[1].state = ReadinessState::Blocked;
    host.report(seen).await;
    let trouble = Trouble { code: "manifest.broken".to_owned(), cause: "3:5".to_owned(), fix: "correct it".to_owned() };
    let obeyed = async {
        let again = host.command("START_RUNTIME").await;
        host.answer(&again, Outcome::Failed(trouble)).await;
    };
    let (refused, ()) = tokio::join!(wake(), obeyed);
    assert_eq!(code(refused), "manifest.broken");
    let after = server.show("main").await.runtime;
    assert_eq!((after.state, after.awake_since.is_some()), (RuntimeState::Awake, true));
    assert_eq!((server.events("runtime.start_asked").await, server.events("window.closed").await), (2, 0));
}

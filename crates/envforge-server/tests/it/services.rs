//! Services, one at a time.

use crate::support::{FakeHost, TestServer, code};
use envforge_api::host::{ChangeService, HostCommand, Order, Outcome, Trouble};
use envforge_api::http::workspaces::{ServiceAction, Workspace};
use envforge_core::access::Role;
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

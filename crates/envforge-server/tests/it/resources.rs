//! Credentials of resources, rotated: what the host is told, and what came of it.

use crate::support::{FakeHost, MANIFEST, TestServer, code, report};
use envforge_api::host::{HostCommand, ManifestReport, Order, Outcome, RotateCredential, Trouble};
use envforge_api::http::resources::{RotatedCredential, TakesEffect};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::manifest::{self, ResourceKind};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use serde_json::{Value, json};

const ROTATE: &str = "/v1/orgs/acme/workspaces/main/resources/postgres/rotate";
const RESOURCES: &str = "resources:
  postgres: branch_scoped
  redis: branch_scoped
  mail: branch_scoped
";

/// A workspace whose `web` takes the database's address; its resources are these.
async fn scene(resources: &str) -> (TestServer, FakeHost, Workspace) {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let manifest = MANIFEST.replace("api_url: required", "api_url: required, database_url: optional");
    let parsed = manifest::parse(format!("{manifest}{resources}").as_bytes(), "envforge.yml").unwrap();
    let mut reported = report(workspace.id, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
    reported.manifest = Some(ManifestReport::Valid { manifest: Box::new(parsed) });
    host.report(reported).await;
    (server, host, workspace)
}

/// The host is told, answers, and whoever asked hears of it.
async fn rotated(
    server: &TestServer,
    host: &mut FakeHost,
    outcome: Outcome,
) -> (HostCommand, Result<RotatedCredential, String>) {
    let asked = async { server.owner.post::<_, RotatedCredential>(ROTATE, &json!({})).await };
    let obeyed = async {
        let command = host.command("ROTATE_CREDENTIAL").await;
        host.answer(&command, outcome).await;
        command
    };
    let (answer, command) = tokio::join!(asked, obeyed);
    (command, answer.map_err(|error| error.into_refusal().code))
}

fn order() -> Order {
    Order::RotateCredential(RotateCredential { resource: ResourceKind::Postgres })
}

// proves RUN-6 (the server's part)
#[tokio::test]
async fn a_credential_is_rotated_by_its_host_awake_and_asleep() {
    let (server, mut host, workspace) = scene(RESOURCES).await;
    let (command, answer) = rotated(&server, &mut host, Outcome::Done).await;
    assert_eq!((command.order, command.generation), (order(), 0));
    let mut wanted = RotatedCredential {
        resource: ResourceKind::Postgres,
        takes_effect: TakesEffect::NextWake,
        services: vec!["web".to_owned()],
    };
    assert_eq!(answer.unwrap(), wanted);
    assert_eq!((host.pending(), server.show("main").await.runtime.generation), (0, 0), "nothing was woken");
    server.awake(&mut host, &workspace).await;
    let (command, answer) = rotated(&server, &mut host, Outcome::Done).await;
    assert_eq!((command.order, command.generation), (order(), 1));
    wanted.takes_effect = TakesEffect::Now;
    assert_eq!(answer.unwrap(), wanted);
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Awake);
    assert_eq!([server.events("resource.rotate_asked").await, server.events("resource.rotated").await], [2, 2]);
    let trouble = Trouble { code: "resource.busy".to_owned(), cause: "no".to_owned(), fix: "later".to_owned() };
    let (_, answer) = rotated(&server, &mut host, Outcome::Failed(trouble)).await;
    assert_eq!(answer.unwrap_err(), "resource.busy");
    let (_, answer) = rotated(&server, &mut host, Outcome::Stale).await;
    assert_eq!(answer.unwrap_err(), "resource.overtaken");
    assert_eq!([server.events("resource.rotate_failed").await, server.events("resource.rotated").await], [2, 2]);
}

// proves RUN-6 RUN-5 (the server's part)
#[tokio::test]
async fn what_is_paused_is_stopped_before_its_credential_is_rotated() {
    let (server, mut host, workspace) = scene(RESOURCES).await;
    server.awake(&mut host, &workspace).await;
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
    host.done(&freeze).await;
    let asked = async { server.owner.post::<_, RotatedCredential>(ROTATE, &json!({})).await };
    let obeyed = async {
        let stop = host.next().await;
        host.report(report(workspace.id, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
        host.done(&stop).await;
        let rotate = host.command("ROTATE_CREDENTIAL").await;
        host.done(&rotate).await;
        (stop, rotate)
    };
    let (answer, (stop, rotate)) = tokio::join!(asked, obeyed);
    assert_eq!(answer.unwrap().takes_effect, TakesEffect::NextWake);
    assert_eq!((stop.order, stop.generation), (Order::StopRuntime, freeze.generation + 1));
    assert_eq!((rotate.order, rotate.generation), (order(), freeze.generation + 1));
    let shown = server.show("main").await;
    assert_eq!(shown.runtime.state, RuntimeState::Asleep);
}

// proves RUN-6 ORG-2 (the server's part)
#[tokio::test]
async fn what_has_no_credential_or_is_not_ours_or_yours_is_refused_and_nobody_is_told() {
    let cloud = "resources:\n  postgres: branch_scoped\n  mail: branch_scoped\n  object_storage: { mode: customer_cloud, secret: BUCKET_URL }\n";
    let (server, host, _workspace) = scene(cloud).await;
    let ask = async |resource: &str| {
        let path = ROTATE.replace("postgres", resource);
        server.owner.post::<_, Value>(&path, &json!({})).await.unwrap_err().into_refusal()
    };
    for (resource, code, hint) in [
        ("redis", "resource.no_credential", "postgres and object_storage"),
        ("mail", "resource.no_credential", "postgres and object_storage"),
        ("kafka", "resource.unknown", "postgres and object_storage"),
        ("object_storage", "resource.customer_cloud", "envforge secret set BUCKET_URL"),
    ] {
        let refusal = ask(resource).await;
        assert_eq!(refusal.code, code, "{resource}");
        assert!(refusal.hint.is_some_and(|text| text.contains(hint)), "{resource}");
    }
    let plain = "/v1/orgs/acme/workspaces/other/resources/postgres/rotate";
    assert_eq!(code(server.owner.post::<_, Value>(plain, &json!({})).await), "workspace.not_found");
    for role in [Role::Reviewer, Role::Billing] {
        let member = server.member("acme", role).await;
        assert_eq!(code(member.post::<_, Value>(ROTATE, &json!({})).await), "access.denied");
    }
    assert_eq!((host.pending(), server.events("resource.rotate_asked").await), (0, 0));
}

// proves RUN-6 (the server's part)
#[tokio::test]
async fn what_the_file_does_not_declare_is_refused_with_what_to_write() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let refusal = server.owner.post::<_, Value>(ROTATE, &json!({})).await.unwrap_err().into_refusal();
    assert_eq!(refusal.code, "resource.undeclared");
    assert!(refusal.hint.is_some_and(|hint| hint.contains("postgres: branch_scoped")));
    assert_eq!(host.pending(), 0);
}

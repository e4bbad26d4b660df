//! Copies of a workspace.

use crate::secrets::{SECRETS, as_host, ask, set};
use crate::support::{FakeHost, TestServer, code};
use envforge_api::host::{Order, Outcome, PrepareShell, Trouble};
use envforge_api::http::secrets::{SecretInfo, SecretScope, Secrets};
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::{ForkedWorkspaces, Workspace};
use envforge_core::access::Role;
use envforge_core::readiness::ReadinessState;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FORKS: &str = "/v1/orgs/acme/workspaces/main/forks";
const OF_SOURCE: &str = "/v1/orgs/acme/workspaces/main/secrets";

fn names(forked: &ForkedWorkspaces) -> Vec<&str> {
    forked.workspaces.iter().map(|workspace| workspace.slug.as_str()).collect()
}

async fn ordered(host: &mut FakeHost) -> PrepareShell {
    match host.command("PREPARE_SHELL").await.order {
        Order::PrepareShell(prepare) => prepare,
        other => panic!("not an order to prepare: {other:?}"),
    }
}

// proves UP-8 (the server's part)
#[tokio::test]
async fn forks_are_made_at_once_on_their_sources_host_and_asking_again_makes_none() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let source = server.workspace(&mut host).await;
    let cap = json!({ "cap": { "mode": "stop", "minutes": 90, "warn_at": 70, "grace_minutes": 3 } });
    let _: WorkspaceUsage = server.owner.put("/v1/orgs/acme/workspaces/main/cap", &cap).await.unwrap();
    let request = json!({ "slugs": ["try-2", "try-1"] });
    let forked: ForkedWorkspaces = server.owner.post(FORKS, &request).await.unwrap();
    assert_eq!(names(&forked), ["try-2", "try-1"], "as asked");
    assert!(forked.copy_on_write, "as the host says");
    for fork in &forked.workspaces {
        assert_eq!((fork.branch.as_str(), fork.forked_from.as_ref()), (fork.slug.as_str(), Some(&source.slug)));
        assert_eq!((fork.project.as_str(), fork.shell.state), ("planner", ReadinessState::Waking));
    }
    let (one, two) = (ordered(&mut host).await, ordered(&mut host).await);
    assert_eq!((one.fork_of, two.fork_of), (Some(source.id), Some(source.id)));
    assert_eq!([&one.branch, &two.branch].into_iter().collect::<BTreeSet<_>>().len(), 2);
    let again: ForkedWorkspaces = server.owner.post(FORKS, &request).await.unwrap();
    assert_eq!(again.workspaces[0].id, forked.workspaces[0].id);
    assert_eq!((host.pending(), server.events("workspace.created").await), (0, 3));
    let usage: WorkspaceUsage = server.owner.get("/v1/orgs/acme/workspaces/try-1/usage").await.unwrap();
    assert_eq!(serde_json::to_value(usage.cap).unwrap(), cap["cap"]);
    // One that could not be made is made again, from the same source.
    let trouble = |code: &str| Trouble { code: code.to_owned(), cause: "full".to_owned(), fix: "make room".to_owned() };
    let more: ForkedWorkspaces = server.owner.post(FORKS, &json!({ "slugs": ["try-3"] })).await.unwrap();
    let command = host.command("PREPARE_SHELL").await;
    host.answer(&command, Outcome::Failed(trouble("shell.fork_failed"))).await;
    wait_until("it is blocked", async || server.show("try-3").await.shell.state == ReadinessState::Blocked).await;
    let same: ForkedWorkspaces = server.owner.post(FORKS, &json!({ "slugs": ["try-3"] })).await.unwrap();
    assert_eq!(same.workspaces[0].id, more.workspaces[0].id);
    assert_eq!(ordered(&mut host).await.fork_of, Some(source.id));
}

// proves UP-8 (the server's part)
#[tokio::test]
async fn what_can_not_be_forked_is_refused_whole() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    server.named_workspace(&mut host, "other").await;
    let fork =
        async |slugs: Value| code(server.owner.post::<_, ForkedWorkspaces>(FORKS, &json!({ "slugs": slugs })).await);
    assert_eq!(fork(json!([])).await, "fork.count");
    assert_eq!(fork(json!((0..21).map(|n| format!("t{n}")).collect::<Vec<_>>())).await, "fork.count");
    assert_eq!(fork(json!(["a", "a"])).await, "fork.named_twice");
    assert_eq!(fork(json!(["new", "other"])).await, "workspace.name_taken");
    assert_eq!(fork(json!(["new", "main"])).await, "workspace.name_taken");
    assert_eq!(fork(json!(["No Slug"])).await, "request.body");
    let of = async |workspace: &str| {
        let path = format!("/v1/orgs/acme/workspaces/{workspace}/forks");
        code(server.owner.post::<_, Value>(&path, &json!({ "slugs": ["x"] })).await)
    };
    assert_eq!(of("none").await, "workspace.not_found");
    // Before there is anything to copy.
    let request = json!({ "project": "planner", "branch": "unready" });
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    assert_eq!(of("unready").await, "fork.source_not_ready");
    let reviewer = server.member("acme", Role::Reviewer).await;
    assert_eq!(code(reviewer.post::<_, Value>(FORKS, &json!({ "slugs": ["x"] })).await), "access.denied");
    assert_eq!(server.events("workspace.created").await, 3, "none was made in part");
}

// proves UP-8 ORG-5 (the server's part)
#[tokio::test]
async fn a_fork_has_secrets_of_its_own_with_the_same_values() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server.owner, OF_SOURCE, "ONLY_HERE", "first").await;
    let forked: ForkedWorkspaces = server.owner.post(FORKS, &json!({ "slugs": ["try"] })).await.unwrap();
    set(&server.owner, OF_SOURCE, "ONLY_HERE", "second").await;
    let all: Secrets = server.owner.get(SECRETS).await.unwrap();
    let workspace = |secret: &SecretInfo| match &secret.scope {
        SecretScope::Workspace { workspace } => workspace.to_string(),
        other => panic!("not a workspace's: {other:?}"),
    };
    let versions: Vec<_> = all.secrets.iter().map(|secret| (workspace(secret), secret.version)).collect();
    assert_eq!(versions, [("main".to_owned(), 2), ("try".to_owned(), 1)]);
    let command = host.command("PREPARE_SHELL").await;
    host.prepared(command.workspace).await;
    host.done(&command).await;
    let woken = server.awake(&mut host, &forked.workspaces[0]).await;
    let client = as_host(&server, &host);
    let given = ask(&client, woken.workspace, woken.generation, &[("web", &["ONLY_HERE"])]).await.unwrap();
    assert_eq!(given["ONLY_HERE"], "first");
}

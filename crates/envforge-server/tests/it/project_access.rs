//! Who sees a restricted project, and what ends when they no longer may.

use crate::support::{FakeHost, TestServer, code, raw};
use envforge_api::client::Client;
use envforge_api::host::HostPass;
use envforge_api::http::links::CreatedLink;
use envforge_api::http::projects::Projects;
use envforge_api::http::runs::Run;
use envforge_api::http::workspaces::{Workspace, Workspaces};
use envforge_api::uplink::dial;
use envforge_core::access::Role;
use envforge_core::id::{LinkId, UserId};
use envforge_core::refusal::Refusal;
use envforge_testkit::{Shell, wait_until};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::time::Instant;

const ACCESS: &str = "/v1/orgs/acme/projects/planner/access";
const MAIN: &str = "/v1/orgs/acme/workspaces/main";

/// How soon whatever is open has to end.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn group_member(server: &TestServer, group: &str, user: UserId) {
    let _: Value = server.owner.post("/v1/orgs/acme/groups", &json!({ "name": group })).await.unwrap();
    let path = format!("/v1/orgs/acme/groups/{group}/members/{user}");
    server.owner.put::<_, Value>(&path, &json!({})).await.unwrap();
}

async fn restrict(server: &TestServer, groups: &[&str]) {
    let access = json!({ "is_restricted": true, "groups": groups });
    let _: Value = server.owner.put(ACCESS, &access).await.unwrap();
}

/// Everything a member can ask about a workspace; the refusal of each.
async fn everything(client: &Client, workspace: &str, link: LinkId, run: &str) -> Vec<(String, Refusal)> {
    let at = |rest: &str| format!("/v1/orgs/acme/workspaces/{workspace}{rest}");
    let mut refusals = Vec::new();
    for rest in ["", "/usage", "/links", &format!("/runs/{run}"), &format!("/runs/{run}/logs"), "/logs/web", "/events"]
    {
        let answer = client.get::<Value>(&at(rest)).await;
        refusals.push((rest.to_owned(), answer.expect_err(rest).into_refusal()));
    }
    let posts = [
        ("/wake", json!({})),
        ("/sleep", json!({ "tier": "frozen" })),
        ("/runs", json!({ "argv": ["true"] })),
        ("/links", json!({ "service": "web" })),
    ];
    for (rest, body) in posts {
        let answer = client.post::<_, Value>(&at(rest), &body).await;
        refusals.push((format!("POST {rest}"), answer.expect_err(rest).into_refusal()));
    }
    let answer = client.delete::<Value>(&at("")).await;
    refusals.push(("DELETE".to_owned(), answer.expect_err("deleted").into_refusal()));
    let answer = client.delete::<Value>(&format!("/v1/orgs/acme/links/{link}")).await;
    refusals.push(("DELETE link".to_owned(), answer.expect_err("revoked").into_refusal()));
    refusals
}

// proves ORG-2
#[tokio::test]
async fn a_restricted_project_answers_outsiders_like_one_that_does_not_exist() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server.owner.post(&format!("{MAIN}/links"), &json!({ "service": "web" })).await.unwrap();
    let run: Run = server.owner.post(&format!("{MAIN}/runs"), &json!({ "argv": ["true"] })).await.unwrap();
    let (insider, outsider) =
        (server.member("acme", Role::Developer).await, server.member("acme", Role::Developer).await);
    let admin = server.member("acme", Role::Admin).await;
    let _: Workspace = outsider.get(MAIN).await.expect("open to all members at first");
    group_member(&server, "web", TestServer::user(&insider).await).await;
    restrict(&server, &["web"]).await;
    for client in [&insider, &admin, &server.owner] {
        let _: Workspace = client.get(MAIN).await.unwrap();
        assert_eq!(client.get::<Workspaces>("/v1/orgs/acme/workspaces").await.unwrap().workspaces.len(), 1);
    }
    assert!(outsider.get::<Workspaces>("/v1/orgs/acme/workspaces").await.unwrap().workspaces.is_empty());
    assert!(outsider.get::<Projects>("/v1/orgs/acme/projects").await.unwrap().projects.is_empty());
    let hidden = everything(&outsider, "main", link.link.id, &run.id.to_string()).await;
    let missing = everything(&outsider, "none", crate::support::unknown(), &run.id.to_string()).await;
    for ((what, hidden), (_, missing)) in hidden.into_iter().zip(missing) {
        let shown = Refusal { message: missing.message.replace("none", "main"), ..missing };
        assert_eq!(hidden, shown, "{what}");
        assert_eq!(hidden.kind.http_status(), 404, "{what}: {hidden:?}");
    }
    let request = json!({ "project": "planner", "branch": "x" });
    assert_eq!(code(outsider.post::<_, Value>("/v1/orgs/acme/workspaces", &request).await), "project.not_found");
    assert_eq!(code(outsider.get::<Value>(ACCESS).await), "project.not_found");
    // Names are taken all the same, and nothing more is said of who has them.
    let project = json!({ "slug": "planner", "repository": "https://example.org/planner.git" });
    assert_eq!(code(outsider.post::<_, Value>("/v1/orgs/acme/projects", &project).await), "project.exists");
    let own = json!({ "slug": "own", "repository": "https://example.org/own.git" });
    let _: Value = outsider.post("/v1/orgs/acme/projects", &own).await.unwrap();
    let request = json!({ "project": "own", "branch": "main" });
    assert_eq!(code(outsider.post::<_, Value>("/v1/orgs/acme/workspaces", &request).await), "workspace.name_taken");
    // A group that is gone opens nothing.
    server.owner.delete::<Value>("/v1/orgs/acme/groups/web").await.unwrap();
    assert_eq!(code(insider.get::<Workspace>(MAIN).await), "workspace.not_found");
    let open = json!({ "is_restricted": false });
    let _: Value = admin.put(ACCESS, &open).await.unwrap();
    let _: Workspace = outsider.get(MAIN).await.unwrap();
    let refused = admin.put::<_, Value>(ACCESS, &json!({ "is_restricted": false, "groups": ["web"] })).await;
    assert_eq!(code(refused), "project.access");
    assert_eq!(server.events("project.access_changed").await, 2);
}

// proves ORG-2 USE-2
#[tokio::test]
async fn memory_of_runtimes_one_does_not_see_is_reserved_too() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let hidden = server.workspace(&mut host).await;
    let wake = json!({ "size": "large" });
    let _: Workspace = server.owner.post(&format!("{MAIN}/wake"), &wake).await.unwrap();
    let command = host.command("START_RUNTIME").await;
    host.done(&command).await;
    host.up(&command).await;
    restrict(&server, &[]).await;
    let developer = server.member("acme", Role::Developer).await;
    let own = json!({ "slug": "own", "repository": "https://example.org/own.git" });
    let _: Value = developer.post("/v1/orgs/acme/projects", &own).await.unwrap();
    let request = json!({ "project": "own", "branch": "own" });
    let _: Workspace = developer.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    let mut owner = server.database_owner().await;
    // The host has room for the one that runs and a byte less than two.
    let reserved = envforge_core::size::Size::Large.reserved_memory().cast_signed();
    sqlx::query("UPDATE hosts SET memory = $1").bind(2 * reserved - 1).execute(&mut owner).await.unwrap();
    let refused = developer.post::<_, Value>("/v1/orgs/acme/workspaces/own/wake", &wake).await;
    assert_eq!(code(refused), "runtime.no_capacity", "{}", hidden.id);
}

/// A shell on the host's side: what is typed comes back.
fn echo(host: &FakeHost, server: &TestServer) {
    let (id, org) = (host.registered.host, host.registered.org);
    let now = server.server.app().now();
    let expires = now.as_second() + 3600;
    let pass = server.server.app().signing_keys.sign(&HostPass { host: id, org, expires }, now).unwrap();
    let path = server.path("uplink.sock");
    tokio::spawn(async move {
        let ended = dial(&path, &pass, |_, _| async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = tokio::net::UnixStream::from_std(ours).unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = ours.into_split();
                tokio::io::copy(&mut read, &mut write).await
            });
            Ok(OwnedFd::from(theirs))
        });
        ended.await
    });
}

/// An open terminal, an open live view and a followed log of `main`.
struct Open {
    shell: Shell,
    events: reqwest::Response,
    logs: reqwest::Response,
}

impl Open {
    async fn new(server: &TestServer, client: &Client) -> Self {
        let (url, key) = (format!("http://{}", server.server.local_addr), client.key().unwrap().expose());
        let mut shell = Shell::attach(&url, key, "acme", "main").await.unwrap();
        shell.send("typed").await.unwrap();
        shell.expect("typed").await.unwrap();
        let get = async |rest: &str| raw().get(format!("{url}{MAIN}{rest}")).bearer_auth(key).send().await.unwrap();
        let mut events = get("/events").await;
        assert!(events.chunk().await.unwrap().is_some());
        Self { shell, events, logs: get("/logs/web?follow=true").await }
    }

    /// All of it ends within two seconds.
    async fn ends(mut self) {
        let begun = Instant::now();
        let said = self.shell.expect("never").await.unwrap_err().to_string();
        assert!(said.contains("may not"), "{said}");
        while self.events.chunk().await.unwrap().is_some() {}
        while self.logs.chunk().await.unwrap().is_some() {}
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }

    async fn goes_on(&mut self) {
        self.shell.send("still here").await.unwrap();
        self.shell.expect("still here").await.unwrap();
    }
}

// proves ORG-2
#[tokio::test]
async fn what_is_open_ends_with_the_right_to_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    echo(&host, &server);
    let uplinks = &server.server.app().uplinks;
    wait_until("the uplink is there", async || uplinks.is_connected(host.registered.host)).await;
    let mut members = Vec::new();
    for _ in 0..4 {
        let client = server.member("acme", Role::Developer).await;
        let user = TestServer::user(&client).await;
        group_member(&server, "web", user).await;
        members.push((user, Open::new(&server, &client).await));
    }
    let member = |user: UserId| format!("/v1/orgs/acme/members/{user}");
    let mut bystander = members.pop().unwrap().1;
    let (user, open) = members.pop().unwrap();
    server.owner.delete::<Value>(&member(user)).await.unwrap();
    open.ends().await;
    // A reviewer may look, and not be in a shell.
    let (user, mut open) = members.pop().unwrap();
    server.owner.put::<_, Value>(&member(user), &json!({ "role": "reviewer" })).await.unwrap();
    let said = open.shell.expect("never").await.unwrap_err().to_string();
    assert!(said.contains("may not"), "{said}");
    restrict(&server, &["web"]).await;
    bystander.goes_on().await;
    let (user, open) = members.pop().unwrap();
    server.owner.delete::<Value>(&format!("/v1/orgs/acme/groups/web/members/{user}")).await.unwrap();
    open.ends().await;
    bystander.goes_on().await;
}

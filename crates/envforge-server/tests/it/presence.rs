//! What is shown and asked while a host is away.

use crate::support::{FakeHost, TestServer};
use envforge_api::host::Trouble;
use envforge_api::http::accounts::{HostState, Hosts};
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::wait_until;
use serde_json::{Value, json};

async fn state(server: &TestServer) -> HostState {
    let hosts: Hosts = server.owner.get("/v1/orgs/acme/hosts").await.unwrap();
    hosts.hosts[0].state
}

// proves OPS-2
#[tokio::test]
async fn a_server_that_starts_knows_of_no_stream() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    assert_eq!(state(&server).await, HostState::Online);
    server.restart().await;
    assert_eq!(state(&server).await, HostState::Lost, "it has not come back yet");
    host.reconnect().await;
    assert_eq!(state(&server).await, HostState::Online);
}

// proves OPS-2
#[tokio::test]
async fn a_host_that_takes_nothing_new_on_says_why_until_it_does_again() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let trouble = async || {
        let hosts: Hosts = server.owner.get("/v1/orgs/acme/hosts").await.unwrap();
        hosts.hosts[0].trouble.clone()
    };
    assert_eq!(trouble().await, None);
    let [code, cause, fix] = ["host.disk_low", "only 12 MB left", "a larger disk"].map(str::to_owned);
    let low = Trouble { code, cause, fix };
    host.troubled(Some(low.clone())).await;
    wait_until("it is shown", async || trouble().await.as_ref() == Some(&low)).await;
    host.troubled(None).await;
    wait_until("it is over", async || trouble().await.is_none()).await;
}

// proves UP-2 RUN-3
#[tokio::test]
async fn what_waits_for_a_lost_host_says_so() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    host.command("START_RUNTIME").await;
    let mut events = server.owner.stream("/v1/orgs/acme/workspaces/main/events").await.unwrap();
    let registered = host.registered.clone();
    drop(host);
    wait_until("the host is away", async || state(&server).await == HostState::Lost).await;
    let away = server.show("main").await;
    assert_eq!((away.shell.code.as_deref(), away.shell.state), (Some("host.lost"), ReadinessState::Ready));
    assert_eq!(away.runtime.readiness, ReadinessState::Waking, "it may be back in a moment");
    server.advance(21);
    let mut told = String::new();
    while !told.contains(r#""blocked_code":"host.lost""#) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(5), events.chunk()).await;
        let chunk = chunk.expect("a live view tells of it").unwrap().unwrap();
        told.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let lost = server.show("main").await;
    assert_eq!((lost.shell.state, lost.runtime.readiness), (ReadinessState::Blocked, ReadinessState::Blocked));
    assert!(lost.runtime.blocked_cause.is_some() && lost.runtime.blocked_fix.is_some());
    assert_eq!(lost.runtime.state, RuntimeState::Waking, "nothing of it is stored");
    let mut host = FakeHost::connect(server.path("server.sock"), registered).await;
    host.command("START_RUNTIME").await;
    let back = server.show("main").await;
    assert_eq!((back.shell.code, back.runtime.blocked_code), (None, None));
}

// proves UP-5 (the server's part)
#[tokio::test]
async fn a_workspace_asked_for_while_the_host_is_away_waits_for_it_and_says_so() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let registered = host.registered.clone();
    drop(host);
    wait_until("the host is away", async || state(&server).await == HostState::Lost).await;
    let request = json!({ "project": "planner", "branch": "later" });
    let asked: Workspace = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    assert_eq!((asked.shell.code.as_deref(), asked.shell.state), (Some("host.lost"), ReadinessState::Waking));
    server.advance(21);
    assert_eq!(server.show("later").await.shell.state, ReadinessState::Blocked);
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    let mut host = FakeHost::connect(server.path("server.sock"), registered).await;
    let prepare = host.command("PREPARE_SHELL").await;
    assert_eq!((prepare.workspace, host.pending()), (asked.id, 0), "asked for twice, ordered once");
}

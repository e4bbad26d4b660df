//! The control stream: registration, re-sending, generations.

use crate::support::{FakeHost, TestServer, code};
use envforge_api::client::{Address, Client};
use envforge_api::host::{Order, REGISTER_PATH, Register, Registered};
use envforge_api::http::accounts::Hosts;
use envforge_core::token::digest;
use envforge_testkit::wait_until;
use serde_json::{Value, json};

// proves OPS-2
#[tokio::test]
async fn a_token_registers_until_the_first_stream_and_no_longer() {
    let server = TestServer::start().await;
    let token = std::fs::read_to_string(server.path("host.token")).unwrap().trim().to_owned();
    let plain = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
    // The first answer was lost; the host asks again, and only the newest key counts.
    let lost: Registered = plain.post(REGISTER_PATH, &Register { token: token.clone() }).await.unwrap();
    let registered: Registered = plain.post(REGISTER_PATH, &Register { token: token.clone() }).await.unwrap();
    assert_ne!(digest(&lost.key), digest(&registered.key));
    let host = FakeHost::connect(server.path("server.sock"), registered).await;
    assert_eq!(host.generation, 1);
    let late = plain.post::<_, Value>(REGISTER_PATH, &Register { token }).await;
    assert_eq!(code(late), "host.token_invalid");
    let hosts: Hosts = server.owner.get("/v1/orgs/acme/hosts").await.unwrap();
    assert_eq!(serde_json::to_value(hosts.hosts[0].state).unwrap(), "online");
}

// proves OPS-2
#[tokio::test]
async fn a_command_is_sent_again_until_it_is_answered() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    let first = host.command("START_RUNTIME").await;
    host.reconnect().await;
    assert_eq!(host.generation, 2);
    let again = host.command("START_RUNTIME").await;
    assert_eq!(first, again, "the same command, word for word");
    host.done(&again).await;
    host.done(&again).await;
    host.up(&again).await;
    wait_until("it is awake", async || server.show("main").await.runtime.awake_since.is_some()).await;
    assert_eq!(workspace.id, again.workspace);
}

// proves RUN-3
#[tokio::test]
async fn commands_come_in_the_order_of_their_writing() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    // The clock stands still, so the ids of all of them are of one millisecond.
    let mut asked = Vec::new();
    for n in 0..8 {
        let run = json!({ "argv": ["echo", n.to_string()] });
        let run: Value = server.owner.post("/v1/orgs/acme/workspaces/main/runs", &run).await.unwrap();
        asked.push(run["id"].as_str().unwrap().to_owned());
    }
    host.reconnect().await;
    let first = host.next().await;
    assert_eq!(first.order.verb(), "START_RUNTIME", "a job never comes before the start it waits for");
    for job in asked {
        let Order::RunJob(sent) = host.next().await.order else { panic!("a job") };
        assert_eq!(sent.job.to_string(), job);
    }
}

#[tokio::test]
async fn a_wrong_host_key_gets_nothing() {
    let server = TestServer::start().await;
    let plain = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
    let refused = plain.get::<Value>("/internal/host/stream").await;
    assert_eq!(code(refused), "host.key");
    assert_eq!(code(plain.get::<Value>("/internal/gateway/feed").await), "gateway.key");
    // The public listener knows no internal path at all.
    assert_eq!(code(server.owner.get::<Value>("/internal/gateway/feed").await), "path.not_found");
}

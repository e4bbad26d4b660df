//! The control stream: registration, re-sending, generations.

use crate::support::{FakeHost, TestServer, code, report};
use envforge_api::client::{Address, Client};
use envforge_api::host::{Order, Pulse, REGISTER_PATH, Register, Registered};
use envforge_api::http::accounts::{CreatedHostToken, Hosts};
use envforge_core::access::Role;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
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

// proves ORG-3
#[tokio::test]
async fn a_host_speaks_only_of_what_is_on_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let rival = server.member("rival", Role::Owner).await;
    let plain = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
    let before = server.show("main").await;
    for (owner, org) in [(&server.owner, "acme"), (&rival, "rival")] {
        let token: CreatedHostToken =
            owner.post(&format!("/v1/orgs/{org}/host-tokens"), &json!({ "name": "other" })).await.unwrap();
        let registered: Registered = plain.post(REGISTER_PATH, &Register { token: token.token }).await.unwrap();
        let mut other = FakeHost::connect(server.path("server.sock"), registered).await;
        // It is acknowledged, so that it forgets it, and changes nothing; told to the ledger once.
        for sequence in [1_000, 1_001] {
            let mut claim = report(workspace.id, 9, ObservedPhase::Up, true, ReadinessState::Ready);
            claim.sequence = sequence;
            other.report_as_is(claim).await;
        }
        other
            .pulse(Pulse {
                workspace: workspace.id,
                generation: 0,
                process_runs: true,
                service_milli_cpu: 900,
                memory: 0,
                jobs_running: 3,
                work: None,
            })
            .await;
        // What comes after the heartbeat is taken in after it.
        other.report_as_is(report(workspace.id, 9, ObservedPhase::Up, true, ReadinessState::Ready)).await;
    }
    let mut owner = server.database_owner().await;
    let refused: Vec<(String, String)> = sqlx::query_as(
        "SELECT o.slug, e.details ->> 'workspace' FROM ledger_events e JOIN orgs o USING (org_id) WHERE verb = 'host.report_refused' ORDER BY seq",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let id = workspace.id.to_string();
    assert_eq!(refused, [("acme".to_owned(), id.clone()), ("rival".to_owned(), id)]);
    assert_eq!(server.show("main").await, before);
    let jobs: i32 = sqlx::query_scalar("SELECT jobs_running FROM runtimes").fetch_one(&mut owner).await.unwrap();
    assert_eq!(jobs, 0);
    // Whose it is still can.
    host.prepared(workspace.id).await;
}

//! Several gateways with one server: whose requests are open, and wakes that two ask for, or one asks for twice.

use crate::support::{FakeHost, Feed, TestServer, code, report, unknown};
use envforge_api::client::Client;
use envforge_api::gateway::{ACTIVITY_PATH, Activity, WAKE_PATH, WakeAnswer, WakeRequest, WorkspaceActivity};
use envforge_api::http::links::{CreatedLink, Links};
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::id::{GatewayId, LinkSessionId, WorkspaceId};
use envforge_core::idle::IdleVerdict;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_testkit::wait_until;
use serde_json::{Value, json};

const LINKS: &str = "/v1/orgs/acme/workspaces/main/links";

/// A gateway that listens to the feed, until it is dropped.
pub(crate) struct FakeGateway {
    pub(crate) id: GatewayId,
    client: Client,
    _feed: Feed,
}

impl FakeGateway {
    pub(crate) async fn at(server: &TestServer, port: u16) -> Self {
        Self::come(server, unknown(), port).await
    }

    async fn come(server: &TestServer, id: GatewayId, port: u16) -> Self {
        let client = server.gateway();
        let mut feed = Feed::open(&client, id, port).await;
        feed.next().await.expect("the feed begins");
        Self { id, client, _feed: feed }
    }

    /// Tells how many requests are open.
    pub(crate) async fn tell(&self, server: &TestServer, workspace: WorkspaceId, in_flight: u32) {
        tell(server, &self.client, self.id, workspace, in_flight).await;
    }
}

async fn tell(server: &TestServer, client: &Client, gateway: GatewayId, workspace: WorkspaceId, in_flight: u32) {
    let last_activity = server.clock.now();
    let seen = WorkspaceActivity { workspace, in_flight, realtime: 0, realtime_bytes: 0, requests: 1, last_activity };
    let activity = Activity { gateway, workspaces: vec![seen], unverified: Vec::new() };
    client.post::<_, ()>(ACTIVITY_PATH, &activity).await.unwrap();
}

/// How many requests keep `main` busy, as people are told.
async fn open_requests(server: &TestServer) -> String {
    match server.show("main").await.runtime.idle {
        Some(IdleVerdict::Busy { reason, .. }) => reason,
        Some(IdleVerdict::Idle { .. }) => "idle".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Time goes on for everybody: those that listen are heard of now.
async fn time_goes_on(server: &TestServer, seconds: i64, there: &[GatewayId]) {
    server.advance(seconds);
    let mut owner = server.database_owner().await;
    let there: Vec<uuid::Uuid> = there.iter().map(|id| envforge_core::id::Id::uuid(*id)).collect();
    let now = jiff_sqlx::ToSqlx::to_sqlx(server.clock.now());
    wait_until("they are heard of", async || {
        let late = "SELECT count(*) FROM gateways WHERE id = ANY ($1) AND heard_at = $2";
        let heard: i64 = sqlx::query_scalar(late).bind(&there).bind(now).fetch_one(&mut owner).await.unwrap();
        heard == there.len() as i64
    })
    .await;
}

// proves RUN-4
#[tokio::test]
async fn requests_are_open_at_each_gateway_by_itself_and_end_with_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.advance(13);
    let (one, other) = (FakeGateway::at(&server, 7081).await, FakeGateway::at(&server, 7091).await);
    one.tell(&server, workspace.id, 1).await;
    other.tell(&server, workspace.id, 2).await;
    assert_eq!(open_requests(&server).await, "3 requests in flight");
    one.tell(&server, workspace.id, 0).await;
    assert_eq!(open_requests(&server).await, "2 requests in flight");
    one.tell(&server, workspace.id, 1).await;
    let third = FakeGateway::at(&server, 7101).await;
    assert_eq!(open_requests(&server).await, "3 requests in flight", "who comes makes nobody forget");
    // One that holds no feed has nothing open: it would have cut it.
    tell(&server, &server.gateway(), unknown(), workspace.id, 5).await;
    assert_eq!(open_requests(&server).await, "3 requests in flight");

    drop(other);
    let there = [one.id, third.id];
    time_goes_on(&server, 6, &there).await;
    assert_eq!(open_requests(&server).await, "3 requests in flight", "it may come back within its lease");
    time_goes_on(&server, 6, &there).await;
    time_goes_on(&server, 7, &there).await;
    wait_until("it is forgotten", async || open_requests(&server).await == "1 request in flight").await;
    one.tell(&server, workspace.id, 0).await;
    assert_eq!(open_requests(&server).await, "idle");
}

// proves RUN-4 OPS-2
#[tokio::test]
async fn a_server_that_was_away_forgets_no_gateway_that_comes_back() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let (stays, ends) = (FakeGateway::at(&server, 7081).await, FakeGateway::at(&server, 7091).await);
    stays.tell(&server, workspace.id, 1).await;
    ends.tell(&server, workspace.id, 1).await;
    server.stop();
    let id = stays.id;
    drop((stays, ends));
    let mut owner = server.database_owner().await;
    sqlx::query("UPDATE gateways SET heard_at = heard_at - interval '60 s'").execute(&mut owner).await.unwrap();
    server.restart().await;
    assert_eq!(open_requests(&server).await, "2 requests in flight", "both may come back");
    let back = FakeGateway::come(&server, id, 7081).await;
    time_goes_on(&server, 6, &[id]).await;
    time_goes_on(&server, 7, &[id]).await;
    wait_until("the other is forgotten", async || open_requests(&server).await == "1 request in flight").await;
    drop(back);
}

// proves RUN-4
#[tokio::test]
async fn a_feed_ends_whose_gateway_was_forgotten_meanwhile() {
    let server = TestServer::start().await;
    let gateway = FakeGateway::at(&server, 7081).await;
    let mut owner = server.database_owner().await;
    sqlx::query("DELETE FROM gateways").execute(&mut owner).await.unwrap();
    let FakeGateway { _feed: mut feed, .. } = gateway;
    let end = async { while feed.next().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(5), end).await.expect("it has to come again, and tell again");
}

/// `main` asleep after it was awake, and a session of a link to it with so many wakes.
async fn asleep(server: &TestServer, host: &mut FakeHost, wakes: u32) -> (Workspace, WakeRequest) {
    let workspace = server.workspace(host).await;
    let start = server.awake(host, &workspace).await;
    let link: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web", "wake_budget": wakes })).await.unwrap();
    let session = server.exchange("web--main--acme", &link.token).await.unwrap().session;
    sleep(server, host, &workspace, start.generation + 1).await;
    (workspace, WakeRequest { session, session_id: unknown::<LinkSessionId>(), path: "/".to_owned() })
}

async fn sleep(server: &TestServer, host: &mut FakeHost, workspace: &Workspace, generation: u64) {
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
}

/// Wakes that were asked for by links, and what the link spent.
async fn spent(server: &TestServer) -> (i64, u32) {
    let mut owner = server.database_owner().await;
    let asked = "SELECT count(*) FROM ledger_events WHERE verb = 'runtime.wake_asked' AND actor LIKE 'link_session:%'";
    let asked = sqlx::query_scalar(asked).fetch_one(&mut owner).await.unwrap();
    let links: Links = server.owner.get(LINKS).await.unwrap();
    (asked, links.links[0].wakes)
}

// proves LINK-4 RUN-3
#[tokio::test]
async fn a_wake_asked_by_two_gateways_at_once_is_one() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let (_, request) = asleep(&server, &mut host, 1).await;
    let (one, other) = (server.gateway(), server.gateway());
    let wake = async |gateway: &Client| gateway.post::<_, WakeAnswer>(WAKE_PATH, &request).await.unwrap().runtime;
    let answers = tokio::join!(wake(&one), wake(&other));
    assert_eq!((answers.0.state, answers.0.generation), (RuntimeState::Waking, answers.1.generation));
    assert_eq!(spent(&server).await, (1, 1));
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    host.up(&start).await;
    // The slower one asks when it is up already.
    assert_eq!(wake(&other).await.state, RuntimeState::Awake);
    assert_eq!(spent(&server).await, (1, 1));
    assert_eq!(host.pending(), 0);
}

// proves LINK-4 RUN-3
#[tokio::test]
async fn a_wake_whose_answer_was_lost_with_the_server_is_one() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    let (workspace, request) = asleep(&server, &mut host, 2).await;
    // Committed; nobody hears the answer.
    drop(envforge_server::gateways::ops::wake(server.server.app(), &request).await.unwrap());
    server.restart().await;
    let again: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
    assert_eq!(again.runtime.state, RuntimeState::Waking);
    assert_eq!(spent(&server).await, (1, 1));
    host.reconnect().await;
    let start = host.command("START_RUNTIME").await;
    assert_eq!(start.generation, again.runtime.generation);
    host.done(&start).await;
    host.up(&start).await;
    // Asked once more after somebody put it to sleep again, it is a request that waits as any other.
    sleep(&server, &mut host, &workspace, start.generation + 1).await;
    let anew: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
    assert_eq!(anew.runtime.generation, start.generation + 2);
    assert_eq!(spent(&server).await, (2, 2), "one for each sleep");
}

// proves LINK-4 RUN-3
#[tokio::test]
async fn a_wake_asked_again_does_not_start_what_could_not_start() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let (workspace, request) = asleep(&server, &mut host, 1).await;
    let woken: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    let blocked = report(workspace.id, start.generation, ObservedPhase::Blocked, false, ReadinessState::Blocked);
    host.report(blocked).await;
    // Another gateway, which had not heard of it; or the same, whose answer was lost.
    let late: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
    assert_eq!((late.runtime.state, late.runtime.generation), (RuntimeState::Blocked, woken.runtime.generation));
    assert_eq!(spent(&server).await, (1, 1));
    assert_eq!(host.pending(), 0);
    // A member starts it again.
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    host.up(&start).await;
    sleep(&server, &mut host, &workspace, start.generation + 1).await;
    assert_eq!(code(server.gateway().post::<_, Value>(WAKE_PATH, &request).await), "link.wakes_spent");
}

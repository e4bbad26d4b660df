//! WebSockets and event streams: through, counted, and over when their session is.

use crate::support::{COOKIE, HOST, PATIENCE, Plan, World, id, until};
use envforge_api::gateway::FeedItem;
use envforge_core::token::Signer;
use envforge_gateway::Limits;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

// proves LINK-3
#[tokio::test]
async fn a_websocket_goes_through_whole() {
    let world = World::awake().await;
    let mut socket = world.socket(1).await.expect("a socket");
    let long = vec![7_u8; 3_000_000];
    for message in [Message::text("hello"), Message::binary(long), Message::text("")] {
        socket.send(message.clone()).await.expect("sent");
        let got = timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
        assert!(got.expect("a message").expect("whole") == message);
    }
    let told = || {
        let activity = world.server.activity();
        activity.iter().flat_map(|one| &one.workspaces).map(|one| one.realtime_bytes).sum::<u64>()
    };
    until("its bytes are told", || told() > 6_000_000).await;
    socket.close(None).await.expect("closed");
    until("the app sees it end", || world.web.sockets() == 0).await;
    until("its end is told", || {
        let activity = world.server.activity();
        let last = activity.iter().rev().flat_map(|one| &one.workspaces).next();
        last.is_some_and(|last| last.realtime == 0 && last.in_flight == 0)
    })
    .await;
    let seen = &world.web.seen()[0].headers;
    assert!(!seen.contains_key("cookie") && seen["host"] == HOST, "{seen:?}");
}

// proves LINK-2
#[tokio::test]
async fn a_revoked_link_ends_its_sockets_within_a_second() {
    let world = World::awake().await;
    let (mut revoked, mut other) = (world.socket(1).await.expect("a socket"), world.socket(2).await.expect("a socket"));
    until("both are open", || world.web.sockets() == 2).await;
    world.server.feed(&FeedItem::Revoked { link: id(1) });
    let close = timeout(Duration::from_secs(1), revoked.next()).await.expect("within a second");
    match close.expect("a close frame").expect("whole") {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1008),
        message => panic!("{message:?}"),
    }
    until("the app sees it end", || world.web.sockets() == 1).await;
    other.send(Message::text("still here")).await.expect("sent");
    assert_eq!(other.next().await.expect("a message").expect("whole"), Message::text("still here"));
}

// proves LINK-2
#[tokio::test]
async fn keys_rotate_under_open_sockets() {
    let world = World::awake().await;
    let mut before = world.socket(1).await.expect("a socket");
    let next = Signer::from_seed(&[8; 32]);
    let snapshot = |keys: &[&Signer]| {
        let keys = keys.iter().map(|signer| signer.public_key()).collect();
        world.server.feed(&FeedItem::Snapshot { keys, revoked: Vec::new(), ended: Vec::new() });
    };
    let cookie = |signer: &Signer, n: u128| format!("{COOKIE}={}", signer.sign(&world.claims(n)));
    let unknown = world.get("/", &[("cookie", &cookie(&next, 2))]).await;
    assert_eq!(unknown.status, 401, "nobody told of this key yet");
    snapshot(&[&world.signer, &next]);
    let is_known = async {
        while world.get("/", &[("cookie", &cookie(&next, 2))]).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_known).await.expect("the key is told in time");
    assert_eq!(world.get("/", &[("cookie", &cookie(&world.signer, 1))]).await.status, 200);
    before.send(Message::text("still here")).await.expect("sent");
    assert_eq!(before.next().await.expect("a message").expect("whole"), Message::text("still here"));
    snapshot(&[&next]);
    let close = timeout(Duration::from_secs(1), before.next()).await.expect("within a second");
    assert!(matches!(close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1008));
    assert_eq!(world.get("/", &[("cookie", &cookie(&world.signer, 1))]).await.status, 401);
    assert_ne!(world.get("/", &[("cookie", &cookie(&next, 2))]).await.status, 401);
}

// proves LINK-2
#[tokio::test]
async fn an_expired_session_ends_its_sockets_within_a_second() {
    let world = World::awake().await;
    let mut socket = world.socket(1).await.expect("a socket");
    world.clock.advance(SignedDuration::from_mins(61));
    let close = timeout(Duration::from_secs(1), socket.next()).await.expect("within a second");
    assert!(matches!(close, Some(Ok(Message::Close(_)))), "{close:?}");
}

// proves LINK-3
// proves LINK-2
#[tokio::test]
async fn events_flow_as_they_happen_and_stop_with_their_session() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let mut events = world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body();
    until("somebody listens", || world.web.listeners() == 1).await;
    for text in ["one", "two"] {
        world.web.event(text);
        let frame = timeout(Duration::from_secs(5), events.frame()).await.expect("at once");
        let data = frame.expect("an event").expect("whole").into_data().expect("data");
        assert_eq!(data, format!("data: {text}\n\n"));
    }
    until("it counts as realtime, not as in flight", || {
        let activity = world.server.activity();
        activity.iter().flat_map(|one| &one.workspaces).any(|one| one.realtime == 1 && one.in_flight == 0)
    })
    .await;
    world.server.feed(&FeedItem::Revoked { link: id(1) });
    let end = timeout(Duration::from_secs(1), events.frame()).await.expect("within a second");
    assert!(!matches!(end, Some(Ok(_))), "cut off");
    until("the app sees it end", || world.web.listeners() == 0).await;
}

// proves LINK-2 OPS-4
#[tokio::test]
async fn a_gateway_that_is_ending_still_hears_of_revocations() {
    let limits = Limits { drain: Duration::from_mins(1), drain_notice: Duration::ZERO, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let cookie = world.cookie(1);
    let mut events = world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body();
    until("somebody listens", || world.web.listeners() == 1).await;
    world.stop.cancel();
    until("it takes nobody in", || std::net::TcpStream::connect(world.gateway.local_addr).is_err()).await;
    world.web.event("one");
    assert!(matches!(timeout(PATIENCE, events.frame()).await.expect("in time"), Some(Ok(_))), "it goes on");
    world.server.feed(&FeedItem::Revoked { link: id(1) });
    let end = timeout(Duration::from_secs(1), events.frame()).await.expect("within a second");
    assert!(!matches!(end, Some(Ok(_))), "cut off");
}

// proves LINK-2
#[tokio::test]
async fn a_request_under_way_ends_with_its_session() {
    let world = World::awake().await;
    let conduct = async {
        until("the app has it", || world.web.seen().len() == 1).await;
        world.server.feed(&FeedItem::Revoked { link: id(1) });
    };
    let (answer, ()) = tokio::join!(world.visit("/slow"), conduct);
    assert_eq!(answer.status, 401);
    assert_eq!(world.gateway.stats().ended, 1);
}

// proves LINK-3
#[tokio::test]
async fn a_refused_upgrade_is_passed_on_as_it_is() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let headers = [("cookie", cookie.as_str()), ("connection", "upgrade"), ("upgrade", "websocket")];
    let answer = world.get("/ws", &headers).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, "a WebSocket is wanted"));
    let h2c = [
        ("cookie", cookie.as_str()),
        ("connection", "upgrade, http2-settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AA"),
    ];
    assert_eq!(world.get("/x", &h2c).await.body, "web:GET:/x:");
    let seen = world.web.seen();
    let last = &seen.last().expect("a request").headers;
    assert!(!last.contains_key("upgrade") && !last.contains_key("http2-settings"));
}

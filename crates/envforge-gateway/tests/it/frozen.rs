//! A frozen runtime: thawed by its first request, which is already with it if it has no effect; not by pings.

use crate::support::client::Socket;
use crate::support::{PATIENCE, Plan, World, asleep, awake_again, frozen, until};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_gateway::Limits;
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

fn spent() -> Refusal {
    Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up")
}

// proves RUN-5
#[tokio::test]
async fn a_request_sent_before_the_thaw_is_answered_after_it() {
    let world = World::with(frozen()).await;
    world.web.freeze(true);
    world.server.set_wake(awake_again(3));
    world.server.hold_wakes();
    let cookie = world.cookie(1);
    let headers = [("cookie", cookie.as_str())];
    let ask = world.get("/page", &headers);
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        until("the connection is open before the wake is decided", || world.host.opened() == ["web"]).await;
        world.server.let_wakes_go();
        world.web.freeze(false);
    };
    let (answer, ()) = tokio::join!(ask, conduct);
    assert_eq!(answer.body, "web:GET:/page:");
    assert_eq!(world.web.seen().len(), 1);
    assert_eq!(world.server.wakes().len(), 1);
}

// proves RUN-5
#[tokio::test]
async fn a_request_with_an_effect_is_sent_once_its_wake_is_allowed() {
    let world = World::with(frozen()).await;
    world.server.set_wake(awake_again(3));
    let cookie = world.cookie(1);
    let answer = world.ask("POST", "/save", &[("cookie", &cookie)], "precious").await;
    assert_eq!(answer.body, "web:POST:/save:precious");
    assert_eq!((world.web.seen().len(), world.server.wakes().len()), (1, 1));
}

// proves LINK-4
#[tokio::test]
async fn what_may_not_wake_has_no_effect_later_either() {
    let world = World::with(frozen()).await;
    world.web.freeze(true);
    world.server.refuse_wake(&world.session(1), spent());
    world.server.hold_wakes();
    let (cookie, other) = (world.cookie(1), world.cookie(2));
    let (headers, others) = ([("cookie", cookie.as_str())], [("cookie", other.as_str())]);
    let saved = world.ask("POST", "/save", &headers, "precious");
    let deleted = world.ask("DELETE", "/all", &headers, "");
    let looked = async {
        until("the others have arrived", || world.gateway.stats().requests == 3).await;
        world.get("/look", &headers).await
    };
    let conduct = async {
        until("what has no effect is with the app", || !world.host.opened().is_empty()).await;
        world.server.let_wakes_go();
    };
    let (saved, deleted, socket, looked, ()) = tokio::join!(saved, deleted, world.socket(1), looked, conduct);
    assert_eq!((saved.status.as_u16(), saved.code().as_str()), (429, "link.wakes_spent"));
    assert_eq!((deleted.code(), looked.code()), (saved.code(), saved.code()));
    assert!(socket.is_err());
    // Somebody who may wakes it.
    world.web.freeze(false);
    world.server.set_wake(awake_again(3));
    assert_eq!(world.get("/now", &others).await.body, "web:GET:/now:");
    assert_eq!(world.host.opened().len(), 2, "for looking, and now");
    assert!(world.web.seen().iter().all(|seen| ["/look", "/now"].contains(&seen.target.as_str())));
}

// proves RUN-5
#[tokio::test]
async fn connections_survive_the_freeze() {
    let world = World::awake().await;
    assert_eq!(world.visit("/1").await.status, 200);
    world.becomes(frozen());
    world.server.set_wake(awake_again(3));
    let cookie = world.cookie(1);
    let visits = async {
        while world.server.wakes().is_empty() {
            assert_eq!(world.get("/2", &[("cookie", &cookie)]).await.status, 200);
        }
    };
    timeout(PATIENCE, visits).await.expect("a wake in time");
    assert_eq!(world.host.opened().len(), 1, "the kept connection is still good");
}

// proves LINK-4
#[tokio::test]
async fn a_refused_thaw_lets_no_answer_through() {
    let world = World::with(frozen()).await;
    world.server.refuse_wake(&world.session(1), spent());
    world.server.hold_wakes();
    // The app here answers although it is said to be frozen; its answer must not pass before the wake is allowed.
    let conduct = async {
        until("the app was asked", || world.web.seen().len() == 1).await;
        world.server.let_wakes_go();
    };
    let (answer, ()) = tokio::join!(world.visit("/"), conduct);
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "link.wakes_spent"));
}

/// An awake world in which an order to freeze crosses what was sent so long ago.
async fn crossing(crossing: Duration) -> World {
    let limits = Limits { crossing, ..Limits::default() };
    World::new(Plan { limits, ..Plan::default() }).await
}

// proves RUN-3
#[tokio::test]
async fn a_request_that_crosses_the_order_to_freeze_wakes_after_all() {
    let world = crossing(PATIENCE).await;
    world.server.set_wake(awake_again(3));
    let conduct = async {
        until("the app has it", || world.web.seen().len() == 1).await;
        world.becomes(frozen());
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        world.web.finish();
    };
    let (answer, ()) = tokio::join!(world.visit("/slow"), conduct);
    assert_eq!(answer.body, "done at last");
}

// proves RUN-3 LINK-4
#[tokio::test]
async fn a_request_that_crossed_the_order_and_may_not_wake_is_told_so() {
    let world = crossing(PATIENCE).await;
    world.server.refuse_wake(&world.session(1), spent());
    let conduct = async {
        until("the app has it", || world.web.seen().len() == 1).await;
        world.becomes(frozen());
    };
    let (answer, ()) = tokio::join!(world.visit("/slow"), conduct);
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "link.wakes_spent"));
}

/// Makes it frozen and waits until the gateway has heard so.
async fn freeze(world: &World) {
    world.becomes(frozen());
    let heard = async { while !world.visit("/.envforge/readiness").await.body.contains("asleep") {} };
    timeout(PATIENCE, heard).await.expect("heard in time");
}

// proves RUN-3
#[tokio::test]
async fn what_was_under_way_is_paused_and_does_not_undo_the_order_to_sleep() {
    let world = crossing(Duration::ZERO).await;
    let conduct = async {
        until("the app has it", || world.web.seen().len() == 1).await;
        freeze(&world).await;
        world.becomes(awake_again(3));
        world.web.finish();
    };
    let (answer, ()) = tokio::join!(world.visit("/slow"), conduct);
    assert_eq!(answer.body, "done at last");
    assert!(world.server.wakes().is_empty());
}

// proves RUN-3
#[tokio::test]
async fn what_was_paused_and_breaks_at_the_stop_does_not_wake() {
    let world = crossing(Duration::ZERO).await;
    world.server.set_wake(awake_again(4));
    let conduct = async {
        until("the app has it", || world.web.seen().len() == 1).await;
        freeze(&world).await;
        world.becomes(asleep());
        world.web.hang_up();
    };
    let (answer, ()) = tokio::join!(world.visit("/slow"), conduct);
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "service.unreachable"));
    assert!(world.server.wakes().is_empty());
}

// proves RUN-3
#[tokio::test]
async fn a_download_under_way_does_not_undo_the_order_to_sleep() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let download = world.open(World::request("GET", "/large", &[("cookie", &cookie)], "")).await;
    freeze(&world).await;
    let body = http_body_util::BodyExt::collect(download.into_body()).await.expect("whole").to_bytes();
    assert_eq!(body.len(), 5_000_000);
    assert!(world.server.wakes().is_empty());
}

/// Pings until it is the gateway that answers; every ping is answered, by one or the other.
async fn ping_until_frozen(world: &World, socket: &mut Socket) {
    let pings = async {
        let mut count = 0;
        while world.gateway.stats().pongs == 0 {
            count += 1;
            socket.send(Message::Ping(format!("are you there {count}").into())).await.expect("sent");
            let pong = socket.next().await.expect("an answer").expect("whole");
            assert_eq!(pong, Message::Pong(format!("are you there {count}").into()));
        }
    };
    timeout(PATIENCE, pings).await.expect("the gateway answers in time");
}

// proves RUN-5
#[tokio::test]
async fn pings_are_answered_for_a_frozen_service_and_only_data_wakes() {
    let world = World::awake().await;
    let mut socket = world.socket(1).await.expect("a socket");
    socket.send(Message::text("before")).await.expect("sent");
    assert_eq!(socket.next().await.expect("a message").expect("whole"), Message::text("before"));
    world.clock.advance(jiff::SignedDuration::from_secs(60));
    world.becomes(frozen());
    world.server.set_wake(awake_again(3));
    ping_until_frozen(&world, &mut socket).await;
    assert!(world.server.wakes().is_empty(), "a ping wakes nobody");
    socket.send(Message::text("after")).await.expect("sent");
    assert_eq!(socket.next().await.expect("a message").expect("whole"), Message::text("after"));
    until("data wakes", || world.server.wakes().len() == 1).await;
    assert_eq!(world.server.wakes()[0].path, "/ws");
}

// proves RUN-5
#[tokio::test]
async fn pongs_are_not_kept_for_who_does_not_read_them() {
    const PINGS: usize = 400_000;
    let world = World::awake().await;
    let mut socket = world.socket(1).await.expect("a socket");
    world.becomes(frozen());
    ping_until_frozen(&world, &mut socket).await;
    // Masked with zeros; the longest there are.
    let ping = [&[0x89, 0xFD, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let (before, stream) = (world.gateway.stats().pongs, socket.get_mut());
    for _ in 0..PINGS / 1000 {
        timeout(PATIENCE, stream.write_all(&ping.repeat(1000))).await.expect("in time").expect("written");
    }
    // What the kernel holds for both ends, and no more.
    let pongs = world.gateway.stats().pongs - before;
    assert!(pongs * 127 < 24 * 1024 * 1024, "{pongs} of {PINGS} were answered");
}

// proves LINK-4
#[tokio::test]
async fn a_socket_that_may_not_wake_is_closed() {
    let world = World::awake().await;
    world.server.refuse_wake(&world.session(1), spent());
    let mut socket = world.socket(1).await.expect("a socket");
    world.clock.advance(jiff::SignedDuration::from_secs(60));
    world.becomes(frozen());
    ping_until_frozen(&world, &mut socket).await;
    socket.send(Message::text("wake")).await.expect("sent");
    // The app here would answer although it is said to be frozen: it must not hear it.
    match socket.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1013),
        other => panic!("{other:?}"),
    }
}

// proves RUN-4 LINK-4
#[tokio::test]
async fn a_forgotten_tab_that_polls_is_no_work_and_wakes_nothing() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let script = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-site", "same-origin"),
    ];
    let requests = || {
        let activity = world.server.activity();
        activity.iter().flat_map(|one| &one.workspaces).map(|one| one.requests).sum::<u64>()
    };
    for _ in 0..11 {
        assert_eq!(world.get("/news", &script).await.status, 200);
        world.clock.advance(jiff::SignedDuration::from_secs(5));
    }
    until("the first are told as work: somebody may be there", || requests() == 11).await;
    for _ in 0..3 {
        assert_eq!(world.get("/news", &script).await.status, 200, "it is answered as ever");
        world.clock.advance(jiff::SignedDuration::from_secs(5));
    }
    freeze(&world).await;
    assert_eq!(world.get("/news", &script).await.status, 503);
    assert_eq!(world.server.wakes().len(), 0);
    // Somebody looks.
    world.server.set_wake(awake_again(3));
    assert_eq!(world.visit("/").await.status, 200);
    assert_eq!(world.server.wakes().len(), 1);
    until("that is work", || requests() == 12).await;
}

//! A frozen runtime: thawed by its first request, which is already with it; not by pings.

use crate::support::client::Socket;
use crate::support::{PATIENCE, World, awake_again, frozen, until};
use envforge_core::refusal::{Refusal, RefusalKind};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

// proves RUN-5
#[tokio::test]
async fn a_request_sent_before_the_thaw_is_answered_after_it() {
    let world = World::with(frozen()).await;
    world.web.freeze(true);
    world.server.set_wake(awake_again(3));
    world.server.hold_wakes();
    let cookie = world.cookie(1);
    let headers = [("cookie", cookie.as_str())];
    let ask = world.ask("POST", "/save", &headers, "precious");
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        until("the connection is open before the wake is decided", || world.host.opened() == ["web"]).await;
        world.server.let_wakes_go();
        world.web.freeze(false);
    };
    let (answer, ()) = tokio::join!(ask, conduct);
    assert_eq!(answer.body, "web:POST:/save:precious");
    assert_eq!(world.web.seen().len(), 1);
    assert_eq!(world.server.wakes().len(), 1);
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
    let spent = Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up");
    world.server.refuse_wake(&world.session(1), spent);
    world.server.hold_wakes();
    // The app here answers although it is said to be frozen; its answer must not pass before the wake is allowed.
    let conduct = async {
        until("the app was asked", || world.web.seen().len() == 1).await;
        world.server.let_wakes_go();
    };
    let (answer, ()) = tokio::join!(world.visit("/"), conduct);
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "link.wakes_spent"));
}

// proves RUN-3
#[tokio::test]
async fn a_request_that_crosses_the_order_to_freeze_wakes_after_all() {
    let world = World::awake().await;
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

// proves LINK-4
#[tokio::test]
async fn a_socket_that_may_not_wake_is_closed() {
    let world = World::awake().await;
    let spent = Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up");
    world.server.refuse_wake(&world.session(1), spent);
    let mut socket = world.socket(1).await.expect("a socket");
    world.clock.advance(jiff::SignedDuration::from_secs(60));
    world.becomes(frozen());
    ping_until_frozen(&world, &mut socket).await;
    socket.send(Message::text("wake")).await.expect("sent");
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 1013);
                break;
            }
            // The app here answers although it is said to be frozen.
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

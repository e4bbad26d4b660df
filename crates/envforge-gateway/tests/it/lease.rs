//! Cut off from the server means closed.

use crate::support::client::NAVIGATES;
use crate::support::{Plan, World, awake_again, until};
use envforge_gateway::Limits;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

async fn short_lease() -> World {
    let limits = Limits { lease: Duration::from_millis(600), ..Limits::default() };
    World::new(Plan { limits, ..Plan::default() }).await
}

// proves LINK-2
#[tokio::test]
async fn without_a_beat_nothing_is_forwarded_and_nothing_stays_open() {
    let world = short_lease().await;
    assert_eq!(world.visit("/").await.status, 200);
    let mut socket = world.socket(1).await.expect("a socket");
    world.server.fall_silent(true);
    until("the lease ends", || !world.gateway.is_connected()).await;
    let cookie = world.cookie(1);
    let page = world.get("/", &[("cookie", &cookie), NAVIGATES]).await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("paused for a moment"));
    assert_eq!(world.visit("/api").await.status, 503);
    let share = format!("/share/{}", world.link(1));
    assert_eq!(world.get(&share, &[]).await.status, 503, "its revocation may have been missed");
    let end = timeout(Duration::from_secs(2), socket.next()).await.expect("soon");
    assert!(!matches!(end, Some(Ok(ref message)) if !message.is_close()), "{end:?}");
    assert_eq!(world.web.seen().len(), 2);

    world.server.fall_silent(false);
    until("it hears its server again", || world.gateway.is_connected()).await;
    assert_eq!(world.visit("/").await.status, 200);
}

// proves LINK-2
#[tokio::test]
async fn a_link_sent_as_a_header_spends_one_visit_however_often_the_lease_ends() {
    let world = short_lease().await;
    world.exchanges_to(1);
    let link = world.link(1);
    let headers = [("envforge-link", link.as_str())];
    let events = world.open(World::request("GET", "/events", &headers, "")).await.into_body();
    until("it is open", || world.web.listeners() == 1).await;
    world.server.fall_silent(true);
    until("what is open ends with the lease", || world.web.listeners() == 0).await;
    drop(events);
    assert_eq!(world.get("/", &headers).await.status, 503);
    world.server.fall_silent(false);
    until("it hears its server again", || world.gateway.is_connected()).await;
    assert_eq!(world.get("/", &headers).await.status, 200);
    assert_eq!(world.server.exchanges().len(), 1);
    world.server.feed(&envforge_api::gateway::FeedItem::Revoked { link: crate::support::id(1) });
    assert_eq!(world.until_refused(&headers).await.code(), "link.revoked");
}

// proves LINK-2
#[tokio::test]
async fn a_new_feed_replaces_what_was_known() {
    let world = World::awake().await;
    assert_eq!(world.visit("/").await.status, 200);
    world.server.go_down(true);
    until("it is gone", || world.server.feeds_open() == 0).await;
    assert_eq!(world.visit("/").await.status, 200, "within the lease, what is known goes on");
    // Revoked and moved while the gateway could not hear it.
    world.server.feed(&envforge_api::gateway::FeedItem::Revoked { link: crate::support::id(2) });
    world.server.set_route(world.route(awake_again(9)));
    let calls = world.gateway.stats().route_calls;
    world.server.go_down(false);
    until("it listens again", || world.server.feeds_open() == 1).await;
    let other = world.cookie(2);
    world.until_refused(&[("cookie", &other)]).await;
    assert_eq!(world.visit("/").await.status, 200);
    assert_eq!(world.gateway.stats().route_calls, calls + 1, "routes are asked for again");
}

// proves RUN-4
#[tokio::test]
async fn what_is_under_way_is_told_anew_when_the_feed_begins_anew() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let told = || {
        let activity = world.server.activity();
        assert!(activity.iter().all(|one| one.gateway == crate::support::id(1)));
        activity.iter().flat_map(|one| &one.workspaces).filter(|one| one.in_flight == 1).count()
    };
    let headers = [("cookie", cookie.as_str())];
    let slow = world.get("/slow", &headers);
    let conduct = async {
        until("the server was told of it", || told() == 1).await;
        world.server.go_down(true);
        until("the feed is lost", || world.server.feeds_open() == 0).await;
        world.server.go_down(false);
        until("the server was told of it again", || told() == 2).await;
        world.web.finish();
    };
    let (answer, ()) = tokio::join!(slow, conduct);
    assert_eq!(answer.body, "done at last");
}

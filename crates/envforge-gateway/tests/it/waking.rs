//! What sleeps is woken, once, and whoever waits is treated as what it is.

use crate::support::client::NAVIGATES;
use crate::support::{PATIENCE, Plan, World, asleep, awake_again, id, runtime, until, waking};
use envforge_api::gateway::FeedItem;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::runtime::RuntimeState;
use envforge_gateway::Limits;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

fn short(hold: u64, patience: u64) -> Plan {
    let limits =
        Limits { hold: Duration::from_millis(hold), patience: Duration::from_millis(patience), ..Limits::default() };
    Plan { runtime: asleep(), limits, ..Plan::default() }
}

// proves LINK-4
#[tokio::test]
async fn many_who_wait_cause_one_wake() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    world.server.hold_wakes();
    let paths: Vec<String> = (0..40).map(|n| format!("/{n}?secret={n}")).collect();
    let asks = join_all(paths.iter().map(|path| world.visit(path)));
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        until("all have arrived", || world.gateway.stats().requests >= 40).await;
        world.server.let_wakes_go();
        world.becomes(waking());
        world.becomes(awake_again(2));
    };
    let (answers, ()) = tokio::join!(asks, conduct);
    for (answer, path) in answers.iter().zip(&paths) {
        assert_eq!(answer.body, format!("web:GET:{path}:"));
    }
    let wakes = world.server.wakes();
    assert_eq!(wakes.len(), 1);
    assert!(wakes[0].path.starts_with('/') && !wakes[0].path.contains("secret"), "no query in the log");
    assert_eq!(world.gateway.stats().wake_calls, 1);
    assert_eq!(wakes[0].session, world.session(1));
}

// proves LINK-5
#[tokio::test]
async fn a_browser_gets_the_page_that_becomes_the_app() {
    let world = World::new(short(25_000, 50)).await;
    world.server.set_wake(waking());
    let cookie = world.cookie(1);
    let page = world.get("/", &[("cookie", &cookie), NAVIGATES]).await;
    assert_eq!(page.status, 503);
    assert_eq!(page.header("retry-after"), "1");
    assert!(page.body.contains("Waking up") && page.body.contains("fix"), "{}", page.body);
    assert!(page.body.contains("http-equiv=\"refresh\""), "it works without script");
    assert!(page.body.contains("/.envforge/readiness"));

    let json = world.get("/.envforge/readiness", &[("cookie", &cookie)]).await;
    assert_eq!(
        json.body,
        r#"{"state":"waking","ready":false,"parts":[{"name":"postgres","state":"waking"},{"name":"api","state":"waking"},{"name":"web","state":"waking"}]}"#
    );
    assert_eq!(world.get("/.envforge/readiness", &[]).await.status, 401);
    assert_eq!(world.get("/.envforge/secrets", &[("cookie", &cookie)]).await.status, 404);

    let events = World::request(
        "GET",
        "/.envforge/readiness?path=%2Fapi",
        &[("cookie", &cookie), ("accept", "text/event-stream")],
        "",
    );
    let mut events = world.open(events).await.into_body();
    let mut next = async || {
        let frame = http_body_util::BodyExt::frame(&mut events).await.expect("an event").expect("a frame");
        String::from_utf8_lossy(&frame.into_data().expect("data")).into_owned()
    };
    assert!(next().await.contains(r#""state":"waking""#));
    world.becomes(awake_again(2));
    assert!(next().await.contains(r#""state":"ready","ready":true"#));
    assert_eq!(world.get("/", &[("cookie", &cookie), NAVIGATES]).await.body, "web:GET:/:");
    assert_eq!(world.server.wakes().len(), 1);
    world.server.feed(&FeedItem::Revoked { link: id(1) });
    let end = timeout(PATIENCE, http_body_util::BodyExt::frame(&mut events)).await.expect("it ends with its session");
    assert!(end.is_none());
}

// proves LINK-5
#[tokio::test]
async fn a_page_that_waits_learns_what_happened_while_the_feed_was_lost() {
    let world = World::with(waking()).await;
    let cookie = world.cookie(1);
    let headers = [("cookie", cookie.as_str()), ("accept", "text/event-stream")];
    let mut events = world.open(World::request("GET", "/.envforge/readiness", &headers, "")).await.into_body();
    let mut next = async || {
        let frame = timeout(PATIENCE, http_body_util::BodyExt::frame(&mut events)).await.expect("in time");
        String::from_utf8_lossy(&frame.expect("an event").expect("a frame").into_data().expect("data")).into_owned()
    };
    assert!(next().await.contains(r#""state":"waking""#));
    world.server.go_down(true);
    until("the feed is lost", || world.server.feeds_open() == 0).await;
    world.server.set_route(world.route(awake_again(2)));
    world.server.go_down(false);
    assert!(next().await.contains(r#""state":"ready","ready":true"#));
}

// proves LINK-5
#[tokio::test]
async fn a_fast_wake_never_shows_the_page() {
    let world = World::with(asleep()).await;
    world.server.set_wake(awake_again(2));
    let cookie = world.cookie(1);
    assert_eq!(world.get("/", &[("cookie", &cookie), NAVIGATES]).await.body, "web:GET:/:");
    assert_eq!(world.gateway.stats().waiting_pages, 0);
}

// proves LINK-5
#[tokio::test]
async fn a_program_is_held_and_then_told_to_come_back() {
    let world = World::new(short(100, 50)).await;
    world.server.set_wake(waking());
    let answer = world.visit("/api/x").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "runtime.waking"));
    assert_eq!(answer.header("retry-after"), "1");
    let form = world.ask("POST", "/", &[("cookie", &world.cookie(1)), NAVIGATES], "x").await;
    assert!(form.body.contains("still waking up") && !form.body.contains("readiness"), "a form can't become the page");
}

// proves LINK-5
#[tokio::test]
async fn a_body_is_not_lost_while_it_is_held() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    let cookie = world.cookie(1);
    let headers = [("cookie", cookie.as_str())];
    let ask = world.ask("POST", "/save", &headers, "precious");
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(ask, conduct);
    assert_eq!(answer.body, "web:POST:/save:precious");
}

// proves LINK-5
#[tokio::test]
async fn each_service_is_waited_for_by_itself() {
    let world = World::with(waking()).await;
    let mut half = waking();
    half.parts[0].state = ReadinessState::Ready;
    let web = world.visit("/");
    let conduct = async {
        until("it has arrived", || world.gateway.stats().requests == 1).await;
        world.becomes(half);
    };
    let (answer, ()) = tokio::join!(web, conduct);
    assert_eq!(answer.body, "web:GET:/:", "the page need not wait for the api");
    let api = world.visit("/api");
    let conduct = async {
        until("it has arrived", || world.gateway.stats().requests == 2).await;
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(api, conduct);
    assert_eq!(answer.body, "api:GET:/api:");
    assert!(world.server.wakes().is_empty(), "somebody had woken it already");
}

// proves LINK-5
#[tokio::test]
async fn a_websocket_is_held_while_it_wakes() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        world.becomes(awake_again(2));
    };
    let (socket, ()) = tokio::join!(world.socket(1), conduct);
    let mut socket = socket.expect("a socket");
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("a message").expect("whole"), Message::text("hello"));
}

// proves LINK-4 RUN-4
#[tokio::test]
async fn a_forgotten_tab_that_connects_again_starts_nothing() {
    let world = World::with(asleep()).await;
    let cookie = world.cookie(1);
    let tab = [
        ("cookie", cookie.as_str()),
        ("origin", "http://web--fix--acme.localhost"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for _ in 0..3 {
        let answer = world.get("/ws", &tab).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "runtime.asleep"));
        assert_eq!(answer.header("retry-after"), "30");
    }
    assert!(world.server.wakes().is_empty());
    // Somebody looks at the tab: a page, or a click in it, wakes; then the tab's socket goes through.
    world.server.set_wake(awake_again(2));
    assert_eq!(world.get("/api/click", &[("cookie", &cookie)]).await.status, 200);
    let socket = World::request("GET", "/ws", &tab, "");
    assert_eq!(world.open(socket).await.status(), 101);
    assert_eq!(world.server.wakes().len(), 1);
}

// proves LINK-5
#[tokio::test]
async fn a_blocked_runtime_says_nothing_of_its_cause() {
    let mut blocked = runtime(RuntimeState::Blocked, 3, ReadinessState::Blocked);
    blocked.blocked_cause = Some("DATABASE_URL is wrong".to_owned());
    blocked.blocked_fix = Some("look at line 7".to_owned());
    let world = World::with(blocked).await;
    let cookie = world.cookie(1);
    let page = world.get("/", &[("cookie", &cookie), NAVIGATES]).await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("The team can see why."));
    let json = world.get("/", &[("cookie", &cookie), ("accept", "application/json")]).await;
    assert_eq!(json.code(), "runtime.blocked");
    for answer in [page.body, json.body] {
        assert!(!answer.contains("DATABASE_URL") && !answer.contains("line 7"));
    }
    assert!(world.server.wakes().is_empty(), "a visitor does not retry what the team must fix");
}

// proves LINK-5
#[tokio::test]
async fn a_wake_that_ends_blocked_lets_waiters_go() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        world.becomes(runtime(RuntimeState::Blocked, 2, ReadinessState::Blocked));
    };
    let (answer, ()) = tokio::join!(world.visit("/api"), conduct);
    assert_eq!(answer.code(), "runtime.blocked");
}

// proves LINK-2
#[tokio::test]
async fn a_refused_wake_is_told_in_the_servers_words() {
    let world = World::with(asleep()).await;
    let spent = Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up").hint("raise it");
    world.server.refuse_wake(&world.session(1), spent);
    world.server.set_wake(awake_again(2));
    let cookie = world.cookie(1);
    let page = world.get("/", &[("cookie", &cookie), NAVIGATES]).await;
    assert_eq!(page.status, 429);
    assert!(page.body.contains("wakes are used up") && !page.body.contains("raise it"));
    let json = world.visit("/api").await;
    assert!(!json.body.contains("raise it"));
    assert_eq!(world.server.wakes().len(), 1, "the same link is not asked for again at once");
    let other = world.cookie(2);
    assert_eq!(world.get("/", &[("cookie", &other)]).await.status, 200, "another link may wake it");
}

// proves LINK-4
#[tokio::test]
async fn somebody_elses_refusal_is_not_mine() {
    let world = World::with(asleep()).await;
    let spent = Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up");
    world.server.refuse_wake(&world.session(1), spent);
    world.server.set_wake(awake_again(2));
    world.server.hold_wakes();
    let (one, two) = (world.cookie(1), world.cookie(2));
    let (one, two) = ([("cookie", one.as_str())], [("cookie", two.as_str())]);
    let first = world.get("/1", &one);
    let second = async {
        until("the first has begun a wake", || world.server.wakes().len() == 1).await;
        world.get("/2", &two).await
    };
    let conduct = async {
        until("both have arrived", || world.gateway.stats().requests == 2).await;
        world.server.let_wakes_go();
    };
    let (first, second, ()) = tokio::join!(first, second, conduct);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (429, 200));
    assert_eq!(world.server.wakes().len(), 2);
}

// proves LINK-4
#[tokio::test]
async fn a_wake_goes_on_without_whoever_began_it() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    world.server.hold_wakes();
    let cookie = world.cookie(1);
    {
        let impatient = [("cookie", cookie.as_str())];
        let request = world.get("/", &impatient);
        tokio::select! {
            answer = request => panic!("answered {answer:?}"),
            () = until("a wake is asked for", || world.server.wakes().len() == 1) => {}
        }
    }
    let patient = world.visit("/patient");
    let conduct = async {
        until("it has arrived", || world.gateway.stats().requests == 2).await;
        world.server.let_wakes_go();
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(patient, conduct);
    assert_eq!(answer.status, 200);
    assert_eq!(world.server.wakes().len(), 1);
}

// proves LINK-5
#[tokio::test]
async fn only_so_many_are_held() {
    let limits = Limits { held: 2, ..Limits::default() };
    let world = World::new(Plan { runtime: waking(), limits, ..Plan::default() }).await;
    let held = join_all([world.visit("/1"), world.visit("/2")]);
    let third = async {
        until("two are held", || world.gateway.stats().requests == 2).await;
        let mut tries = 0;
        loop {
            // The two may not have taken their places yet; whoever comes third is turned away at once.
            let turned_away = tokio::time::timeout(Duration::from_secs(2), world.visit("/3")).await;
            if let Ok(answer) = turned_away {
                break answer;
            }
            tries += 1;
            assert!(tries < 3, "nobody is turned away");
        }
    };
    let conduct = async {
        let third = third.await;
        world.becomes(awake_again(2));
        third
    };
    let (held, third) = tokio::join!(held, conduct);
    assert!(held.iter().all(|answer| answer.status == 200));
    assert_eq!(third.code(), "runtime.waking");
}

// proves LINK-4
#[tokio::test]
async fn changes_on_the_way_up_cause_no_further_wake() {
    let world = World::with(asleep()).await;
    // The wake is accepted, but what the server sees still says asleep for a while.
    let still = |services| runtime(RuntimeState::Asleep, 2, services);
    world.server.set_wake(still(ReadinessState::Asleep));
    let conduct = async {
        until("a wake is asked for", || world.server.wakes().len() == 1).await;
        for services in [ReadinessState::Waking, ReadinessState::Asleep, ReadinessState::Waking] {
            world.becomes(still(services));
            let word = serde_json::to_string(&services).expect("a word");
            let told = format!(r#"{{"name":"web","state":{word}}}"#);
            let heard = async { while !world.visit("/.envforge/readiness").await.body.contains(&told) {} };
            timeout(PATIENCE, heard).await.expect("the change is heard in time");
        }
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(world.visit("/"), conduct);
    assert_eq!(answer.status, 200);
    assert_eq!(world.server.wakes().len(), 1);
}

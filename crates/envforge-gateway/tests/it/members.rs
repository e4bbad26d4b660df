//! Members on dev hosts: to the product and back, what does not fit on the way, and what ends their sessions.

use crate::support::client::{Answer, NAVIGATES};
use crate::support::{COOKIE, LABEL, PRODUCT, Plan, World, asleep, id, logs, runtime, until, waking};
use envforge_api::gateway::{Exchanged, FeedItem};
use envforge_core::clock::Clock as _;
use envforge_core::entry::state_of;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::runtime::RuntimeState;
use envforge_core::token::Signer;
use envforge_gateway::Scheme;
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::SignedDuration;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const NONCE: &str = "a nonce";
const JSON: (&str, &str) = ("accept", "application/json");

/// The value of a cookie that an answer sets.
fn set_cookie<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut cookies = answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    cookies.find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='))
}

impl World {
    /// The server makes a session of member 1 of whatever code it is shown.
    fn lets_in(&self) -> String {
        let session = self.members_session(1);
        self.makes(&session);
        session
    }

    fn makes(&self, session: &str) {
        let expires_at = self.clock.now().saturating_add(SignedDuration::from_mins(60)).expect("in range");
        self.server.set_exchange(Ok(Exchanged { session: session.to_owned(), expires_at }));
    }

    /// Comes back with a code and the cookies given.
    async fn enter(&self, code: &str, cookie: &str) -> Answer {
        let path = format!("/.envforge/enter?code={code}&to=%2Fa%3Fb%3Dc");
        self.get(
            &path,
            &[("cookie", cookie), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), NAVIGATES],
        )
        .await
    }
}

// proves LINK-8 LINK-10
#[tokio::test]
async fn a_strangers_card_leads_members_to_the_product() {
    let world = World::awake().await;
    let card = world.get("/a?b=c&d", &[NAVIGATES]).await;
    assert_eq!(card.status, 401);
    assert!(card.body.contains(r#"On the team? <a href="/.envforge/sign-in?to=/a%3Fb%3Dc%26d""#), "{}", card.body);
    let dead = world.get("/share/efl1.x.y", &[NAVIGATES]).await;
    assert!(dead.body.contains(r#"href="/.envforge/sign-in" "#) && !dead.body.contains("efl1"), "{}", dead.body);
    assert!(!world.get("/", &[JSON]).await.body.contains("sign-in"), "a program has no account");
    let alone = World::new(Plan { product_url: None, ..Plan::default() }).await;
    assert!(!alone.get("/", &[NAVIGATES]).await.body.contains("On the team?"));
    assert_eq!(alone.get("/.envforge/sign-in", &[NAVIGATES]).await.status, 401);
}

// proves LINK-8 LINK-10
#[tokio::test]
async fn leaving_sets_a_nonce_and_asks_the_server_nothing() {
    for (scheme, name, flags) in [
        (Scheme::Http, "envforge-state", "; Path=/; HttpOnly; SameSite=Lax; Max-Age=300"),
        (Scheme::Https, "__Host-envforge-state", "; Path=/; HttpOnly; SameSite=Lax; Max-Age=300; Secure"),
    ] {
        let world = World::new(Plan { scheme, runtime: asleep(), ..Plan::default() }).await;
        let mut nonces = HashSet::new();
        for (to, wanted) in [
            ("?to=%2Fa%3Fb%3Dc", "/a%3Fb%3Dc"),
            ("", "/"),
            ("?to=https%3A%2F%2Fevil.example", "/"),
            ("?to=%2F%2Fevil.example", "/"),
            ("?to=%2F%5Cevil.example", "/"),
            ("?to=%2Fa%0D%0AX-Evil%3A%201", "/"),
        ] {
            let answer = world.get(&format!("/.envforge/sign-in{to}"), &[NAVIGATES]).await;
            assert_eq!(answer.status, 303);
            let (nonce, rest) = set_cookie(&answer, name).expect("a nonce").split_at(64);
            assert_eq!(rest, flags);
            assert_eq!(
                answer.header("location"),
                format!("{PRODUCT}/open/{LABEL}?state={}&to={wanted}", state_of(nonce))
            );
            assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "no-referrer"));
            nonces.insert(nonce.to_owned());
        }
        assert_eq!(nonces.len(), 6, "each is another");
        assert_eq!(world.ask("POST", "/.envforge/sign-in", &[], "").await.status, 405);
        assert_eq!(world.get("/.envforge/sign-in", &[("sec-fetch-mode", "no-cors")]).await.status, 403, "an image");
        assert!(world.server.calls().is_empty() && world.web.seen().is_empty());
        until("they are counted", || world.server.unverified(LABEL, "no_session") == 6).await;
    }
}

// proves LINK-8 LINK-10
#[tokio::test]
async fn a_code_and_its_browsers_cookie_become_a_session_of_this_host() {
    let world = World::awake().await;
    let (session, code) = (world.lets_in(), world.code(LABEL, NONCE));
    // On plain HTTP another dev host can plant a cookie of the same name.
    let answer = world.enter(&code, &format!("envforge-state=planted; theme=dark; envforge-state={NONCE}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/a?b=c"), "{}", answer.body);
    let wanted = format!("{session}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    assert_eq!(set_cookie(&answer, COOKIE), Some(wanted.as_str()));
    assert_eq!(set_cookie(&answer, "envforge-state"), Some("; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
    assert!(!format!("{:?}", answer.headers).contains("omain"), "no cookie of a parent domain");
    assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "no-referrer"));
    let enters = world.server.enters();
    assert_eq!((enters.len(), enters[0].label.as_str(), enters[0].code == code), (1, LABEL, true));
    let cookies = format!("{COOKIE}={session}; envforge-state={NONCE}; theme=dark");
    assert_eq!(world.get("/a?b=c", &[("cookie", &cookies)]).await.body, "web:GET:/a?b=c:");
    assert_eq!(world.web.seen()[0].headers["cookie"], "theme=dark", "ours are not the app's");
    for line in logs::lines() {
        assert!(!line.contains(&code) && !line.contains(&session), "a log line holds a token: {line}");
    }
}

// proves LINK-10
#[tokio::test]
async fn a_code_that_does_not_fit_is_a_card_without_effect() {
    let world = World::awake().await;
    world.lets_in();
    let (good, ours) = (world.code(LABEL, NONCE), format!("envforge-state={NONCE}"));
    let mut damaged = good.clone();
    damaged.pop();
    let forged = Signer::from_seed(&[9; 32]).sign(
        &envforge_core::token::Keyring::new(&[world.signer.public_key()])
            .verify::<envforge_core::entry::EntryClaims>(&good, world.clock.now())
            .expect("a good code"),
    );
    let expired = world.code(LABEL, NONCE);
    let refused = async |code: &str, cookie: &str, reason: &str| {
        let before = world.gateway.stats().unverified;
        let answer = world.enter(code, cookie).await;
        assert_eq!(answer.status, 403, "{reason}");
        assert!(answer.body.contains("You are not signed in here"), "{reason}: {}", answer.body);
        assert!(answer.body.contains("Sign in again") && !answer.headers.contains_key("set-cookie"), "{reason}");
        assert_eq!(world.gateway.stats().unverified, before + 1, "{reason}");
    };
    let as_bound = format!("__Host-envforge-state={NONCE}");
    for cookie in ["", "envforge-state=another", "envforge-state=", &as_bound, &format!("other={NONCE}")] {
        refused(&good, cookie, "other_browser").await;
    }
    refused(&world.code("web--other--acme", NONCE), &ours, "wrong_host").await;
    for code in [&damaged, &forged, &world.members_session(1), &world.link(1), &String::new()] {
        refused(code, &ours, "forged").await;
    }
    world.clock.advance(SignedDuration::from_secs(60));
    refused(&expired, &ours, "expired").await;
    assert!(world.server.calls().is_empty() && world.web.seen().is_empty(), "the server hears nothing of it");
    for (reason, count) in [("other_browser", 5), ("wrong_host", 1), ("forged", 5), ("expired", 1)] {
        until(reason, || world.server.unverified(LABEL, reason) == count).await;
    }
    // As a session or a link it is nothing.
    let fresh = world.code(LABEL, NONCE);
    let as_cookie = format!("{COOKIE}={fresh}");
    assert_eq!(world.get("/", &[("cookie", &as_cookie), JSON]).await.code(), "link.invalid");
    assert_eq!(world.get("/", &[("envforge-link", &fresh)]).await.code(), "link.invalid");
}

// proves LINK-10
#[tokio::test]
async fn what_the_server_refuses_or_makes_for_something_else_lets_nobody_in() {
    let world = World::awake().await;
    let (code, ours) = (world.code(LABEL, NONCE), format!("envforge-state={NONCE}"));
    let spent = Refusal::new(RefusalKind::Forbidden, "entry.spent", "this sign-in was used before");
    world.server.set_exchange(Err(spent));
    let answer = world.enter(&code, &ours).await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("set-cookie")), (403, false));
    assert!(answer.body.contains("This sign-in was used before."), "{}", answer.body);
    until("it is counted", || world.server.unverified(LABEL, "signed_out") == 1).await;
    // Of a link, of another member, for another host.
    for session in [world.session(1), world.members_session(2), world.session_for(1, "web--other--acme", 60)] {
        world.makes(&session);
        let answer = world.enter(&code, &ours).await;
        assert_eq!((answer.status.as_u16(), answer.headers.contains_key("set-cookie")), (500, false));
    }
}

// proves LINK-8
#[tokio::test]
async fn a_members_session_ends_with_what_is_open_within_a_second() {
    let world = World::awake().await;
    let (one, two) = (world.members_cookie(1), world.members_cookie(2));
    let (mut ends, mut goes_on) =
        (world.socket_with(&one).await.expect("a socket"), world.socket_with(&two).await.expect("a socket"));
    let mut of_link = world.socket(1).await.expect("a socket");
    until("all are open", || world.web.sockets() == 3).await;
    world.server.feed(&FeedItem::SessionEnded { session: id(101) });
    let close = timeout(Duration::from_secs(1), ends.next()).await.expect("within a second");
    match close.expect("a close frame").expect("whole") {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1008),
        message => panic!("{message:?}"),
    }
    for socket in [&mut goes_on, &mut of_link] {
        socket.send(Message::text("still here")).await.expect("sent");
        assert_eq!(socket.next().await.expect("a message").expect("whole"), Message::text("still here"));
    }
    let refused = world.get("/", &[("cookie", &one), JSON]).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "session.ended"));
    let card = world.get("/x", &[("cookie", &one), NAVIGATES]).await;
    assert!(card.body.contains("/.envforge/sign-in?to=/x"), "{}", card.body);
    until("it is counted", || world.server.unverified(LABEL, "signed_out") == 2).await;
    // What ends while the gateway is cut off, it hears with the next feed's first line.
    world.server.go_down(true);
    until("the feed is gone", || world.server.feeds_open() == 0).await;
    world.server.feed(&FeedItem::SessionEnded { session: id(102) });
    world.server.go_down(false);
    assert_eq!(world.until_refused(&[("cookie", &two), JSON]).await.code(), "session.ended");
    assert!(matches!(timeout(Duration::from_secs(1), goes_on.next()).await, Ok(Some(Ok(Message::Close(_))))));
}

// proves LINK-4 LINK-8
#[tokio::test]
async fn a_member_wakes_by_their_own_right() {
    let world = World::with(asleep()).await;
    let (link, member) = (world.session(1), world.members_session(1));
    let spent = Refusal::new(RefusalKind::Limit, "link.wakes_spent", "this link's wakes are used up");
    world.server.refuse_wake(&link, spent);
    assert_eq!(world.get("/", &[("cookie", &world.cookie(1)), JSON]).await.code(), "link.wakes_spent");
    // Another holder's refusal is not theirs, though it is fresh.
    let may_not = Refusal::new(RefusalKind::Forbidden, "access.denied", "as reviewer you can't wake a runtime");
    world.server.refuse_wake(&member, may_not.hint("ask a developer"));
    let answer = world.get("/", &[("cookie", &world.members_cookie(1)), NAVIGATES]).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("As reviewer you can't wake a runtime.")
            || answer.body.contains("As reviewer you can&#39;t")
    );
    assert!(answer.body.contains("Ask a developer."), "members are told what helps: {}", answer.body);
    world.server.set_wake(waking());
    let cookie = world.members_cookie(2);
    let headers = [("cookie", cookie.as_str()), JSON];
    let visit = world.get("/in", &headers);
    let conduct = async {
        until("the wake is asked for", || world.server.wakes().len() == 3).await;
        world.becomes(crate::support::awake_again(2));
    };
    let (answer, ()) = tokio::join!(visit, conduct);
    assert_eq!(answer.body, "web:GET:/in:");
    let wake = world.server.wakes().pop().expect("a wake");
    assert_eq!((wake.session, wake.path.as_str()), (world.members_session(2), "/in"));
}

// proves LINK-5
#[tokio::test]
async fn members_are_told_what_blocks_a_runtime_and_what_helps() {
    let mut blocked = runtime(RuntimeState::Blocked, 3, ReadinessState::Blocked);
    blocked.blocked_cause = Some("DATABASE_URL is <wrong>".to_owned());
    blocked.blocked_fix = Some("look at line 7".to_owned());
    blocked.parts = vec![Part::blocked(PartKind::Service, "web", "service.exited", "it exits at once", "read its log")];
    let world = World::with(blocked).await;
    let told = ["DATABASE_URL", "ook at line 7", "it exits at once", "ead its log"];
    let (member, link) = (world.members_cookie(1), world.cookie(1));
    let page = world.get("/", &[("cookie", &member), NAVIGATES]).await;
    assert_eq!(page.status, 503);
    let lower = page.body.replace("It exits", "it exits");
    assert!(told.iter().all(|text| lower.contains(text)) && !page.body.contains("<wrong>"), "{}", page.body);
    let json = world.get("/", &[("cookie", &member), JSON]).await;
    assert_eq!((json.code().as_str(), json.header("retry-after")), ("runtime.blocked", "10"));
    assert!(json.body.contains("DATABASE_URL") && json.body.contains("look at line 7"), "{}", json.body);
    let readiness = world.get("/.envforge/readiness", &[("cookie", &member)]).await;
    let readiness: serde_json::Value = serde_json::from_str(&readiness.body).expect("JSON");
    assert_eq!((&readiness["state"], &readiness["fix"]), (&"blocked".into(), &"look at line 7".into()));
    assert_eq!(readiness["parts"][0]["cause"], "it exits at once");
    // Whoever holds a link is told that it is so, and no more.
    for (path, header) in [("/", NAVIGATES), ("/", JSON), ("/.envforge/readiness", JSON)] {
        let answer = world.get(path, &[("cookie", &link), header]).await;
        assert!(told.iter().all(|text| !answer.body.contains(text)), "{path}: {}", answer.body);
    }
}

//! Without a verified session: a card, a count, and nothing else.

use crate::support::client::NAVIGATES;
use crate::support::{COOKIE, HOST, LABEL, World, asleep, id, until};
use envforge_api::gateway::FeedItem;
use envforge_core::token::Signer;
use jiff::SignedDuration;

// proves LINK-4
// proves ORG-6
#[tokio::test]
async fn no_session_is_a_card_and_a_count() {
    let world = World::with(asleep()).await;
    for _ in 0..3 {
        let answer = world.get("/", &[NAVIGATES]).await;
        assert_eq!(answer.status, 401);
        assert!(answer.body.contains("opens with its link"), "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(
            !answer.body.contains("fix") && !answer.body.contains("acme"),
            "the card says nothing about what is behind it"
        );
    }
    let crawler = world.get("/", &[("user-agent", "Slackbot-LinkExpanding 1.0")]).await;
    assert_eq!(crawler.status, 401);
    assert!(crawler.body.contains("og:title"));
    let program = world.get("/", &[("accept", "application/json")]).await;
    assert_eq!(program.code(), "link.required");
    until("the count is told", || world.server.unverified(LABEL, "no_session") == 5).await;
    assert_eq!(world.server.calls(), Vec::<String>::new(), "the server hears nothing of strangers");
    assert!(world.host.opened().is_empty() && world.web.seen().is_empty());
    assert_eq!(world.gateway.stats().unverified, 5);
}

// proves LINK-2
// proves LINK-4
#[tokio::test]
async fn forged_expired_foreign_and_revoked_sessions_admit_nobody() {
    let world = World::awake().await;
    let (expired, foreign, revoked) =
        (world.session_for(1, LABEL, 60), world.session_for(2, "web--other--acme", 3600), world.session(3));
    let forged = Signer::from_seed(&[9; 32]).sign(
        &envforge_core::token::Keyring::new(&[world.signer.public_key()])
            .verify::<envforge_core::link::SessionClaims>(&revoked, jiff::Timestamp::UNIX_EPOCH)
            .expect("a good session"),
    );
    let mut changed = world.session(4);
    changed.pop();
    world.clock.advance(SignedDuration::from_secs(60));
    world.server.feed(&FeedItem::Revoked { link: id(3) });
    // A link in place of a session is no session.
    let link = world.link(5);
    for (token, reason, code) in [
        (&forged, "forged", "link.invalid"),
        (&changed, "forged", "link.invalid"),
        (&link, "forged", "link.invalid"),
        (&expired, "expired", "link.expired"),
        (&foreign, "wrong_host", "link.wrong_host"),
    ] {
        let before = world.gateway.stats().unverified;
        let cookie = format!("{COOKIE}={token}");
        let answer = world.get("/", &[("cookie", &cookie), ("accept", "application/json")]).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, code), "{reason}");
        assert_eq!(world.gateway.stats().unverified, before + 1);
    }
    let cookie = format!("{COOKIE}={revoked}");
    let refused = world.get("/", &[("cookie", &cookie), ("accept", "application/json")]).await;
    assert_eq!(refused.code(), "link.revoked");
    let as_header = world.link(3);
    let refused = world.get("/", &[("envforge-link", &as_header)]).await;
    assert_eq!(refused.code(), "link.revoked");
    until("forged ones are told", || world.server.unverified(LABEL, "forged") == 3).await;
    until("revoked ones are told", || world.server.unverified(LABEL, "revoked") == 2).await;
    assert_eq!(world.server.unverified(LABEL, "wrong_host"), 1);
    assert_eq!(world.server.unverified(LABEL, "expired"), 1);
    assert_eq!(world.server.calls(), Vec::<String>::new());
    assert!(world.web.seen().is_empty());
}

// proves LINK-2
#[tokio::test]
async fn a_remembered_session_ends_on_time() {
    let world = World::awake().await;
    let cookie = format!("{COOKIE}={}", world.session_for(1, LABEL, 60));
    for _ in 0..2 {
        assert_eq!(world.get("/", &[("cookie", &cookie)]).await.status, 200);
    }
    assert_eq!(world.gateway.stats().verified, 1, "a signature is checked once");
    world.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(world.get("/", &[("cookie", &cookie)]).await.status, 401);
}

// proves LINK-2
#[tokio::test]
async fn a_remembered_session_is_worthless_on_another_host() {
    let world = World::awake().await;
    let cookie = format!("{COOKIE}={}", world.session_for(1, "web--other--acme", 3600));
    let at_home = [("host", "web--other--acme.localhost"), ("cookie", cookie.as_str())];
    assert_eq!(world.get("/", &at_home).await.status, 404, "verified, though it leads nowhere");
    let elsewhere = world.get("/", &[("cookie", &cookie), ("accept", "application/json")]).await;
    assert_eq!(elsewhere.code(), "link.wrong_host");
    assert!(world.web.seen().is_empty());
}

// proves LINK-10
#[tokio::test]
async fn a_planted_cookie_neither_admits_nor_shuts_out() {
    let world = World::awake().await;
    let planted = world.session_for(9, "web--evil--acme", 3600);
    let both = format!("{COOKIE}={planted}; theme=dark; {}", world.cookie(1));
    assert_eq!(world.get("/", &[("cookie", &both)]).await.status, 200);
    assert_eq!(world.web.seen()[0].headers["cookie"], "theme=dark");
}

// proves LINK-4
#[tokio::test]
async fn hosts_that_are_no_label_get_a_small_card() {
    let world = World::awake().await;
    for host in ["localhost", "a.b.localhost", "127.0.0.1", "example.com"] {
        let answer = world.get("/", &[("host", host), NAVIGATES]).await;
        assert_eq!(answer.status, 404, "{host}");
        assert!(answer.body.contains("No preview here"));
    }
    until("they are told", || world.server.unverified("", "unknown_label") == 4).await;
    assert!(world.server.calls().is_empty());
}

// proves ORG-6
#[tokio::test]
async fn counts_survive_a_server_that_does_not_take_them() {
    let world = World::awake().await;
    world.server.fail_activity(true);
    for _ in 0..4 {
        world.get("/", &[]).await;
    }
    until("two turns went by in which nothing was taken", || world.server.activity_refused() >= 2).await;
    world.server.fail_activity(false);
    until("all are told in the end", || world.server.unverified(LABEL, "no_session") == 4).await;
}

// proves LINK-6
#[tokio::test]
async fn a_request_that_names_two_hosts_means_nothing() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let two = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: web--evil--acme.localhost\r\nCookie: {cookie}\r\n\r\n");
    assert!(world.raw(&two, |got| got.contains("\r\n\r\n")).await.starts_with("HTTP/1.1 400"));
    let none = format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
    assert!(world.raw(&none, |got| got.contains("\r\n\r\n")).await.starts_with("HTTP/1.1 400"));
    let trace = world.ask("TRACE", "/", &[("cookie", &cookie)], "").await;
    assert_eq!(trace.status, 405);
    assert!(world.web.seen().is_empty());
}

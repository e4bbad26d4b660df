//! From a link to a session.

use crate::support::client::NAVIGATES;
use crate::support::{COOKIE, HOST, LABEL, Plan, World, id, logs, until};
use envforge_api::gateway::{Exchanged, FeedItem};
use envforge_core::clock::Clock as _;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_gateway::Scheme;
use jiff::SignedDuration;

impl World {
    pub(crate) fn exchanges_to(&self, n: u128) -> String {
        let session = self.session(n);
        let expires_at = self.clock.now().saturating_add(SignedDuration::from_mins(60)).expect("in range");
        self.server.set_exchange(Ok(Exchanged { session: session.clone(), expires_at }));
        session
    }
}

// proves LINK-2
#[tokio::test]
async fn looking_at_a_link_has_no_effect() {
    let world = World::awake().await;
    let path = format!("/share/{}", world.link(1));
    for method in ["GET", "HEAD"] {
        let answer = world.ask(method, &path, &[NAVIGATES], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-robots-tag"), "noindex, nofollow");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_eq!(answer.body.contains("Open preview"), method == "GET");
        assert!(!answer.body.contains("efl1"), "the page does not repeat the token");
    }
    assert!(world.server.calls().is_empty() && world.web.seen().is_empty());
}

// proves LINK-2
#[tokio::test]
async fn the_button_exchanges_the_token_for_a_cookie() {
    let world = World::awake().await;
    let (token, session) = (world.link(1), world.exchanges_to(1));
    let headers = [
        ("origin", "null"),
        ("sec-fetch-site", "same-origin"),
        ("user-agent", "Browser/1"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = world.ask("POST", &format!("/share/{token}"), &headers, "").await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "/");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(
        answer.header("set-cookie"),
        format!("envforge-session={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"),
    );
    let exchanges = world.server.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!((exchanges[0].label.as_str(), exchanges[0].token == token), (LABEL, true));
    assert_eq!(exchanges[0].user_agent.as_deref(), Some("Browser/1"));

    let cookie = answer.header("set-cookie").split(';').next().expect("a pair").to_owned();
    assert_eq!(world.get("/", &[("cookie", &cookie)]).await.body, "web:GET:/:");
    assert!(!format!("{:?}", world.web.seen()).contains("efl1"), "the app never sees the token");
    for line in logs::lines() {
        assert!(!line.contains(&token) && !line.contains(&session), "a log line holds a token: {line}");
    }
}

// proves LINK-2
// proves LINK-9
#[tokio::test]
async fn over_tls_the_cookie_is_bound_to_its_host() {
    let world = World::new(Plan { scheme: Scheme::Https, ..Plan::default() }).await;
    let session = world.exchanges_to(1);
    let answer = world.ask("POST", &format!("/share/{}", world.link(1)), &[], "").await;
    let wanted = format!("__Host-envforge={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure");
    assert_eq!(answer.header("set-cookie"), wanted);
    let (plain, bound) = (world.cookie(1), format!("__Host-envforge={session}"));
    assert_eq!(world.get("/", &[("cookie", &plain)]).await.status, 401, "the unbound name counts for nothing here");
    assert_eq!(world.get("/", &[("cookie", &bound)]).await.status, 200);
    assert_eq!(world.web.seen()[0].headers["x-forwarded-proto"], "https");
}

// proves LINK-2
#[tokio::test]
async fn a_link_that_does_not_open_says_no_more_than_that() {
    let world = World::awake().await;
    let (expired, revoked, foreign) =
        (world.link_for(1, LABEL, 60), world.link(2), world.link_for(3, "web--x--acme", 3600));
    let forged = world.link(4).replace("efl1.ey", "efl1.eY");
    world.clock.advance(SignedDuration::from_secs(60));
    world.server.feed(&FeedItem::Revoked { link: id(2) });
    let revoked_path = format!("/share/{revoked}");
    let cookie = world.cookie(2);
    // The revocation has arrived once a session of the link is refused.
    world.until_refused(&[("cookie", &cookie)]).await;
    for (path, status) in [
        (format!("/share/{expired}"), 410),
        (revoked_path, 410),
        (format!("/share/{foreign}"), 404),
        (format!("/share/{forged}"), 404),
    ] {
        for method in ["GET", "POST"] {
            let answer = world.ask(method, &path, &[NAVIGATES, ("sec-fetch-mode", "navigate")], "").await;
            assert_eq!(answer.status, status, "{method}");
            assert!(answer.body.contains("This link does not open"), "{method} {}", answer.body);
        }
    }
    assert!(world.server.exchanges().is_empty(), "the server is not asked about what is known to be dead");
    until("they are counted", || world.server.unverified(LABEL, "expired") == 2).await;
}

// proves LINK-2
#[tokio::test]
async fn what_the_server_refuses_becomes_a_card() {
    let world = World::awake().await;
    let spent =
        Refusal::new(RefusalKind::Limit, "link.visits_spent", "this link's visits are used up").hint("for members");
    world.server.set_exchange(Err(spent));
    let path = format!("/share/{}", world.link(1));
    let answer = world.ask("POST", &path, &[NAVIGATES, ("sec-fetch-mode", "navigate")], "").await;
    assert_eq!(answer.status, 429);
    assert!(answer.body.contains("link.visits_spent") && !answer.body.contains("for members"));
    assert!(!answer.headers.contains_key("set-cookie"));
}

// proves LINK-10
#[tokio::test]
async fn another_site_can_not_press_the_button() {
    let world = World::awake().await;
    world.exchanges_to(1);
    let path = format!("/share/{}", world.link(1));
    for header in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "http://evil.localhost")]
    {
        assert_eq!(world.ask("POST", &path, &[header], "").await.status, 403, "{header:?}");
    }
    let large = "x".repeat(10_000);
    assert_eq!(world.ask("POST", &path, &[], &large).await.status, 413);
    assert!(world.server.exchanges().is_empty());
    let own = format!("http://{HOST}");
    assert_eq!(world.ask("POST", &path, &[("origin", &own)], "").await.status, 303);
}

// proves LINK-2
#[tokio::test]
async fn the_app_keeps_its_own_share_paths() {
    let world = World::awake().await;
    assert_eq!(world.visit("/share/photo").await.body, "web:GET:/share/photo:");
}

// proves LINK-2
#[tokio::test]
async fn a_program_shows_the_link_as_a_header_and_it_is_exchanged_once() {
    let world = World::awake().await;
    world.exchanges_to(1);
    let link = world.link(1);
    for _ in 0..3 {
        let answer = world.get("/x", &[("envforge-link", &link)]).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "web:GET:/x:"));
    }
    assert_eq!(world.server.exchanges().len(), 1);
    assert!(world.web.seen().iter().all(|seen| !seen.headers.contains_key("envforge-link")));
    world.server.feed(&FeedItem::Revoked { link: id(1) });
    let answer = world.until_refused(&[("envforge-link", &link)]).await;
    assert_eq!(answer.code(), "link.revoked");
}

// proves LINK-2
#[tokio::test]
async fn a_session_for_something_else_is_not_taken_from_the_server() {
    let world = World::awake().await;
    let expires_at = world.clock.now().saturating_add(SignedDuration::from_mins(60)).expect("in range");
    let other = world.session_for(1, "web--other--acme", 3600);
    world.server.set_exchange(Ok(Exchanged { session: other, expires_at }));
    let answer = world.ask("POST", &format!("/share/{}", world.link(1)), &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("set-cookie")), (500, false));
}

// proves LINK-2
#[tokio::test]
async fn a_link_may_be_limited_to_routes() {
    let world = World::awake().await;
    let cookie = format!("{COOKIE}={}", world.session_limited_to(&["/docs", "/api/public"]));
    let visit = async |path: &str| world.get(path, &[("cookie", &cookie)]).await.status.as_u16();
    for (path, status) in [
        ("/docs", 200),
        ("/docs/a?b=c", 200),
        ("/api/public/x", 200),
        ("/", 404),
        ("/docsearch", 404),
        ("/api/private", 404),
        ("/docs/%2e%2e/admin", 404),
        ("/.envforge/readiness", 200),
    ] {
        assert_eq!(visit(path).await, status, "{path}");
    }
    // Whoever opens the link lands where it leads.
    let session = world.session_limited_to(&["/docs"]);
    let expires_at = world.clock.now().saturating_add(jiff::SignedDuration::from_mins(5)).expect("in range");
    world.server.set_exchange(Ok(Exchanged { session, expires_at }));
    let opened = world.ask("POST", &format!("/share/{}", world.link(1)), &[], "").await;
    assert_eq!((opened.status.as_u16(), opened.header("location")), (303, "/docs"));
}

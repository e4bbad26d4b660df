//! By a provider that may say anything.

use super::{Browser, World, parameter};
use crate::provider::{CLIENT, Provider, SECRET};
use crate::support::TestServer;
use envforge_api::http::accounts::Me;
use envforge_api::http::settings::Setting;
use envforge_api::http::sign_in::{LoginSessions, SignInProviders};
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::login::SignUp;
use envforge_server::providers::identity::OrgMapping;
use envforge_server::signin;
use serde_json::{Value, json};

// proves ORG-1
#[tokio::test]
async fn a_provider_signs_somebody_in() {
    let orgs = OrgMapping {
        claim: "org_id".to_owned(),
        orgs: [("org_theirs".to_owned(), "acme".parse().unwrap())].into(),
        role: Role::Reviewer,
    };
    let world = World::start(SignUp::Domains(vec!["example.org".to_owned()]), |it| it.orgs = Some(orgs)).await;
    let mut browser = Browser::new(&world.server);
    assert!(browser.get("/sign-in").await.body.contains("Continue with Test"));
    let url = browser.leave("/orgs/acme").await;
    assert_eq!(
        (parameter(&url, "code_challenge_method").as_str(), parameter(&url, "response_type").as_str()),
        ("S256", "code")
    );
    assert_eq!(parameter(&url, "redirect_uri"), "http://127.0.0.1:7080/sign-in/test/callback");
    let token = world.provider.sign(&world.claims(&url, "ada"), "JWT");
    let page = world.come_back(&mut browser, &url, token, "").await;
    assert_eq!((page.status, page.location.as_str()), (303, "/orgs/acme"), "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.name.as_str(), me.orgs[0].slug.as_str(), me.orgs[0].role), ("Ada", "acme", Role::Reviewer));
    // The same person again: the same account, another session.
    world.server.advance(1);
    let (second, _) = world.sign_in("ada").await;
    assert_eq!(second.api::<Me>("/v1/me").await.unwrap().user, me.user);
    let sessions = second.api::<LoginSessions>("/v1/sessions").await.unwrap().sessions;
    assert_eq!(sessions.iter().map(|it| it.is_current).collect::<Vec<_>>(), [true, false]);
    assert_eq!(sessions[0].user_agent, "a browser");
    for (verb, count) in [
        ("user.created", 1),
        ("identity.linked", 1),
        ("address.verified", 1),
        ("member.joined", 1),
        ("session.opened", 2),
    ] {
        assert_eq!(world.server.events(verb).await, count, "{verb}");
    }
    let leaked: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_events e WHERE e::text LIKE '%example.org%'")
        .fetch_one(&mut world.server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(leaked, 0, "no address in the ledger");
    assert_eq!((world.provider.asked("discovery"), world.provider.asked("keys")), (1, 1));
}

/// Makes a token of good claims that must not pass.
type Forge = Box<dyn FnOnce(&World, Value) -> String>;

// proves ORG-1
#[tokio::test]
async fn what_does_not_hold_signs_nobody_in() {
    let world = World::start(SignUp::Open, |_| ()).await;
    let now = world.server.clock.now().as_second();
    let changed = |field: &'static str, value: Value| {
        move |world: &World, mut claims: Value| {
            claims[field] = value;
            world.provider.sign(&claims, "JWT")
        }
    };
    let cases: Vec<(&str, Forge)> = vec![
        ("issuer", Box::new(changed("iss", json!("https://evil.example")))),
        (
            "issuer",
            Box::new(|world, claims| {
                let mut claims = claims;
                claims["iss"] = json!(format!("{}/", world.provider.issuer));
                world.provider.sign(&claims, "JWT")
            }),
        ),
        ("audience", Box::new(changed("aud", json!("another")))),
        ("audience", Box::new(changed("aud", json!([CLIENT, "another"])))),
        ("nonce", Box::new(changed("nonce", json!("another")))),
        ("nonce", Box::new(changed("nonce", Value::Null))),
        ("expired", Box::new(changed("exp", json!(now - 61)))),
        ("expired", Box::new(changed("iat", json!(now + 61)))),
        ("algorithm", Box::new(|_, claims| Provider::unsigned(&claims))),
        ("algorithm", Box::new(|_, claims| Provider::mac(&claims, SECRET.as_bytes()))),
        ("algorithm", Box::new(|world, claims| Provider::mac(&claims, &world.provider.public_key()))),
        (
            "signature",
            Box::new(|world, claims| {
                let good = world.provider.sign(&claims, "JWT");
                let (rest, signature) = good.rsplit_once('.').unwrap();
                let flipped = if signature.starts_with('A') { "B" } else { "A" };
                format!("{rest}.{flipped}{}", &signature[1..])
            }),
        ),
        ("token", Box::new(|world, claims| world.provider.sign(&claims, "logout+jwt"))),
    ];
    for (cause, forge) in cases {
        let before = world.refused_for(cause).await;
        let mut browser = Browser::new(&world.server);
        let url = browser.leave("/").await;
        let token = forge(&world, world.claims(&url, "mallory"));
        let page = world.come_back(&mut browser, &url, token, "").await;
        assert_eq!((page.status, page.code()), (403, "sign_in.refused"), "{cause}: {}", page.body);
        assert_eq!(world.refused_for(cause).await, before + 1, "{cause}");
        assert!(browser.api::<Me>("/v1/me").await.is_none());
    }
    // A minute's difference between clocks is none.
    for (field, value) in [("exp", now - 59), ("iat", now + 59)] {
        let mut browser = Browser::new(&world.server);
        let url = browser.leave("/").await;
        let mut claims = world.claims(&url, "ada");
        claims[field] = json!(value);
        let page = world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
        assert_eq!(page.status, 303, "{field}: {}", page.body);
    }
    assert_eq!(world.provider.asked("keys"), 1, "no forged token made us ask again");
}

// proves ORG-1
#[tokio::test]
async fn changed_keys_are_fetched_once() {
    let world = World::start(SignUp::Open, |_| ()).await;
    assert_eq!(world.sign_in("ada").await.1.status, 303);
    world.provider.rotate("two");
    assert_eq!(world.sign_in("ada").await.1.status, 303);
    assert_eq!(world.provider.asked("keys"), 2);
    // A key that the provider does not have: looked for once, then not for a while, whoever asks.
    let claims =
        json!({ "iss": world.provider.issuer, "aud": CLIENT, "sub": "ada", "iat": 1, "exp": 4_000_000_000_i64 });
    let stranger = Provider::start().await;
    stranger.rotate("made-up");
    world.server.advance(31);
    for _ in 0..20 {
        let form = [("logout_token", stranger.sign(&claims, "logout+jwt"))];
        let page = Browser::new(&world.server).post("/sign-in/test/logout", &[(form[0].0, &form[0].1)]).await;
        assert_eq!(page.status, 400);
    }
    assert_eq!(world.provider.asked("keys"), 3);
}

// proves ORG-1
#[tokio::test]
async fn an_attempt_is_used_once_in_time_and_by_its_browser() {
    let world = World::start(SignUp::Open, |_| ()).await;
    let (mut browser, mut other) = (Browser::new(&world.server), Browser::new(&world.server));
    let url = browser.leave("/").await;
    let token = |url: &str| world.provider.sign(&world.claims(url, "ada"), "JWT");
    // In another browser, which may have begun itself.
    other.leave("/").await;
    let page = world.come_back(&mut other, &url, token(&url), "").await;
    assert_eq!((page.status, world.refused_for("other_browser").await), (403, 1));
    let page = world.come_back(&mut browser, &url, token(&url), "").await;
    assert_eq!((page.status, world.refused_for("state").await), (403, 1), "used up by the try");
    // Twice.
    let url = browser.leave("/").await;
    let cookies = browser.cookies.clone();
    assert_eq!(world.come_back(&mut browser, &url, token(&url), "").await.status, 303);
    browser.cookies = cookies;
    let page = world.come_back(&mut browser, &url, token(&url), "").await;
    assert_eq!((page.status, world.refused_for("state").await), (403, 2), "a state is used once");
    // A code that the provider has given away already.
    let url = browser.leave("/").await;
    let page = browser.get(&format!("/sign-in/test/callback?code=old&state={}", parameter(&url, "state"))).await;
    assert_eq!((page.status, world.refused_for("code").await), (403, 1));
    // Too late, and made up.
    let url = browser.leave("/").await;
    world.server.advance(601);
    assert_eq!(world.come_back(&mut browser, &url, token(&url), "").await.status, 403);
    assert_eq!(browser.get("/sign-in/test/callback?code=the-code&state=made-up").await.status, 403);
    assert_eq!(browser.get("/sign-in/test/callback?error=access_denied").await.status, 403);
}

// proves ORG-1
#[tokio::test]
async fn another_issuers_answer_is_not_mixed_in() {
    let world = World::start(SignUp::Open, |_| ()).await;
    world.provider.announce_iss();
    let mut browser = Browser::new(&world.server);
    for (further, status) in [
        (String::new(), 403),
        ("&iss=https%3A%2F%2Fevil.example".to_owned(), 403),
        (format!("&iss={}", world.provider.issuer), 303),
    ] {
        let url = browser.leave("/").await;
        let token = world.provider.sign(&world.claims(&url, "ada"), "JWT");
        assert_eq!(world.come_back(&mut browser, &url, token, &further).await.status, status, "{further}");
    }
    assert_eq!((world.refused_for("iss_parameter").await, world.provider.asked("token")), (2, 1));
}

// proves LINK-10
#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let world = World::start(SignUp::Open, |_| ()).await;
    for bad in ["https://evil.example/", "//evil.example", "/%5Cevil.example", "%2F%09%2Fevil.example"] {
        let mut browser = Browser::new(&world.server);
        let url = browser.leave(bad).await;
        let token = world.provider.sign(&world.claims(&url, "ada"), "JWT");
        let page = world.come_back(&mut browser, &url, token, "").await;
        assert_eq!((page.status, page.location.as_str()), (303, "/"), "{bad}");
    }
}

// proves ORG-1
#[tokio::test]
async fn a_provider_signs_somebody_out() {
    let world = World::start(SignUp::Open, |_| ()).await;
    let (browser, _) = world.sign_in("ada").await;
    let now = world.server.clock.now().as_second();
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let good = json!({ "iss": world.provider.issuer, "aud": CLIENT, "sub": "ada", "sid": "session-1", "iat": now,
        "exp": now + 100, "jti": "1", "events": event });
    let changed = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        claims
    };
    let post = async |token: String| {
        Browser::new(&world.server).post("/sign-in/test/logout", &[("logout_token", &token)]).await.status
    };
    let sign = |claims: &Value| world.provider.sign(claims, "logout+jwt");
    for bad in [
        changed("aud", json!("another")),
        changed("nonce", json!("n")),
        changed("events", json!({})),
        changed("exp", json!(now - 61)),
        changed("iss", json!("https://evil.example")),
    ] {
        assert_eq!(post(sign(&bad)).await, 400, "{bad}");
    }
    assert_eq!(post(Provider::mac(&good, SECRET.as_bytes())).await, 400);
    assert_eq!(post(sign(&changed("sid", json!("another")))).await, 200, "well said, of a session we don't have");
    assert!(browser.api::<Me>("/v1/me").await.is_some());
    assert_eq!(post(sign(&good)).await, 200);
    assert!(browser.api::<Me>("/v1/me").await.is_none());
    assert_eq!(post(sign(&good)).await, 200, "may be said twice");
    assert_eq!(world.server.events("session.ended").await, 1);
    // And we sign people out of it.
    let (mut browser, _) = world.sign_in("ada").await;
    let card = browser.get("/sign-out").await;
    let page = browser.post("/sign-out", &[("form_token", card.field("form_token"))]).await;
    assert!(
        page.location.starts_with(&format!("{}/end?client_id=envforge", world.provider.issuer)),
        "{}",
        page.location
    );
    assert_eq!(parameter(&page.location, "post_logout_redirect_uri"), "http://127.0.0.1:7080/sign-in");
}

// proves ORG-1
#[tokio::test]
async fn a_stranger_fills_no_table() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let app = world.server.server.app();
    let mut begun = 0;
    for _ in 0..100 {
        let many = (0..100).map(|_| signin::ops::leave(app, "test", None, None, "192.0.2.1"));
        begun += futures_util::future::join_all(many).await.into_iter().flatten().count();
    }
    let rows = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM sign_in_attempts")
            .fetch_one(&mut world.server.database_owner().await)
            .await
            .unwrap()
    };
    assert_eq!((begun, rows().await), (30, 30), "of 10,000 tries");
    signin::ops::leave(app, "test", None, None, "192.0.2.2").await.expect("others are let through");
    world.server.advance(600);
    signin::jobs::round(app).await.unwrap();
    assert_eq!(rows().await, 0);
    assert_eq!(world.server.events("sign_in.refused").await, 0);
}

async fn offered(server: &TestServer) -> Vec<String> {
    let ways: SignInProviders = server.owner.get("/v1/sign-in/providers").await.unwrap();
    ways.providers.into_iter().map(|provider| format!("{} {}", provider.name, provider.title)).collect()
}

// proves ORG-1 ORG-9
#[tokio::test]
async fn a_provider_of_the_settings_is_used_at_once() {
    let world = World { server: TestServer::start().await, provider: Provider::start().await };
    let path = "/v1/operator/settings/oidc.test";
    let values = json!({ "title": "By setting", "issuer": world.provider.issuer, "client_id": CLIENT,
        "client_secret": SECRET, "sign_up": "domain:example.org", "orgs": "org_theirs=acme", "org_role": "reviewer" });
    let change = json!({ "values": values, "reason": "a test" });
    let _: Setting = world.server.owner.put(path, &change).await.unwrap();
    assert_eq!(offered(&world.server).await, ["test By setting"]);
    assert!(Browser::new(&world.server).get("/sign-in").await.body.contains("Continue with By setting"));
    let (browser, page) = world.sign_in("ada").await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().orgs[0].role, Role::Reviewer);
    world.server.owner.delete::<Setting>(path).await.unwrap();
    assert!(offered(&world.server).await.is_empty());
    assert_eq!(Browser::new(&world.server).get("/sign-in/test/start").await.code(), "sign_in.no_provider");
}

// proves ORG-9
#[tokio::test]
async fn a_configured_provider_comes_before_a_setting_of_its_name() {
    let world = World::start(SignUp::Open, |_| ()).await;
    for name in ["test", "other"] {
        let values =
            json!({ "title": "By setting", "issuer": "https://idp.example.org", "client_id": "c", "sign_up": "open" });
        let change = json!({ "values": values, "reason": "a test" });
        let path = format!("/v1/operator/settings/oidc.{name}");
        let _: Setting = world.server.owner.put(&path, &change).await.unwrap();
    }
    assert_eq!(offered(&world.server).await, ["test Test", "other By setting"]);
}

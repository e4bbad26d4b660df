//! Signing in: by a provider that may say anything, by mail, with a key; and what the session can and can't do then.

use crate::provider::{CLIENT, Provider, SECRET};
use crate::support::{TestServer, code, raw};
use envforge_api::http::accounts::Me;
use envforge_api::http::orgs::{AcceptedInvitation, CreatedInvitation, InvitationState, Invitations};
use envforge_api::http::settings::Setting;
use envforge_api::http::sign_in::{LoginSessions, SignInProviders};
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::login::SignUp;
use envforge_server::providers::identity::{OrgMapping, ProviderConfig};
use envforge_server::providers::mail::{MailConfig, MailTls};
use envforge_server::signin;
use envforge_testkit::{MailSink, wait_until};
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A browser without script, on the server's public name.
pub(crate) struct Browser<'a> {
    server: &'a TestServer,
    cookies: BTreeMap<String, String>,
}

/// What it was answered.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) body: String,
}

impl Page {
    /// The code of the refusal it shows.
    pub(crate) fn code(&self) -> &str {
        let after = self.body.rsplit_once("<code>").map_or("", |(_, rest)| rest);
        after.split('<').next().unwrap_or_default()
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> &str {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_default();
        rest.split('"').next().unwrap_or_default()
    }
}

/// A parameter of a URL's query.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl<'a> Browser<'a> {
    pub(crate) fn new(server: &'a TestServer) -> Self {
        Self { server, cookies: BTreeMap::new() }
    }

    fn origin(&self) -> &str {
        &self.server.server.app().config.public_url
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        #[expect(clippy::disallowed_methods, reason = "a browser, not a client of ours")]
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        client
            .request(method, format!("http://{}{path}", self.server.server.local_addr))
            .header("host", self.origin().trim_start_matches("http://"))
            .header("cookie", cookies.join("; "))
            .header("user-agent", "a browser")
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax") && !cookie.contains("Domain"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let (status, location) = (response.status().as_u16(), location.unwrap_or_default());
        Page { status, location, body: response.text().await.unwrap() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let body = reqwest::Url::parse_with_params("http://x/", form).unwrap().query().unwrap_or_default().to_owned();
        let request = self.request(Method::POST, path).header("origin", self.origin());
        self.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
    }

    /// Signs in with a key.
    pub(crate) async fn with_key(server: &'a TestServer, key: &str) -> Self {
        let mut browser = Self::new(server);
        let page = browser.post("/sign-in/key", &[("key", key), ("return_to", "/")]).await;
        assert_eq!((page.status, page.location.as_str()), (303, "/"), "{}", page.body);
        browser
    }

    /// Leaves for the provider; where it was sent.
    async fn leave(&mut self, return_to: &str) -> String {
        self.leave_for("test", return_to).await
    }

    /// The same for the provider of this name.
    pub(crate) async fn leave_for(&mut self, provider: &str, return_to: &str) -> String {
        let page = self.get(&format!("/sign-in/{provider}/start?return_to={return_to}")).await;
        assert_eq!(page.status, 303, "{}", page.body);
        page.location
    }

    /// The session as the API sees it.
    pub(crate) async fn api<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        response.status().is_success().then_some(())?;
        Some(response.json().await.unwrap())
    }
}

pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) provider: Provider,
}

impl World {
    pub(crate) async fn start(sign_up: SignUp, change: impl FnOnce(&mut ProviderConfig)) -> Self {
        let provider = Provider::start().await;
        let mut config = provider.config(sign_up);
        change(&mut config);
        let server = TestServer::configured(|server| server.identity_providers = vec![config]).await;
        Self { server, provider }
    }

    /// Good claims for who was sent to `url`.
    fn claims(&self, url: &str, subject: &str) -> Value {
        let now = self.server.clock.now().as_second();
        json!({ "iss": self.provider.issuer, "aud": CLIENT, "sub": subject, "iat": now, "exp": now + 300,
            "nonce": parameter(url, "nonce"), "email": format!("{subject}@example.org"), "email_verified": true,
            "name": "Ada", "sid": "session-1", "org_id": "org_theirs" })
    }

    /// Comes back from `url` with a token.
    async fn come_back(&self, browser: &mut Browser<'_>, url: &str, token: String, further: &str) -> Page {
        self.provider.answer(token, &parameter(url, "code_challenge"));
        let state = parameter(url, "state");
        browser.get(&format!("/sign-in/test/callback?code=the-code&state={state}{further}")).await
    }

    /// Signs somebody in.
    pub(crate) async fn sign_in(&self, subject: &str) -> (Browser<'_>, Page) {
        let mut browser = Browser::new(&self.server);
        let url = browser.leave("/orgs/acme").await;
        let token = self.provider.sign(&self.claims(&url, subject), "JWT");
        let page = self.come_back(&mut browser, &url, token, "").await;
        (browser, page)
    }

    /// How many sign-ins the ledger says were refused for this.
    async fn refused_for(&self, cause: &str) -> i64 {
        signin::jobs::round(self.server.server.app()).await.unwrap();
        sqlx::query_scalar(
            "SELECT coalesce(sum((details->>'count')::bigint), 0)::bigint FROM ledger_events WHERE verb = 'sign_in.refused' AND cause = $1",
        )
        .bind(cause)
        .fetch_one(&mut self.server.database_owner().await)
        .await
        .unwrap()
    }
}

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

/// Gives the local owner an address.
async fn give_owner(server: &TestServer, address: &str) -> Me {
    let me: Me = server.owner.get("/v1/me").await.unwrap();
    sqlx::query("INSERT INTO user_emails (address, user_id, verified_at) VALUES ($1, $2, now())")
        .bind(address)
        .bind(envforge_core::id::Id::uuid(me.user))
        .execute(&mut server.database_owner().await)
        .await
        .unwrap();
    me
}

// proves ORG-1
#[tokio::test]
async fn only_a_verified_address_joins_an_account() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let owner = give_owner(&world.server, "owner@example.org").await;
    let mut browser = Browser::new(&world.server);
    for verified in [json!(false), Value::Null] {
        let url = browser.leave("/").await;
        let mut claims = world.claims(&url, "owner");
        claims["email_verified"] = verified;
        let page = world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
        assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"));
    }
    let (_, page) = world.sign_in("stranger").await;
    assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"), "nobody signs up");
    let (browser, page) = world.sign_in("owner").await;
    assert_eq!(page.status, 303);
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
    // From now on by issuer and subject, whatever becomes of the address.
    let mut browser = Browser::new(&world.server);
    let url = browser.leave("/").await;
    let mut claims = world.claims(&url, "owner");
    claims["email"] = json!("renamed@example.org");
    world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
}

// proves ORG-1
#[tokio::test]
async fn somebody_signed_in_adds_an_identity() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let me: Me = world.server.owner.get("/v1/me").await.unwrap();
    let mut browser = Browser::with_key(&world.server, world.server.owner.key().unwrap().expose()).await;
    let elsewhere = browser.get("/sign-in/test/start?add=true").await;
    assert_eq!(elsewhere.status, 401, "a page from elsewhere adds nothing");
    let request = browser.request(Method::GET, "/sign-in/test/start?add=true").header("sec-fetch-site", "same-origin");
    let url = browser.send(request).await.location;
    let token = world.provider.sign(&world.claims(&url, "ada"), "JWT");
    assert_eq!(world.come_back(&mut browser, &url, token, "").await.status, 303);
    let (browser, _) = world.sign_in("ada").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, me.user);
}

// proves LINK-10 ORG-1
#[tokio::test]
async fn a_cookie_changes_nothing_for_pages_from_elsewhere() {
    let server = TestServer::start().await;
    let browser = Browser::with_key(&server, server.owner.key().unwrap().expose()).await;
    let change = |headers: &[(&str, &str)]| {
        let mut request = browser.request(Method::POST, "/v1/api-keys").json(&json!({ "name": "x" }));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async { request.send().await.unwrap().status().as_u16() }
    };
    let (ours, csrf) = (("origin", "http://127.0.0.1:7080"), ("x-envforge-csrf", "1"));
    assert_eq!(change(&[]).await, 403);
    assert_eq!(change(&[ours]).await, 403, "the header is missing");
    assert_eq!(change(&[csrf]).await, 403, "nothing says who sent it");
    assert_eq!(change(&[("origin", "http://web--main--acme.localhost:7081"), csrf]).await, 403);
    assert_eq!(change(&[("sec-fetch-site", "same-site"), csrf]).await, 403);
    assert_eq!(change(&[("sec-fetch-site", "cross-site"), ours, csrf]).await, 403);
    assert_eq!(change(&[ours, csrf]).await, 201);
    assert_eq!(change(&[("sec-fetch-site", "same-origin"), csrf]).await, 201);
    // A WebSocket is no reading.
    let socket = |origin: Option<&str>| {
        let mut request = browser.request(Method::GET, "/v1/orgs/acme/workspaces/main/terminal");
        request = request.header("connection", "upgrade").header("upgrade", "websocket");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(socket(None).await, 403);
    assert_eq!(socket(Some("http://web--main--acme.localhost:7081")).await, 403);
    assert_eq!(socket(Some("http://127.0.0.1:7080")).await, 404, "no such workspace, but who asks may");
    // Forms need the session's own token, and sign nobody in from elsewhere.
    let mut browser = browser;
    let page = browser.post("/sign-out", &[("form_token", "wrong")]).await;
    assert_eq!((page.status, page.code()), (403, "access.csrf"));
    let foreign = browser.request(Method::POST, "/sign-in/key").header("sec-fetch-site", "cross-site");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body("key=efk_x");
    assert_eq!(browser.send(foreign).await.code(), "access.csrf");
    let card = browser.get("/sign-out").await;
    assert_eq!(browser.post("/sign-out", &[("form_token", card.field("form_token"))]).await.status, 303);
    assert!(browser.api::<Me>("/v1/me").await.is_none());
}

// proves ORG-1
#[tokio::test]
async fn a_revoked_session_ends_with_its_streams() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let key = server.owner.key().unwrap().expose().to_owned();
    let events = format!("/v1/orgs/acme/workspaces/{}/events", workspace.slug);
    let (watching, other) = (Browser::with_key(&server, &key).await, Browser::with_key(&server, &key).await);
    let open = async |browser: &Browser<'_>| {
        let response = browser.request(Method::GET, &events).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = response.bytes_stream();
        stream.next().await.unwrap().unwrap();
        stream
    };
    let (mut ended, mut kept) = (open(&watching).await, open(&other).await);
    let id = watching.api::<LoginSessions>("/v1/sessions").await.unwrap();
    let id = id.sessions.into_iter().find(|it| it.is_current).unwrap().id;
    server.owner.delete::<Value>(&format!("/v1/sessions/{id}")).await.unwrap();
    assert!(watching.api::<Me>("/v1/me").await.is_none());
    let rest = tokio::time::timeout(std::time::Duration::from_secs(2), async { while ended.next().await.is_some() {} });
    rest.await.expect("the stream ends within two seconds");
    assert!(futures_util::poll!(kept.next()).is_pending(), "the other session's goes on");
    assert!(other.api::<Me>("/v1/me").await.is_some());
    // A stranger can't, and the key's end is the session's.
    let stranger = server.member("rival", Role::Owner).await;
    assert!(stranger.delete::<Value>(&format!("/v1/sessions/{id}")).await.is_err());
    let made: envforge_api::http::accounts::CreatedApiKey =
        server.owner.post("/v1/api-keys", &json!({ "name": "browser" })).await.unwrap();
    let by_key = Browser::with_key(&server, &made.value).await;
    server.owner.delete::<Value>(&format!("/v1/api-keys/{}", made.id)).await.unwrap();
    assert!(by_key.api::<Me>("/v1/me").await.is_none());
}

// proves ORG-1
#[tokio::test]
async fn a_session_ends_idle_and_old() {
    let server = TestServer::start().await;
    let key = server.owner.key().unwrap().expose().to_owned();
    let day = 86_400;
    let idle = Browser::with_key(&server, &key).await;
    server.advance(14 * day);
    assert!(idle.api::<Me>("/v1/me").await.is_none(), "two weeks unused");
    let used = Browser::with_key(&server, &key).await;
    for _ in 0..9 {
        server.advance(10 * day - 1);
        assert!(used.api::<Me>("/v1/me").await.is_some());
    }
    server.advance(9);
    assert!(used.api::<Me>("/v1/me").await.is_none(), "90 days old");
    server.advance(2 * day);
    envforge_server::sessions::jobs::round(server.server.app()).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM login_sessions")
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(left, 0, "forgotten");
}

async fn with_mail(sign_up: SignUp) -> (TestServer, MailSink) {
    let sink = MailSink::start().await.unwrap();
    let mail = MailConfig {
        host: sink.address.ip().to_string(),
        port: sink.address.port(),
        tls: MailTls::Loopback,
        credentials: None,
        from: "box@envforge.example".parse().unwrap(),
    };
    let server = TestServer::configured(|config| {
        config.mail = Some(mail);
        config.sign_up = sign_up;
    })
    .await;
    (server, sink)
}

/// The token in a mail.
fn token_of(mail: &envforge_testkit::Received) -> String {
    let text = mail.decoded();
    let (_, rest) = text.split_once("/sign-in/mail?token=").expect("a link");
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

// proves ORG-1
#[tokio::test]
async fn a_link_in_a_mail_signs_in_once() {
    let (server, mut sink) = with_mail(SignUp::Closed).await;
    let owner = give_owner(&server, "owner@example.org").await;
    let ask = async |address: &str| {
        let response = raw()
            .post(format!("http://{}/v1/sign-in/mail", server.server.local_addr))
            .json(&json!({ "address": address }))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (known, unknown) = (ask("Owner@Example.org").await, ask("nobody@example.org").await);
    assert_eq!((known.0, &known), (202, &unknown), "the same answer");
    let mail = sink.next().await;
    assert_eq!(mail.to, "owner@example.org");
    let token = token_of(&mail);
    let mut browser = Browser::new(&server);
    for _ in 0..3 {
        let card = browser.get(&format!("/sign-in/mail?token={token}")).await;
        assert!(card.status == 200 && browser.cookies.is_empty(), "reading it does nothing");
        assert_eq!(card.field("token"), token);
    }
    let page = browser.post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
    let again = Browser::new(&server).post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!((again.status, again.code()), (403, "sign_in.refused"));
    // Too old.
    ask("owner@example.org").await;
    let token = token_of(&sink.next().await);
    server.advance(901);
    assert_eq!(Browser::new(&server).post("/sign-in/mail/open", &[("token", &token)]).await.status, 403);
    // No more than three at a time to one address, whatever is answered.
    signin::jobs::round(server.server.app()).await.unwrap();
    for _ in 0..6 {
        assert_eq!(ask("owner@example.org").await, known);
    }
    for _ in 0..3 {
        sink.next().await;
    }
    wait_until("the others were not sent", async || {
        signin::jobs::round(server.server.app()).await.unwrap();
        let refused: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum((details->>'count')::bigint), 0)::bigint FROM ledger_events WHERE verb = 'sign_in.refused' AND cause = 'too_many'",
        )
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
        refused == 3
    })
    .await;
    assert!(sink.arrived().is_none(), "nobody else had mail");
    // And a source asks for no more than twenty.
    for _ in 0..14 {
        ask("nobody@example.org").await;
    }
    assert_eq!(ask("nobody@example.org").await.0, 429);
}

// proves ORG-1
#[tokio::test]
async fn a_mail_makes_an_account_where_that_is_allowed() {
    let (server, mut sink) = with_mail(SignUp::Domains(vec!["example.org".to_owned()])).await;
    let mut browser = Browser::new(&server);
    let page = browser.post("/sign-in/mail", &[("address", "ada@example.org"), ("return_to", "/x")]).await;
    assert_eq!(page.status, 202, "{}", page.body);
    let token = token_of(&sink.next().await);
    let page = browser.post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!((page.status, page.location.as_str()), (303, "/x"), "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.name.as_str(), me.orgs.len(), me.is_operator), ("ada", 0, false));
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

const INVITATIONS: &str = "/v1/orgs/acme/invitations";

async fn invite(server: &TestServer, address: &str) -> CreatedInvitation {
    server.owner.post(INVITATIONS, &json!({ "role": "reviewer", "address": address })).await.unwrap()
}

// proves ORG-1 ORG-2
#[tokio::test]
async fn who_is_invited_gets_an_account_and_is_a_member() {
    let world = World::start(SignUp::Invited, |_| ()).await;
    let not_admitted = async |subject: &str| {
        let (_, page) = world.sign_in(subject).await;
        assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"), "{subject}");
    };
    not_admitted("ada").await;
    let invited = invite(&world.server, "Ada@Example.org").await;
    assert!(!invited.mailed, "there is no mail server");
    // Only for a verified address, and only while it can be accepted.
    let mut browser = Browser::new(&world.server);
    let url = browser.leave("/").await;
    let mut claims = world.claims(&url, "ada");
    claims["email_verified"] = json!(false);
    let page = world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
    assert_eq!(page.code(), "sign_in.not_admitted");
    let revoked = invite(&world.server, "eve@example.org").await;
    world.server.owner.delete::<Value>(&format!("{INVITATIONS}/{}", revoked.invitation.id)).await.unwrap();
    not_admitted("eve").await;
    let admin = world.server.member("acme", Role::Admin).await;
    let _: CreatedInvitation =
        admin.post(INVITATIONS, &json!({ "role": "admin", "address": "joe@example.org" })).await.unwrap();
    let gone = TestServer::user(&admin).await;
    world.server.owner.delete::<Value>(&format!("/v1/orgs/acme/members/{gone}")).await.unwrap();
    not_admitted("joe").await;
    assert_eq!(world.server.events("user.created").await, 0, "a refusal makes nobody");

    let (browser, page) = world.sign_in("ada").await;
    assert_eq!(page.status, 303, "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.orgs.len(), me.orgs[0].role), (1, Role::Reviewer));
    let listed: Invitations = world.server.owner.get(INVITATIONS).await.unwrap();
    let state = |id| listed.invitations.iter().find(|it| it.id == id).map(|it| it.state);
    assert_eq!(state(invited.invitation.id), Some(InvitationState::Accepted));
    // Who has an account is asked: signing in accepts nothing.
    let again: CreatedInvitation = {
        let rival = world.server.member("rival", Role::Owner).await;
        let body = json!({ "role": "owner", "address": "ada@example.org" });
        rival.post("/v1/orgs/rival/invitations", &body).await.unwrap()
    };
    let (browser, _) = world.sign_in("ada").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().orgs.len(), 1);
    let accept = browser.request(Method::POST, "/v1/invitations/accept").header("sec-fetch-site", "same-origin");
    let accept = accept.header("x-envforge-csrf", "1").json(&json!({ "token": again.token }));
    let accepted: AcceptedInvitation = accept.send().await.unwrap().json().await.unwrap();
    assert_eq!((accepted.user, accepted.role), (me.user, Role::Owner));
}

// proves ORG-2
#[tokio::test]
async fn an_addressed_invitation_is_accepted_by_its_addressee_alone() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let rival = world.server.member("rival", Role::Owner).await;
    let invited = invite(&world.server, "ada@example.org").await;
    let accept = async |token: &str| {
        rival.post::<_, AcceptedInvitation>("/v1/invitations/accept", &json!({ "token": token })).await
    };
    let verify = async |address: &str| {
        sqlx::query("INSERT INTO user_emails (address, user_id, verified_at) VALUES ($1, $2, now())")
            .bind(address)
            .bind(envforge_core::id::Id::uuid(TestServer::user(&rival).await))
            .execute(&mut world.server.database_owner().await)
            .await
            .unwrap();
    };
    let unknown = accept(&format!("efi_{}", "0".repeat(64))).await.unwrap_err().into_refusal();
    assert_eq!(unknown.code, "invitation.not_valid");
    assert_eq!(accept(&invited.token).await.unwrap_err().into_refusal(), unknown, "no address at all");
    verify("eve@example.org").await;
    assert_eq!(accept(&invited.token).await.unwrap_err().into_refusal(), unknown, "another address");
    verify("ada@example.org").await;
    assert_eq!(accept(&invited.token).await.unwrap().role, Role::Reviewer);
    // Where people can sign in, they do before they accept.
    let open: CreatedInvitation = world.server.owner.post(INVITATIONS, &json!({ "role": "reviewer" })).await.unwrap();
    let address = envforge_api::client::Address::Url(format!("http://{}", world.server.server.local_addr));
    let nobody = envforge_api::client::Client::new(&address, None).unwrap();
    let body = json!({ "token": open.token, "name": "Ada" });
    assert_eq!(code(nobody.post::<_, Value>("/v1/invitations/accept", &body).await), "invitation.sign_in");
    // And commits are by the address proved first.
    let app = world.server.server.app();
    let mut tx = app.db.begin_installation().await.unwrap();
    let user = TestServer::user(&rival).await;
    let person = envforge_server::git::ops::person(app, &mut tx, user, "Ada").await.unwrap();
    assert_eq!(person.email, "eve@example.org");
    let owner = TestServer::user(&world.server.owner).await;
    let person = envforge_server::git::ops::person(app, &mut tx, owner, "Owner").await.unwrap();
    assert_eq!(person.email, format!("{owner}@users.noreply.127.0.0.1"));
}

// proves ORG-1 ORG-2
#[tokio::test]
async fn an_invitation_is_mailed_and_opens_the_way_in() {
    let (server, mut sink) = with_mail(SignUp::Invited).await;
    let invited = invite(&server, "ada@example.org").await;
    assert!(invited.mailed);
    let mail = sink.next().await;
    assert_eq!(mail.to, "ada@example.org");
    let text = mail.decoded();
    assert!(text.contains(&invited.token) && text.contains("http://127.0.0.1:7080/sign-in"), "{text}");
    wait_until("it is noted", async || server.events("invitation.mailed").await == 1).await;
    let mut database = server.database_owner().await;
    let kept: bool = sqlx::query_scalar("SELECT bool_or(sealed_token IS NOT NULL) FROM invitations")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(!kept, "the token is forgotten once it is sent");
    let jobs: String = sqlx::query_scalar("SELECT string_agg(j::text, '') FROM jobs j WHERE kind = 'invitation.send'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(jobs.contains(&invited.invitation.id.to_string()) && !jobs.contains(&invited.token[4..]), "{jobs}");
    // The address is let in by a link, and nobody else's.
    let mut browser = Browser::new(&server);
    for address in ["eve@example.org", "ada@example.org"] {
        assert_eq!(browser.post("/sign-in/mail", &[("address", address)]).await.status, 202);
    }
    let link = sink.next().await;
    assert_eq!(link.to, "ada@example.org");
    let page = browser.post("/sign-in/mail/open", &[("token", &token_of(&link))]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.orgs.len(), me.orgs[0].role), (1, Role::Reviewer));
    assert!(sink.arrived().is_none());
}

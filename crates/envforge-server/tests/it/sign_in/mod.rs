//! Signing in: by a provider that may say anything, by mail, with a key; and what the session can and can't do then.

mod accounts;
mod mail;
mod providers;
mod sessions;

use crate::provider::{CLIENT, Provider};
use crate::support::TestServer;
pub(crate) use accounts::invite;
use envforge_api::http::accounts::Me;
use envforge_core::clock::Clock as _;
use envforge_core::login::SignUp;
use envforge_server::providers::identity::ProviderConfig;
use envforge_server::providers::mail::{MailConfig, MailTls};
use envforge_server::signin;
use envforge_testkit::MailSink;
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
    /// Where its page leads by itself.
    pub(crate) refresh: String,
    pub(crate) referrer_policy: String,
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
        let header = |name: &str| response.headers().get(name).map_or("", |it| it.to_str().unwrap()).to_owned();
        let (status, location) = (response.status().as_u16(), header("location"));
        let (refresh, referrer_policy) = (header("refresh"), header("referrer-policy"));
        Page { status, location, refresh, referrer_policy, body: response.text().await.unwrap() }
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

/// Gives the local owner an address.
pub(crate) async fn give_owner(server: &TestServer, address: &str) -> Me {
    let me: Me = server.owner.get("/v1/me").await.unwrap();
    sqlx::query("INSERT INTO user_emails (address, user_id, verified_at) VALUES ($1, $2, now())")
        .bind(address)
        .bind(envforge_core::id::Id::uuid(me.user))
        .execute(&mut server.database_owner().await)
        .await
        .unwrap();
    me
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
pub(crate) fn token_of(mail: &envforge_testkit::Received) -> String {
    let text = mail.decoded();
    let (_, rest) = text.split_once("/sign-in/mail?token=").expect("a link");
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

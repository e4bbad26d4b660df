//! Signing in by a provider that others wrote and certified (`oidc-provider`), in a real browser, headless Chromium.
//!
//! Without Chromium's driver, Node or the provider's packages (`npm ci` in `tests/peers/oidc`, which `./dev test` does) it
//! says that it was skipped; in CI that is a failure, unless `ENVFORGE_NO_BROWSER` says that this system has no browser.

use crate::sign_in::{Browser, parameter};
use crate::support::TestServer;
use envforge_api::ambient::SystemClock;
use envforge_core::clock::Clock as _;
use envforge_core::login::SignUp;
use envforge_core::secret::Secret;
use envforge_server::providers::identity::{ClientAuth, ProviderConfig};
use envforge_server::sessions;
use envforge_testkit::{free_port, wait_for, wait_until_within};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use thirtyfour::prelude::*;
use tokio::process::{Child, Command};

/// What keeps Chromium from asking the network for anything of its own.
const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// For a browser on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);
const DRIVER: &str = "/usr/bin/chromedriver";

fn peer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/oidc")
}

/// What this machine lacks, if anything.
fn missing() -> Option<&'static str> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_node = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("node").exists()));
    if Path::new(DRIVER).exists() && has_node && peer().join("node_modules/oidc-provider").exists() {
        return None;
    }
    let missing = "signing in by a real provider needs chromium-driver, node, and `npm ci` in tests/peers/oidc";
    assert!(!is_set("CI") || is_set("ENVFORGE_NO_BROWSER"), "{missing}");
    Some(missing)
}

fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "programs of others that the test needs")]
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

struct World {
    server: TestServer,
    url: String,
    port: u16,
    provider: Option<Child>,
    driver: WebDriver,
    _driver_program: Child,
    _profile: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let (listen, port, driver_port) = (free_port(), free_port(), free_port());
        let url = format!("http://127.0.0.1:{listen}");
        let public_url = url.clone();
        let server = TestServer::configured(|config| {
            config.listen = ([127, 0, 0, 1], listen).into();
            config.public_url = public_url;
            config.identity_providers = vec![provider(&format!("http://127.0.0.1:{port}"))];
        })
        .await;
        let profile = tempfile::tempdir().unwrap();
        let driver_program = program(DRIVER).arg(format!("--port={driver_port}")).spawn().unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        for flag in FLAGS {
            wanted.add_arg(flag).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        let at = format!("http://127.0.0.1:{driver_port}");
        let driver = wait_for("the browser's driver", async || WebDriver::new(&at, wanted.clone()).await.ok()).await;
        let mut world =
            Self { server, url, port, provider: None, driver, _driver_program: driver_program, _profile: profile };
        world.start_provider().await;
        world
    }

    /// Starts the provider, or another in its place: with other keys, and without a memory of who signed in.
    async fn start_provider(&mut self) {
        if let Some(mut running) = self.provider.take() {
            running.kill().await.unwrap();
        }
        let port = self.port.to_string();
        let started = program("node").current_dir(peer()).args(["provider.mjs", &port, &self.url]).spawn();
        self.provider = Some(started.unwrap());
        wait_until_within("the provider listens", PATIENCE, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    /// The server's clock as it really is, or that many seconds apart.
    fn set_clock(&self, apart: i64) {
        let really = SystemClock.now().as_second();
        self.server.advance(really - self.server.clock.now().as_second() + apart);
    }

    async fn body(&self) -> String {
        match self.driver.find(By::Tag("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    async fn shows(&self, wanted: &str) {
        wait_until_within(wanted, PATIENCE, async || self.body().await.contains(wanted)).await;
    }

    async fn here(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    async fn press(&self, selector: &str) {
        self.driver.find(By::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Leaves for the provider by the button of the sign-in page.
    async fn leave(&self) {
        self.driver.goto(format!("{}/sign-in?return_to=/v1/me", self.url)).await.unwrap();
        self.press("a.button").await;
    }

    /// Types a name at the provider, and agrees to what it asks.
    async fn type_name(&self, name: &str) {
        wait_until_within("the provider asks for a name", PATIENCE, async || {
            self.driver.find(By::Css("input[name=login]")).await.is_ok()
        })
        .await;
        self.driver.find(By::Css("input[name=login]")).await.unwrap().send_keys(name).await.unwrap();
        self.driver.find(By::Css("input[name=password]")).await.unwrap().send_keys("any").await.unwrap();
        self.press("button[type=submit]").await;
        self.agree().await;
    }

    /// Agrees to what the provider asks.
    async fn agree(&self) {
        self.shows("Authorize").await;
        self.press("button[type=submit]").await;
    }

    /// Whether the provider is asked again, from now on.
    fn ask_again(&self, refresh: bool) {
        let config = ProviderConfig { refresh, ..provider(&format!("http://127.0.0.1:{}", self.port)) };
        self.server.server.app().identity.replace(&[config]).unwrap();
    }

    /// When the provider last vouched for somebody, by our clock.
    async fn vouched_at(&self) -> Option<i64> {
        sqlx::query_scalar("SELECT extract(epoch FROM max(answered_at))::bigint FROM session_standings")
            .fetch_one(&mut self.server.database_owner().await)
            .await
            .unwrap()
    }

    async fn is_signed_in(&self) -> bool {
        self.driver.goto(format!("{}/v1/me", self.url)).await.unwrap();
        !self.body().await.contains("access.unauthenticated")
    }
}

fn provider(issuer: &str) -> ProviderConfig {
    ProviderConfig {
        name: "peer".parse().unwrap(),
        title: "the peer".to_owned(),
        issuer: issuer.to_owned(),
        client_id: "envforge".to_owned(),
        client_secret: Some(Secret::new("a secret of the test, which is long enough".to_owned())),
        client_auth: ClientAuth::Basic,
        redirect_uri: None,
        refresh: false,
        sign_up: SignUp::Open,
        orgs: None,
    }
}

// proves ORG-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certified_provider_signs_people_in_and_out() {
    if let Some(missing) = missing() {
        println!("SKIPPED: {missing}");
        return;
    }
    let mut world = World::start().await;

    // In, by name and consent; back where one came from.
    world.set_clock(0);
    world.leave().await;
    world.type_name("ada").await;
    world.shows("Peer ada").await;
    assert!(world.here().await.ends_with("/v1/me"), "{}", world.here().await);

    // An address the provider did not verify is nobody's here.
    let verified: i64 = sqlx::query_scalar("SELECT count(*) FROM user_emails WHERE address = 'ada@example.org'")
        .fetch_one(&mut world.server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(verified, 1);

    // Begun elsewhere, finished here: refused. Its code is of no use to another attempt: the verifier is not the same.
    let mut elsewhere = Browser::new(&world.server);
    let url = elsewhere.leave_for("peer", "/").await;
    world.driver.goto(&url).await.unwrap();
    world.shows("another browser").await;
    let (code, iss) = (parameter(&world.here().await, "code"), parameter(&world.here().await, "iss"));
    assert!(!code.is_empty() && iss == format!("http://127.0.0.1:{}", world.port));
    let another = elsewhere.leave_for("peer", "/").await;
    let state = parameter(&another, "state");
    let page = elsewhere.get(&format!("/sign-in/peer/callback?code={code}&state={state}&iss={iss}")).await;
    assert_eq!((page.status, page.code()), (403, "sign_in.refused"), "{}", page.body);

    // Out, of the provider too; and back on the page to sign in on.
    assert!(world.is_signed_in().await);
    world.driver.goto(format!("{}/sign-out", world.url)).await.unwrap();
    world.press("button[type=submit]").await;
    world.shows("sign-out").await;
    world.press("button[name=logout][value=yes]").await;
    world.shows("Continue with the peer").await;
    assert!(world.here().await.starts_with(&format!("{}/sign-in", world.url)));
    assert!(!world.is_signed_in().await);

    // The provider has other keys now; nobody restarts us for that.
    world.start_provider().await;
    world.set_clock(0);
    world.leave().await;
    world.type_name("ada").await;
    world.shows("Peer ada").await;

    // Signed out at the provider, one is signed out here (back-channel).
    world.driver.goto(format!("http://127.0.0.1:{}/session/end", world.port)).await.unwrap();
    world.press("button[name=logout][value=yes]").await;
    wait_until_within("the session has ended", PATIENCE, async || !world.is_signed_in().await).await;

    // Our clock is a minute and more behind the provider's.
    world.set_clock(-75);
    world.leave().await;
    world.type_name("ada").await;
    world.shows("does not hold").await;
    world.set_clock(-45);
    world.leave().await;
    world.shows("Peer ada").await;

    // Asked again, it still vouches for her: each time with another refresh token, since one works once.
    world.ask_again(true);
    world.set_clock(0);
    world.leave().await;
    world.agree().await;
    world.shows("Peer ada").await;
    for minutes in [16, 32] {
        world.set_clock(minutes * 60);
        let asked_at = world.server.clock.now();
        wait_until_within("it vouches for her", PATIENCE, async || {
            sessions::ops::ask_again(world.server.server.app()).await.unwrap();
            world.vouched_at().await == Some(asked_at.as_second())
        })
        .await;
        assert!(world.is_signed_in().await);
    }
    // It forgets her.
    world.start_provider().await;
    world.set_clock(48 * 60);
    sessions::ops::ask_again(world.server.server.app()).await.unwrap();
    wait_until_within("the session has ended", PATIENCE, async || !world.is_signed_in().await).await;

    // It calls itself by another name than the one configured.
    world.server.server.app().identity.replace(&[provider(&format!("http://localhost:{}", world.port))]).unwrap();
    world.leave().await;
    world.shows("sign_in.provider_unreachable").await;
    assert_eq!(world.server.events("user.created").await, 1, "one person all along");
    world.driver.clone().quit().await.unwrap();
}

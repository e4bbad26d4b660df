//! A server on free ports with a private database, a clock that stands still, and a scripted host.

use envforge_api::ambient::SystemEntropy;
use envforge_api::client::{Address, CallError, Client};
use envforge_api::gateway::{EXCHANGE_PATH, Exchange, Exchanged, FeedItem, Presence};
use envforge_api::host::{HostCommand, REGISTER_PATH, Register, Registered};
use envforge_api::http::accounts::Me;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::FixedClock;
use envforge_core::id::{GatewayId, UserId};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::usage::Prices;
use envforge_server::platform::db::OrgScope;
use envforge_server::platform::keys::KeyWrappers;
use envforge_server::platform::secret_stores::SecretStores;
use envforge_server::{Bootstrap, RunningServer, Server, ServerConfig, migrate, schema_fingerprint};
use envforge_testkit::TestDatabase;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod host;

pub(crate) use host::{FakeHost, report};

pub(crate) const GATEWAY_KEY: &str = "the gateway's key";

pub(crate) const MANIFEST: &str = "services:
  web:
    command: npm run dev
    port: 3000
    routes: [/]
    inputs: { api_url: required }
    environment: { API_URL: input.api_url }
  api:
    command: npm run api
    port: 4000
    routes: [/api]
";

pub(crate) struct TestServer {
    pub(crate) server: RunningServer,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) owner: Client,
    pub(crate) database: TestDatabase,
    pub(crate) folder: tempfile::TempDir,
    config: ServerConfig,
    cancel: CancellationToken,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::configured(|_| {}).await
    }

    /// One whose configuration differs from the usual.
    pub(crate) async fn configured(adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        let fingerprint = schema_fingerprint();
        let database = TestDatabase::new(&fingerprint, async |owner, password| {
            migrate(owner, &Secret::new(password.to_owned())).await?;
            Ok(())
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = ServerConfig {
            database_url: Secret::new(database.app_url()),
            listen: "127.0.0.1:0".parse().unwrap(),
            internal_socket: at("server.sock"),
            uplink_path: at("uplink.sock"),
            gateway_uplink_paths: vec![at("gateway-uplink.sock")],
            dev_domain: "localhost".to_owned(),
            gateway_url_scheme: "http".to_owned(),
            gateway_url_port: Some(7081),
            public_url: "http://127.0.0.1:7080".to_owned(),
            signing_seed: Secret::new("11".repeat(32)),
            key_wrappers: KeyWrappers::local(&[Secret::new("22".repeat(32))]).unwrap(),
            secret_stores: SecretStores::default(),
            gateway_key: Secret::new(GATEWAY_KEY.to_owned()),
            ledger_retention_days: None,
            open_orgs: false,
            github_app: None,
            disk_folders: vec![folder.path().to_owned()],
            drain_notice: Duration::ZERO,
            prices: Prices {
                currency: "EUR".to_owned(),
                small: 3_600_000,
                medium: 7_200_000,
                large: 14_400_000,
                ..Prices::default()
            },
            queue_concurrency: BTreeMap::new(),
            mail: None,
            identity_providers: Vec::new(),
            sign_up: envforge_core::login::SignUp::Closed,
            bootstrap: Some(Bootstrap {
                org: "acme".to_owned(),
                owner_key_file: at("owner.key"),
                host_token_file: at("host.token"),
            }),
        };
        adjust(&mut config);
        let clock = Arc::new(FixedClock::new(Timestamp::from_second(1_760_000_000).unwrap()));
        let cancel = CancellationToken::new();
        let server =
            Server::start_with(config.clone(), Arc::clone(&clock) as _, Arc::new(SystemEntropy), cancel.clone())
                .await
                .unwrap();
        let key = std::fs::read_to_string(at("owner.key")).unwrap().trim().to_owned();
        let owner = client(&server, &key);
        Self { server, clock, owner, database, folder, config, cancel }
    }

    /// Tells it to end.
    pub(crate) fn stop(&self) {
        self.cancel.cancel();
    }

    /// Ends the server as if it were killed, and starts another in its place.
    pub(crate) async fn restart(&mut self) {
        self.try_restart().await.unwrap();
    }

    /// The same, if another starts.
    pub(crate) async fn try_restart(&mut self) -> anyhow::Result<()> {
        self.cancel.cancel();
        self.cancel = CancellationToken::new();
        let clock = Arc::clone(&self.clock) as _;
        let started =
            Server::start_with(self.config.clone(), clock, Arc::new(SystemEntropy), self.cancel.clone()).await;
        self.server = started?;
        let key = std::fs::read_to_string(self.path("owner.key")).unwrap().trim().to_owned();
        self.owner = client(&self.server, &key);
        Ok(())
    }

    /// Another server on the same database.
    pub(crate) async fn another(&self, clock: Arc<FixedClock>, cancel: CancellationToken) -> RunningServer {
        let mut config = self.config.clone();
        config.internal_socket = self.path("another.sock");
        config.uplink_path = self.path("another-uplink.sock");
        Server::start_with(config, clock, Arc::new(SystemEntropy), cancel).await.unwrap()
    }

    /// The same with another configuration.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut ServerConfig)) {
        change(&mut self.config);
        self.restart().await;
    }

    /// Starts it again as an installation where everybody may make an org.
    pub(crate) async fn open_orgs(&mut self) {
        self.config.open_orgs = true;
        self.restart().await;
    }

    /// One look of the reconciler.
    pub(crate) async fn reconcile(&self) {
        envforge_server::runtimes::jobs::round(self.server.app()).await.unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// A client that shows `key`.
    pub(crate) fn with_key(&self, key: &str) -> Client {
        client(&self.server, key)
    }

    pub(crate) fn gateway(&self) -> Client {
        Client::new(&Address::Socket(self.path("server.sock")), Some(Secret::new(GATEWAY_KEY.to_owned()))).unwrap()
    }

    /// The schema's owner, whom row-level security does not bind.
    pub(crate) async fn database_owner(&self) -> PgConnection {
        PgConnection::connect(&self.database.owner_url()).await.unwrap()
    }

    /// The server's own role.
    pub(crate) async fn database_app(&self) -> PgConnection {
        PgConnection::connect(&self.database.app_url()).await.unwrap()
    }

    /// A member of an org, made if missing, with an API key.
    pub(crate) async fn member(&self, org: &str, role: Role) -> Client {
        let mut connection = self.database_owner().await;
        let (user, key) = (uuid::Uuid::from_u128(rand()), format!("efk_{:064x}", rand()));
        sqlx::query(
            "INSERT INTO orgs (org_id, slug, name, created_at) VALUES ($1, $2, $2, now()) ON CONFLICT DO NOTHING",
        )
        .bind(uuid::Uuid::from_u128(rand()))
        .bind(org)
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::query("INSERT INTO users (id, name, created_at) VALUES ($1, 'test', now())")
            .bind(user)
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query("INSERT INTO memberships (org_id, user_id, role) SELECT org_id, $1, $3 FROM orgs WHERE slug = $2")
            .bind(user)
            .bind(org)
            .bind(role.as_str())
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query("INSERT INTO api_keys (id, user_id, name, prefix, digest, created_at) VALUES ($1, $2, 'test', 'efk_', $3, now())")
            .bind(uuid::Uuid::from_u128(rand()))
            .bind(user)
            .bind(envforge_core::token::digest(&key))
            .execute(&mut connection)
            .await
            .unwrap();
        self.with_key(&key)
    }

    /// Who a client is.
    pub(crate) async fn user(client: &Client) -> UserId {
        client.get::<Me>("/v1/me").await.unwrap().user
    }

    /// The right to an org's rows, through a new owner of it.
    pub(crate) async fn scope(&self, org: &str) -> OrgScope {
        let owner = self.member(org, Role::Owner).await;
        let key = owner.key().unwrap().expose();
        let identity = envforge_server::accounts::ops::authenticate(self.server.app(), key).await.unwrap().unwrap();
        identity.orgs[0].0
    }

    /// This box's host, registered and on its control stream.
    pub(crate) async fn host(&self) -> FakeHost {
        let token = std::fs::read_to_string(self.path("host.token")).unwrap().trim().to_owned();
        let plain = Client::new(&Address::Socket(self.path("server.sock")), None).unwrap();
        let registered: Registered = plain.post(REGISTER_PATH, &Register { token }).await.unwrap();
        let mut host = FakeHost::connect(self.path("server.sock"), registered).await;
        host.clock = Some(Arc::clone(&self.clock));
        host
    }

    /// A project and a workspace `main` that `host` has prepared.
    pub(crate) async fn workspace(&self, host: &mut FakeHost) -> Workspace {
        self.named_workspace(host, "main").await
    }

    pub(crate) async fn named_workspace(&self, host: &mut FakeHost, branch: &str) -> Workspace {
        let project = json!({ "slug": "planner", "repository": "https://example.org/planner.git" });
        let _: Value = self.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
        self.named_workspace_of(host, "planner", branch).await
    }

    /// A workspace of a project that is there.
    pub(crate) async fn named_workspace_of(&self, host: &mut FakeHost, project: &str, branch: &str) -> Workspace {
        let request = json!({ "project": project, "branch": branch });
        let workspace: Workspace = self.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
        let command = host.command("PREPARE_SHELL").await;
        host.prepared(command.workspace).await;
        host.done(&command).await;
        workspace
    }

    /// Wakes `main` until its services are ready; returns the command that did it.
    pub(crate) async fn awake(&self, host: &mut FakeHost, workspace: &Workspace) -> HostCommand {
        let _: Workspace =
            self.owner.post(&format!("/v1/orgs/acme/workspaces/{}/wake", workspace.slug), &json!({})).await.unwrap();
        let command = host.command("START_RUNTIME").await;
        host.done(&command).await;
        host.up(&command).await;
        command
    }

    pub(crate) async fn show(&self, slug: &str) -> Workspace {
        self.owner.get(&format!("/v1/orgs/acme/workspaces/{slug}")).await.unwrap()
    }

    pub(crate) async fn exchange(&self, label: &str, token: &str) -> Result<Exchanged, Refusal> {
        let request =
            Exchange { label: label.to_owned(), token: token.to_owned(), user_agent: Some("test".to_owned()) };
        self.gateway().post(EXCHANGE_PATH, &request).await.map_err(CallError::into_refusal)
    }

    /// Waits until a host's answer to a command is stored.
    pub(crate) async fn answered(&self, command: &HostCommand) {
        let mut connection = self.database_owner().await;
        envforge_testkit::wait_until("the answer is stored", async || {
            sqlx::query_scalar("SELECT answered_at IS NOT NULL FROM host_commands WHERE id = $1")
                .bind(envforge_core::id::Id::uuid(command.id))
                .fetch_one(&mut connection)
                .await
                .unwrap()
        })
        .await;
    }

    /// How many events of a verb the ledger has.
    pub(crate) async fn events(&self, verb: &str) -> i64 {
        let mut connection = self.database_owner().await;
        sqlx::query_scalar("SELECT count(*) FROM ledger_events WHERE verb = $1")
            .bind(verb)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

fn client(server: &RunningServer, key: &str) -> Client {
    Client::new(&Address::Url(format!("http://{}", server.local_addr)), Some(Secret::new(key.to_owned()))).unwrap()
}

fn rand() -> u128 {
    use envforge_core::clock::Entropy as _;
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// What a refused call says.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    result.unwrap_err().into_refusal().code
}

/// A gateway's feed.
pub(crate) struct Feed {
    response: reqwest::Response,
    read: Vec<u8>,
}

impl Feed {
    /// The feed of a gateway that listens at this port.
    pub(crate) async fn open(client: &Client, gateway: GatewayId, port: u16) -> Self {
        let presence = Presence { gateway, address: ([127, 0, 0, 1], port).into() };
        Self { response: client.stream(&presence.feed()).await.unwrap(), read: Vec::new() }
    }

    /// What it says next, until it ends.
    pub(crate) async fn next(&mut self) -> Option<FeedItem> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.read.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }
}

/// An id that is nobody's.
pub(crate) fn unknown<T: envforge_core::id::Id>() -> T {
    T::from_uuid(uuid::Uuid::from_u128(rand()))
}

/// A client for requests that the typed one can't make.
#[expect(clippy::disallowed_methods, reason = "tests send what no client of ours would")]
pub(crate) fn raw() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// How many statements wait for a lock.
pub(crate) async fn lock_waits(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE NOT l.granted AND a.datname = current_database()",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

//! The world around a gateway under test.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod h2c;
pub(crate) mod host;
pub(crate) mod logs;
pub(crate) mod readings;
pub(crate) mod recorder;
pub(crate) mod scripted;
pub(crate) mod server;

use app::App;
use envforge_api::gateway::{FeedItem, Route, RouteRule, RouteRuntime};
use envforge_core::clock::{Clock as _, FixedClock};
use envforge_core::entry::{EntryClaims, state_of};
use envforge_core::id::{HostId, Id, LinkId, LinkSessionId, OrgId, WorkspaceId};
use envforge_core::link::{Holder, LinkClaims, SessionClaims};
use envforge_core::manifest::{Protocol, Rewrite};
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::RuntimeState;
use envforge_core::secret::Secret;
use envforge_core::token::Signer;
use envforge_gateway::tls::TlsConfig;
use envforge_gateway::{Gateway, GatewayConfig, Limits, Network, RunningGateway, Scheme};
use host::Host;
use jiff::{SignedDuration, Timestamp};
use server::Server;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The label most tests ask for.
pub(crate) const LABEL: &str = "web--fix--acme";
/// Its `Host`.
pub(crate) const HOST: &str = "web--fix--acme.localhost";
/// The dev domain of worlds whose gateway ends TLS: no certificate is for the whole of `localhost`.
pub(crate) const TLS_DOMAIN: &str = "dev.example";
/// Its cookie's name without TLS.
pub(crate) const COOKIE: &str = "envforge-session";
/// Where people reach the product.
pub(crate) const PRODUCT: &str = "http://127.0.0.1:7080";
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) fn id<T: Id>(n: u128) -> T {
    T::from_uuid(uuid::Uuid::from_u128(n))
}

/// Waits until something holds; fails loudly when it does not in time.
#[track_caller]
pub(crate) fn until<'a>(what: &'a str, holds: impl Fn() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "not in time: {what} ({place})");
    }
}

/// A runtime in a state, with the services `web` and `api` in theirs.
pub(crate) fn runtime(state: RuntimeState, generation: u64, services: ReadinessState) -> RouteRuntime {
    let part = |name: &str| Part::new(PartKind::Service, name, services);
    let parts = vec![part("web"), part("api"), Part::new(PartKind::Resource, "postgres", services)];
    RouteRuntime { state, generation, blocked_cause: None, blocked_fix: None, parts }
}

pub(crate) fn awake() -> RouteRuntime {
    runtime(RuntimeState::Awake, 1, ReadinessState::Ready)
}

pub(crate) fn asleep() -> RouteRuntime {
    runtime(RuntimeState::Asleep, 1, ReadinessState::Asleep)
}

pub(crate) fn waking() -> RouteRuntime {
    runtime(RuntimeState::Waking, 2, ReadinessState::Waking)
}

pub(crate) fn frozen() -> RouteRuntime {
    runtime(RuntimeState::Frozen, 2, ReadinessState::Asleep)
}

pub(crate) fn awake_again(generation: u64) -> RouteRuntime {
    runtime(RuntimeState::Awake, generation, ReadinessState::Ready)
}

/// A gateway and everything around it.
pub(crate) struct World {
    pub(crate) gateway: RunningGateway,
    pub(crate) server: Arc<Server>,
    pub(crate) host: Arc<Host>,
    pub(crate) web: App,
    pub(crate) api: App,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) stop: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
    declared: Declared,
}

/// What the manifest says of the services.
#[derive(Clone, Default)]
pub(crate) struct Declared {
    pub(crate) protocol: Protocol,
    pub(crate) rewrite: BTreeSet<Rewrite>,
    pub(crate) port: Option<u16>,
}

/// How a world differs from the ordinary one.
pub(crate) struct Plan {
    pub(crate) runtime: RouteRuntime,
    pub(crate) scheme: Scheme,
    /// Ends TLS itself, on [`TLS_DOMAIN`].
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) limits: Limits,
    pub(crate) trusted: Vec<Network>,
    pub(crate) product_url: Option<&'static str>,
    pub(crate) declared: Declared,
}

impl Default for Plan {
    fn default() -> Self {
        let limits = Limits::default();
        let (scheme, product_url) = (Scheme::Http, Some(PRODUCT));
        let declared = Declared::default();
        Self { runtime: awake(), scheme, tls: None, limits, trusted: Vec::new(), product_url, declared }
    }
}

impl World {
    /// A world whose workspace is awake.
    pub(crate) async fn awake() -> Self {
        Self::new(Plan::default()).await
    }

    /// A world whose runtime is so.
    pub(crate) async fn with(runtime: RouteRuntime) -> Self {
        Self::new(Plan { runtime, ..Plan::default() }).await
    }

    pub(crate) async fn new(plan: Plan) -> Self {
        logs::install();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(FixedClock::new(Timestamp::from_second(1_800_000_000).expect("in range")));
        let signer = Arc::new(Signer::from_seed(&[7; 32]));
        let server = Server::start(&folder.path().join("server.sock"), vec![signer.public_key()]);
        let (web, api) = (App::start("web").await, App::start("api").await);
        // So that no test waits a second to see what is told every second.
        let limits = Limits { tell: Duration::from_millis(50), ..plan.limits };
        let config = GatewayConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            external_scheme: plan.scheme,
            trusted: plan.trusted,
            access_log: Some(folder.path().join("access.log")),
            product_url: plan.product_url.map(ToOwned::to_owned),
            dev_domain: if plan.tls.is_some() { TLS_DOMAIN } else { "localhost" }.to_owned(),
            tls: plan.tls,
            workers: Some(1),
            limits,
            ..GatewayConfig::one_box(
                id(1),
                folder.path().join("server.sock"),
                folder.path().join("uplink.sock"),
                Secret::new("gateway-key".to_owned()),
            )
        };
        let stop = CancellationToken::new();
        let gateway = Gateway::start(config, Arc::clone(&clock) as _, stop.clone()).await.expect("the gateway starts");
        let host = Host::dial(&folder.path().join("uplink.sock"), &signer, &[&web, &api]);
        let declared = plan.declared;
        let world = Self { gateway, server, host, web, api, clock, signer, stop, folder, declared };
        world.server.set_route(world.route(plan.runtime));
        until("the gateway hears its server", || world.gateway.is_connected()).await;
        world
    }

    /// The route of the label: `/api` to `api`, all else to `web`.
    pub(crate) fn route(&self, runtime: RouteRuntime) -> Route {
        let expires = self.clock.now().saturating_add(SignedDuration::from_mins(5)).expect("in range");
        let rule = |prefix: &str, service: &str| RouteRule {
            prefix: prefix.to_owned(),
            service: service.to_owned(),
            ticket: service.to_owned(),
            ticket_expires_at: expires,
            protocol: self.declared.protocol,
            rewrite: self.declared.rewrite.clone(),
            port: self.declared.port,
        };
        Route {
            label: LABEL.to_owned(),
            org: id::<OrgId>(1),
            workspace: id::<WorkspaceId>(1),
            workspace_slug: "fix".to_owned(),
            service: "web".to_owned(),
            rules: vec![rule("/", "web"), rule("/api", "api")],
            host: id::<HostId>(1),
            runtime,
        }
    }

    /// Tells the gateway, and whoever asks the server, that the runtime is so now.
    pub(crate) fn becomes(&self, runtime: RouteRuntime) {
        self.server.set_route(self.route(runtime.clone()));
        self.server.feed(&FeedItem::Workspace { workspace: id(1), runtime: Some(runtime) });
    }

    fn expires(&self, seconds: i64) -> i64 {
        self.clock.now().as_second() + seconds
    }

    /// A session of link `n` for the ordinary label.
    pub(crate) fn session(&self, n: u128) -> String {
        self.session_for(n, LABEL, 3600)
    }

    pub(crate) fn session_for(&self, n: u128, label: &str, seconds: i64) -> String {
        self.signer.sign(&self.claims_for(n, label, seconds))
    }

    /// A session of link 1 that is limited to these routes.
    pub(crate) fn session_limited_to(&self, routes: &[&str]) -> String {
        let routes = routes.iter().map(|route| (*route).to_owned()).collect();
        self.signer.sign(&SessionClaims { routes, ..self.claims_for(1, LABEL, 3600) })
    }

    /// What the session of link `n` says.
    pub(crate) fn claims(&self, n: u128) -> SessionClaims {
        self.claims_for(n, LABEL, 3600)
    }

    fn claims_for(&self, n: u128, label: &str, seconds: i64) -> SessionClaims {
        SessionClaims {
            session: id::<LinkSessionId>(n),
            holder: Holder::Link(id(n)),
            org: id(1),
            workspace: id(1),
            service: "web".to_owned(),
            label: label.to_owned(),
            expires: self.expires(seconds),
            routes: Vec::new(),
        }
    }

    /// Member `n`'s session for the ordinary label; its id is a hundred more.
    pub(crate) fn members_session(&self, n: u128) -> String {
        let holder = Holder::Member { user: id(n), login: id(n) };
        self.signer.sign(&SessionClaims { session: id(n + 100), holder, ..self.claims_for(n, LABEL, 3600) })
    }

    /// The `Cookie` header of that session.
    pub(crate) fn members_cookie(&self, n: u128) -> String {
        format!("{COOKIE}={}", self.members_session(n))
    }

    /// Member 1's code for a label and a browser, for a minute.
    pub(crate) fn code(&self, label: &str, nonce: &str) -> String {
        self.signer.sign(&EntryClaims {
            session: id(101),
            user: id(1),
            login: id(1),
            org: id(1),
            workspace: id(1),
            label: label.to_owned(),
            state: state_of(nonce),
            expires: self.expires(60),
        })
    }

    /// The `Cookie` header of that session.
    pub(crate) fn cookie(&self, n: u128) -> String {
        format!("{COOKIE}={}", self.session(n))
    }

    /// Link `n` for the ordinary label.
    pub(crate) fn link(&self, n: u128) -> String {
        self.link_for(n, LABEL, 3600)
    }

    pub(crate) fn link_for(&self, n: u128, label: &str, seconds: i64) -> String {
        self.signer.sign(&LinkClaims {
            link: id::<LinkId>(n),
            org: id(1),
            workspace: id(1),
            service: "web".to_owned(),
            label: label.to_owned(),
            expires: self.expires(seconds),
        })
    }
}

//! What a gateway is told at its start: where it listens, whom it asks, and every limit it holds.
//!
//! There is nothing to decide here and nothing is read from the environment: the program that starts the
//! gateway does that. Each limit has its reason beside it; tests make some of them short.

use crate::network::Network;
use crate::rates::Rate;
use crate::tls::TlsConfig;
use envforge_api::gateway::LEASE_SECONDS;
use envforge_core::id::GatewayId;
use envforge_core::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How browsers reach the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain, for the one box on `*.localhost`.
    Http,
    /// TLS, ended here or in front.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a gateway is told at its start.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Which of all gateways it is: new at each start.
    pub id: GatewayId,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The domain whose direct subdomains are dev hosts.
    pub dev_domain: String,
    /// How browsers reach it; decides the cookie's name and flags. With TLS ended here it is `https`.
    pub external_scheme: Scheme,
    /// TLS ended here; without it connections are plain.
    pub tls: Option<TlsConfig>,
    /// The port browsers use, for services that make absolute links; `None` is the one it listens on.
    pub external_port: Option<u16>,
    /// Where people reach the product, without a slash at its end: members sign in there. Without it dev hosts open by links
    /// alone.
    pub product_url: Option<String>,
    /// The server's local socket.
    pub server_socket: PathBuf,
    /// The key shown to the server.
    pub key: Secret,
    /// The local socket on which hosts dial in.
    pub uplink_path: PathBuf,
    /// Where a line is written for each request; `None` is nowhere.
    pub access_log: Option<PathBuf>,
    /// Load balancers in front: what they say of where a request came from is believed.
    pub trusted: Vec<Network>,
    /// Threads that serve connections; `None` is one per processor.
    pub workers: Option<usize>,
    /// Every limit.
    pub limits: Limits,
}

impl GatewayConfig {
    /// The configuration of the one box: plain HTTP on `*.localhost`, port 7081.
    pub fn one_box(id: GatewayId, server_socket: PathBuf, uplink_path: PathBuf, key: Secret) -> Self {
        Self {
            id,
            listen: SocketAddr::from(([127, 0, 0, 1], 7081)),
            dev_domain: "localhost".to_owned(),
            external_scheme: Scheme::Http,
            tls: None,
            external_port: None,
            product_url: None,
            server_socket,
            key,
            uplink_path,
            access_log: None,
            trusted: Vec::new(),
            workers: None,
            limits: Limits::default(),
        }
    }
}

/// Every limit the gateway holds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an API call or WebSocket is held while its runtime wakes.
    pub hold: Duration,
    /// How long a browser's navigation is held before it gets the waiting page: a fast wake never shows it.
    pub patience: Duration,
    /// How long before a freeze is heard of a request may have been sent that the order to freeze crossed; it wakes after
    /// all if nothing of its answer has come. Longer than an order and its report take.
    pub crossing: Duration,
    /// Without a beat for so long, every request is refused.
    pub lease: Duration,
    /// Connections from clients at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections of one address at once, unless it is trusted; more are hung up on.
    pub address_connections: usize,
    /// Requests without a session from one address.
    pub stranger_rate: Rate,
    /// Requests with the sessions of one link.
    pub link_rate: Rate,
    /// Requests of one workspace held at once; more are told to come back.
    pub held: usize,
    /// How long a client may take for a TLS handshake.
    pub handshake_time: Duration,
    /// How long the first connections wait in the kernel's queue for the first word of the server, which would otherwise be
    /// refused: after the gateway's own restart that word takes milliseconds.
    pub first_word: Duration,
    /// A request's line and headers, in bytes; also the size of a connection's read buffer.
    pub header_bytes: usize,
    /// A request's headers, in number.
    pub headers: usize,
    /// How long a client may take for its headers, and how long a kept connection may rest.
    pub header_time: Duration,
    /// How long a service may take to begin its answer, once it has all of the request; what it takes for the rest is its own.
    pub answer: Duration,
    /// How long a client may let its body or our answer stall.
    pub stall: Duration,
    /// How often the server is told of traffic.
    pub tell: Duration,
    /// How long a gateway that is told to end says so before it stops to accept: as long as whoever balances load takes
    /// to notice.
    pub drain_notice: Duration,
    /// How long requests may go on after the gateway stopped to accept.
    pub drain: Duration,
    /// How long a connection to a service may rest. Below the five seconds after which Node's server closes its
    /// end, so that a kept connection is rarely stale.
    pub upstream_rest: Duration,
    /// Resting connections per service.
    pub upstream_resting: usize,
    /// Verified sessions remembered.
    pub sessions: usize,
    /// Routes remembered.
    pub routes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(25),
            patience: Duration::from_millis(1500),
            crossing: Duration::from_secs(2),
            lease: Duration::from_secs(LEASE_SECONDS),
            connections: 60_000,
            address_connections: 1_024,
            // Crawlers and scanners come in bursts; a person who opens a page without a session asks for a dozen things.
            stranger_rate: Rate { each_second: 50, burst: 500 },
            // A page of unbundled modules asks for thousands at once.
            link_rate: Rate { each_second: 2_000, burst: 20_000 },
            held: 2_048,
            handshake_time: Duration::from_secs(10),
            first_word: Duration::from_secs(2),
            header_bytes: 64 * 1024,
            headers: 128,
            header_time: Duration::from_secs(30),
            answer: Duration::from_mins(5),
            stall: Duration::from_mins(1),
            tell: Duration::from_secs(1),
            drain_notice: Duration::ZERO,
            drain: Duration::from_secs(10),
            upstream_rest: Duration::from_secs(4),
            upstream_resting: 128,
            sessions: 50_000,
            routes: 20_000,
        }
    }
}

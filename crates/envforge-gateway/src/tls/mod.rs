//! TLS, ended here: the certificate is shown, looked after, and changed without a restart.
//!
//! ```text
//!   files ──► Pair::read: readable, private, whole, covers *.<dev domain> ──► Shown ──► every handshake from now on
//!     ▲             │ refused: logged with cause and fix, the pair before stays
//!     └── looked at every few seconds ◄──────────────────┘
//! ```
//!
//! A pair is taken whole or not at all, so files that are half written, or a certificate whose key has not arrived yet, are
//! no outage. What is open goes on with the certificate it began with. An expired certificate is shown and complained
//! about: a browser's warning tells more than a closed port.
//!
//! TLS 1.2 and 1.3 as rustls offers them, one provider, no early data (a replayed request could wake or write),
//! session tickets under keys of this process. A handshake has a deadline and its connection counts like any other.

mod pair;
pub(crate) mod redirect;

pub use pair::{Files, Lifetime, Pair, TlsError};

use crate::shared::Shared;
use http::HeaderValue;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig};
use tokio_rustls::server::TlsStream;

/// What the gateway speaks inside TLS, best first; names of the IANA registry of ALPN protocol ids (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often a certificate that ends soon, or has ended, is complained about.
const COMPLAIN: Duration = Duration::from_hours(24);

/// TLS as the gateway ends it.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Where certificate and key are.
    pub files: Files,
    /// How long a browser that was here may only come back over TLS (RFC 6797); zero makes browsers forget it.
    pub hsts_max_age: Duration,
    /// Where plain HTTP is answered with a redirect to HTTPS, and with nothing else.
    pub redirect: Option<SocketAddr>,
    /// How often the files are looked at.
    pub look: Duration,
}

impl TlsConfig {
    /// These files; browsers hold to TLS for 30 days after each visit.
    ///
    /// Not the two years of the preload lists: a dev host's name lives for days and each visit prolongs the hold, so that
    /// a longer one guards nobody and only outlasts a certificate, or a move back to plain HTTP, that went wrong. Without
    /// `includeSubDomains`: nothing is below a dev host, and each sends its own.
    pub fn new(files: Files) -> Self {
        Self { files, hsts_max_age: Duration::from_hours(30 * 24), redirect: None, look: Duration::from_secs(3) }
    }
}

/// The pair that handshakes show.
struct Shown(RwLock<Arc<Pair>>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    fn pair(&self) -> Arc<Pair> {
        Arc::clone(&self.0.read().expect("no panic while held"))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair().certified))
    }
}

/// Takes connections into TLS. Clones are the same acceptor.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    shown: Arc<Shown>,
    limit: Duration,
    failed: Arc<AtomicU64>,
    /// What every answer inside TLS says of TLS.
    pub(crate) hsts: HeaderValue,
}

impl Acceptor {
    /// Reads the files; a handshake may take `limit`.
    pub(crate) fn new(config: &TlsConfig, dev_domain: &str, limit: Duration) -> Result<Self, TlsError> {
        let pair = Pair::read(&config.files, dev_domain)?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(pair))));
        let server = server_config(Arc::clone(&shown)).map_err(TlsError::Setup)?;
        let hsts = HeaderValue::from_str(&format!("max-age={}", config.hsts_max_age.as_secs())).expect("digits");
        Ok(Self { tls: TlsAcceptor::from(Arc::new(server)), shown, limit, failed: Arc::default(), hsts })
    }

    /// The handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accepted = timeout(self.limit, self.tls.accept(stream)).await;
        let accepted = accepted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        if accepted.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    /// When the certificate shown is good.
    pub(crate) fn lifetime(&self) -> Lifetime {
        self.shown.pair().lifetime
    }

    /// Handshakes that came to nothing.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

fn server_config(shown: Arc<Shown>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// Looks after the files until the gateway stops.
pub(crate) async fn keep(shared: Arc<Shared>, acceptor: Acceptor, config: TlsConfig) {
    let mut complained: Option<Instant> = None;
    let mut refused = String::new();
    loop {
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) && complain(acceptor.lifetime(), &shared, &config.files)
        {
            complained = Some(Instant::now());
        }
        tokio::select! {
            () = sleep(config.look) => {}
            () = shared.stop.cancelled() => return,
        }
        let (files, domain) = (config.files.clone(), shared.config.dev_domain.clone());
        let Ok(read) = tokio::task::spawn_blocking(move || Pair::read(&files, &domain)).await else { continue };
        match read {
            Ok(pair) if pair.digest == acceptor.shown.pair().digest => refused.clear(),
            Ok(pair) => {
                let not_after = pair.lifetime.not_after;
                tracing::info!(%not_after, certificate = %config.files.certificate.display(), "tls: a new certificate is shown");
                *acceptor.shown.0.write().expect("no panic while held") = Arc::new(pair);
                (complained, refused) = (None, String::new());
            }
            Err(error) => {
                let said = error.to_string();
                if said != refused {
                    tracing::warn!(
                        error = said,
                        fix = error.fix(),
                        "tls: new files are refused; the certificate before stays"
                    );
                    refused = said;
                }
            }
        }
    }
}

/// Whether there was something to complain about.
fn complain(lifetime: Lifetime, shared: &Shared, files: &Files) -> bool {
    let (now, not_after, certificate) = (shared.now(), lifetime.not_after, files.certificate.display());
    if now >= not_after {
        tracing::error!(%not_after, %certificate, "tls: the certificate has expired and browsers refuse it; renew it, it is taken at once");
    } else if now < lifetime.not_before {
        let not_before = lifetime.not_before;
        tracing::error!(%not_before, %certificate, "tls: the certificate is not good yet and browsers refuse it; is the clock right?");
    } else if lifetime.ends_soon(now) {
        let hours = not_after.duration_since(now).as_hours();
        tracing::warn!(%not_after, hours, %certificate, "tls: the certificate expires soon and nobody has renewed it");
    } else {
        return false;
    }
    true
}

//! The operator's listener of a process: alive, ready, metrics. Never the public API's.
//!
//! ```text
//!   GET /health    200 while the process lives
//!   GET /ready     200 when work should come here, 503 with the reason else; a drain says 503 first
//!   GET /metrics   OpenMetrics text, as Prometheus scrapes it
//! ```
//!
//! On one box each role listens on a socket that only the supervisor reaches, and the supervisor answers for all of them at
//! one address: one URL to scrape. Alone, a role listens where it is told. Whoever reaches the listener may read it, so an address
//! that others reach is the operator's own decision.

use anyhow::Context as _;
use bytes::Bytes;
use envforge_core::refusal::Refusal;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Requests at once; a scrape is one.
const AT_ONCE: usize = 16;
/// How long one may take for its headers.
const HEADERS: Duration = Duration::from_secs(5);
/// Pause after a failed accept: most often there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// As Prometheus knows it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAt {
    /// An address.
    Address(SocketAddr),
    /// A socket.
    Socket(PathBuf),
}

impl FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        text.parse().map(Self::Address).map_err(|_| "give an address (`127.0.0.1:7082`) or a socket's path".to_owned())
    }
}

/// A process as its operator sees it.
pub(crate) trait Operated: Send + Sync + 'static {
    /// Its metrics as `OpenMetrics` text.
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Whether work should come here.
    fn ready(&self) -> impl Future<Output = Result<(), Refusal>> + Send;
}

impl Operated for envforge_server::app::App {
    async fn metrics(&self) -> String {
        envforge_server::system::ops::metrics(self).await
    }

    async fn ready(&self) -> Result<(), Refusal> {
        envforge_server::system::ops::ready(self).await.map(drop)
    }
}

impl Operated for envforge_gateway::Operated {
    async fn metrics(&self) -> String {
        self.metrics()
    }

    async fn ready(&self) -> Result<(), Refusal> {
        self.ready()
    }
}

impl Operated for envforge_host::Operated {
    async fn metrics(&self) -> String {
        self.metrics()
    }

    async fn ready(&self) -> Result<(), Refusal> {
        self.ready()
    }
}

/// Listens for the operator, where one is wanted, until what this returns is dropped.
pub(crate) fn listen<O: Operated>(at: Option<&ListenAt>, operated: O) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    let Some(at) = at else { return Ok(None) };
    let operated = Arc::new(operated);
    let serving = match at {
        ListenAt::Address(address) => {
            let listener = crate::listen::reserve(*address, "--metrics-listen")?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            tracing::info!(address = %listener.local_addr()?, "metrics: listening");
            tokio::spawn(accept(operated, async move || Ok(listener.accept().await?.0)))
        }
        ListenAt::Socket(path) => {
            let listener = socket(path).with_context(|| format!("listening on {} for metrics", path.display()))?;
            tokio::spawn(accept(operated, async move || Ok(listener.accept().await?.0)))
        }
    };
    Ok(Some(AbortOnDropHandle::new(serving)))
}

/// A socket in place of one that an earlier process left.
fn socket(path: &Path) -> std::io::Result<UnixListener> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

async fn accept<O, S, A>(operated: Arc<O>, next: A)
where
    O: Operated,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: AsyncFn() -> std::io::Result<S>,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match next().await {
            Ok(stream) => {
                let operated = Arc::clone(&operated);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let operated = Arc::clone(&operated);
                        async move { Ok::<_, Infallible>(answer(&*operated, &request).await) }
                    });
                    let mut http = Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
                    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "metrics: a connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "metrics: a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer<O: Operated, B>(operated: &O, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/health" => text(StatusCode::OK, "alive\n".to_owned()),
        "/ready" => match operated.ready().await {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(refusal) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}: {refusal}\n", refusal.code)),
        },
        "/metrics" => {
            let mut response = text(StatusCode::OK, operated.metrics().await);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "there are /health, /ready and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::ListenAt;

    #[test]
    fn a_listener_is_an_address_or_a_path() {
        assert_eq!("127.0.0.1:7082".parse(), Ok(ListenAt::Address("127.0.0.1:7082".parse().unwrap())));
        assert_eq!("/run/x.sock".parse(), Ok(ListenAt::Socket("/run/x.sock".into())));
        assert!("7082".parse::<ListenAt>().is_err());
    }
}

//! One request: checked, given its credential, sent, and its answer handed back as it comes.

use super::Loan;
use super::names::Resolver;
use crate::config::HostConfig;
use crate::ctx::HostContext;
use crate::redact::Redaction;
use bytes::Bytes;
use envforge_api::http::ErrorBody;
use envforge_core::egress::split_target;
use envforge_core::id::WorkspaceId;
use envforge_core::refusal::Refusal;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections of one workspace at once.
const CONNECTIONS: usize = 64;
/// How long a request may take to be said whole, and a connection may say nothing.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long connecting to a destination may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a destination may be silent: models think for minutes.
const SILENCE_LIMIT: Duration = Duration::from_mins(10);
/// Headers of one connection (RFC 9110, section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The client that speaks to destinations: TLS with the name checked, no proxy, no redirects, no cookies.
pub(super) fn client(config: &HostConfig) -> io::Result<reqwest::Client> {
    #[expect(clippy::disallowed_methods, reason = "it speaks to others' servers, not to ours")]
    let mut builder = reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .dns_resolver(Resolver { known: config.egress_hosts.clone() });
    if let Some(path) = &config.egress_certificates {
        let certificates = reqwest::Certificate::from_pem_bundle(&fs_err::read(path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(io::Error::other)
}

/// Serves one workspace's end until it is dropped.
pub(super) async fn serve(ctx: &Arc<HostContext>, workspace: WorkspaceId, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this: whoever is connected when the workspace goes is cut.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%workspace, %error, "the egress proxy's end is gone");
                return;
            }
        };
        while connections.try_join_next().is_some() {}
        let ctx = Arc::clone(ctx);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let ctx = Arc::clone(&ctx);
                async move { Ok::<_, Infallible>(answer(&ctx, workspace, request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%workspace, %error, "an egress connection broke");
            }
            drop(place);
        });
    }
}

async fn answer(ctx: &HostContext, workspace: WorkspaceId, request: Request<Incoming>) -> Response<Body> {
    match forward(ctx, workspace, request).await {
        Ok(response) => response,
        Err(refusal) => refused(refusal),
    }
}

async fn forward(
    ctx: &HostContext,
    workspace: WorkspaceId,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let Some((host, path)) = split_target(target).filter(|_| parts.uri.authority().is_none()) else {
        return Err(Refusal::invalid("egress.target", "the path must begin with the destination")
            .hint("as in http://127.0.0.1:7079/api.example.org/v1/…"));
    };
    let loan = ctx.egress.loan(workspace, host).await?;
    let mut headers = parts.headers;
    let has_body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    strip(&mut headers);
    for name in [HOST, ACCEPT_ENCODING] {
        headers.remove(name);
    }
    // What comes back is looked through, and a compressed answer could not be.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    add_credentials(&mut headers, &loan)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut outgoing =
        ctx.egress.outside.request(parts.method, format!("https://{host}{slash}{path}")).headers(headers);
    if has_body {
        let data =
            BodyStream::new(body).filter_map(async |frame| frame.map(|frame| frame.into_data().ok()).transpose());
        outgoing = outgoing.body(reqwest::Body::wrap_stream(data));
    }
    let response = outgoing.send().await.map_err(|error| unreachable(host, &error))?;
    tracing::debug!(%workspace, host, status = response.status().as_u16(), "a credential was lent");
    handed_back(response, loan)
}

/// Puts each credential in the place of whatever the workspace sent there.
fn add_credentials(headers: &mut HeaderMap, loan: &Loan) -> Result<(), Refusal> {
    for lent in &loan.lent {
        let unfit = || Refusal::invalid("egress.value", format!("secret {} can't be sent in a header", lent.name));
        let name = HeaderName::from_bytes(lent.rule.header.as_bytes()).map_err(|_| unfit())?;
        let text = zeroize::Zeroizing::new(format!("{}{}", lent.rule.prefix, lent.value.0.expose()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

fn handed_back(response: reqwest::Response, loan: Arc<Loan>) -> Result<Response<Body>, Refusal> {
    let status = response.status();
    let mut headers = response.headers().clone();
    strip(&mut headers);
    let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    if !is_plain {
        let message = "the destination answered compressed, although it was asked not to";
        return Err(Refusal::unavailable("egress.encoded", message));
    }
    for value in headers.values_mut() {
        let clean = redacted(&loan, value.as_bytes());
        if clean != value.as_bytes() {
            *value = HeaderValue::from_bytes(&clean).unwrap_or_else(|_| HeaderValue::from_static("[secret]"));
        }
    }
    // Marks have another length than what they stand for.
    headers.remove(CONTENT_LENGTH);
    let body = StreamBody::new(cleaned(response.bytes_stream(), loan).map(|chunk| chunk.map(Frame::data)));
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn redacted(loan: &Loan, text: &[u8]) -> Vec<u8> {
    let (mut redaction, mut clean) = (Redaction::default(), Vec::new());
    redaction.feed(&loan.redactor, text, &mut clean);
    redaction.finish(&loan.redactor, &mut clean);
    clean
}

/// The body with the values marked out. What may be the beginning of one is held back until it is known.
fn cleaned(
    body: impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + 'static,
    loan: Arc<Loan>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    stream::unfold(Some((Box::pin(body), Redaction::default(), loan)), |state| async move {
        let (mut body, mut redaction, loan) = state?;
        let mut clean = Vec::new();
        match body.next().await {
            Some(Ok(chunk)) => {
                redaction.feed(&loan.redactor, &chunk, &mut clean);
                Some((Ok(clean.into()), Some((body, redaction, loan))))
            }
            Some(Err(error)) => Some((Err(io::Error::other(error.without_url())), None)),
            None => {
                redaction.finish(&loan.redactor, &mut clean);
                Some((Ok(clean.into()), None))
            }
        }
    })
    .filter(|chunk| std::future::ready(!chunk.as_ref().is_ok_and(Bytes::is_empty)))
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

fn unreachable(host: &str, error: &reqwest::Error) -> Refusal {
    use std::error::Error as _;
    let mut cause = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    Refusal::unavailable("egress.unreachable", format!("{host} can't be reached: {cause}"))
}

fn refused(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.kind.http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let text = serde_json::to_vec(&ErrorBody { error: refusal }).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

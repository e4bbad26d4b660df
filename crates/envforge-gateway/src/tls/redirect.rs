//! Plain HTTP beside TLS: a redirect to the same place over HTTPS, and nothing else.
//!
//! It asks nobody and reads no body. A request for a name that is not of this gateway is not sent anywhere: its `Host` is a
//! stranger's word.

use crate::http1::head::{HeadEnd, take_request};
use crate::http1::response::{Announced, Said, put_response};
use crate::shared::Shared;
use bytes::BytesMut;
use http::header::{CACHE_CONTROL, HOST, LOCATION};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at once: each is one short answer, and none may take what HTTPS needs.
const CONNECTIONS: usize = 1024;
/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest head, in bytes and in headers; and what is read of a body, so that its client gets to see the answer.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BODY_MAX: u64 = 64 * 1024;

/// Answers until the gateway stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let next = async || {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((listener.accept().await?.0, permit))
    };
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let Ok((stream, permit)) = accepted else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let redirecting = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            if let Ok(Err(error)) = timeout(PATIENCE, redirect(&redirecting, stream)).await {
                tracing::debug!(%error, "redirect: a connection ended early");
            }
            drop(permit);
        });
    }
}

/// One request, one answer, and the end.
async fn redirect(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    let (mut input, mut end) = (BytesMut::new(), HeadEnd::default());
    let location = loop {
        match end.find(&mut input, HEAD_MAX) {
            Ok(Some(length)) => {
                let head = take_request(&mut input, length, HEADERS_MAX).ok();
                let domain = &shared.config.dev_domain;
                break head.and_then(|head| location(&head.request, domain, shared.external_port));
            }
            Ok(None) if stream.read_buf(&mut input).await? == 0 => return Ok(()),
            Ok(None) => {}
            Err(_) => break None,
        }
    };
    let status = if location.is_some() { StatusCode::PERMANENT_REDIRECT } else { StatusCode::BAD_REQUEST };
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(location.map(|location| (LOCATION, location)));
    let mut answer = BytesMut::new();
    put_response(&mut answer, Said::Ours(&headers), status, Announced::Length(0), Some("close"), None);
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(BODY_MAX), &mut tokio::io::sink()).await.map(drop)
}

/// The same place over HTTPS, if it is one of ours.
fn location<B>(request: &Request<B>, dev_domain: &str, port: u16) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, None) => authority.clone(),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok()?,
        _ => return None,
    };
    let name = authority.host().to_ascii_lowercase();
    let is_ours = name.strip_suffix(dev_domain).is_some_and(|label| label.is_empty() || label.ends_with('.'));
    if !is_ours || authority.as_str().contains('@') {
        return None;
    }
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path } else { "/" };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    HeaderValue::from_str(&format!("https://{name}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(uri: &str, host: &str, port: u16) -> Option<String> {
        let request = Request::builder().uri(uri).header(HOST, host).body(()).expect("a request");
        location(&request, "dev.example", port).map(|value| value.to_str().expect("text").to_owned())
    }

    // proves LINK-9
    #[test]
    fn only_names_of_the_gateway_are_redirected() {
        for (uri, host, port, wanted) in [
            ("/a?b=c", "web--fix--acme.dev.example", 443, Some("https://web--fix--acme.dev.example/a?b=c")),
            ("/", "WEB--fix--acme.Dev.Example:80", 8443, Some("https://web--fix--acme.dev.example:8443/")),
            ("//evil.example", "dev.example", 443, Some("https://dev.example//evil.example")),
            ("http://a.dev.example/x", "other", 443, Some("https://a.dev.example/x")),
            ("/", "evil.example", 443, None),
            ("/", "evildev.example", 443, None),
            ("/", "dev.example.evil.example", 443, None),
            ("/", "user@dev.example", 443, None),
            ("/", "a b", 443, None),
        ] {
            assert_eq!(to(uri, host, port).as_deref(), wanted, "{uri} {host}");
        }
    }
}

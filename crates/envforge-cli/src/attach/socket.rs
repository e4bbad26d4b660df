//! The terminal's WebSocket: one connection, made straight away.

use crate::context::UNREACHABLE;
use envforge_api::http::ErrorBody;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use http::HeaderValue;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

/// A connected terminal.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long connecting may take, TLS and upgrade included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `path` of `server`; a refusal of the server comes back as it was written.
pub(crate) async fn connect(server: &str, path: &str, key: &Secret) -> Result<Socket, Refusal> {
    match tokio::time::timeout(CONNECT_TIMEOUT, open(server, path, key)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(refusal(server, *error)),
        Err(_) => Err(unreachable(server, "it did not answer in time")),
    }
}

async fn open(server: &str, path: &str, key: &Secret) -> Result<Socket, Box<Error>> {
    let url = match server.strip_prefix("http") {
        Some(rest) => format!("ws{rest}{path}"),
        None => return Err(Box::new(Error::Url(UrlError::UnsupportedUrlScheme))),
    };
    let mut request = url.into_client_request().map_err(Box::new)?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map_err(|error| Box::new(Error::HttpFormat(error.into())))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| Box::new(Error::Io(error)))?;
    // A key press is one small packet and must leave at once.
    stream.set_nodelay(true).map_err(|error| Box::new(Error::Io(error)))?;
    let (socket, _) = client_async_tls_with_config(request, stream, None, None).await.map_err(Box::new)?;
    Ok(socket)
}

fn unreachable(server: &str, cause: impl std::fmt::Display) -> Refusal {
    Refusal::unavailable(UNREACHABLE, format!("no answer from {server}: {cause}"))
        .hint("is it running? `envforge doctor` looks")
}

fn refusal(server: &str, error: Error) -> Refusal {
    let answer = match error {
        Error::Http(answer) => answer,
        Error::Io(cause) => return unreachable(server, cause),
        Error::Tls(cause) => return unreachable(server, cause),
        // Somebody between, or a server on its way down, hung up before it had answered.
        cause @ (Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake)) => {
            return unreachable(server, cause);
        }
        other => {
            return Refusal::new(
                RefusalKind::Internal,
                "server.unexpected_answer",
                format!("the terminal did not open: {other}"),
            );
        }
    };
    let body = answer.body().as_deref().unwrap_or_default();
    if let Ok(written) = serde_json::from_slice::<ErrorBody>(body) {
        return written.error;
    }
    let kind = match answer.status().as_u16() {
        401 => RefusalKind::Unauthenticated,
        403 => RefusalKind::Forbidden,
        404 => RefusalKind::NotFound,
        409 => RefusalKind::Conflict,
        429 => RefusalKind::Limit,
        502..=504 => RefusalKind::Unavailable,
        _ => RefusalKind::Internal,
    };
    Refusal::new(kind, "attach.refused", format!("the terminal did not open: the server answered {}", answer.status()))
}

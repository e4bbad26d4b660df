//! Whether a role answers, asked as anybody else would: over its own port.
//!
//! A request by hand and not by the product's client: the supervisor lives as long as the box and does nothing else with
//! HTTP, and a client with its TLS roots would be most of its memory.

use envforge_api::http::accounts::{Host, HostState, Hosts};
use envforge_core::secret::Secret;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// An answer takes milliseconds; what takes longer is asked again.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than any answer asked for here.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Where a program that listens on `address` is reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whether the server is ready: it answers, and so does its database.
pub(crate) async fn is_ready(server: SocketAddr) -> bool {
    get(server, "/v1/ready", None).await.is_some_and(|(status, _)| status == 200)
}

/// What a role of this box tells its operator, as status and text; `None` when it does not answer.
pub(crate) async fn operator(socket: &Path, path: &str) -> Option<(u16, String)> {
    let asking = async {
        let stream = UnixStream::connect(socket).await.ok()?;
        exchange(stream, "localhost", path, None).await
    };
    let (status, body) = timeout(PATIENCE, asking).await.ok()??;
    Some((status, String::from_utf8(body).ok()?))
}

/// Whether a gateway says anything there: behind TLS that plain HTTP is no handshake. That connections are accepted says
/// nothing, because they wait for a gateway that is away.
pub(crate) async fn answers(gateway: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(reachable(gateway)).await?;
        stream.write_all(b"GET /.envforge/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
        stream.read_u8().await
    };
    matches!(timeout(PATIENCE, asking).await, Ok(Ok(_)))
}

/// A host of the org that is online.
pub(crate) async fn online_host(server: SocketAddr, org: &str, key: &Secret) -> Option<Host> {
    let (status, body) = get(server, &format!("/v1/orgs/{org}/hosts"), Some(key)).await?;
    let hosts: Hosts = (status == 200).then(|| serde_json::from_slice(&body).ok())??;
    hosts.hosts.into_iter().find(|host| host.state == HostState::Online)
}

async fn get(server: SocketAddr, path: &str, key: Option<&Secret>) -> Option<(u16, Vec<u8>)> {
    let server = reachable(server);
    let asking = async {
        let stream = TcpStream::connect(server).await.ok()?;
        exchange(stream, &server.to_string(), path, key).await
    };
    timeout(PATIENCE, asking).await.ok()?
}

async fn exchange<S>(mut stream: S, host: &str, path: &str, key: Option<&Secret>) -> Option<(u16, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let authorization = key.map_or_else(String::new, |key| format!("Authorization: Bearer {}\r\n", key.expose()));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await.ok()?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{parse, reachable};

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Some((200, b"{}".to_vec())));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn everywhere_is_reached_through_loopback() {
        assert_eq!(reachable("0.0.0.0:7080".parse().unwrap()), "127.0.0.1:7080".parse().unwrap());
        assert_eq!(reachable("[::]:7080".parse().unwrap()), "[::1]:7080".parse().unwrap());
        assert_eq!(reachable("192.0.2.1:7080".parse().unwrap()), "192.0.2.1:7080".parse().unwrap());
    }
}

//! TLS, ended by the gateway: what it shows, what it takes, and what it refuses.

use crate::http2_clients::{CURL, curl};
use crate::support::client::Answer;
use crate::support::{LABEL, PATIENCE, Plan, TLS_DOMAIN, World, id, logs, until};
use bytes::Bytes;
use envforge_api::ambient::SystemClock;
use envforge_core::secret::Secret;
use envforge_gateway::tls::{Files, TlsConfig, TlsError};
use envforge_gateway::{Gateway, GatewayConfig, Limits, StartError};
use envforge_testkit::system_judge;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;

/// A certificate with its key, as PEM, and as whoever trusts it needs it.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn made(names: &[&str]) -> Made {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
}

fn wildcard() -> Made {
    made(&[&format!("*.{TLS_DOMAIN}")])
}

/// Puts a file in its place at once, readable by its owner.
fn put(path: &Path, text: &str) {
    put_as(path, text, 0o600);
}

fn put_as(path: &Path, text: &str, mode: u32) {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).expect("written");
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(mode)).expect("a mode");
    std::fs::rename(&partial, path).expect("renamed");
}

fn config(folder: &Path, made: &Made) -> TlsConfig {
    let files = Files { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    put(&files.certificate, &made.certificate);
    put(&files.key, &made.key);
    TlsConfig { look: Duration::from_millis(20), ..TlsConfig::new(files) }
}

fn host() -> String {
    format!("{LABEL}.{TLS_DOMAIN}")
}

fn client(trusted: &[&Made]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for made in trusted {
        roots.add(made.der.clone()).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn dial(address: SocketAddr, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host()).expect("a name");
    let stream = TcpStream::connect(address).await?;
    timeout(PATIENCE, TlsConnector::from(Arc::clone(client)).connect(name, stream)).await.expect("in time")
}

/// The certificate a new connection is shown.
async fn shown(address: SocketAddr, client: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = dial(address, client).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("certificates")[0].clone().into_owned()
}

async fn open(stream: TlsStream<TcpStream>) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    sender
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, world: &World, path: &str) -> Answer {
    let request = Request::builder().uri(path).header("host", host()).header("cookie", cookie(world));
    let request = request.body(Full::default()).expect("a request");
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer");
    let (parts, body) = response.into_parts();
    let body = String::from_utf8_lossy(&body.collect().await.expect("a body").to_bytes()).into_owned();
    Answer { status: parts.status, headers: parts.headers, body }
}

fn cookie(world: &World) -> String {
    format!("__Host-envforge={}", world.session(1))
}

async fn world(folder: &Path, made: &Made) -> World {
    World::new(Plan { tls: Some(config(folder, made)), ..Plan::default() }).await
}

// proves LINK-9
#[tokio::test]
async fn requests_and_websockets_go_through_tls_and_browsers_are_told_to_stay_there() {
    let (folder, made) = (tempfile::tempdir().expect("a folder"), wildcard());
    let (world, client) = (world(folder.path(), &made).await, client(&[&made]));
    let address = world.gateway.local_addr;
    let stream = dial(address, &client).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut sender = open(stream).await;
    for path in ["/", "/.envforge/readiness", "/cookies"] {
        let answer = ask(&mut sender, &world, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("strict-transport-security")),
            (200, "max-age=2592000"),
            "{path}"
        );
    }
    assert_eq!(world.web.seen()[0].headers["x-forwarded-proto"], "https");
    let mut unreadable = dial(address, &client).await.expect("a handshake");
    unreadable.write_all(b"GET / HTTP/1.1\r\nbroken\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    timeout(PATIENCE, unreadable.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("strict-transport-security: "), "{answer}");

    let again = dial(address, &client).await.expect("a handshake");
    assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "a ticket shortens it");
    let mut request = format!("wss://{}/ws", host()).into_client_request().expect("a request");
    request.headers_mut().insert("cookie", cookie(&world).parse().expect("a value"));
    let (_, response) = tokio_tungstenite::client_async(request, again).await.expect("a WebSocket");
    assert_eq!(response.headers()["strict-transport-security"], "max-age=2592000");

    let mut plain = world.connect().await;
    plain.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host()).as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("hung up in time"));
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP is no way in");
    until("it was counted", || world.gateway.operated().metrics().contains("handshakes_failed_total 1")).await;
}

// proves LINK-9
#[tokio::test]
async fn browsers_are_offered_http2() {
    let (folder, made) = (tempfile::tempdir().expect("a folder"), wildcard());
    let world = world(folder.path(), &made).await;
    let mut client = ClientConfig::clone(&client(&[&made]));
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let stream = dial(world.gateway.local_addr, &Arc::new(client)).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "ours is the choice");
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::builder().uri(format!("https://{}/", host())).header("cookie", cookie(&world));
    let response =
        sender.send_request(request.body(Full::<Bytes>::default()).expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["strict-transport-security"], "max-age=2592000");
}

// proves LINK-9
#[tokio::test]
async fn curl_chooses_http2_as_browsers_do() {
    if system_judge(CURL).is_none() {
        return;
    }
    let (folder, made) = (tempfile::tempdir().expect("a folder"), wildcard());
    let world = world(folder.path(), &made).await;
    let trusted = folder.path().join("chain.pem").display().to_string();
    let url = format!("https://{}/x", host());
    let said = curl(&world, &cookie(&world), &["--cacert", &trusted, "-d", "five!"], &url).await;
    assert_eq!(said, "web:POST:/x:five!\n2 200");
}

// proves LINK-9
#[tokio::test]
async fn a_new_certificate_is_taken_while_connections_stay_open_and_a_wrong_one_is_not() {
    let (folder, first, second) = (tempfile::tempdir().expect("a folder"), wildcard(), wildcard());
    let (world, client) = (world(folder.path(), &first).await, client(&[&first, &second]));
    let address = world.gateway.local_addr;
    let stream = dial(address, &client).await.expect("a handshake");
    let mut sender = open(stream).await;
    assert_eq!(ask(&mut sender, &world, "/").await.status, 200);
    let (certificate, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let said = |what: &'static str| until(what, move || logs::lines().iter().any(|line| line.contains(what)));

    put(&certificate, &second.certificate);
    said("does not belong to the certificate").await;
    assert_eq!(shown(address, &client).await, first.der, "half a change is none");
    put(&key, &second.key);
    timeout(PATIENCE, async { while shown(address, &client).await != second.der {} }).await.expect("taken in time");
    assert_eq!(ask(&mut sender, &world, "/").await.status, 200, "what was open goes on");

    let other = made(&["*.other.example"]);
    put(&key, &other.key);
    put(&certificate, &other.certificate);
    said("is not for *.dev.example, but for: *.other.example").await;
    assert_eq!(shown(address, &client).await, second.der);
    put(&certificate, &other.certificate[..200]);
    said("there is no certificate").await;
    put(&certificate, &first.certificate);
    put_as(&key, &first.key, 0o644);
    said("is open to other users (mode 0644)").await;
    assert_eq!(shown(address, &client).await, second.der);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("closed");
    timeout(PATIENCE, async { while shown(address, &client).await != first.der {} }).await.expect("taken in time");
    for line in logs::lines() {
        assert!(!line.contains("PRIVATE KEY"), "{line}");
    }
}

// proves LINK-9
#[tokio::test]
async fn a_certificate_that_ends_soon_or_has_ended_is_shown_and_complained_about() {
    let until_day = |day: u8| {
        let mut params = rcgen::CertificateParams::new([format!("*.{TLS_DOMAIN}")]).expect("names");
        params.not_before = rcgen::date_time_ymd(2026, 11, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, day);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        Made { certificate: made.pem(), key: key.serialize_pem(), der: made.der().clone() }
    };
    // The world's clock stands on 15 January 2027.
    let (folder, soon, over) = (tempfile::tempdir().expect("a folder"), until_day(20), until_day(10));
    let world = world(folder.path(), &soon).await;
    let said = |what: &'static str| until(what, move || logs::lines().iter().any(|line| line.contains(what)));
    said("WARN message=tls: the certificate expires soon").await;
    put(&folder.path().join("key.pem"), &over.key);
    put(&folder.path().join("chain.pem"), &over.certificate);
    said("ERROR message=tls: the certificate has expired").await;
    let metric = "certificate_ends_timestamp_seconds 1799539200";
    until("it is told", || world.gateway.operated().metrics().contains(metric)).await;
}

// proves LINK-9
#[tokio::test]
async fn a_gateway_does_not_start_with_a_certificate_that_can_not_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = async |made: &Made, mode: u32| {
        let tls = config(folder.path(), made);
        std::fs::set_permissions(&tls.files.key, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let at = |name: &str| folder.path().join(name);
        let one_box =
            GatewayConfig::one_box(id(1), at("server.sock"), at("uplink.sock"), Secret::new("key".to_owned()));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = GatewayConfig { listen, dev_domain: TLS_DOMAIN.to_owned(), tls: Some(tls), ..one_box };
        let started = Gateway::start(config, Arc::new(SystemClock), CancellationToken::new()).await;
        started.expect_err("refused")
    };
    let error = start(&wildcard(), 0o604).await;
    assert!(matches!(error, StartError::Tls(TlsError::Open { mode: 0o604, .. })), "{error}");
    assert!(error.fix().contains("chmod 600"), "{}", error.fix());
    let error = start(&made(&[TLS_DOMAIN]), 0o600).await;
    assert!(error.to_string().contains("is not for *.dev.example, but for: dev.example"), "{error}");
    assert!(error.fix().contains("request one for *.dev.example"), "{}", error.fix());
    let error = start(&Made { key: wildcard().key, ..wildcard() }, 0o600).await;
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
}

// proves LINK-9
#[tokio::test]
async fn a_handshake_has_a_deadline_and_counts_as_a_connection() {
    let (folder, made) = (tempfile::tempdir().expect("a folder"), wildcard());
    let limits = Limits { handshake_time: Duration::from_millis(300), connections: 1, ..Limits::default() };
    let world = World::new(Plan { tls: Some(config(folder.path(), &made)), limits, ..Plan::default() }).await;
    let mut silent = world.connect().await;
    until("it counts", || world.gateway.stats().connections == 1).await;
    let client = client(&[&made]);
    let (second, hung_up) = tokio::join!(dial(world.gateway.local_addr, &client), async {
        timeout(PATIENCE, silent.read(&mut [0; 16])).await.expect("hung up in time")
    });
    assert!(matches!(hung_up, Ok(0) | Err(_)));
    let mut sender = open(second.expect("its turn came")).await;
    assert_eq!(ask(&mut sender, &world, "/").await.status, 200);
}

// proves LINK-9
#[tokio::test]
async fn plain_http_beside_it_is_redirected_and_nothing_else() {
    let (folder, made) = (tempfile::tempdir().expect("a folder"), wildcard());
    let tls = TlsConfig { redirect: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..config(folder.path(), &made) };
    let world = World::new(Plan { tls: Some(tls), ..Plan::default() }).await;
    let port = world.gateway.local_addr.port();
    let ask = async |host: &str| {
        let mut stream = TcpStream::connect(world.gateway.redirect_addr.expect("it listens")).await.expect("connected");
        let cookie = cookie(&world);
        let request = format!("POST /a?b HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
        answer
    };
    let answer = ask(&host()).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.contains(&format!("location: https://{}:{port}/a?b\r\n", host())), "{answer}");
    assert!(ask("evil.example").await.starts_with("HTTP/1.1 400 "));
    assert!(world.web.seen().is_empty(), "no service hears of it");
}

//! The gateway's sockets: TLS on them, and that they outlive each gateway.

use crate::support::{TestBox, is_alive, kill, signal};
use command_fds::{CommandFdExt as _, FdMapping};
use envforge_testkit::{free_port, wait_until};
use rustix::process::Signal;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A gateway that was killed is there again within the supervisor's pause and its own start.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK: &[u8] = b"GET /.envforge/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// A TLS client that trusts one root.
pub(crate) fn trusting(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A TLS connection to a dev host.
pub(crate) async fn dial(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    domain: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(format!("web--fix--acme.{domain}")).unwrap();
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::clone(client)).connect(name, stream).await
    };
    timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Asks on an open connection; the first line of the answer, empty if the connection was cut.
async fn ask(mut stream: TcpStream) -> String {
    let asking = async {
        stream.write_all(ASK).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, asking).await.expect("an answer, late as it may be").unwrap_or_default();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Whether every thread of a process has stopped: a signal is sent before all of them have heard it.
fn is_stopped(process: i32) -> bool {
    let threads = fs_err::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().all(|thread| {
        let status = fs_err::read_to_string(thread.path().join("stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// New connections, one after the other in several tasks, until told to stop.
struct Stream {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<u32>>,
}

/// Connections at once.
const STREAMS: u32 = 4;

impl Stream {
    fn to(address: SocketAddr) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let task = |_| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut cut = 0;
                while !over.load(Ordering::Relaxed) {
                    let stream = TcpStream::connect(address).await.expect("no connection is refused");
                    match ask(stream).await.as_str() {
                        "HTTP/1.1 200 OK" => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        "" => cut += 1,
                        other => panic!("{other}"),
                    }
                }
                cut
            })
        };
        let tasks = (0..STREAMS).map(task).collect();
        Self { over, answered, tasks }
    }

    /// Waits until some more were answered.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until("more are answered", async || self.answered.load(Ordering::Relaxed) > before + 50).await;
    }

    /// How many were answered, and how many cut.
    async fn end(self) -> (u32, u32) {
        self.over.store(true, Ordering::Relaxed);
        let mut cut = 0;
        for task in self.tasks {
            cut += task.await.unwrap();
        }
        (self.answered.load(Ordering::Relaxed), cut)
    }
}

// proves OPS-4 OPS-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_gateway_is_killed_no_connection_to_a_box_is_refused() {
    let it = TestBox::started().await;
    let gateway = it.children()["gateway"];
    // One that is stopped takes nothing in: what comes now is for its successor.
    signal(gateway, Signal::STOP);
    wait_until("each of its threads has stopped", async || is_stopped(gateway)).await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(TcpStream::connect(it.gateway).await.expect("no connection is refused"));
    }
    kill(gateway);
    let answers = waiting.into_iter().map(|stream| tokio::spawn(ask(stream)));
    for answer in answers.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), "HTTP/1.1 200 OK");
    }
    let stream = Stream::to(it.gateway);
    let mut gateway = it.children()["gateway"];
    for _ in 0..2 {
        stream.goes_on().await;
        kill(gateway);
        gateway = it.successor("gateway", gateway).await;
    }
    stream.goes_on().await;
    let (answered, cut) = stream.end().await;
    assert!(cut <= 2 * STREAMS, "what it had taken in dies with it, and nothing else: {cut} of {answered}");
}

// proves LINK-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_ends_tls_and_each_of_its_gateways_has_its_sockets() {
    let domain = "dev.envforge.test";
    let redirect = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let it = TestBox::new();
    let file = it.scratch("tls").join("pair.pem");
    let made = rcgen::generate_simple_self_signed([format!("*.{domain}")]).unwrap();
    fs_err::write(&file, format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem())).unwrap();
    fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(61_191), Some(61_191)).unwrap();
    }
    let mut it = it.with(&["--dev-domain", domain, "--redirect-listen", &redirect.to_string()]);
    it = it.with(&["--tls-certificate", file.to_str().unwrap()]);
    it.start().await;
    let port = it.gateway.port();
    assert!(it.words().contains(&format!("https://<service>--<workspace>--local.{domain}:{port}")), "{}", it.words());
    let client = trusting(made.cert.der());
    for _ in 0..2 {
        let mut stream = dial(it.gateway, &client, domain).await.expect("a handshake");
        stream.write_all(ASK).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("strict-transport-security: "), "{answer}");
        let mut stream = TcpStream::connect(redirect).await.expect("no connection is refused");
        stream.write_all(format!("GET /a HTTP/1.1\r\nHost: a--b--c.{domain}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").unwrap();
        assert!(answer.contains(&format!("location: https://a--b--c.{domain}:{port}/a\r\n")), "{answer}");
        kill(it.children()["gateway"]);
    }
}

/// A gateway by itself, with a socket it is handed.
fn gateway(folder: &Path, name: &str, socket: &TcpListener) -> tokio::process::Child {
    let at = |file: &str| folder.join(file);
    fs_err::write(at("key"), "gateway-key").unwrap();
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_envforged"));
    command.args(["gateway", "--drain-notice", "0", "--listen", "192.0.2.1:1", "--key-file"]).arg(at("key"));
    command.arg("--server-socket").arg(at("server.sock")).arg("--uplink").arg(at("uplink.sock"));
    command.arg("--metrics-listen").arg(at(name)).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let handed = FdMapping { parent_fd: socket.try_clone().unwrap().into(), child_fd: 3 };
    command.fd_mappings(vec![handed]).unwrap().env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "front");
    command.spawn().unwrap()
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_takes_over_from_another_without_a_connection_refused_or_cut() {
    let folder = envforge_testkit::temp_dir("front");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let is_up = async |name: &str| UnixStream::connect(folder.path().join(name)).await.is_ok();
    let mut old = gateway(folder.path(), "first", &socket);
    wait_until("the first is up", async || is_up("first").await).await;
    let stream = Stream::to(address);
    for name in ["second", "third"] {
        stream.goes_on().await;
        let new = gateway(folder.path(), name, &socket);
        wait_until("the next is up", async || is_up(name).await).await;
        stream.goes_on().await;
        let pid = old.id().unwrap().cast_signed();
        signal(pid, Signal::TERM);
        assert!(timeout(PATIENCE, old.wait()).await.expect("it ends").unwrap().success());
        assert!(!is_alive(pid));
        old = new;
    }
    stream.goes_on().await;
    let (answered, cut) = stream.end().await;
    assert_eq!(cut, 0, "of {answered}");
}

//! Credentials lent to requests: used from a workspace, readable nowhere in it.

use super::jobs::ended;
use super::machine::{Machine, Ws};
use crate::support::is_root;
use envforge_api::host::Outcome;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PLANTED: &str = "sk-planted-egress-4711";
/// Answers with the headers it got, each on a line; what it was sent follows.
const UPSTREAM: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        size = int(self.headers.get("content-length") or 0)
        body = f"{self.command} {self.path}\n{self.headers}".encode() + self.rfile.read(size)
        self.send_response(200)
        self.send_header("x-seen", self.headers.get("x-api-key", "-"))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        # In small pieces, so that the value is cut somewhere.
        for at in range(0, len(body), 7):
            self.wfile.write(body[at:at + 7])
            self.wfile.flush()
    do_GET = do_POST = answer
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Upstream {
    child: Child,
    port: u16,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Upstream {
    /// Has a certificate for `api.upstream.test`, signed by itself.
    fn start(dir: &Path) -> Self {
        use std::io::BufRead as _;
        let (certificate, key) = (dir.join("upstream.pem"), dir.join("upstream.key"));
        #[expect(clippy::disallowed_methods, reason = "it makes the destination's certificate")]
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=api.upstream.test", "-addext", "subjectAltName=DNS:api.upstream.test"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl is installed").success());
        #[expect(clippy::disallowed_methods, reason = "the destination")]
        let mut command = Command::new("python3");
        command.args(["-c", UPSTREAM]).arg(&certificate).arg(&key).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 is installed");
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its port");
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

/// What a command in the workspace's runtime prints.
async fn output(machine: &Machine, ws: Ws, line: &str) -> String {
    let (job, command) = machine.job(ws, 2, &["sh", "-c", line]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    ended(machine, ws.id, job).await;
    machine.server.log(ws.id, &job.to_string(), 200).await
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_used_and_never_enters_the_workspace() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new("services:\n  web: { command: exec python3 serve.py web, port: 3000 }\n", &[]).await;
    let upstream = Upstream::start(&machine.path(""));
    let host = format!("api.upstream.test:{}", upstream.port);
    machine.stop().await;
    machine.config.egress_certificates = Some(machine.path("upstream.pem"));
    machine.config.egress_hosts.insert("api.upstream.test".to_owned(), "127.0.0.1:0".parse().unwrap());
    machine.start().await;
    machine.server.lend("MODEL_KEY", &host, "x-api-key", "", PLANTED);
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    let get = |path: &str, more: &str| {
        format!(
            "python3 -c 'import urllib.request as u, os; r = u.urlopen(u.Request(os.environ[\"ENVFORGE_EGRESS_URL\"] + \"{path}\", headers={{\"x-api-key\": \"dummy\", \"x-mine\": \"kept\"}}{more})); print(r.headers[\"x-seen\"]); print(r.read().decode())' 2>&1"
        )
    };
    // The credential arrived in the place of what the workspace sent there; what the other side repeats of it is marked.
    let told = output(&machine, ws, &get(&format!("/{host}/v1/models?limit=1"), "")).await;
    assert!(told.contains("GET /v1/models?limit=1"), "{told}");
    assert!(told.to_lowercase().contains("x-mine: kept"), "{told}");
    assert!(!told.contains("dummy") && told.matches("[secret MODEL_KEY]").count() == 2, "{told}");
    // A body goes up as it is.
    let told = output(&machine, ws, &get(&format!("/{host}/v1/messages"), ", data=b\"hello model\"")).await;
    assert!(told.contains("POST /v1/messages") && told.contains("hello model"), "{told}");
    // Another destination gets nothing, neither by name nor by address.
    for target in ["/api.elsewhere.test/", "/127.0.0.1/", "/169.254.169.254/latest/meta-data/"] {
        let told = output(&machine, ws, &get(target, "")).await;
        assert!(told.contains("HTTPError") && (told.contains("404") || told.contains("400")), "{target}: {told}");
    }
    // No file and no process of the workspace has it.
    let mut found = Vec::new();
    super::secrets::files_with(&machine.config.data_dir, PLANTED.as_bytes(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    for layer in [envforge_host::sys::cgroup::Layer::Shell, envforge_host::sys::cgroup::Layer::Runtime] {
        for pid in machine.group(&ws.id.to_string(), layer).pids().expect("processes") {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            assert!(memchr::memmem::find(&environment, PLANTED.as_bytes()).is_none(), "process {pid} has it");
        }
    }
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_must_prove_its_name() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new("services:\n  web: { command: exec python3 serve.py web, port: 3000 }\n", &[]).await;
    let upstream = Upstream::start(&machine.path(""));
    machine.stop().await;
    // Another name leads to the same server, whose certificate is not for it.
    machine.config.egress_certificates = Some(machine.path("upstream.pem"));
    machine.config.egress_hosts.insert("api.other.test".to_owned(), "127.0.0.1:0".parse().unwrap());
    machine.start().await;
    let host = format!("api.other.test:{}", upstream.port);
    machine.server.lend("MODEL_KEY", &host, "authorization", "Bearer ", PLANTED);
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    let line = format!(
        "python3 -c 'import urllib.request as u, urllib.error as e, os\ntry: u.urlopen(os.environ[\"ENVFORGE_EGRESS_URL\"] + \"/{host}/\")\nexcept e.HTTPError as x: print(x.code, x.read().decode())' 2>&1"
    );
    let told = output(&machine, ws, &line).await;
    assert!(told.contains("503") && told.contains("egress.unreachable"), "{told}");
    assert!(!told.contains(PLANTED), "{told}");
}

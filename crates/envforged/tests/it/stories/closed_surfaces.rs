//! What no dev host ever answers, whoever asks: everything of the product and of the machine that is no service.
//!
//! The list is made from the contracts themselves (the API's document, the calls of gateways and hosts, the product's pages,
//! the kinds of streams a host opens) and checked in; each of its lines is tried with a good session. A dev host may answer with what its own
//! service says, or refuse. The service here repeats what it was asked, so anything else than that is somebody else's answer.

use super::sample::{Member, PATIENCE, commit, repository};
use crate::support::TestBox;
use envforge_api::gateway::{self, ROUTES_PATH};
use envforge_api::host::{
    EGRESS_PATH, GIT_CREDENTIAL_PATH, GIT_IDENTITY_PATH, GIT_REJECTED_PATH, GIT_SIGNATURE_PATH, REGISTER_PATH,
    SECRETS_PATH, STREAM_PATH,
};
use envforge_testkit::Browser;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const FILE: &str = "services:\n  web:\n    command: node echo.mjs\n";
/// Says what it was asked, and nothing else does that.
const ECHO: &str = r#"
import { createServer } from "node:http";
createServer((request, response) => response.end(`the service saw ${request.method} ${request.url}`)).listen(5181, "127.0.0.1");
"#;

/// Paths that are asked of the machine or the product by their path alone.
const PATHS: [(&str, &str); 9] = [
    ("/metrics", "metrics of server, gateway or host"),
    ("/healthz", "health of the server"),
    ("/.envforge/health", "health of the gateway"),
    ("/.envforge/ready", "readiness of the gateway"),
    ("/.envforge/anything-else", "the gateway's own corner"),
    ("/latest/meta-data/", "the machine's metadata"),
    ("/computeMetadata/v1/", "the machine's metadata"),
    ("/proc/self/environ", "files of the machine"),
    ("/../../etc/passwd", "files of the machine"),
];

/// Authorities that lead elsewhere: shown as the target, or as `Host`.
const AUTHORITIES: [(&str, &str); 14] = [
    ("169.254.169.254", "metadata of EC2, GCE and others"),
    ("[fd00:ec2::254]", "metadata of EC2"),
    ("metadata.google.internal", "metadata of GCE"),
    ("127.0.0.1:5432", "a database"),
    ("127.0.0.1:6379", "Redis"),
    ("127.0.0.1:22", "SSH"),
    ("127.0.0.1:1025", "the mail sink"),
    ("127.0.0.1:9000", "object storage"),
    ("localhost:2375", "Docker"),
    ("[::1]:5432", "a database"),
    ("10.0.0.1", "the private network"),
    ("db--main--local.localhost", "a service that is none"),
    ("web--other--local.localhost", "another workspace"),
    ("web--main--globex.localhost", "another org's workspace"),
];

/// Streams a host can open that no gateway has a ticket for; the story of a gateway in the wrong hands tries them.
const STREAMS: [(&str, &str); 4] = [
    ("terminal", "a shell"),
    ("logs", "raw logs"),
    ("elevation", "a root terminal"),
    ("recording", "what root terminals printed"),
];

/// The calls of hosts.
const OF_HOSTS: [(&str, &str); 8] = [
    ("POST", REGISTER_PATH),
    ("GET", STREAM_PATH),
    ("POST", SECRETS_PATH),
    ("POST", EGRESS_PATH),
    ("POST", GIT_CREDENTIAL_PATH),
    ("POST", GIT_REJECTED_PATH),
    ("POST", GIT_IDENTITY_PATH),
    ("POST", GIT_SIGNATURE_PATH),
];

/// The product's pages and their forms, which are no part of the API's document.
const PAGES: [(&str, &str); 17] = [
    ("GET", "/v1/openapi.json"),
    ("GET", "/open/{label}"),
    ("GET", "/sign-in"),
    ("GET", "/sign-in/mail"),
    ("POST", "/sign-in/mail"),
    ("POST", "/sign-in/mail/open"),
    ("POST", "/sign-in/key"),
    ("GET", "/sign-in/{provider}/start"),
    ("GET", "/sign-in/{provider}/callback"),
    ("POST", "/sign-in/{provider}/logout"),
    ("GET", "/sign-in/loopback"),
    ("POST", "/sign-in/loopback"),
    ("GET", "/sign-out"),
    ("POST", "/sign-out"),
    ("GET", "/device"),
    ("POST", "/device"),
    ("GET", "/index.html"),
];

/// Every method and path of the product, as asked with something in the place of each parameter.
fn of_the_product() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../../../docs/reference/openapi.json")).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    for (method, path) in PAGES.into_iter().chain(gateway::CALLS).chain(OF_HOSTS) {
        let label = if path == ROUTES_PATH { "/{label}" } else { "" };
        all.push((method.to_owned(), format!("{path}{label}")));
    }
    all
}

fn page(product: &[(String, String)]) -> String {
    let mut page = "# What a dev host never answers\n\nMade from the API's document, the calls of gateways and hosts, and the product's \
                    pages; a test tries each line with a good session.\n\n## By authority\n\nAs the target, as `Host`, and by `CONNECT`.\n\n| asked for | is |\n|---|---|\n"
        .to_owned();
    for (authority, what) in AUTHORITIES {
        writeln!(page, "| `{authority}` | {what} |").unwrap();
    }
    page.push_str("\n## By path\n\n| asked for | is |\n|---|---|\n");
    for (path, what) in PATHS {
        writeln!(page, "| `{path}` | {what} |").unwrap();
    }
    page.push_str(
        "\n## By stream\n\nA gateway is given tickets for services alone; the story of a gateway in the wrong \
                   hands (`red_team/gateway.rs`) tries one on each.\n\n| kind | is |\n|---|---|\n",
    );
    for (kind, what) in STREAMS {
        writeln!(page, "| `{kind}` | {what} |").unwrap();
    }
    page.push_str("\n## The product\n\n");
    for (method, path) in product {
        writeln!(page, "- `{method} {path}`").unwrap();
    }
    page
}

struct Dev {
    gateway: SocketAddr,
    host: String,
    cookie: String,
}

impl Dev {
    /// Sends a head as it is and returns what comes back until the other end hangs up.
    async fn raw(&self, line: &str, host: &str) -> String {
        let cookie = &self.cookie;
        let head =
            format!("{line}\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let mut stream = TcpStream::connect(self.gateway).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn is_refusal(answer: &str) -> bool {
        answer.starts_with("HTTP/1.1 4")
    }
}

// proves LINK-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_service_is_on_no_dev_host() {
    let product = of_the_product();
    expect_test::expect_file!["../../../../../docs/reference/closed-surfaces.md"].assert_eq(&page(&product));
    let the_box = TestBox::started().await;
    let folder = repository(&the_box.scratch("echo"));
    for (name, text) in [("envforge.yml", FILE), ("echo.mjs", ECHO)] {
        fs_err::write(folder.join(name), text).unwrap();
    }
    commit(&folder, "The echo");
    let opened = the_box.json(&folder, &["up", "--yes", "--no-attach"]).await;
    Member { the_box: &the_box, slug: "main".to_owned() }.all_ready().await;
    let link = opened["link"]["url"].as_str().expect("a link");
    let mut browser = Browser::at(link).unwrap();
    browser.open(link).await.unwrap();
    let dev = Dev {
        gateway: browser.gateway(),
        host: browser.host().to_owned(),
        cookie: browser.cookie().expect("a session").to_owned(),
    };
    let own = dev.raw("GET /own HTTP/1.1", &dev.host).await;
    assert!(own.ends_with("the service saw GET /own"), "{own}");
    for (method, path) in &product {
        let path = path.replace(['{', '}'], "");
        let answer = dev.raw(&format!("{method} {path} HTTP/1.1"), &dev.host).await;
        let is_the_services = answer.contains(&format!("the service saw {method} {path}"));
        assert!(is_the_services || Dev::is_refusal(&answer), "{method} {path}: {answer}");
    }
    for (path, what) in PATHS {
        let answer = dev.raw(&format!("GET {path} HTTP/1.1"), &dev.host).await;
        assert!(answer.contains("the service saw GET ") || Dev::is_refusal(&answer), "{what}: {answer}");
    }
    // The product's own address, too.
    let server = the_box.listen.to_string();
    for (authority, what) in AUTHORITIES.into_iter().chain([(server.as_str(), "the server")]) {
        for answer in [
            dev.raw(&format!("GET http://{authority}/ HTTP/1.1"), &dev.host).await,
            dev.raw("GET / HTTP/1.1", authority).await,
            dev.raw(&format!("CONNECT {authority} HTTP/1.1"), &dev.host).await,
        ] {
            assert!(Dev::is_refusal(&answer), "{what} at {authority}: {answer}");
        }
    }
}

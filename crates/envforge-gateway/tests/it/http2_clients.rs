//! HTTP/2 as others speak it: curl, and h2load with many streams at once.

use crate::support::{HOST, World};
use envforge_testkit::system_judge;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

pub(crate) const CURL: &str = "curl";
const H2LOAD: &str = "h2load";
/// For a load of two thousand requests beside other tests.
const LONGEST: Duration = Duration::from_mins(1);

/// What a program says that ends well.
async fn run(program: &str, arguments: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "an independent client")]
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LONGEST, command.output()).await.expect("in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// curl, at an address of a dev host: what it got, then `version status`.
pub(crate) async fn curl(world: &World, cookie: &str, arguments: &[&str], url: &str) -> String {
    let to = format!("::{}", world.gateway.local_addr);
    let ours = ["-sS", "--noproxy", "*", "--connect-to", &to, "-b", cookie, "-w", "\n%{http_version} %{http_code}"];
    run(CURL, &[&ours[..], arguments, &[url]].concat()).await
}

// proves LINK-9
#[tokio::test]
async fn curl_speaks_http2_from_the_first_byte() {
    if system_judge(CURL).is_none() {
        return;
    }
    let world = World::awake().await;
    let (session, upload) = (world.cookie(1), world.folder.path().join("upload"));
    std::fs::write(&upload, vec![b'u'; 3_000_000]).expect("written");
    let ask = async |cookie: &str, arguments: &[&str], path: &str| {
        let arguments = [&["--http2-prior-knowledge"], arguments].concat();
        curl(&world, cookie, &arguments, &format!("http://{HOST}{path}")).await
    };
    assert_eq!(ask(&session, &["-d", "five!"], "/x?y").await, "web:POST:/x?y:five!\n2 200");
    assert_eq!(ask(&session, &["-I", "-o", "/dev/null"], "/large").await, "\n2 200");
    let body = format!("@{}", upload.display());
    assert_eq!(ask(&session, &["--data-binary", &body], "/upload").await, "3000000\n2 200");
    let size = ["-o", "/dev/null", "-w", "%{size_download} %{http_version}"];
    assert_eq!(ask(&session, &size, "/large").await, "5000000 2");
    assert_eq!(ask("a=b", &["-o", "/dev/null"], "/x").await, "\n2 401", "nor without a session");
    // An upgrade to HTTP/2 is not taken up: the request is answered as what it is (RFC 9113, section 3.1).
    let said = curl(&world, &session, &["--http2", "-d", "five!"], &format!("http://{HOST}/x")).await;
    assert_eq!(said, "web:POST:/x:five!\n1.1 200");
}

// proves LINK-9
#[tokio::test]
async fn many_streams_of_many_connections_are_all_answered() {
    if system_judge(H2LOAD).is_none() {
        return;
    }
    let world = World::awake().await;
    let (to, cookie) = (format!("--connect-to={}", world.gateway.local_addr), format!("cookie: {}", world.cookie(1)));
    let url = format!("http://{HOST}:{}/x", world.gateway.local_addr.port());
    let said = run(H2LOAD, &["-n", "2000", "-c", "8", "-m", "50", "-t", "1", &to, "-H", &cookie, &url]).await;
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
    assert_eq!(world.web.seen().len(), 2000);
}

//! Signing in by a browser here and elsewhere, signing out, and what is signed in.

use crate::support::{Answer, Server, envforge, finish, ok, refused, run};
use expect_test::expect;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn key() -> Answer {
    ok(&json!({ "id": "key_00000000000000000000000000000007", "name": "laptop", "value": "efk_test",
        "expires_at": "2030-01-01T00:00:00Z" }))
}

fn kept_key(home: &Path, server: &Server) -> Value {
    let text = std::fs::read_to_string(home.join(".config/envforge/config.json")).unwrap_or_else(|_| "{}".to_owned());
    let config: Value = serde_json::from_str(&text).expect("JSON");
    config["servers"][&server.url]["key"].clone()
}

fn sign_in(home: &Path, server: &Server) {
    server.route(
        "POST /v1/device/code",
        ok(&json!({ "device_code": "secret", "user_code": "BCDF-GHJK",
        "verification_uri": "https://x/device", "verification_uri_complete": "https://x/device?user_code=BCDF-GHJK",
        "expires_in": 600, "interval": 0 })),
    );
    server.route("POST /v1/device/token", refused(400, "invalid", "device.authorization_pending", "not yet", None));
    server.route("POST /v1/device/token", key());
    let args = ["login", "--device", "--machine", "laptop", "--server", &server.url];
    let ran = finish(&mut envforge(home, &args));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("BCDF-GHJK") && !ran.stderr.contains("secret"), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("as Ada, org acme\n"), "{}", ran.stdout);
    assert_eq!(kept_key(home, server), "efk_test");
}

// proves ORG-1
#[test]
fn a_code_signs_in_and_logout_ends_it() {
    let (server, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    sign_in(home.path(), &server);
    assert!(server.asked().contains(&r#"POST /v1/device/code {"machine":"laptop"}"#.to_owned()));
    server.route("DELETE /v1/api-keys/key_00000000000000000000000000000007", Answer::Body(204, String::new()));
    let ran = finish(&mut envforge(home.path(), &["logout", "--server", &server.url]));
    expect![[r#"
        exit: 0
        --- stdout
        signed out of SERVER
        --- stderr
    "#]]
    .assert_eq(&ran.text(&server));
    assert_eq!(kept_key(home.path(), &server), Value::Null);
    let again = finish(&mut envforge(home.path(), &["logout", "--json", "--server", &server.url]));
    assert!(again.code == 5 && again.stdout.contains("logout.not_ours"), "{}", again.stdout);
}

#[test]
fn a_key_that_had_ended_is_forgotten_all_the_same() {
    let (first, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    sign_in(home.path(), &first);
    let gone = refused(401, "unauthenticated", "access.unauthenticated", "not valid", None);
    first.replace("GET /v1/me", gone);
    let ran = finish(&mut envforge(home.path(), &["logout", "--json", "--server", &first.url]));
    assert!(ran.code == 0 && ran.stdout.contains(r#""revoked":false"#), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(kept_key(home.path(), &first), Value::Null);
}

// proves ORG-1
#[test]
fn a_no_is_told_as_one() {
    let (server, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    server.route(
        "POST /v1/device/code",
        ok(&json!({ "device_code": "secret", "user_code": "BCDF-GHJK",
        "verification_uri": "https://x/device", "verification_uri_complete": "https://x/device?user_code=BCDF-GHJK",
        "expires_in": 600, "interval": 0 })),
    );
    server.route("POST /v1/device/token", refused(403, "forbidden", "device.access_denied", "it may not", None));
    let ran = finish(&mut envforge(home.path(), &["login", "--device", "--json", "--server", &server.url]));
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    assert_eq!(
        (&lines[0]["user_code"], &lines[1]["error"]["code"]),
        (&json!("BCDF-GHJK"), &json!("device.access_denied"))
    );
    assert_eq!(kept_key(home.path(), &server), Value::Null);
}

/// Knocks at the port a browser was sent to.
fn knock(port: &str, query: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    write!(stream, "GET /?{query} HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

// proves ORG-1
#[test]
fn a_browser_here_brings_the_code() {
    let (server, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    server.route("POST /v1/device/loopback", key());
    let (browser, opened) = (home.path().join("browser"), home.path().join("opened"));
    let script = format!("#!/bin/sh\nprintf %s \"$1\" >'{0}.new' && mv '{0}.new' '{0}'\n", opened.display());
    std::fs::write(&browser, script).expect("written");
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let mut login = envforge(home.path(), &["login", "--browser", "--server", &server.url]);
    let login = std::thread::spawn(move || finish(login.env("BROWSER", browser)));
    let begun = std::time::Instant::now();
    let url = loop {
        match std::fs::read_to_string(&opened) {
            Ok(url) => break url,
            Err(_) if begun.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
            Err(error) => panic!("the browser was not opened: {error}"),
        }
    };
    let value = |name: &str| {
        let (_, rest) = url.split_once(&format!("{name}=")).expect("a parameter");
        rest.split('&').next().unwrap_or_default().to_owned()
    };
    let (port, state) = (value("port"), value("state"));
    assert!(url.starts_with(&format!("{}/sign-in/loopback?", server.url)) && value("challenge").len() == 43, "{url}");
    assert!(knock(&port, "code=stolen&state=made-up").starts_with("HTTP/1.1 400"), "a stranger is turned away");
    assert!(knock(&port, &format!("code=the-code&state={state}")).contains("You are signed in"));
    let ran = login.join().expect("it ended");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(kept_key(home.path(), &server), "efk_test");
    let asked = server.asked();
    let redeemed = asked.iter().find(|line| line.starts_with("POST /v1/device/loopback")).expect("redeemed");
    assert!(redeemed.contains(r#""code":"the-code""#) && !redeemed.contains("stolen"), "{redeemed}");
}

// proves ORG-1
#[test]
fn what_is_signed_in_is_listed_and_ended() {
    let server = Server::acme();
    server.route(
        "GET /v1/sessions",
        ok(&json!({ "sessions": [{ "id": "sess_00000000000000000000000000000003", "method": "provider",
            "provider": "okta", "user_agent": "Firefox", "created_at": "2026-01-01T00:00:00Z",
            "last_seen_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-16T00:00:00Z", "is_current": false }] })),
    );
    server.route(
        "GET /v1/api-keys",
        ok(&json!({ "api_keys": [{ "id": "key_00000000000000000000000000000007", "name": "laptop", "prefix": "efk_ab",
            "created_at": "2026-01-01T00:00:00Z", "scopes": [], "expires_at": "2026-01-31T00:00:00Z",
            "last_used_at": null }] })),
    );
    expect![[r#"
        exit: 0
        --- stdout
        ID                                      LAST USED                ENDS                     WHAT
        sess_00000000000000000000000000000003   2026-01-02 00:00:00 UTC  2026-01-16 00:00:00 UTC  browser by okta: Firefox
        key_00000000000000000000000000000007 *  never                    2026-01-31 00:00:00 UTC  key: laptop
        --- stderr
    "#]].assert_eq(&run(&server, &["sessions", "list"]));
    server.route("DELETE /v1/sessions/sess_00000000000000000000000000000003", Answer::Body(204, String::new()));
    let ended = run(&server, &["sessions", "revoke", "sess_00000000000000000000000000000003"]);
    assert!(ended.starts_with("exit: 0\n"), "{ended}");
    let gone = refused(404, "not_found", "session.not_found", "you have no such session", None);
    server.route("DELETE /v1/sessions/sess_00000000000000000000000000000004", gone);
    let missing = run(&server, &["sessions", "revoke", "sess_00000000000000000000000000000004", "--json"]);
    assert!(missing.starts_with("exit: 4\n"), "{missing}");
    expect![[r#"
        exit: 0
        --- stdout
        Ada at SERVER, acme (owner), with key_00000000000000000000000000000007
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["whoami"]));
    assert!(run(&server, &["whoami", "--json"]).contains(r#""credential":"key_"#));
}

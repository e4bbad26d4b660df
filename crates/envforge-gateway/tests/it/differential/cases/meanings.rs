//! Requests whose end is clear and whose meaning is not: which host, which path, and what belongs to this hop alone.

use super::Must::{Choose, Pass, Refuse, Settle};
use super::{Case, Kit, case};

pub(super) fn all(kit: &Kit) -> Vec<Case> {
    [hosts(kit), targets(kit), hops(kit), bodies_where_few_expect_them(kit)].into_iter().flatten().collect()
}

fn hosts(kit: &Kit) -> Vec<Case> {
    let (host, cookie) = (&kit.host, &kit.cookie);
    let with = |line: &str, hosts: &str| format!("{line}\r\n{hosts}Cookie: {cookie}\r\n\r\n").into_bytes();
    let mut cases = Vec::new();
    for hosts in [
        String::new(),
        format!("Host: {host}\r\nHost: {host}\r\n"),
        format!("Host: {host}\r\nHost: evil.example\r\n"),
        format!("Host: evil.example\r\nHost: {host}\r\n"),
        format!("Host: {host}\r\nhost:\r\n"),
        "Host:\r\n".to_owned(),
        format!("Host: {host}\r\n .evil.example\r\n"),
        format!("Host: {host}\0\r\n"),
        format!("Host: {host}\0.evil.example\r\n"),
        format!("Host : {host}\r\n"),
    ] {
        cases.push(case(format!("hosts {}", hosts.escape_debug()), Choose, with("GET /case HTTP/1.1", &hosts)));
    }
    for name in [
        format!("user@{host}"),
        format!("user:pass@{host}"),
        format!("evil.example@{host}"),
        format!("{host}@evil.example"),
        format!("{host}/x"),
        format!("{host}/../x"),
        format!("{host}?x"),
        format!("{host}#x"),
        format!("{host}:80x"),
        format!("{host}:99999"),
        format!("{host}:"),
        format!("{host}:-1"),
        format!("{host}: 80"),
        format!("{host}:80:80"),
        format!("{host}, {host}"),
        format!("{host} evil.example"),
        format!("{host}\t"),
        format!("{host}."),
        format!("{host}.."),
        format!(".{host}"),
        host.to_uppercase(),
        "[::1]".to_owned(),
        format!("[{host}]"),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        format!("{host}%00"),
        format!("{host}%2eevil.example"),
        format!("{host}\\evil.example"),
        format!("http://{host}"),
        format!("\u{ff57}{}", &host[1..]),
        format!("{host}:０"),
    ] {
        let hosts = format!("Host: {name}\r\n");
        cases.push(case(format!("host {}", name.escape_debug()), Choose, with("GET /case HTTP/1.1", &hosts)));
    }
    let usual = format!("Host: {host}\r\n");
    for line in [
        format!("GET http://{host}/case HTTP/1.1"),
        "GET http://evil.example/case HTTP/1.1".to_owned(),
        format!("GET https://{host}/case HTTP/1.1"),
        format!("GET http://user@{host}/case HTTP/1.1"),
        format!("GET http://evil.example@{host}/case HTTP/1.1"),
        "GET http:///case HTTP/1.1".to_owned(),
        "GET http:/case HTTP/1.1".to_owned(),
        "GET http:case HTTP/1.1".to_owned(),
        format!("GET ftp://{host}/case HTTP/1.1"),
        format!("GET HTTP://{host}/case HTTP/1.1"),
        format!("GET http://{host} HTTP/1.1"),
        format!("GET http://{host}?case HTTP/1.1"),
        format!("GET http://{host}\\@evil.example/case HTTP/1.1"),
        format!("GET {host}:80 HTTP/1.1"),
        format!("CONNECT {host}:80 HTTP/1.1"),
        "CONNECT 127.0.0.1:22 HTTP/1.1".to_owned(),
        "GET @evil.example/case HTTP/1.1".to_owned(),
    ] {
        cases.push(case(format!("line {line}"), Choose, with(&line, &usual)));
    }
    let other = with(&format!("GET http://{host}/case HTTP/1.1"), "Host: evil.example\r\n");
    cases.push(case("an absolute target and another Host", Choose, other));
    for line in [
        "X-Forwarded-Host: evil.example",
        "Forwarded: host=evil.example",
        "X-Host: evil.example",
        "X-Forwarded-For: 1.1.1.1",
    ] {
        cases.push(case(line, Pass(Vec::new()), kit.get(&format!("{line}\r\n"))));
    }
    cases
}

fn targets(kit: &Kit) -> Vec<Case> {
    [
        "case",
        "?case",
        "//evil.example/case",
        "///case",
        "/case/%00",
        "/case/%0d%0aX:%20y",
        "/case/..%2fx",
        "/case/../x",
        "/./case",
        "/..",
        "/../../case",
        "/case\\..\\x",
        "/case/%zz",
        "/case/%",
        "/case/%2",
        "/case\u{fc}",
        "/case\"<>{}|^`",
        "/case;x=y/z",
        "/case#x",
        "/case?#x",
        "/case?a\\b",
        "/case?%00",
        "/case/%2e%2e/x",
        "/case/%252e%252e/x",
        "/case:80",
        "/case@evil.example",
        "/http://evil.example/case",
        "#",
        "/%63ase",
        "\\case",
        "/\\evil.example/case",
    ]
    .into_iter()
    .map(|target| {
        case(format!("target {}", target.escape_debug()), Choose, kit.line(&format!("GET {target} HTTP/1.1")))
    })
    .collect()
}

/// What names headers of one hop, or asks for another protocol, with something hidden behind it.
fn hops(kit: &Kit) -> Vec<Case> {
    let hidden = kit.hidden();
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let whole = || Pass(hidden.clone().into_bytes());
    let mut cases = Vec::new();
    for line in [
        "Connection: Host",
        "Connection: Cookie",
        "Connection: Content-Length",
        "Connection: close, content-length",
        "Connection: keep-alive, Host",
        "Connection: Content-Length, Transfer-Encoding",
        "Connection: X-Forwarded-For",
        "Connection: X-Forwarded-Host, X-Forwarded-Proto",
        "Connection: \"Content-Length\"",
        "Connection: close\r\nConnection: keep-alive",
        "Connection: , ,",
        "Connection: Connection",
        "Keep-Alive: timeout=99",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "TE: chunked",
        "Trailer: Content-Length",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ] {
        cases.push(case(
            format!("{} with a request in its body", line.escape_debug()),
            whole(),
            kit.post(&format!("{line}\r\n{length}"), &hidden),
        ));
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    cases.push(case("a WebSocket that is refused, with a request in its body", Settle, {
        format!("GET /case HTTP/1.1\r\n{}{upgrade}{length}\r\n{hidden}", kit.usual()).into_bytes()
    }));
    cases.push(case("a WebSocket that is refused, chunked", Settle, {
        let wrapped = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        format!("GET /case HTTP/1.1\r\n{}{upgrade}Transfer-Encoding: chunked\r\n\r\n{wrapped}", kit.usual())
            .into_bytes()
    }));
    cases.push(case("a WebSocket of version 777 that is refused", Settle, kit.get(&upgrade.replace("13", "777"))));
    cases
}

fn bodies_where_few_expect_them(kit: &Kit) -> Vec<Case> {
    let hidden = kit.hidden();
    let mut cases = Vec::new();
    for method in ["GET", "DELETE", "OPTIONS", "PROPFIND"] {
        let head = format!("{method} /case HTTP/1.1\r\n{}", kit.usual());
        let bytes = format!("{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()).into_bytes();
        cases.push(case(format!("{method} with a request in its body"), Pass(hidden.clone().into_bytes()), bytes));
        let bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        // The body of a `GET` means nothing (RFC 9110, section 9.3.1): one without a length may be left out.
        let must = if method == "GET" { Choose } else { Pass(hidden.clone().into_bytes()) };
        cases.push(case(format!("{method} with a request in a chunk"), must, bytes.into_bytes()));
    }
    let five = "Content-Length: 5\r\n";
    for expectation in ["100-continue", "100-Continue", "100-CONTINUE"] {
        let bytes = kit.post(&format!("Expect: {expectation}\r\n{five}"), "12345");
        cases.push(case(format!("Expect: {expectation}"), Pass(b"12345".to_vec()), bytes));
    }
    for expectation in [
        "",
        "bogus",
        "100-continue, x",
        "100-continue\r\nExpect: 100-continue",
        "100-continue\0",
        "x\r\n 100-continue",
        "102-processing",
    ] {
        let name = format!("Expect: {}", expectation.escape_debug());
        let must = if expectation.contains('\0') { Refuse } else { Settle };
        cases.push(case(name, must, kit.post(&format!("Expect: {expectation}\r\n{five}"), "12345")));
    }
    cases.push(case("Expect without a body", Pass(Vec::new()), kit.get("Expect: 100-continue\r\n")));
    let old = String::from_utf8(kit.post(&format!("Expect: 100-continue\r\n{five}"), "12345")).expect("text");
    cases.push(case(
        "Expect in HTTP/1.0",
        Pass(b"12345".to_vec()),
        old.replace("/case HTTP/1.1", "/case HTTP/1.0").into_bytes(),
    ));
    cases.push(case("Content-Length: 0", Pass(Vec::new()), kit.post("Content-Length: 0\r\n", "")));
    cases
}

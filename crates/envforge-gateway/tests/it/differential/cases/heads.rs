//! Lines: how they end, what they are made of, how many, and the first of them.

use super::Must::{Choose, Pass, Refuse, Settle};
use super::{Case, Kit, case};

pub(super) fn all(kit: &Kit) -> Vec<Case> {
    [ends(kit), names_and_values(kit), first_lines(kit), versions(kit), sizes(kit)].into_iter().flatten().collect()
}

fn ends(kit: &Kit) -> Vec<Case> {
    let usual = String::from_utf8(kit.get("")).expect("text");
    let mut cases = vec![
        case("lines end with LF", Settle, usual.replace('\r', "").into_bytes()),
        case("the first line ends with LF", Settle, usual.replacen('\r', "", 1).into_bytes()),
        case("lines end with CR", Refuse, usual.replace('\n', "").into_bytes()),
        case("the first line ends with CR", Refuse, usual.replacen('\n', "", 1).into_bytes()),
        case("the head ends with LF LF", Settle, kit.get("X: y\n\n")),
        case("the head ends with CR CR LF", Refuse, kit.get("X: y\r\r\n")),
        case("an empty line before it", Pass(Vec::new()), [b"\r\n".as_slice(), &kit.get("")].concat()),
        case("a line feed before it", Settle, [b"\n".as_slice(), &kit.get("")].concat()),
        case("a return before it", Settle, [b"\r".as_slice(), &kit.get("")].concat()),
        case("a blank before it", Refuse, [b" ".as_slice(), &kit.get("")].concat()),
        case("a zero before it", Refuse, [b"\0".as_slice(), &kit.get("")].concat()),
    ];
    for blank in [" ", "\t"] {
        let bytes = format!("GET /case HTTP/1.1\r\n{blank}Host: {0}\r\n{1}\r\n", kit.host, kit.usual());
        cases.push(case(format!("{} before the first header", blank.escape_debug()), Settle, bytes.into_bytes()));
    }
    cases
}

fn names_and_values(kit: &Kit) -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "X : y",
        "X\t: y",
        ": y",
        ":",
        "X y: z",
        "X",
        "X\0: y",
        "X\u{7f}: y",
        "X(: y",
        "X/Y: z",
        "X\"Y: z",
        "X@Y: z",
        "X[: y",
        "\u{fc}: y",
        "X\u{b}: y",
        "X: a\0b",
        "X: a\rb",
        "X: a\r\r\nY: z",
        "\u{b}X: y",
        "X;: y",
        "X,Y: z",
    ] {
        cases.push(case(format!("header {}", line.escape_debug()), Refuse, kit.get(&format!("{line}\r\n"))));
    }
    for line in [
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X:\r\n b",
        "X: a\r\n ",
        "X: a\nY: b",
        "X: a\u{1}b",
        "X: a\u{7f}b",
        "X: a\u{b}b",
        "X: a\u{1b}[31m",
        "X: a\u{8}",
    ] {
        cases.push(case(format!("header {}", line.escape_debug()), Settle, kit.get(&format!("{line}\r\n"))));
    }
    for line in [
        "X: \u{fc}\u{ff}",
        "X:y",
        "X:",
        "X:  y  ",
        "X:\ty\t",
        "x!#$%&'*+-.^_`|~1: y",
        "X: a\tb",
        "X: \"a",
        "X: a, , b",
        "X_Y: z",
    ] {
        cases.push(case(format!("header {}", line.escape_debug()), Pass(Vec::new()), kit.get(&format!("{line}\r\n"))));
    }
    cases
}

fn first_lines(kit: &Kit) -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "GET /case",
        "GET",
        "",
        "GET  HTTP/1.1",
        "GET /ca se HTTP/1.1",
        "GET /case HTTP/1.1 x",
        "GET /case x HTTP/1.1",
        "G\0T /case HTTP/1.1",
        "GE(T /case HTTP/1.1",
        "GET: /case HTTP/1.1",
        "G\u{fc}T /case HTTP/1.1",
        " /case HTTP/1.1",
        "GET /ca\0se HTTP/1.1",
        "GET /ca\u{1}se HTTP/1.1",
        "GET /ca\u{7f}se HTTP/1.1",
        "GET /ca\rse HTTP/1.1",
        "GET /ca\tse HTTP/1.1",
    ] {
        cases.push(case(format!("line {}", line.escape_debug()), Refuse, kit.line(line)));
    }
    for line in [
        "GET  /case HTTP/1.1",
        "GET /case  HTTP/1.1",
        "GET\t/case HTTP/1.1",
        "GET /case\tHTTP/1.1",
        "GET /case HTTP/1.1 ",
        "GET /case HTTP/1.1\t",
        "GET\u{b}/case HTTP/1.1",
        "GET\u{c}/case HTTP/1.1",
        "get /case HTTP/1.1",
        "Get /case HTTP/1.1",
    ] {
        cases.push(case(format!("line {}", line.escape_debug()), Settle, kit.line(line)));
    }
    for line in [
        "TRACE /case HTTP/1.1",
        "TRACK /case HTTP/1.1",
        "DEBUG /case HTTP/1.1",
        "PRI * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
    ] {
        cases.push(case(format!("line {line}"), Choose, kit.line(line)));
    }
    for method in ["PROPFIND", "M-SEARCH", "QUERY", "X!#$%&'*+-.^_`|~1", "PATCH", "DELETE", "OPTIONS"] {
        cases.push(case(format!("line {method}"), Pass(Vec::new()), kit.line(&format!("{method} /case HTTP/1.1"))));
    }
    cases
}

fn versions(kit: &Kit) -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [
        "HTTP/1.1x",
        "HTTP/1,1",
        "http/1.1",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/1.10",
        "HTTP/11",
        "HTTP/1",
        "HTTP/",
        "HTTP/1.1.1",
        "HTTP/-1.1",
        "HTTP/1.\u{661}",
        "HTTPS/1.1",
        "ICY/1.1",
        "HTTP/0.9",
        "HTTP/9.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.0",
        "HTTP /1.1",
        "HTTP/ 1.1",
        "HTTP\\1.1",
    ] {
        cases.push(case(
            format!("version {}", version.escape_debug()),
            Refuse,
            kit.line(&format!("GET /case {version}")),
        ));
    }
    cases.push(case("version HTTP/1.2", Settle, kit.line("GET /case HTTP/1.2")));
    cases.push(case("version HTTP/1.0", Pass(Vec::new()), kit.line("GET /case HTTP/1.0")));
    cases.push(case("HTTP/0.9", Refuse, b"GET /case\r\n".to_vec()));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    cases.push(case("the preface of HTTP/2", Settle, preface));
    cases.push(case("half a preface of HTTP/2", Settle, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()));
    cases.push(case("TLS on a plain port", Refuse, b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03\r\n\r\n".to_vec()));
    cases
}

fn sizes(kit: &Kit) -> Vec<Case> {
    let wide = "x".repeat(100_000);
    let many = (0..10_000).map(|number| format!("X{number}: y\r\n")).collect::<Vec<_>>().concat();
    vec![
        case("a target of 100 kB", Refuse, kit.line(&format!("GET /case?{wide} HTTP/1.1"))),
        case("a method of 100 kB", Refuse, kit.line(&format!("{wide} /case HTTP/1.1"))),
        case("a header of 100 kB", Refuse, kit.get(&format!("X: {wide}\r\n"))),
        case("a header's name of 100 kB", Refuse, kit.get(&format!("{wide}: y\r\n"))),
        case("10,000 headers", Refuse, kit.get(&many)),
        case("10,000 empty headers", Refuse, kit.get(&"X:\r\n".repeat(10_000))),
        case("a target of 4 kB", Pass(Vec::new()), kit.line(&format!("GET /case?{} HTTP/1.1", &wide[..4_000]))),
        case("60 headers", Pass(Vec::new()), kit.get(&"X: y\r\n".repeat(60))),
    ]
}

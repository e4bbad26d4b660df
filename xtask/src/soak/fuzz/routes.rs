//! Lines are the routes a link is limited to, the last one is a path: what is allowed lies below a route, whatever a service
//! makes of it.
//!
//! Services differ in how often they decode a path, whether `\` is `/`, whether `;parameters` count, and whether empty segments
//! do. Each such reading is resolved (RFC 3986, section 5.2.4); if one leads out of every route, the path must not be allowed.

use super::Random;
use super::damage::joined;
use anyhow::ensure;
use envforge_core::link::is_allowed;

const PIECES: [&str; 32] = [
    "/",
    "/",
    "/",
    "/docs",
    "/docs",
    "docs",
    "/api/public",
    "admin",
    "..",
    "..",
    ".",
    "%2e",
    "%2E",
    "%2e%2e",
    "%252e",
    "%25",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";",
    ";v=1",
    "..;",
    "%3b",
    "//",
    "/./",
    "%00",
    "%2",
    "%65",
    "%64ocs",
    "a",
    "\u{fc}",
];
const ROUTES: [&str; 6] = ["/docs", "/docs/", "/api/public", "/", "/a", "/docs/a"];

pub(super) fn made(random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<String> = (0..=random.below(2)).map(|_| random.pick(&ROUTES).to_owned()).collect();
    let begin = if random.below(4) == 0 { "" } else { random.pick(&ROUTES) };
    lines.push(format!("{begin}{}", joined(random, &PIECES, 10)));
    lines.join("\n").into_bytes()
}

pub(super) fn check(input: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(input);
    let mut routes: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let path = routes.pop().unwrap_or_default();
    // A route is one of an app as people write it; what else may stand in one is not what this is about.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    routes.retain(|route| route.starts_with('/') && !route.contains("//") && route.bytes().all(is_plain));
    if routes.is_empty() || !path.starts_with('/') || !is_allowed(&routes, &path) {
        return Ok(());
    }
    for reading in 0..24 {
        let (times, is_back, is_cut, is_merged) =
            (reading % 3, reading / 3 % 2 == 1, reading / 6 % 2 == 1, reading / 12 == 1);
        let mut bytes = path.clone().into_bytes();
        for _ in 0..times {
            bytes = percent_decoded(&bytes);
        }
        let found = resolved(&bytes, is_back, is_cut, is_merged);
        let is_below = routes.iter().any(|route| {
            let route: Vec<&[u8]> = segments(route.trim_end_matches('/').as_bytes(), false);
            found.len() >= route.len() && route.iter().zip(&found).all(|(one, other)| one == other)
        });
        let shown = || String::from_utf8_lossy(&found.join(&b'/')).into_owned();
        ensure!(is_below, "{path:?} is allowed, and /{} is in none of {routes:?}", shown());
    }
    Ok(())
}

fn segments(path: &[u8], is_back: bool) -> Vec<&[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    path.split(|byte| *byte == b'/' || (is_back && *byte == b'\\')).collect()
}

/// The segments that are left once `.` and `..` have had their effect.
fn resolved(path: &[u8], is_back: bool, is_cut: bool, is_merged: bool) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for segment in segments(path, is_back) {
        let named = if is_cut { segment.split(|byte| *byte == b';').next().unwrap_or_default() } else { segment };
        match named {
            b".." => drop(found.pop()),
            b"." => {}
            b"" if is_merged => {}
            _ => found.push(named.to_vec()),
        }
    }
    found
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| bytes[at] == b'%');
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

//! The server's own pages: signing in, allowing a device, and what went wrong. Readable without script.
//!
//! Each is one file with its style inside; the content security policy allows that style and nothing else, and forms
//! to this server only, unless a page names where its form leads in the end. Browsers send `Origin: null` with
//! forms of pages that send no referrer at all, so these send one to ourselves.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envforge_core::refusal::Refusal;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::LazyLock;

const STYLE: &str = r#"
:root{color-scheme:light dark;--ground:#f5f6f8;--card:#fff;--ink:#171a21;--soft:#5b6372;--line:#e3e6eb;--brand:#3b5bdb;--brand-ink:#fff}
@media (prefers-color-scheme:dark){:root{--ground:#101216;--card:#191c22;--ink:#eceef2;--soft:#9aa3b2;--line:#2a2f38;--brand:#7b95ff;--brand-ink:#0d1120}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{width:100%;max-width:420px;padding:36px;background:var(--card);border:1px solid var(--line);border-radius:16px}
h1{margin:0 0 12px;font-size:22px;line-height:1.3;overflow-wrap:anywhere}
p{margin:0 0 18px;color:var(--soft);overflow-wrap:anywhere}
p strong{color:var(--ink)}
form{margin:0 0 14px}
label{display:block;margin:0 0 6px;font-weight:600}
input{width:100%;padding:11px 12px;margin:0 0 12px;border:1px solid var(--line);border-radius:10px;background:var(--ground);color:var(--ink);font:inherit}
button,.button{display:block;width:100%;padding:12px 20px;margin:0 0 12px;border:1px solid var(--brand);border-radius:10px;background:var(--brand);color:var(--brand-ink);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
.plain{background:transparent;color:var(--ink);border-color:var(--line)}
:focus-visible{outline:3px solid color-mix(in srgb,var(--brand) 45%,transparent);outline-offset:2px}
details{margin:18px 0 0}summary{cursor:pointer;color:var(--soft);margin:0 0 12px}
code{font:15px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.code{font-size:22px;letter-spacing:.08em;color:var(--ink);text-align:center}
.fine{margin:18px 0 0;font-size:13px}
main:has(table){max-width:1080px}
h2{margin:24px 0 8px;font-size:16px}
table{width:100%;border-collapse:collapse;font-size:14px}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;overflow-wrap:anywhere}
ul{margin:0 0 12px;padding-left:20px;font-size:14px;overflow-wrap:anywhere}
.alert{padding:10px 12px;border:1px solid var(--brand);border-radius:10px;color:var(--ink)}
"#;

static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| STANDARD.encode(digest(&SHA256, STYLE.as_bytes()).as_ref()));

/// A page. `targets` are the origins its forms lead to besides this server.
pub fn page(status: StatusCode, title: &str, content: &Markup, targets: &[String]) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex, nofollow";
                title { (title) " · EnvForge" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { (title) } (content) } }
        }
    };
    let mut response = (status, Html(document.into_string())).into_response();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_DIGEST,
        targets.join(" ")
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The page of a refusal, with a way on.
pub fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content = html! {
        p { (sentence(&refusal.message)) @if let Some(hint) = &refusal.hint { " " (sentence(hint)) } }
        a.button href="/sign-in" { "Sign in" }
        p.fine { code { (refusal.code) } }
    };
    page(status, "That did not work", &content, &[])
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

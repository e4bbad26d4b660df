//! A key for this machine, by signing in with a browser: on this machine, or, where none opens, on another one.
//!
//! On this machine the browser brings a code to a port of 127.0.0.1 that is open for this one purpose (RFC 8252). Any
//! program of the machine may knock there, so the code counts only with the state sent along, and is worth nothing
//! without PKCE's verifier, which never leaves this process until it is exchanged (RFC 7636).

use crate::args::Login;
use crate::context::{Context, segment, variable};
use envforge_api::ambient::{SystemEntropy, opaque_token};
use envforge_api::http::sign_in::{DeviceStarted, MachineKey, RedeemDevice, RedeemLoopback, StartDevice};
use envforge_api::pkce;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_mins(10);
/// Longest request read from a browser, in bytes.
const REQUEST_MAX: u64 = 8 * 1024;
/// How long a browser may take to send its request.
const READING: Duration = Duration::from_secs(5);

/// A fresh key for this machine.
pub(crate) async fn key(ctx: &Context<'_>, login: &Login) -> Result<Secret, Refusal> {
    let machine = login.machine.clone().unwrap_or_else(machine_name);
    let key = if login.device || (!login.browser && !can_open_browser()) {
        by_device(ctx, &machine).await?
    } else {
        by_browser(ctx, &machine).await?
    };
    Ok(Secret::new(key.value))
}

fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.trim().is_empty() { "a machine".to_owned() } else { name.chars().take(64).collect() }
}

/// Whether a browser would open where the person is: not over SSH, and not without a display.
fn can_open_browser() -> bool {
    let is_remote = variable("SSH_CONNECTION").is_some() || variable("SSH_TTY").is_some();
    let has_display = variable("DISPLAY").is_some() || variable("WAYLAND_DISPLAY").is_some();
    variable("BROWSER").is_some() || (!is_remote && (has_display || cfg!(target_os = "macos")))
}

/// Shows a code, and asks until somebody decided.
async fn by_device(ctx: &Context<'_>, machine: &str) -> Result<MachineKey, Refusal> {
    let client = ctx.anonymous()?;
    let request = StartDevice { machine: machine.to_owned() };
    let started: DeviceStarted = client.post("/v1/device/code", &request).await.map_err(|error| ctx.refusal(error))?;
    if ctx.printer.is_json() {
        ctx.printer.value(&json!({ "user_code": started.user_code, "verification_uri": started.verification_uri,
            "verification_uri_complete": started.verification_uri_complete, "expires_in": started.expires_in }));
    }
    ctx.printer.note(&format!(
        "open {} in any browser, and compare the code:\n\n    {}\n",
        started.verification_uri_complete, started.user_code
    ));
    let request = RedeemDevice { device_code: started.device_code };
    let mut interval = started.interval;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(u64::from(started.expires_in));
    loop {
        tokio::time::sleep(Duration::from_secs(u64::from(interval))).await;
        let refusal = match client.post("/v1/device/token", &request).await {
            Ok(key) => return Ok(key),
            Err(error) => ctx.refusal(error),
        };
        match refusal.code.as_str() {
            "device.authorization_pending" => {}
            "device.slow_down" => interval = refusal.retry_after.unwrap_or(interval + 5),
            // A server that restarts is back in a moment.
            _ if refusal.kind == RefusalKind::Unavailable && tokio::time::Instant::now() < deadline => {}
            _ => return Err(refusal),
        }
    }
}

/// Opens the browser, and waits for what it brings.
async fn by_browser(ctx: &Context<'_>, machine: &str) -> Result<MachineKey, Refusal> {
    let listening = |error: std::io::Error| {
        Refusal::unavailable("login.no_port", format!("no port of 127.0.0.1 could be opened: {error}"))
            .hint("`envforge login --device` needs none")
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(listening)?;
    let port = listener.local_addr().map_err(listening)?.port();
    let (state, verifier) = (opaque_token("", &SystemEntropy), Secret::new(opaque_token("", &SystemEntropy)));
    let url = format!(
        "{}/sign-in/loopback?port={port}&state={state}&challenge={}&machine={}",
        ctx.server,
        pkce::challenge(&verifier),
        segment(machine)
    );
    if ctx.printer.is_json() {
        ctx.printer.value(&json!({ "url": url }));
    }
    ctx.printer.note(&format!("opening your browser to sign in; if it does not open, go to\n\n    {url}\n"));
    open(&url);
    let code = tokio::time::timeout(PATIENCE, brought(&listener, &state)).await.map_err(|_| {
        Refusal::conflict("login.too_late", "nobody signed in within ten minutes").hint("`envforge login` begins again")
    })??;
    let request = RedeemLoopback { code, code_verifier: verifier.expose().to_owned() };
    ctx.anonymous()?.post("/v1/device/loopback", &request).await.map_err(|error| ctx.refusal(error))
}

/// Starts the browser and forgets it; whether it opened is seen by the person.
fn open(url: &str) {
    let program =
        variable("BROWSER").unwrap_or_else(|| if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.to_owned());
    #[expect(clippy::disallowed_methods, reason = "the person's own browser")]
    let started = tokio::process::Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(started);
}

/// Waits until a browser brings the code that belongs to `state`; whatever else knocks is turned away.
async fn brought(listener: &TcpListener, state: &str) -> Result<String, Refusal> {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(Some(outcome)) = tokio::time::timeout(READING, answer(stream, state)).await else { continue };
        return outcome.ok_or_else(|| {
            Refusal::new(
                RefusalKind::Forbidden,
                "device.access_denied",
                "the browser was told that this machine may not",
            )
        });
    }
}

/// Answers one request: the code, `Some(None)` for a no, nothing for a stranger.
async fn answer(mut stream: TcpStream, state: &str) -> Option<Option<String>> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(REQUEST_MAX)).read_line(&mut line).await.ok()?;
    let query = line.strip_prefix("GET /?")?.split(' ').next()?;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let is_ours = value("state") == Some(state);
    let (status, text) = match (is_ours, value("code")) {
        (false, _) => ("400 Bad Request", "This is not what envforge waits for."),
        (true, Some(_)) => ("200 OK", "You are signed in. Go back to your terminal; this page can be closed."),
        (true, None) => ("200 OK", "Nothing was allowed. This page can be closed."),
    };
    let head = "content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nreferrer-policy: no-referrer";
    let response = format!(
        "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    writer.write_all(response.as_bytes()).await.ok()?;
    drop(writer.shutdown().await);
    is_ours.then(|| value("code").map(str::to_owned))
}

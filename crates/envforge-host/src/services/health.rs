//! Asking a service whether it works.

use crate::ctx::HostContext;
use crate::place::Place;
use envforge_core::manifest::{Health, Service};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The longest first line of an answer.
const LINE_MAX: usize = 4096;
/// What is told of an answer that can't be read.
const NOT_HTTP: &str =
    "what came back is not HTTP/1.1; a service that speaks HTTP/2 only is asked with `health: { tcp: true }`";

/// What tells that a service works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It listens on its port.
    Bound,
    /// Its port accepts a connection.
    Tcp,
    /// A GET of this path answers with a status below 400.
    Http(String),
    /// This command ends with status 0.
    Command(String),
    /// It has printed this.
    Log(String),
    /// It still runs a moment after it was started: a worker nobody connects to.
    Running,
}

impl Mode {
    /// What a service declares, or what follows from what others want of it.
    pub(crate) fn of(service: &Service, is_needed: bool) -> Self {
        match &service.health {
            Some(Health::Http { path }) => Self::Http(path.clone()),
            Some(Health::Tcp) => Self::Tcp,
            Some(Health::Command(line)) => Self::Command(line.clone()),
            Some(Health::Log(text)) => Self::Log(text.clone()),
            None if is_needed || service.port.is_some() || !service.routes.is_empty() => Self::Bound,
            None => Self::Running,
        }
    }

    /// Whether it can be asked only once the port is known.
    pub(crate) fn needs_port(&self) -> bool {
        matches!(self, Self::Bound | Self::Tcp | Self::Http(_))
    }
}

/// The status a GET answers with.
pub(crate) async fn status_of(ctx: &HostContext, place: &Place, port: u16, path: &str) -> Result<u16, String> {
    match tokio::time::timeout(ANSWER_LIMIT, get(ctx, place, port, path)).await {
        Ok(status) => status.map_err(|error| format!("GET {path} on port {port}: {error}")),
        Err(_) => Err(format!("GET {path} on port {port} was not answered within {} s", ANSWER_LIMIT.as_secs())),
    }
}

async fn get(ctx: &HostContext, place: &Place, port: u16, path: &str) -> std::io::Result<u16> {
    if path.chars().any(|c| c.is_control() || c == ' ') {
        return Err(std::io::Error::other("the path holds characters that no request may have"));
    }
    let mut stream = ctx.engine.connect(place, port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: envforge-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut chunk = [0_u8; 256];
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        line.extend_from_slice(&chunk[..count]);
    }
    status_in(&line).ok_or_else(|| std::io::Error::other(NOT_HTTP))
}

fn status_in(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

/// Whether a port accepts a connection.
pub(crate) async fn accepts(ctx: &HostContext, place: &Place, port: u16) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_LIMIT, ctx.engine.connect(place, port)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("port {port}: {error}")),
        Err(_) => Err(format!("port {port} did not accept within {} s", ANSWER_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_nothing_else_is_taken_for_one() {
        assert_eq!(status_in(b"HTTP/1.1 204 No Content\r\nX: y\r\n"), Some(204));
        assert_eq!(status_in(b"HTTP/1.0 500"), Some(500));
        assert_eq!(status_in(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status_in(b""), None);
    }

    #[test]
    fn who_is_asked_how() {
        let worker = Service::default();
        assert_eq!(Mode::of(&worker, false), Mode::Running);
        assert_eq!(Mode::of(&worker, true), Mode::Bound);
        let web = Service { routes: vec!["/".to_owned()], ..Service::default() };
        assert_eq!(Mode::of(&web, false), Mode::Bound);
    }
}

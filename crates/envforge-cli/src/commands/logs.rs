//! `envforge logs`: captured lines of a service, also while it sleeps; those a pattern is found in, or newer than a time.
//! Where they are kept they are searched, so only what is wanted travels.
//!
//! Following survives a lost connection: after connecting again everything up to the last line printed is
//! skipped. With `--json` each line is an object.

use crate::args::Logs;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::follow::Backoff;
use crate::lines::{self, Splitter};
use envforge_api::ambient::SystemClock;
use envforge_api::client::CallError;
use envforge_core::clock::Clock as _;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a pause may be while repeated lines arrive.
const QUIET: Duration = Duration::from_millis(500);
/// Lines asked for again after a lost connection.
const AGAIN: u32 = 10_000;

/// Shows captured lines.
pub(crate) async fn logs(ctx: &mut Context<'_>, logs: Logs) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let base = ctx.workspace_path(&slug, &format!("/logs/{}", segment(&logs.service))).await?;
    let since = logs.since.map(|moment| moment.instant(SystemClock.now()).to_string());
    let mut wanted = String::new();
    for (name, value) in [("grep", &logs.grep), ("since", &since)] {
        if let Some(value) = value {
            let _ = write!(wanted, "&{name}={}", segment(value));
        }
    }
    let lines = logs.lines.unwrap_or(if wanted.is_empty() { 100 } else { u32::MAX });
    let mut backoff = Backoff::default();
    let mut last: Option<Vec<u8>> = None;
    loop {
        let tail = if last.is_some() { AGAIN } else { lines };
        let path = format!("{base}?tail={tail}&follow={}{wanted}", logs.follow);
        match read(ctx, &path, &mut last, &mut backoff).await {
            Ok(()) if !logs.follow || ctx.printer.reader_gone() => return Ok(ExitCode::Ok),
            // A stream that follows ends only when the other side went away.
            Ok(()) => {}
            Err(refusal) if logs.follow && last.is_some() && refusal.kind == RefusalKind::Unavailable => {}
            Err(refusal) => return Err(refusal),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Prints one stream, from behind the line printed last.
async fn read(ctx: &Context<'_>, path: &str, last: &mut Option<Vec<u8>>, backoff: &mut Backoff) -> Result<(), Refusal> {
    let opening = ctx.client()?.stream(path);
    let mut response = ctx.printer.slow("opening the log", opening).await.map_err(|error| ctx.refusal(error))?;
    let mut splitter = Splitter::default();
    let mut skipping = last.clone();
    let mut skipped = Vec::new();
    loop {
        // What is repeated comes at once; a pause means that the line looked for is no longer kept.
        let next = response.chunk();
        let chunk = if skipping.is_some() {
            let Ok(chunk) = tokio::time::timeout(QUIET, next).await else {
                skipping = None;
                for line in skipped.drain(..) {
                    print(ctx, line, last);
                }
                continue;
            };
            chunk
        } else {
            next.await
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => {
                let cause = CallError::from(error);
                return Err(Refusal::unavailable(
                    "server.unreachable",
                    format!("the connection to {} was lost: {cause}", ctx.server),
                ));
            }
        };
        backoff.reset();
        for line in splitter.push(&chunk) {
            if let Some(wanted) = &skipping {
                if line == *wanted {
                    skipping = None;
                    skipped.clear();
                } else {
                    skipped.push(line);
                }
            } else {
                print(ctx, line, last);
            }
        }
        if ctx.printer.reader_gone() {
            return Ok(());
        }
    }
    for line in skipped.into_iter().chain(splitter.finish()) {
        print(ctx, line, last);
    }
    Ok(())
}

fn print(ctx: &Context<'_>, mut line: Vec<u8>, last: &mut Option<Vec<u8>>) {
    let parts = lines::parse(&line);
    if ctx.printer.is_json() {
        let text = String::from_utf8_lossy(parts.text);
        ctx.printer.value(&json!({ "at": parts.at, "stream": parts.stream.as_str(), "text": text }));
        *last = Some(line);
    } else {
        *last = Some(line.clone());
        line.push(b'\n');
        ctx.printer.raw_out(&line);
    }
}

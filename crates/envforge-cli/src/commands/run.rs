//! `envforge run -- command`: a test or job in the runtime, as if it ran here.
//!
//! Its stdout is this program's stdout, its stderr the stderr, its exit code the exit code. The run itself lives
//! on the host: losing the connection, or Ctrl-C, does not end it. After connecting again the log is read from
//! its start and the lines already printed are skipped, so none is lost and none comes twice. The end of the
//! log is not trusted to be the end of the run: only the run's own state is.

use crate::args::Run;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::follow::Backoff;
use crate::lines::{self, Splitter, Stream};
use envforge_api::client::CallError;
use envforge_api::http::runs::{self, CreateRun, RunState};
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How often the run's state is asked for while its log is quiet.
const POLL: Duration = Duration::from_millis(500);
/// After the run ended: how long its log may stay quiet before the rest is read in one go.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How long the server may be away before giving up on it; the run goes on.
const AWAY_MAX: Duration = Duration::from_mins(5);
/// "From the start", for the log.
const ALL_LINES: u32 = 1_000_000;

/// Runs a command, or follows one that runs.
pub(crate) async fn run(ctx: &mut Context<'_>, arguments: Run) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let base = ctx.workspace_path(&slug, "/runs").await?;
    let started: runs::Run = match &arguments.job {
        Some(job) => get(ctx, &format!("{base}/{}", segment(job))).await?,
        None => {
            ctx.client()?.post(&base, &CreateRun { argv: arguments.argv }).await.map_err(|error| ctx.refusal(error))?
        }
    };
    if arguments.no_wait {
        ctx.printer.answer(&started, || started.id.to_string());
        return Ok(ExitCode::Ok);
    }
    let mut follower = Follower { ctx, path: format!("{base}/{}", started.id), printed: 0, run: started };
    let interrupted = async {
        // Without a handler Ctrl-C ends the program all the same.
        match tokio::signal::ctrl_c().await {
            Ok(()) => {}
            Err(_) => std::future::pending().await,
        }
    };
    let id = follower.run.id;
    tokio::select! {
        ended = follower.follow() => ended?,
        () = interrupted => {
            ctx.printer.note(&format!("the run goes on: `envforge run -w {slug} --job {id}` follows it"));
            return Ok(ExitCode::Command(130));
        }
    }
    let run = follower.run;
    if ctx.printer.is_json() {
        ctx.printer.value(&json!({ "type": "run", "run": run }));
    }
    if let (RunState::Ended, Some(code)) = (run.state, run.exit_code) {
        return Ok(ExitCode::Command(u8::try_from(code).unwrap_or(255)));
    }
    let cause = run.cause.as_deref().unwrap_or("its end was not seen");
    ctx.printer.note(&format!("error: the command could not be run: {}", crate::printer::printable(cause)));
    Ok(ExitCode::Failed)
}

async fn get(ctx: &Context<'_>, path: &str) -> Result<runs::Run, Refusal> {
    ctx.client()?.get(path).await.map_err(|error| ctx.refusal(error))
}

struct Follower<'a> {
    ctx: &'a Context<'a>,
    path: String,
    run: runs::Run,
    /// Lines printed so far.
    printed: u64,
}

impl Follower<'_> {
    fn is_over(&self) -> bool {
        matches!(self.run.state, RunState::Ended | RunState::Failed)
    }

    /// Prints the log until the run has ended and every line is out.
    async fn follow(&mut self) -> Result<(), Refusal> {
        let ctx = self.ctx;
        ctx.printer.slow("waiting for the runtime", self.started()).await?;
        let mut backoff = Backoff::default();
        let mut away_since: Option<Instant> = None;
        loop {
            let was_over = self.is_over();
            let before = self.printed;
            let answer = self.read(!was_over).await;
            let is_fine = answer.is_ok() || self.printed > before;
            if is_fine {
                backoff.reset();
                away_since = None;
            }
            match answer {
                Ok(()) if was_over => return Ok(()),
                Ok(()) => {}
                // A run that never began has no log.
                Err(refusal) if was_over && refusal.kind == RefusalKind::NotFound => return Ok(()),
                Err(refusal) if matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::NotFound) => {
                    if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        return Err(refusal);
                    }
                }
                Err(refusal) => return Err(refusal),
            }
            if !self.is_over() {
                tokio::time::sleep(backoff.pause()).await;
                match get(ctx, &self.path).await {
                    Ok(run) => self.run = run,
                    Err(refusal) if refusal.kind == RefusalKind::Unavailable => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        }
    }

    /// Waits until there is something to read.
    async fn started(&mut self) -> Result<(), Refusal> {
        let mut backoff = Backoff::default();
        while self.run.state == RunState::Pending {
            tokio::time::sleep(backoff.pause().min(POLL)).await;
            match get(self.ctx, &self.path).await {
                Ok(run) => self.run = run,
                Err(refusal) if refusal.kind == RefusalKind::Unavailable => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    /// Reads the log once, from its start, printing what is new.
    async fn read(&mut self, follow: bool) -> Result<(), Refusal> {
        let ctx = self.ctx;
        let path = format!("{}/logs?tail={ALL_LINES}&follow={follow}", self.path);
        let mut response = ctx.client()?.stream(&path).await.map_err(|error| ctx.refusal(error))?;
        let mut splitter = Splitter::default();
        let mut seen = 0;
        let mut over_since: Option<Instant> = None;
        loop {
            let chunk = match tokio::time::timeout(POLL, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    let cause = CallError::from(error);
                    return Err(Refusal::unavailable(
                        "server.unreachable",
                        format!("the connection to {} was lost: {cause}", ctx.server),
                    ));
                }
                Err(_quiet) if !follow => continue,
                Err(_quiet) => {
                    if over_since.is_some_and(|since| since.elapsed() > LAST_LINES) {
                        return Ok(());
                    }
                    if over_since.is_none() {
                        self.run = get(ctx, &self.path).await?;
                        over_since = self.is_over().then(Instant::now);
                    }
                    continue;
                }
            };
            for line in splitter.push(&chunk) {
                seen += 1;
                self.print(seen, &line, true);
            }
        }
        if let Some(line) = splitter.finish() {
            self.print(seen + 1, &line, false);
        }
        Ok(())
    }

    fn print(&mut self, number: u64, line: &[u8], ended: bool) {
        if number <= self.printed {
            return;
        }
        self.printed = number;
        let parts = lines::parse(line);
        if self.ctx.printer.is_json() {
            let text = String::from_utf8_lossy(parts.text);
            self.ctx
                .printer
                .value(&json!({ "type": "line", "at": parts.at, "stream": parts.stream.as_str(), "text": text }));
            return;
        }
        let mut bytes = parts.text.to_vec();
        if ended {
            bytes.push(b'\n');
        }
        match parts.stream {
            Stream::Stdout => self.ctx.printer.raw_out(&bytes),
            Stream::Stderr => self.ctx.printer.raw_err(&bytes),
        }
    }
}

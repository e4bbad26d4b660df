//! `envforge run -- command`: a test or job in the runtime, as if it ran here.
//!
//! Its stdout is this program's stdout, its stderr the stderr, its exit code the exit code. The run itself lives
//! on the host: losing the connection, Ctrl-C, or a reader that has enough (`| head`) does not end it. After connecting
//! again the log is read from its start and the lines already printed are skipped ([`Resume`]), so none is lost and none
//! comes twice. The end of the log is not trusted to be the end of the run: only the run's own state is, and it is asked
//! for whenever the log is quiet. Once the run is over nothing is awaited any more: what is left of its log is read in
//! one go.

use crate::args::Run;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::follow::Backoff;
use crate::lines::{self, Splitter, Stream};
use crate::readiness::{self, STUCK_AFTER};
use crate::resume::Resume;
use envforge_api::client::CallError;
use envforge_api::http::runs::{self, CreateRun, RunState};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How long the log may be quiet before the run's state is asked for: at first, and once it was quiet for some times. A
/// short command's end is seen at once, and a long one that says something now and then costs two calls a second.
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_millis(500);
/// How often it is looked whether anybody reads what is printed.
const READER_POLL: Duration = Duration::from_millis(250);
/// How long the server may be away before giving up on it; the run goes on.
const AWAY_MAX: Duration = Duration::from_mins(5);
/// "From the start", for the log.
const ALL_LINES: u32 = 1_000_000;

/// Runs a command, or follows one that runs.
pub(crate) async fn run(ctx: &mut Context<'_>, arguments: Run) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let base = ctx.workspace_path(&slug, "/runs").await?;
    let started: runs::Run = match &arguments.job {
        Some(job) => ctx.get(&format!("{base}/{}", segment(job))).await?,
        None => ctx.post(&base, &CreateRun { argv: arguments.argv, service: arguments.service }).await?,
    };
    if arguments.no_wait {
        ctx.printer.answer(&started, || started.id.to_string());
        return Ok(ExitCode::Ok);
    }
    let mut follower = Follower {
        ctx,
        slug: slug.clone(),
        path: format!("{base}/{}", started.id),
        run: started,
        resume: Resume::default(),
        away_since: None,
    };
    let interrupted = async {
        // Without a handler Ctrl-C ends the program all the same.
        match tokio::signal::ctrl_c().await {
            Ok(()) => {}
            Err(_) => std::future::pending().await,
        }
    };
    let unread = async {
        while !ctx.printer.reader_gone() {
            tokio::time::sleep(READER_POLL).await;
        }
    };
    let id = follower.run.id;
    let left = tokio::select! {
        ended = follower.follow() => ended.map(|()| None)?,
        () = interrupted => Some(130),
        () = unread => Some(141),
    };
    if let Some(code) = left {
        ctx.printer.note(&format!("the run goes on: `envforge run -w {slug} --job {id}` follows it"));
        return Ok(ExitCode::Command(code));
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
    slug: Slug,
    path: String,
    run: runs::Run,
    /// What was printed so far.
    resume: Resume,
    away_since: Option<Instant>,
}

impl Follower<'_> {
    fn is_over(&self) -> bool {
        matches!(self.run.state, RunState::Ended | RunState::Failed)
    }

    /// Prints the log until the run has ended and every line is out.
    async fn follow(&mut self) -> Result<(), Refusal> {
        let (ctx, slug) = (self.ctx, self.slug.clone());
        let what = "waiting for the runtime";
        let stuck = readiness::pointless(ctx, &slug, what, Some(STUCK_AFTER));
        ctx.printer.slow(what, until(self.started(), stuck)).await?;
        let lost = readiness::pointless(ctx, &slug, "following the run", None);
        until(self.printed(), lost).await
    }

    /// Waits until there is something to read.
    async fn started(&mut self) -> Result<(), Refusal> {
        let mut backoff = Backoff::default();
        while self.run.state == RunState::Pending {
            tokio::time::sleep(backoff.pause().min(POLL_MAX)).await;
            self.refresh().await?;
        }
        Ok(())
    }

    async fn printed(&mut self) -> Result<(), Refusal> {
        let mut backoff = Backoff::default();
        loop {
            let was_over = self.is_over();
            let before = self.resume.count();
            let answer = self.read(!was_over).await;
            if answer.is_ok() || self.resume.count() > before {
                backoff.reset();
                self.away_since = None;
            }
            match answer {
                Ok(()) if was_over => return Ok(()),
                Ok(()) => {}
                // A run that never began has no log.
                Err(refusal) if was_over && refusal.kind == RefusalKind::NotFound => return Ok(()),
                Err(refusal) if matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::NotFound) => {
                    self.bear(refusal)?;
                }
                Err(refusal) => return Err(refusal),
            }
            if !self.is_over() {
                tokio::time::sleep(backoff.pause()).await;
                self.refresh().await?;
            }
        }
    }

    /// Asks how the run is.
    async fn refresh(&mut self) -> Result<(), Refusal> {
        match get(self.ctx, &self.path).await {
            Ok(run) => self.run = run,
            Err(refusal) if refusal.kind == RefusalKind::Unavailable => self.bear(refusal)?,
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }

    /// Bears with what may pass, for a while.
    fn bear(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        let away_since = *self.away_since.get_or_insert_with(Instant::now);
        if away_since.elapsed() > AWAY_MAX { Err(refusal) } else { Ok(()) }
    }

    /// Reads the log once, from its start, printing what is new. One that is followed is read until the run is over; what
    /// it may not have given by then is read once more.
    async fn read(&mut self, follow: bool) -> Result<(), Refusal> {
        let ctx = self.ctx;
        let path = format!("{}/logs?tail={ALL_LINES}&follow={follow}", self.path);
        let mut response = ctx.client()?.stream(&path).await.map_err(|error| ctx.refusal(error))?;
        let mut splitter = Splitter::default();
        self.resume.again();
        let mut poll = POLL_MIN;
        loop {
            let next = response.chunk();
            let chunk = if follow { tokio::time::timeout(poll, next).await } else { Ok(next.await) };
            match chunk {
                Ok(Ok(Some(chunk))) => {
                    for line in splitter.push(&chunk) {
                        if let Some(new) = self.resume.next(line) {
                            self.print(&new, true);
                        }
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    let cause = CallError::from(error);
                    return Err(Refusal::unavailable(
                        "server.unreachable",
                        format!("the connection to {} was lost: {cause}", ctx.server),
                    ));
                }
                // What is repeated comes at once.
                Err(_quiet) => {
                    self.print_rest();
                    poll = (poll * 2).min(POLL_MAX);
                    self.run = get(ctx, &self.path).await?;
                    if self.is_over() {
                        return Ok(());
                    }
                }
            }
        }
        self.print_rest();
        // A line without an end is the last one only when nothing is to follow.
        let last = splitter.finish().filter(|_| !follow);
        if let Some(new) = last.and_then(|line| self.resume.next(line)) {
            self.print(&new, false);
        }
        Ok(())
    }

    /// No more of the past will come.
    fn print_rest(&mut self) {
        for line in self.resume.rest() {
            self.print(&line, true);
        }
    }

    fn print(&self, line: &[u8], ended: bool) {
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

/// Waits for `future`, unless that has become pointless.
async fn until<T>(
    future: impl Future<Output = Result<T, Refusal>>,
    pointless: impl Future<Output = Refusal>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        done = future => done,
        refusal = pointless => Err(refusal),
    }
}

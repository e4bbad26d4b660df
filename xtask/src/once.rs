//! The product's loop, once, without a person: what `./dev up --once` is.
//!
//! ```text
//!   box up → envforge up → shell answers → services ready → link opened → row written → row in the branch's
//!   Postgres → WebSocket echoed → slept → woken by the link → slept deep → receipt
//! ```
//!
//! Each step is *seen*, never assumed: the next begins when the one before was observed from outside. It exits 0
//! only if all were; the step that fails says its cause and where to look.

use crate::installation::{Installation, Which};
use crate::sample;
use anyhow::{Context as _, ensure};
use clap::Args;
use envforge_api::ambient::SystemClock;
use envforge_api::http::links::CreatedLink;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_core::usage::Receipt;
use envforge_testkit::{Browser, Shell};
use serde::Deserialize;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// `up` waits for services; checks follow them.
const READY: Duration = Duration::from_secs(30);

/// `xtask once`.
#[derive(Debug, Args)]
pub(crate) struct Once {
    #[command(flatten)]
    which: Which,
    /// The sample application; this repository's scheduler when absent
    #[arg(long, value_name = "DIR")]
    sample: Option<PathBuf>,
    /// Leave the workspace, and a box started here, as they are at the end
    #[arg(long)]
    keep: bool,
}

/// What `envforge up --no-attach --json` answers.
#[derive(Debug, Deserialize)]
struct Opened {
    workspace: Workspace,
    link: Option<CreatedLink>,
}

/// What `envforge sleep --json` answers, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Slept {
    workspace: Workspace,
    billing_stopped: bool,
    shell_available: bool,
    receipt: Option<Receipt>,
}

/// Runs the loop.
pub(crate) async fn run(once: &Once) -> anyhow::Result<()> {
    let mut steps = Steps::begin();
    let installation = steps.step("box up", async { Installation::ensure(&once.which).await }).await?;
    let sample = once.sample.clone().unwrap_or_else(|| crate::tidy::repository().join("examples/scheduler"));
    let branch = format!("once-{}", SystemClock.now().as_second());
    let outcome = walk(&installation, &sample, &branch, &mut steps).await;
    let outcome = outcome.with_context(|| {
        let words = installation.last_words();
        format!("see `envforge status -w {branch}`; {} ends with:\n{words}\n", installation.log().display())
    });
    if once.keep {
        installation.leave();
    } else {
        let folder = installation.data_dir.clone();
        let deleted = installation.envforge(&folder, &["workspace", "delete", &branch, "--yes"]).await;
        if let (Ok(output), Ok(())) = (&deleted, &outcome) {
            ensure!(
                output.status.success(),
                "deleting the workspace: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        installation.stop()?;
    }
    outcome?;
    steps.end()
}

async fn walk(installation: &Installation, sample: &Path, branch: &str, steps: &mut Steps) -> anyhow::Result<()> {
    let folder = installation.data_dir.join("once");
    fs_err::create_dir_all(&folder)?;
    let repository = steps.step("sample repository", sample::repository(sample, &folder, branch)).await?;
    let opening = async { installation.envforge_json::<Opened>(&repository, &["up", "--yes", "--no-attach"]).await };
    let Opened { workspace, link } = steps.step("envforge up", opening).await?;
    let (org, slug) = (workspace.org_slug.to_string(), workspace.slug.to_string());
    let (url, key) = (&installation.url, installation.key.expose());
    steps.step("shell answers", async { Shell::attach(url, key, &org, &slug).await?.answers().await }).await?;
    steps.step("services ready", all_ready(installation, &org, &slug)).await?;

    let link = link.context("`envforge up` made no link")?;
    writeln!(std::io::stdout(), "    {}", link.url)?;
    let mut browser = Browser::at(&link.url)?;
    let verify_first = async {
        let status = browser.status("/").await?;
        ensure!(status.is_client_error(), "a visitor without a session got {status}");
        browser.open(&link.url).await?;
        is_page(&browser.get("/").await?)
    };
    steps.step("link opened", verify_first).await?;

    let person = format!("Once {branch}");
    let writing = async { browser.post("/api/people", &json!({ "name": person, "color": "teal" })).await };
    let written = steps.step("row written", writing).await?;
    ensure!(written.contains(&person), "the row came back as {written}");
    steps.step("row in Postgres", async { is_in_database(installation, &repository, &slug, &person).await }).await?;
    let mut socket = steps.step("WebSocket open", browser.websocket("/api/live")).await?;
    let echoing = Browser::echo(&mut socket, "hello", r#""echo","text":"hello""#);
    steps.step("WebSocket echoed", echoing).await?;

    let freezing = async {
        let slept: Slept = installation.envforge_json(&repository, &["sleep", &slug]).await?;
        ensure!(slept.billing_stopped, "billing did not stop: {:?}", slept.workspace.runtime);
        ensure!(slept.shell_available, "the shell is gone: {:?}", slept.workspace.shell);
        Ok(slept)
    };
    let slept = steps.step("slept", freezing).await?;
    ensure!(slept.workspace.runtime.state == RuntimeState::Frozen, "not frozen: {:?}", slept.workspace.runtime);
    steps.step("woken by the link", async { is_page(&browser.get("/").await?) }).await?;
    let kept = async { Browser::echo(&mut socket, "again", r#""echo","text":"again""#).await };
    steps.step("same WebSocket", kept).await?;
    let rows = async {
        let people = browser.get("/api/people").await?;
        ensure!(people.contains(&person), "the row is gone: {people}");
        Ok(())
    };
    steps.step("row still there", rows).await?;
    let deep = async {
        let slept: Slept = installation.envforge_json(&repository, &["sleep", &slug, "--stop"]).await?;
        ensure!(slept.workspace.runtime.state == RuntimeState::Asleep, "not stopped: {:?}", slept.workspace.runtime);
        slept.receipt.context("no receipt")
    };
    let receipt = steps.step("slept deep", deep).await?;
    steps.step("receipt", async { is_right(installation, &org, &slug, &receipt).await }).await
}

/// Waits until services, resources and checks are all ready; a blocked one ends the wait with its cause.
async fn all_ready(installation: &Installation, org: &str, slug: &str) -> anyhow::Result<()> {
    let client = installation.client()?;
    let end = Instant::now() + READY;
    loop {
        let path = format!("/v1/orgs/{org}/workspaces/{slug}");
        let workspace: Workspace = client.get(&path).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(!workspace.parts.is_empty(), "the workspace has no parts");
        let Some(part) = workspace.parts.iter().find(|part| part.state != ReadinessState::Ready) else { return Ok(()) };
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "none known".to_owned());
        let state =
            || format!("{} is {:?}; cause: {}; fix: {}", part.name, part.state, told(&part.cause), told(&part.fix));
        ensure!(part.state != ReadinessState::Blocked && Instant::now() < end, "{}", state());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_page(text: &str) -> anyhow::Result<()> {
    ensure!(
        text.contains("<div id=\"root\">"),
        "not the sample's page: {}",
        text.chars().take(300).collect::<String>()
    );
    Ok(())
}

/// Asks the branch's database itself, by a program in the runtime that has only what services have.
async fn is_in_database(
    installation: &Installation,
    repository: &Path,
    slug: &str,
    person: &str,
) -> anyhow::Result<()> {
    const COUNT: &str = "import('pg').then(async ({ default: pg }) => { \
        const client = new pg.Client(process.env.DATABASE_URL); await client.connect(); \
        const { rows } = await client.query('SELECT count(*)::int AS n FROM people WHERE name = $1', [process.argv[1]]); \
        await client.end(); console.log(`rows: ${rows[0].n}`); }).catch((e) => { console.error(e.message); process.exit(1); })";
    let output = installation.envforge(repository, &["run", "-w", slug, "--", "node", "-e", COUNT, person]).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("rows: 1"), "{}: {said}{errors}", output.status);
    Ok(())
}

async fn is_right(installation: &Installation, org: &str, slug: &str, receipt: &Receipt) -> anyhow::Result<()> {
    let path = format!("/v1/orgs/{org}/workspaces/{slug}/usage");
    let usage: WorkspaceUsage = installation.client()?.get(&path).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(usage.awake_since.is_none(), "a window is still open: {usage:?}");
    ensure!(receipt.is_final, "the receipt is not final: {receipt:?}");
    ensure!(receipt.windows.len() >= 2, "one freeze inside the session makes two windows: {receipt:?}");
    ensure!(receipt.unproven_seconds == 0, "seconds are unproven on a healthy host: {receipt:?}");
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "    session {}: {} s awake in {} windows",
        receipt.session,
        receipt.awake_seconds,
        receipt.windows.len()
    )?;
    for window in &receipt.windows {
        let end = window.end_cause.as_deref().unwrap_or("still open");
        writeln!(out, "      {} {}, woken by {}, ended: {end}", window.opened_at, window.size, window.wake_cause)?;
    }
    Ok(())
}

/// Steps with their times, on stdout.
#[derive(Debug)]
struct Steps {
    begun: Instant,
}

impl Steps {
    fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    async fn step<T>(&mut self, name: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let outcome = work.await;
        let mark = if outcome.is_ok() { "✓" } else { "✗" };
        writeln!(std::io::stdout(), "  {mark} {name:<18} {:>8.3} s", begun.elapsed().as_secs_f64())?;
        outcome.with_context(|| format!("{name} was not seen"))
    }

    fn end(&self) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "the whole loop in {:.1} s", self.begun.elapsed().as_secs_f64())?;
        Ok(())
    }
}

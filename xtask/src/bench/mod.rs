//! The numbers to beat, measured on a running box next to the named peer in the same run where it runs locally.
//!
//! Every measurement goes through the product's public surface, as a person or a visitor would: the CLI in a terminal, the
//! API, a browser session at the gateway. A miss is printed as a miss. Run it on a release build, on a quiet machine.
//!
//! What is not measured here says so by being absent: `machine` and `capacity` need sources of load of their own.

mod api;
mod authorize;
mod crowds;
mod ledger;
mod load;
mod markdown;
mod peers;
mod pty;
mod report;
mod runtimes;
mod shells;
mod traffic;
pub(crate) mod world;

use crate::installation::Which;
use crate::say;
use anyhow::{Context as _, ensure};
use clap::Args;
use report::Record;
use std::io::Write as _;
use world::World;

/// What can be measured, in the order of the report.
const NAMES: [&str; 18] = [
    "daemon",
    "create",
    "attach",
    "echo",
    "api",
    "authorize",
    "gateway",
    "gateway_latency",
    "links",
    "websocket",
    "idle",
    "flood",
    "storm",
    "thaw",
    "wake",
    "receipt",
    "ledger_append",
    "ledger_verify",
];
/// Of them, those that need no box.
const WITHOUT_BOX: [&str; 2] = ["ledger_append", "ledger_verify"];

/// `xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure; everything when absent
    #[arg(value_name = "NAME", value_parser = NAMES)]
    names: Vec<String>,
    /// Answer with JSON on stdout
    #[arg(long)]
    json: bool,
    /// Write what was measured to `docs/reference/benchmarks.md`, with the machine and the versions of the peers
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    which: Which,
}

/// Measures.
pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        say("this is a debug build: its numbers mean nothing; `./dev bench` measures a release build");
    }
    let wants = |name: &str| bench.names.is_empty() || bench.names.iter().any(|wanted| wanted == name);
    let needs_box = NAMES.into_iter().any(|name| wants(name) && !WITHOUT_BOX.contains(&name));
    let mut world =
        if needs_box { Some(World::begin(&bench.which).await.context("the box to measure")?) } else { None };
    let mut records = Vec::new();
    let mut failed = Vec::new();
    for name in NAMES.into_iter().filter(|name| wants(name)) {
        say(&format!("measuring {name}"));
        match measure(world.as_mut(), name).await {
            Ok(measured) => records.extend(measured),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    if let Some(world) = world {
        world.end().await?;
    }
    let mut out = std::io::stdout().lock();
    if bench.json {
        serde_json::to_writer_pretty(&mut out, &records)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report::table(&records))?;
    }
    if bench.markdown {
        let page = markdown::page(&records, &bench.names, &markdown::Machine::here()?);
        fs_err::write(crate::tidy::repository().join(markdown::PATH), page)?;
    }
    ensure!(failed.is_empty(), "not measured:\n{}", failed.join("\n"));
    Ok(())
}

async fn measure(world: Option<&mut World>, name: &str) -> anyhow::Result<Vec<Record>> {
    match name {
        "ledger_append" => return ledger::append().await,
        "ledger_verify" => return ledger::verify(),
        _ => {}
    }
    let world = world.context("a box")?;
    match name {
        "daemon" => runtimes::daemon(world),
        "create" => shells::create(world).await,
        "attach" => shells::attach(world).await,
        "echo" => shells::echo(world).await,
        "api" => api::api(world).await,
        "authorize" => authorize::authorize(world).await,
        "gateway" => traffic::gateway(world).await,
        "gateway_latency" => traffic::latency(world).await,
        "links" => traffic::links(world).await,
        "websocket" => traffic::websocket(world).await,
        "idle" => crowds::idle(world).await,
        "flood" => crowds::flood(world).await,
        "storm" => crowds::storm(world).await,
        "thaw" => runtimes::thaw(world).await,
        "wake" => runtimes::wake(world).await,
        _ => runtimes::receipt(world).await,
    }
}

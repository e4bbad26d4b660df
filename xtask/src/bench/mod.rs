//! The numbers to beat, measured on a running box next to the named peer in the same run where it runs locally.
//!
//! Every measurement goes through the product's public surface, as a person or a visitor would: the CLI in a terminal, the
//! API, a browser session at the gateway. A miss is printed as a miss. Run it on a release build, on a quiet machine.
//!
//! What is not measured here says so by being absent: `machine` and `capacity` need sources of load of their own.

mod api;
mod authorize;
mod crowds;
mod forks;
mod ledger;
mod load;
mod many;
mod markdown;
mod peers;
mod pty;
mod report;
mod runtimes;
mod sandboxes;
mod shells;
mod traffic;
mod usage;
mod workspaces;
pub(crate) mod world;

use crate::installation::Which;
use crate::say;
use anyhow::{Context as _, ensure};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use report::{Record, Target};
use std::io::Write as _;
use world::World;

/// What can be measured, and what each means, in the order of the report.
const NAMES: [(&str, &str); 27] = [
    ("daemon", "memory of the host daemon at rest; `daemon_all`: with server, gateway and supervisor"),
    (
        "sandbox",
        "a sandbox made, with its network and limits, and a first program run in it; `sandbox_docker`: beside Docker",
    ),
    ("service", "what a program's start in a running sandbox takes longer than fork and exec, to its end"),
    (
        "sleep",
        "from the thaw of a service until it answers on a connection it had; `sleep_zram`: the same once its memory was \
         given back to compressed swap; `sleep_freed`: how much of what was charged that is",
    ),
    ("log_capture", "what one service may write into its log"),
    ("create", "from the order to create a workspace to a shell in it"),
    ("attach", "from the start of `envforge attach` to the first prompt"),
    ("echo", "a key typed in a terminal until it is seen"),
    ("api", "mixed API calls at a fixed 500 a second, each timed from when it was due"),
    ("authorize", "what the check of rights adds to a request in an org of 10,000 members"),
    ("thaw", "what waking a frozen workspace adds to a request"),
    ("wake", "what waking a stopped workspace adds to what its services take to start"),
    ("receipt", "from the order to sleep to the final receipt"),
    // What leaves a box with thousands of connections to clear away comes after what is measured in milliseconds.
    (
        "gateway",
        "64 connections as fast as they are answered, a session checked on each request; the peers check none; `…_p99`: the \
         latency of each run's slowest in a hundred",
    ),
    ("gateway_latency", "what a request takes longer than through nginx, one client that waits for each answer"),
    (
        "links",
        "the same load while the sessions of 10,000 links to one dev host take turns, beside one session by the same script",
    ),
    ("routes", "the same load while 10,000 dev hosts take turns, beside one dev host by the same script"),
    ("websocket", "a message through a WebSocket to a service that echoes, there and back"),
    ("idle", "memory of a gateway that was just started, for each of 9,000 idle WebSockets, and of 50,000"),
    (
        "flood",
        "a visitor's request at an even rate while strangers without a session ask 20,000 times a second and each is looked \
         at, beside the same without them; `flood_strangers`: how often they did ask; `flood_paced`: the same on a box that \
         has a stranger rate and turns most of them away",
    ),
    (
        "storm",
        "1,000 requests meet a stopped workspace at once: the time of those that get the page; `storm_last`: the time of the \
         last; `storm_refused`: those that don't get it; `storm_wakes`: how often the workspace woke",
    ),
    (
        "fork",
        "a workspace of 500 MB in 25,000 files with a database of 100 MB, asleep, until its copy has a shell, on XFS, which \
         shares blocks; `fork_copied`: on ext4, which copies them",
    ),
    ("awake", "memory of a host daemon with 50 workspaces awake"),
    (
        "sleeping",
        "memory of a host daemon with 1,000 workspaces asleep; `sleeping_cpu`: its processor time; `sleeping_processes`: \
         those of each workspace; `sleeping_restart`: from the end of the daemon until a shell answers through the next one; \
         `sleeping_attach`: until a shell at rest answers",
    ),
    ("ledger_append", "events committed and sealed a second; `ledger_lag`: from an event's commit until it is sealed"),
    ("ledger_verify", "events of an export verified a second"),
    ("usage", "what an org of 1,000 workspaces used in a month, each awake three times a day for a year"),
];
/// Of them, those that need no box, or make one of their own.
const WITHOUT_BOX: [&str; 10] = [
    "sandbox",
    "service",
    "sleep",
    "log_capture",
    "fork",
    "awake",
    "sleeping",
    "ledger_append",
    "ledger_verify",
    "usage",
];

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(NAMES.map(|(name, what)| PossibleValue::new(name).help(what)))
}

/// `xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure; everything when absent
    #[arg(value_name = "NAME", value_parser = names())]
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
    let needs_box = NAMES.into_iter().any(|(name, _)| wants(name) && !WITHOUT_BOX.contains(&name));
    let mut world =
        if needs_box { Some(World::begin(&bench.which).await.context("the box to measure")?) } else { None };
    let mut records = Vec::new();
    let mut failed = Vec::new();
    for (name, _) in NAMES.into_iter().filter(|(name, _)| wants(name)) {
        say(&format!("measuring {name}"));
        match measure(&bench.which, world.as_mut(), name).await {
            Ok(measured) => records.extend(measured),
            Err(error) => {
                let why = format!("{error:#}");
                records.push(Record::not_run(name, "-", Target { p50: None, p99: None, text: "-" }, &why));
                failed.push(format!("{name}: {why}"));
            }
        }
    }
    let ended = match world {
        Some(world) => world.end().await,
        None => Ok(()),
    };
    let mut out = std::io::stdout().lock();
    if bench.json {
        serde_json::to_writer_pretty(&mut out, &records)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report::table(&records))?;
    }
    if bench.markdown {
        let meanings: Vec<_> = NAMES.into_iter().filter(|(name, _)| wants(name)).collect();
        let page = markdown::page(&records, &bench.names, &meanings, &markdown::Machine::here()?);
        fs_err::write(crate::tidy::repository().join(markdown::PATH), page)?;
    }
    ended?;
    ensure!(failed.is_empty(), "not measured:\n{}", failed.join("\n"));
    Ok(())
}

async fn measure(which: &Which, world: Option<&mut World>, name: &str) -> anyhow::Result<Vec<Record>> {
    match name {
        "sandbox" => return sandboxes::sandbox(&which.program("envforged")?).await,
        "service" => return sandboxes::service(&which.program("envforged")?).await,
        "sleep" => return sandboxes::sleep(&which.program("envforged")?).await,
        "log_capture" => return sandboxes::log_capture(&which.program("envforged")?).await,
        "fork" => return forks::fork(which).await,
        "awake" => return workspaces::awake(which).await,
        "sleeping" => return workspaces::sleeping(which).await,
        "ledger_append" => return ledger::append().await,
        "ledger_verify" => return ledger::verify(),
        "usage" => return usage::usage().await,
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
        "links" => many::links(world).await,
        "routes" => many::routes(world).await,
        "websocket" => traffic::websocket(world).await,
        "idle" => crowds::idle(world).await,
        "flood" => crowds::flood(world).await,
        "storm" => crowds::storm(world).await,
        "thaw" => runtimes::thaw(world).await,
        "wake" => runtimes::wake(world).await,
        _ => runtimes::receipt(world).await,
    }
}

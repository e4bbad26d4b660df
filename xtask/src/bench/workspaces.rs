//! What many workspaces cost a host: fifty that are awake, a thousand that sleep.
//!
//! On a box of their own, that is thrown away: the machine is made to look as large as fifty runtimes need, because what is
//! measured is the daemon and not the services. Its own memory and time are read from the kernel.

use super::report::{Better, Record, Target};
use super::world::{PATIENCE, World, resident, told};
use crate::installation::Which;
use anyhow::{Context as _, ensure};
use envforge_api::http::workspaces::{Wake, Workspace};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{RuntimeState, SleepTier};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AWAKE: usize = 50;
const SLEEPING: usize = 1_000;
/// Made, or woken, at once.
const AT_ONCE: usize = 4;
/// After it the daemon is at rest: what a start took for a moment is given back.
const REST: Duration = Duration::from_secs(10);
const RESTARTS: usize = 5;
/// Shells at rest that somebody comes to.
const COMES: usize = 40;
/// By then every shell that nobody used is at rest.
const SHELLS_REST: Duration = Duration::from_mins(4);
/// Room for the reserved memory of everything awake.
const LARGE: &str = "UPDATE hosts SET memory = 1::bigint << 50;";

/// Memory of the daemon with fifty awake workspaces.
pub(super) async fn awake(which: &Which) -> anyhow::Result<Vec<Record>> {
    let world = World::begin(&alone(which)).await?;
    world.installation.psql(&[], LARGE).await?;
    let world_there = &world;
    let more = (1..AWAKE).map(|number| async move {
        let workspace = made(world_there, number).await?;
        told::<Workspace>(world_there.client.post(&path(&workspace, "/wake"), &Wake::default()).await)?;
        until(world_there, &workspace, |now| now.runtime.state == RuntimeState::Awake).await
    });
    stream::iter(more).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    sleep(REST).await;
    let memory = resident(world.role("host")?)?;
    world.end().await?;
    let target = Target { p50: Some(40.0), p99: None, text: "< 40" };
    Ok(vec![Record::of("awake", "MB", Better::Less, &[memory], target)])
}

/// Memory and time of the daemon with a thousand workspaces asleep, and how soon the next one knows them.
pub(super) async fn sleeping(which: &Which) -> anyhow::Result<Vec<Record>> {
    let world = World::begin(&alone(which)).await?;
    world.sleep(SleepTier::Stopped).await?;
    let more = (1..SLEEPING).map(|number| made(&world, number));
    let made: Vec<Workspace> = stream::iter(more).buffer_unordered(AT_ONCE).try_collect().await?;
    let end = Instant::now() + SHELLS_REST;
    while in_sandboxes(&world.installation.data_dir) > 0 && Instant::now() < end {
        sleep(REST / 10).await;
    }
    sleep(REST).await;
    let host = world.role("host")?;
    let memory = resident(host)?;
    let (begun, before) = (Instant::now(), cpu_seconds(host)?);
    sleep(REST).await;
    let busy = (cpu_seconds(host)? - before) * 100.0 / begun.elapsed().as_secs_f64();
    let processes = in_sandboxes(&world.installation.data_dir) as f64 / SLEEPING as f64;
    let mut restarts = Vec::new();
    for _ in 0..RESTARTS {
        restarts.push(restarted(&world).await?);
    }
    let mut comes = Vec::new();
    for workspace in made.iter().step_by(SLEEPING / COMES) {
        let begun = Instant::now();
        world.shell(workspace.slug.as_str()).await?.answers().await?;
        comes.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    world.end().await?;
    let none = Target { p50: None, p99: None, text: "-" };
    Ok(vec![
        Record::of("sleeping", "MB", Better::Less, &[memory], none),
        Record::of("sleeping_cpu", "% core", Better::Less, &[busy], none),
        Record::of("sleeping_processes", "each", Better::Less, &[processes], none),
        Record::of("sleeping_restart", "ms", Better::Less, &restarts, none),
        Record::of("sleeping_attach", "ms", Better::Less, &comes, none),
    ])
}

fn alone(which: &Which) -> Which {
    Which { data_dir: None, port: None, bin_dir: which.bin_dir.clone() }
}

/// A workspace on a branch of its own, with a shell.
async fn made(world: &World, number: usize) -> anyhow::Result<Workspace> {
    let workspace = world.create(&format!("many-{number}")).await?;
    until(world, &workspace, |now| now.shell.state == ReadinessState::Ready).await
}

fn path(workspace: &Workspace, rest: &str) -> String {
    format!("/v1/orgs/{}/workspaces/{}{rest}", workspace.org_slug, workspace.slug)
}

async fn until(world: &World, workspace: &Workspace, holds: impl Fn(&Workspace) -> bool) -> anyhow::Result<Workspace> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now: Workspace = told(world.client.get(&path(workspace, "")).await)?;
        if holds(&now) {
            return Ok(now);
        }
        ensure!(Instant::now() < end, "{} stays as it is: {:?}, {:?}", now.slug, now.shell, now.runtime);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Milliseconds from the end of a daemon until a shell of its successor answers.
async fn restarted(world: &World) -> anyhow::Result<f64> {
    let last = world.role("host")?;
    let begun = Instant::now();
    kill_process(Pid::from_raw(last).context("a process")?, Signal::TERM)?;
    let end = begun + PATIENCE;
    while world.role("host").is_ok_and(|pid| pid == last) {
        ensure!(Instant::now() < end, "no other host daemon came");
        sleep(Duration::from_millis(2)).await;
    }
    world.shell(world.workspace.slug.as_str()).await?.answers().await?;
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

/// Seconds of processor time a process has had.
fn cpu_seconds(pid: i32) -> anyhow::Result<f64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    // What follows the program's name; fields 14 and 15 of the line, in hundredths (`USER_HZ`).
    let (_, rest) = stat.rsplit_once(')').context("a line of /proc/…/stat")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("processor time");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Processes of the box that are none of its own programs: the sandboxes' inits, and what these started.
fn in_sandboxes(data_dir: &Path) -> usize {
    let all = envforge_testkit::processes_of(data_dir);
    all.iter().filter(|(_, words)| !words.contains("envforged") && !words.contains("postgres")).count()
}

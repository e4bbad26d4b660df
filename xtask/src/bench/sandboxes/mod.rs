//! What the host's own parts cost by themselves: a sandbox, a process in one, its sleep, its log.
//!
//! Measured over the parts the daemon is made of, with its own program as the sandboxes' init and without a server: what a
//! person waits for is made of these, and here a change of one of them is seen. Where the kernel of this machine can't do
//! what is measured, the row says so.

mod logs;
mod memory;
mod sleep;
mod starts;

pub(super) use logs::log_capture;
pub(super) use sleep::sleep;
pub(super) use starts::{sandbox, service};

use anyhow::{Context as _, bail, ensure};
use envforge_host::init::client::{Events, InitClient};
use envforge_host::init::protocol::{Event, Program, Spawn};
use envforge_host::sys::cgroup::{self, Backend, Cgroups, Group, GroupName, Layer, Limits};
use envforge_host::sys::netns;
use envforge_host::sys::sandbox::{Bind, Sandbox, SandboxSpec, Starter};
use envforge_testkit::Slot;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long any one step may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What a small runtime is given: 2 cores, 8 GiB, 4096 processes.
const LIMITS: Limits = Limits {
    cpu_max_milli: Some(2_000),
    cpu_weight: Some(100),
    memory_max_bytes: Some(8 << 30),
    pids_max: Some(4_096),
};

/// Where sandboxes of one workspace are made: files, users, names and cgroups that nobody else has.
struct Place {
    starter: Starter,
    dir: tempfile::TempDir,
    slot: Slot,
    cgroups: Cgroups,
}

impl Place {
    /// `program` is the init.
    fn new(program: &Path) -> anyhow::Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "sandboxes of full strength need root");
        let it = Self {
            starter: Starter::new(program),
            dir: envforge_testkit::temp_dir("bench"),
            slot: Slot::take(40),
            cgroups: cgroup::detect(),
        };
        for name in ["checkout", "home", "logs", "control"] {
            fs_err::create_dir(it.path(name))?;
            if name != "control" {
                std::os::unix::fs::chown(it.path(name), Some(it.uid()), Some(it.uid()))?;
            }
        }
        Ok(it)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// As a box on this slot would have it.
    fn uid(&self) -> u32 {
        400_000 + self.slot.number * 20_000
    }

    /// A sandbox like a runtime's: network, limits, log, and what it sees of the machine.
    async fn start(&self, number: usize) -> anyhow::Result<Running<'_>> {
        let netns = self.path(&format!("net{number}"));
        netns::create(&netns)?;
        let name = GroupName::new(&format!("bench{}", self.slot.number), &format!("w{number}"), Layer::Runtime)?;
        let group = self.cgroups.group(&name);
        group.create()?;
        group.apply(&LIMITS)?;
        let mut spec = SandboxSpec::new("bench", self.uid(), self.uid(), self.path(&format!("control/{number}")));
        spec.netns = Some(netns.clone());
        spec.cgroup_procs = group.join_files();
        spec.log_dir = Some(self.path("logs"));
        spec.binds =
            vec![Bind::writable(self.path("checkout"), "/workspace"), Bind::writable(self.path("home"), "/home/dev")];
        let sandbox = self.starter.start(&spec, LIMIT).await?;
        let group = if self.cgroups.are_by_init() { self.cgroups.group_of(&name, sandbox.pid()) } else { group };
        let client = sandbox.connect().await?;
        let events = Mutex::new(client.subscribe().await?);
        Ok(Running { place: self, sandbox, client, events, group, netns })
    }

    fn has_cgroups(&self) -> Result<(), String> {
        match self.cgroups.backend() {
            Backend::None { reason } => Err(reason),
            Backend::V1 { .. } | Backend::V2 => Ok(()),
        }
    }
}

/// A running sandbox, ended and removed with this.
struct Running<'a> {
    place: &'a Place,
    sandbox: Sandbox,
    client: InitClient,
    events: Mutex<Events>,
    group: Group,
    netns: PathBuf,
}

impl Running<'_> {
    /// Runs a process to its end, of which the init tells.
    async fn run(&self, spawn: Spawn) -> anyhow::Result<()> {
        let wanted = spawn.name.clone();
        let mut events = self.events.lock().await;
        self.client.spawn(spawn).await?;
        let end = async {
            while let Some(event) = events.next().await {
                match event {
                    Event::Exited { name, exit, .. } if name == wanted => {
                        ensure!(exit.code == Some(0), "{name} ended with {exit:?}");
                        return Ok(());
                    }
                    Event::Exited { .. } => {}
                }
            }
            bail!("the sandbox is gone")
        };
        tokio::time::timeout(LIMIT, end).await.context("it does not end")?
    }

    /// Everything in it, at once.
    fn end(&self) -> anyhow::Result<()> {
        self.group.kill(LIMIT)?;
        self.sandbox.kill()?;
        self.group.remove(LIMIT)?;
        netns::destroy(&self.netns)?;
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::say(&format!("a sandbox in {} is left: {error:#}", self.place.dir.path().display()));
        }
    }
}

/// A program and its arguments, under a name nobody has yet.
fn process(name: &str, argv: &[&str]) -> Spawn {
    Spawn::new(name, Program::Argv(argv.iter().map(|argument| (*argument).to_owned()).collect()))
}

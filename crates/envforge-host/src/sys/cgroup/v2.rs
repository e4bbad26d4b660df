//! cgroup v2: one tree, one directory a group. Also the tree beside v1 hierarchies, which has the freezer and the kill
//! switch but no limits.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fs::{self, read_io, read_key, read_number, wait_until};
use super::{Limits, Stats};

/// What limits need.
const CONTROLLERS: [(&str, &str); 3] = [("cpu", "CPU limits"), ("memory", "memory limits"), ("pids", "process limits")];

/// What else is asked for, and nobody misses: it counts what is read and written.
const COUNTING: &str = "io";

/// The mounted tree.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
    missing: Vec<String>,
}

impl Tree {
    /// Takes the tree and hands its controllers down to `envforge/`; says why if it can't be used.
    pub(super) fn open(root: &Path) -> Result<Self, String> {
        let base = root.join("envforge");
        std::fs::create_dir_all(&base).map_err(|error| format!("{} can't be made: {error}", base.display()))?;
        let mut missing = Vec::new();
        for (controller, limit) in CONTROLLERS {
            if let Err(error) = enable(root, controller) {
                missing.push(format!("no {limit}: cgroup controller {controller} can't be used ({error})"));
            }
        }
        let _ = enable(root, COUNTING);
        Ok(Self { root: root.to_owned(), missing })
    }

    pub(super) fn missing_limits(&self) -> Vec<String> {
        self.missing.clone()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn group(&self, path: &Path) -> Dir {
        Dir { root: Some(self.root.clone()), path: self.root.join(path) }
    }
}

fn enable(dir: &Path, controller: &str) -> io::Result<()> {
    fs::write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"))
}

/// One group's directory.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    /// The tree's root where limits are wanted; `None` where the tree only freezes and kills.
    root: Option<PathBuf>,
    path: PathBuf,
}

impl Dir {
    /// A group in a tree without controllers.
    pub(super) fn without_limits(path: PathBuf) -> Self {
        Self { root: None, path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create(&self.path)?;
        let Some(root) = &self.root else {
            return Ok(());
        };
        let Ok(below) = self.path.strip_prefix(root) else {
            return Ok(());
        };
        let mut dir = root.clone();
        for part in below.parent().into_iter().flat_map(Path::components) {
            dir.push(part);
            for controller in CONTROLLERS.map(|(controller, _)| controller).into_iter().chain([COUNTING]) {
                // One that is missing was said once, by `missing_limits`.
                let _ = enable(&dir, controller);
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, limits: &Limits) -> io::Result<()> {
        let or_max = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |v| v.to_string());
        let cpu_max = limits
            .cpu_max_milli
            .map_or_else(|| "max 100000".to_owned(), |milli| format!("{} 100000", u64::from(milli) * 100));
        self.set("cpu.max", &cpu_max)?;
        self.set("cpu.weight", &limits.cpu_weight.unwrap_or(100).clamp(1, 10_000).to_string())?;
        self.set("memory.max", &or_max(limits.memory_max_bytes))?;
        // What is frozen must fit there as a whole; without a limit, there would be none of memory on a machine with swap.
        self.set("memory.swap.max", &or_max(limits.memory_max_bytes))?;
        self.set("pids.max", &or_max(limits.pids_max))
    }

    /// A file that is not there belongs to a controller that is not.
    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.path.join(file);
        if path.exists() { fs::write(&path, value) } else { Ok(()) }
    }

    pub(super) fn freeze(&self, deadline: Duration) -> io::Result<()> {
        fs::write(&self.path.join("cgroup.freeze"), "1")?;
        let events = self.path.join("cgroup.events");
        wait_until("freeze", deadline, || Ok(read_key(&events, "frozen")? == 1))
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        fs::write(&self.path.join("cgroup.freeze"), "0")
    }

    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        Ok(read_key(&self.path.join("cgroup.events"), "frozen")? == 1)
    }

    /// Whether this kernel has the kill switch (5.14 and later).
    pub(super) fn has_kill(&self) -> bool {
        self.path.join("cgroup.kill").exists()
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(&self.path.join("cgroup.kill"), "1")
    }

    pub(super) fn is_populated(&self) -> io::Result<bool> {
        Ok(read_key(&self.path.join("cgroup.events"), "populated")? == 1)
    }

    pub(super) fn stats(&self) -> io::Result<Stats> {
        Ok(Stats {
            cpu_usage_us: read_key(&self.path.join("cpu.stat"), "usage_usec")?,
            memory_bytes: read_number(&self.path.join("memory.current"))?,
            oom_kills: read_key(&self.path.join("memory.events"), "oom_kill")?,
            limit_hits: read_key(&self.path.join("memory.events"), "oom")?,
            pids: read_number(&self.path.join("pids.current"))?,
            disk_bytes: read_io(&self.path.join("io.stat"))?,
        })
    }

    pub(super) fn reclaim(&self, bytes: u64) -> io::Result<()> {
        let file = self.path.join("memory.reclaim");
        if bytes == 0 {
            return Ok(());
        }
        match fs::write(&file, &bytes.to_string()) {
            // Less was found than asked for, as it must be: everything was asked for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

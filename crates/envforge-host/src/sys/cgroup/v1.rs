//! cgroup v1: a hierarchy a controller, and a directory in each for every group. Hierarchies that are mounted together
//! (`cpu,cpuacct`) are one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fs::{self, Mount, group_path, read_key, read_number, wait_until};
use super::{Limits, Stats, v2};

/// The hierarchies found, and where in each the daemon's groups begin.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
    /// The v2 tree beside them.
    pub(super) unified: Option<PathBuf>,
    mounts: Vec<Mount>,
}

impl Trees {
    /// `None` if no controller is on v1.
    pub(super) fn find(mounts: &[Mount]) -> Option<Self> {
        let base = |controller: &str| base_for(mounts, controller, "self");
        let unified = mounts.iter().find(|mount| mount.v2).map(|mount| mount.path.clone());
        let trees = Self {
            cpu: base("cpu"),
            cpuacct: base("cpuacct"),
            memory: base("memory"),
            pids: base("pids"),
            freezer: base("freezer"),
            unified: unified.filter(|path| can_freeze(path)),
            mounts: mounts.to_vec(),
        };
        mounts.iter().any(|mount| !mount.v2).then_some(trees)
    }

    /// Whether v1 holds any controller that limits; some machines keep only `name=systemd` there.
    pub(super) fn has_limits(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some() || self.pids.is_some()
    }

    pub(super) fn missing_limits(&self) -> Vec<String> {
        [
            (&self.cpu, "cpu", "CPU limits"),
            (&self.memory, "memory", "memory limits"),
            (&self.pids, "pids", "process limits"),
        ]
        .into_iter()
        .filter(|(base, ..)| base.as_ref().is_none_or(|path| !is_writable(path)))
        .map(|(_, controller, limit)| {
            format!("no {limit}: cgroup controller {controller} is not mounted or not writable")
        })
        .collect()
    }

    /// Where groups begin in each of them.
    pub(super) fn roots(&self) -> Vec<PathBuf> {
        let all = [&self.cpu, &self.cpuacct, &self.memory, &self.pids, &self.freezer, &self.unified];
        all.into_iter().flatten().cloned().collect()
    }

    pub(super) fn group(&self, path: &Path) -> GroupDirs {
        let below = |base: &Option<PathBuf>| base.as_ref().map(|base| base.join(path));
        GroupDirs {
            cpu: below(&self.cpu),
            cpuacct: below(&self.cpuacct),
            memory: below(&self.memory),
            pids: below(&self.pids),
            freezer: below(&self.freezer),
            unified: self.unified.as_ref().map(|root| v2::Dir::without_limits(root.join(path))),
        }
    }

    /// The directories a process of such a group is really in: a daemon started elsewhere has other bases now.
    pub(super) fn group_of(&self, path: &Path, pid: i32) -> Option<GroupDirs> {
        let pid = pid.to_string();
        let actual = |controller: &str| base_for(&self.mounts, controller, &pid).filter(|dir| dir.ends_with(path));
        let dirs = GroupDirs {
            cpu: actual("cpu"),
            cpuacct: actual("cpuacct"),
            memory: actual("memory"),
            pids: actual("pids"),
            freezer: actual("freezer"),
            unified: self.unified.as_ref().map(|root| v2::Dir::without_limits(root.join(path))),
        };
        // Not asked of its freezer: where there is a better one it is in none ([`GroupDirs::used`]).
        let is_in_one =
            [&dirs.cpu, &dirs.cpuacct, &dirs.memory, &dirs.pids, &dirs.freezer].into_iter().any(Option::is_some);
        is_in_one.then_some(dirs)
    }
}

/// The directory, in the hierarchy with this controller, of the group a process is in.
fn base_for(mounts: &[Mount], controller: &str, pid: &str) -> Option<PathBuf> {
    let mount = mounts.iter().find(|mount| !mount.v2 && mount.controllers.iter().any(|c| c == controller))?;
    let own = group_path(pid, Some(controller))?;
    let below = own.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let below = below.strip_prefix("/").unwrap_or(below);
    Some(mount.path.join(below))
}

/// Directories appear with their files: whether the freezer works is asked of one that is made for the question.
fn can_freeze(unified: &Path) -> bool {
    let probe = unified.join("envforge");
    std::fs::create_dir_all(&probe).is_ok() && probe.join("cgroup.freeze").exists()
}

fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

/// One group's directories.
#[derive(Clone, Debug)]
pub(super) struct GroupDirs {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
    pub(super) unified: Option<v2::Dir>,
}

impl GroupDirs {
    /// Those it needs: where the v2 tree freezes nothing else is asked to.
    pub(super) fn used(&self) -> Vec<PathBuf> {
        let mut used = self.directories();
        if self.unified.is_some()
            && let Some(freezer) = &self.freezer
        {
            let others = [&self.cpu, &self.cpuacct, &self.memory, &self.pids];
            used.retain(|dir| dir != freezer || others.contains(&&self.freezer));
        }
        used
    }

    /// Each once, the one that lists processes most reliably first. One of them may be there only for a group of an earlier daemon.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        let unified = self.unified.as_ref().map(|dir| dir.path().to_owned());
        let v1 = [&self.freezer, &self.cpu, &self.cpuacct, &self.memory, &self.pids];
        for dir in unified.into_iter().chain(v1.into_iter().flatten().cloned()) {
            if !all.contains(&dir) {
                all.push(dir);
            }
        }
        all
    }

    pub(super) fn create(&self) -> io::Result<()> {
        for dir in self.used() {
            fs::create(&dir)?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, limits: &Limits) -> io::Result<()> {
        if let Some(cpu) = &self.cpu {
            let quota = limits.cpu_max_milli.map_or(-1, |milli| i64::from(milli) * 100);
            fs::write(&cpu.join("cpu.cfs_period_us"), "100000")?;
            fs::write(&cpu.join("cpu.cfs_quota_us"), &quota.to_string())?;
            // v2's 100 is v1's 1024.
            let shares = u64::from(limits.cpu_weight.unwrap_or(100).clamp(1, 10_000)) * 1024 / 100;
            fs::write(&cpu.join("cpu.shares"), &shares.max(2).to_string())?;
        }
        if let Some(memory) = &self.memory {
            let max = limits.memory_max_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
            fs::write(&memory.join("memory.limit_in_bytes"), &max)?;
        }
        if let Some(pids) = &self.pids {
            let max = limits.pids_max.map_or_else(|| "max".to_owned(), |count| count.to_string());
            fs::write(&pids.join("pids.max"), &max)?;
        }
        Ok(())
    }

    pub(super) fn freeze(&self, deadline: Duration) -> io::Result<()> {
        if let Some(unified) = &self.unified {
            return unified.freeze(deadline);
        }
        let state = self.freezer_state()?;
        fs::write(&state, "FROZEN")?;
        wait_until("freeze", deadline, || Ok(fs::read(&state)?.trim() == "FROZEN"))
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        match &self.unified {
            Some(unified) => unified.thaw(),
            None => fs::write(&self.freezer_state()?, "THAWED"),
        }
    }

    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        match &self.unified {
            Some(unified) => unified.is_frozen(),
            None => Ok(fs::read(&self.freezer_state()?)?.trim() == "FROZEN"),
        }
    }

    fn freezer_state(&self) -> io::Result<PathBuf> {
        match &self.freezer {
            Some(dir) => Ok(dir.join("freezer.state")),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn stats(&self) -> io::Result<Stats> {
        let number = |dir: &Option<PathBuf>, file: &str| dir.as_ref().map_or(Ok(0), |dir| read_number(&dir.join(file)));
        Ok(Stats {
            cpu_usage_us: number(&self.cpuacct, "cpuacct.usage")? / 1000,
            memory_bytes: number(&self.memory, "memory.usage_in_bytes")?,
            oom_kills: self
                .memory
                .as_ref()
                .map_or(Ok(0), |dir| read_key(&dir.join("memory.oom_control"), "oom_kill"))?,
            limit_hits: number(&self.memory, "memory.failcnt")?,
            pids: number(&self.pids, "pids.current")?,
            // `blkio` would cost every start a directory, and is not told of what is written by and by.
            disk_bytes: 0,
        })
    }

    pub(super) fn reclaim(&self) -> io::Result<()> {
        let Some(memory) = &self.memory else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        match fs::write(&memory.join("memory.force_empty"), "0") {
            // Something stayed because it is in use.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
impl GroupDirs {
    /// The same group as a machine without the v2 tree has it.
    pub(super) fn v1_only(mut self) -> Self {
        self.unified = None;
        self
    }
}

//! Limits, the freezer and the kill switch of a process tree.
//!
//! A sandbox has one named [`Group`]. What is behind it depends on the machine: on cgroup v2 one directory; on a v1
//! machine one directory in each controller's hierarchy, plus, where the v2 tree is mounted beside them ("hybrid"), one
//! there for its freezer and its kill switch, which need no controller and are better than the v1 ones (it is then in no group of
//! the v1 freezer, whose making takes as long as any). On a machine
//! with neither, or for a daemon that may use neither, a group is the processes below the sandbox's init ([`Backend::None`]):
//! they are paused and ended by signals and limited by nothing, which the caller reports as a reduction.
//!
//! Where groups live. On v1 below the group the daemon itself was started in, so that a limit somebody put on the
//! daemon holds for what it starts; on v2 directly below the tree's root, because there a group with processes of its own can't
//! have limited children. A sandbox of an earlier daemon keeps the place it has: [`Cgroups::group_of`] reads it from its init.
//!
//! What must stay true: every operation may be repeated; freezing and thawing cost well under a millisecond; a frozen
//! group can always be killed; nothing outside `envforge/` is ever written.

mod fs;
mod kill;
mod tree;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::page_out::page_out;

/// The name of a group: `envforge/<instance>/<workspace>/<shell|runtime|elevated>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupName {
    instance: String,
    workspace: String,
    layer: Layer,
}

/// Which of a workspace's sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Where people and agents work.
    Shell,
    /// Where services run.
    Runtime,
    /// A root terminal, while there is one.
    Elevated,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Runtime, Self::Elevated];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shell => "shell",
            Self::Runtime => "runtime",
            Self::Elevated => "elevated",
        })
    }
}

impl GroupName {
    /// `instance` tells several daemons on one machine apart. Both parts become directory names: letters, digits, `_`, `-`.
    pub fn new(instance: &str, workspace: &str, layer: Layer) -> io::Result<Self> {
        for part in [instance, workspace] {
            let fits = !part.is_empty()
                && part.len() <= 100
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            if !fits {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{part:?} can't be part of a cgroup's name"),
                ));
            }
        }
        Ok(Self { instance: instance.to_owned(), workspace: workspace.to_owned(), layer })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("envforge/{}/{}/{}", self.instance, self.workspace, self.layer))
    }
}

/// What a group may use. `None` means: as the machine has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time at most, in thousandths of one CPU.
    pub cpu_max_milli: Option<u32>,
    /// The share of CPU when the machine is busy, 1 to 10000; 100 is ordinary.
    pub cpu_weight: Option<u32>,
    /// Memory at most, in bytes, page cache included.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads at most.
    pub pids_max: Option<u64>,
}

/// What a group has used, and how its limits were met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time since the group was made, in microseconds.
    pub cpu_usage_us: u64,
    /// Memory charged now, in bytes, page cache included.
    pub memory_bytes: u64,
    /// Processes killed because memory ran out, its own or the machine's.
    pub oom_kills: u64,
    /// How often its own memory limit was met and could not be kept by giving memory back (v1: met at all).
    #[serde(default)]
    pub limit_hits: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Bytes read from and written to disks since the group was made, where the kernel says (v2); else 0.
    #[serde(default)]
    pub disk_bytes: u64,
}

/// What this machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Only v2.
    V2,
    /// v1 controllers; `unified` when the v2 tree beside them can freeze and kill.
    V1 {
        /// The v2 tree freezes and kills.
        unified: bool,
    },
    /// Nothing, and why.
    None {
        /// A sentence for people.
        reason: String,
    },
}

/// The machine's cgroups, found once.
#[derive(Clone, Debug)]
pub struct Cgroups {
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    V2(v2::Tree),
    V1(v1::Trees),
    None(String),
}

/// Finds what is mounted, and whether it can be written.
pub fn detect() -> Cgroups {
    let layout = match fs::mounts() {
        Ok(mounts) => {
            let unified = mounts.iter().find(|mount| mount.v2);
            let trees = v1::Trees::find(&mounts);
            match (trees, unified) {
                (Some(trees), _) if trees.has_limits() => Layout::V1(trees),
                (_, Some(unified)) => match v2::Tree::open(&unified.path) {
                    Ok(tree) => Layout::V2(tree),
                    Err(reason) => Layout::None(reason),
                },
                (_, None) => Layout::None("no cgroup file system is mounted".to_owned()),
            }
        }
        Err(error) => Layout::None(format!("the mounts can't be read: {error}")),
    };
    Cgroups { layout }
}

/// Uses none, whatever is mounted.
pub fn none(reason: &str) -> Cgroups {
    Cgroups { layout: Layout::None(reason.to_owned()) }
}

impl Cgroups {
    /// Whether a group is known only by its sandbox's init.
    pub fn are_by_init(&self) -> bool {
        matches!(self.layout, Layout::None(_))
    }

    /// What is behind the groups.
    pub fn backend(&self) -> Backend {
        match &self.layout {
            Layout::V2(_) => Backend::V2,
            Layout::V1(trees) => Backend::V1 { unified: trees.unified.is_some() },
            Layout::None(reason) => Backend::None { reason: reason.clone() },
        }
    }

    /// The limits this machine can't enforce, in words.
    pub fn missing_limits(&self) -> Vec<String> {
        match &self.layout {
            Layout::V2(tree) => tree.missing_limits(),
            Layout::V1(trees) => trees.missing_limits(),
            Layout::None(reason) => vec![format!("no resource limits: {reason}")],
        }
    }

    /// The workspaces of which an instance has groups, by their directories' names.
    pub fn workspaces(&self, instance: &str) -> BTreeSet<String> {
        let roots = match &self.layout {
            Layout::V2(tree) => vec![tree.root().to_owned()],
            Layout::V1(trees) => trees.roots(),
            Layout::None(_) => Vec::new(),
        };
        let below = |root: PathBuf| std::fs::read_dir(root.join("envforge").join(instance)).into_iter().flatten();
        let dirs = roots.into_iter().flat_map(below).flatten();
        // What else is in there are the files of the group itself.
        let dirs = dirs.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The group of this name, made or not.
    pub fn group(&self, name: &GroupName) -> Group {
        let path = name.path();
        let dirs = match &self.layout {
            Layout::V2(tree) => Dirs::V2(tree.group(&path)),
            Layout::V1(trees) => Dirs::V1(trees.group(&path)),
            Layout::None(_) => Dirs::None,
        };
        Group { dirs }
    }

    /// The group of this name at the place where this process's group is, if it is in one of this name; `pid` is the
    /// sandbox's init.
    pub fn group_of(&self, name: &GroupName, pid: i32) -> Group {
        let found = match &self.layout {
            Layout::V1(trees) => trees.group_of(&name.path(), pid).map(Dirs::V1),
            Layout::V2(_) => None,
            Layout::None(_) => tree::Tree::below(pid).map(Dirs::Tree),
        };
        found.map_or_else(|| self.group(name), |dirs| Group { dirs })
    }
}

/// One sandbox's group.
#[derive(Clone, Debug)]
pub struct Group {
    dirs: Dirs,
}

#[derive(Clone, Debug)]
enum Dirs {
    V2(v2::Dir),
    V1(v1::GroupDirs),
    Tree(tree::Tree),
    None,
}

impl Group {
    /// Makes it.
    pub fn create(&self) -> io::Result<()> {
        match &self.dirs {
            Dirs::V2(dir) => dir.create(),
            Dirs::V1(dirs) => dirs.create(),
            Dirs::Tree(_) | Dirs::None => Ok(()),
        }
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        match &self.dirs {
            Dirs::Tree(tree) => tree.exists(),
            _ => self.directories().iter().any(|dir| dir.is_dir()),
        }
    }

    /// The files a process writes `0` into to join; for `SandboxSpec::cgroup_procs`.
    pub fn join_files(&self) -> Vec<PathBuf> {
        let used = match &self.dirs {
            Dirs::V1(dirs) => dirs.used(),
            _ => self.directories(),
        };
        used.iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Puts a process in it, with what it starts from now on.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        for file in self.join_files() {
            fs::write(&file, &pid.to_string())?;
        }
        Ok(())
    }

    /// Sets its limits; one that this machine can't enforce is left out (`Cgroups::missing_limits` says which).
    pub fn apply(&self, limits: &Limits) -> io::Result<()> {
        match &self.dirs {
            Dirs::V2(dir) => dir.apply(limits),
            Dirs::V1(dirs) => dirs.apply(limits),
            Dirs::Tree(_) | Dirs::None => Ok(()),
        }
    }

    /// Stops everything in it where it stands, and waits until it does.
    pub fn freeze(&self, deadline: Duration) -> io::Result<()> {
        match &self.dirs {
            Dirs::V2(dir) => dir.freeze(deadline),
            Dirs::V1(dirs) => dirs.freeze(deadline),
            Dirs::Tree(tree) => tree.freeze(deadline),
            Dirs::None => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Lets everything in it go on.
    pub fn thaw(&self) -> io::Result<()> {
        match &self.dirs {
            Dirs::V2(dir) => dir.thaw(),
            Dirs::V1(dirs) => dirs.thaw(),
            Dirs::Tree(tree) => {
                tree.thaw();
                Ok(())
            }
            Dirs::None => Ok(()),
        }
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> io::Result<bool> {
        match &self.dirs {
            Dirs::V2(dir) => dir.is_frozen(),
            Dirs::V1(dirs) => dirs.is_frozen(),
            Dirs::Tree(tree) => tree.is_frozen(),
            Dirs::None => Ok(false),
        }
    }

    /// Ends everything in it, frozen or not, and waits until nothing is left. It is thawed afterwards.
    pub fn kill(&self, deadline: Duration) -> io::Result<()> {
        match &self.dirs {
            Dirs::V2(dir) => kill::by_switch(dir, deadline),
            Dirs::V1(dirs) => kill::v1(dirs, deadline),
            Dirs::Tree(tree) => tree.kill(deadline),
            Dirs::None => Ok(()),
        }
    }

    /// The pids in it, as this process sees them.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        match (&self.dirs, self.directories().first()) {
            (Dirs::Tree(tree), _) => Ok(tree.pids()),
            (_, Some(dir)) => fs::pids(dir),
            (_, None) => Ok(Vec::new()),
        }
    }

    /// What it used.
    pub fn stats(&self) -> io::Result<Stats> {
        match &self.dirs {
            Dirs::V2(dir) => dir.stats(),
            Dirs::V1(dirs) => dirs.stats(),
            Dirs::Tree(tree) => Ok(tree.stats()),
            Dirs::None => Ok(Stats::default()),
        }
    }

    /// Gives back as much of its memory as possible; meant for a frozen group. How much that is depends on swap. Takes
    /// tens of milliseconds: not for an async thread. Returns the bytes given back.
    ///
    /// First the group's own file is asked (v2 `memory.reclaim`, Linux 5.19 and later; v1 `memory.force_empty`), then, where
    /// there is none or it refuses, each process for itself.
    pub fn reclaim(&self) -> io::Result<u64> {
        let before = self.stats()?.memory_bytes;
        let by_file = match &self.dirs {
            Dirs::V2(dir) => dir.reclaim(before),
            Dirs::V1(dirs) => dirs.reclaim(),
            Dirs::Tree(_) | Dirs::None => Err(ErrorKind::Unsupported.into()),
        };
        if by_file.is_err() {
            for pid in self.pids()? {
                match page_out(pid) {
                    // A daemon that is not root may not, and some kernels can't: it keeps its memory.
                    Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => break,
                    paged_out => paged_out?,
                }
            }
        }
        Ok(before.saturating_sub(self.stats()?.memory_bytes))
    }

    /// Removes it once nothing is in it, and the directories above it that nobody uses any more.
    pub fn remove(&self, deadline: Duration) -> io::Result<()> {
        for dir in self.directories() {
            fs::remove(&dir, deadline)?;
        }
        Ok(())
    }

    fn directories(&self) -> Vec<PathBuf> {
        match &self.dirs {
            Dirs::V2(dir) => vec![dir.path().to_owned()],
            Dirs::V1(dirs) => dirs.directories(),
            Dirs::Tree(_) | Dirs::None => Vec::new(),
        }
    }
}

fn context(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

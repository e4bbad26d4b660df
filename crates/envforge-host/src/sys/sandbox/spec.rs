//! What a sandbox is to look like, decided by the daemon and carried out by the init.
//!
//! The specification is data: it holds no descriptor and nothing of the daemon's memory, so it can be written to a
//! journal, compared after a restart, and printed (it contains no secret; secrets travel in `Spawn`). Paths on the
//! host's side must be trusted: a workspace's user must not be able to replace a *parent* of a bind's source.
//! Targets need no such trust: they are resolved without following any link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Everything the init needs to know to build one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The sandbox's host name; letters, digits and hyphens.
    pub hostname: String,
    /// The workspace's Linux user; never 0.
    pub uid: u32,
    /// The workspace's Linux group; never 0.
    pub gid: u32,
    /// The workspace's network namespace (`sys::netns`). Without one the sandbox gets an empty network of its own.
    #[serde(default)]
    pub netns: Option<PathBuf>,
    /// The `cgroup.procs` files the init joins (`sys::cgroup::Group::join_files`).
    #[serde(default)]
    pub cgroup_procs: Vec<PathBuf>,
    /// Where the init listens; a path on the host in a directory only the daemon's user can enter. At most 107 bytes.
    pub control_socket: PathBuf,
    /// Where logs are written; a directory on the host that belongs to the workspace's user. Without one, output is
    /// discarded.
    #[serde(default)]
    pub log_dir: Option<PathBuf>,
    /// A log is rotated when it would pass this many bytes.
    #[serde(default = "default_log_max_bytes")]
    pub log_max_bytes: u64,
    /// How many rotated files are kept beside the current one.
    #[serde(default = "default_log_keep")]
    pub log_keep: u8,
    /// Bytes that are to stay free on the logs' filesystem: below that, lines are lost as on a full disk.
    #[serde(default)]
    pub log_leaves_free: u64,
    /// Directories of the host that are visible read-only at the same path. Those that do not exist are left out; links
    /// are made again as links.
    #[serde(default = "default_system")]
    pub system: Vec<PathBuf>,
    /// Entries of the host's `/etc` that are visible read-only. A trailing `*` stands for anything.
    #[serde(default = "default_etc")]
    pub etc: Vec<String>,
    /// Further directories and files, mounted in this order.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Directories that the init alone has, for what it forwards to ([`Request::Forward`](crate::init::protocol::Request)): they
    /// are mounted nowhere, and no process it starts can reach them.
    #[serde(default)]
    pub init_only: Vec<Bind>,
    /// Small files written into the sandbox's own root, readable by everyone in it.
    #[serde(default)]
    pub files: Vec<GeneratedFile>,
    /// The content of `/etc/resolv.conf`; the host's by default.
    #[serde(default)]
    pub resolv_conf: Option<String>,
    /// Further lines of `/etc/hosts`.
    #[serde(default)]
    pub hosts: Vec<(IpAddr, String)>,
    /// The size limit of the private `/tmp` in bytes (its memory counts against the cgroup all the same).
    #[serde(default = "default_tmp_bytes")]
    pub tmp_bytes: u64,
    /// What every process gets unless its `Spawn` says otherwise. HOME, USER, LOGNAME, SHELL, PATH, LANG and GEM_HOME are set
    /// before these.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Root of its own: inside, user and group 0 are `uid` and `gid`, 1 to 98 are these ids of the host and those after
    /// them, and 65534 is the one after those. Nobody else may have them. The system can be written, and what is written is
    /// gone with the sandbox, which ends with the first connection to it.
    #[serde(default)]
    pub elevated: Option<u32>,
    /// Build it without root, in a user namespace. Weaker: see `sys::capability`.
    #[serde(default)]
    pub rootless: bool,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    without: BTreeSet<Protection>,
}

/// A line of defence that a test can do without, to see that what it refuses would succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// No file beyond the sandbox's root, no abstract socket and no process beyond the sandbox.
    Landlock,
    /// The filter of system calls.
    SystemCalls,
}

/// How many ids of the host an elevated sandbox has besides the workspace's own.
pub(crate) const SUB_IDS: u32 = 99;

/// A file or directory of the host made visible in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the sandbox.
    pub target: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
}

impl Bind {
    /// A writable bind.
    pub fn writable(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), read_only: false }
    }

    /// A read-only bind.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), read_only: true }
    }
}

/// A file that exists only in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// In the sandbox.
    pub path: PathBuf,
    /// What it holds.
    pub content: String,
}

/// The specification contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sandbox: {field}: {problem}")]
pub struct SpecError {
    /// The field at fault.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

fn default_log_max_bytes() -> u64 {
    8 * 1024 * 1024
}

fn default_log_keep() -> u8 {
    2
}

fn default_tmp_bytes() -> u64 {
    2 * 1024 * 1024 * 1024
}

fn default_system() -> Vec<PathBuf> {
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"].into_iter().map(PathBuf::from).collect()
}

/// Nothing here may hold a secret of the host: no shadow, no keys under ssh or ssl/private (that one is readable by
/// root alone, and nobody in a sandbox is).
fn default_etc() -> Vec<String> {
    [
        "ssl",
        "ca-certificates",
        "ca-certificates.conf",
        "pki",
        "crypto-policies",
        "ld.so.cache",
        "ld.so.conf*",
        "alternatives",
        "localtime",
        "timezone",
        "profile",
        "profile.d",
        "bash.bashrc",
        "bash_completion*",
        "inputrc",
        "terminfo",
        "nsswitch.conf",
        "host.conf",
        "mime.types",
        "services",
        "protocols",
        "gai.conf",
        "os-release",
        "debian_version",
        "locale.alias",
        "python3*",
        "java*",
        "perl",
        "fonts",
        "tmux.conf",
        "npmrc",
        "pip.conf",
        "gitconfig",
        "vim",
        "nanorc",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect()
}

impl SandboxSpec {
    /// A sandbox with the default view of the host, no binds, no limits and no network.
    pub fn new(hostname: &str, uid: u32, gid: u32, control_socket: impl Into<PathBuf>) -> Self {
        Self {
            hostname: hostname.to_owned(),
            uid,
            gid,
            netns: None,
            cgroup_procs: Vec::new(),
            control_socket: control_socket.into(),
            log_dir: None,
            log_max_bytes: default_log_max_bytes(),
            log_keep: default_log_keep(),
            log_leaves_free: 0,
            system: default_system(),
            etc: default_etc(),
            binds: Vec::new(),
            init_only: Vec::new(),
            files: Vec::new(),
            resolv_conf: None,
            hosts: Vec::new(),
            tmp_bytes: default_tmp_bytes(),
            environment: BTreeMap::new(),
            elevated: None,
            rootless: false,
            without: BTreeSet::new(),
        }
    }

    /// The same with a protection left out. For tests of protections only: the daemon has no way to ask for it.
    #[doc(hidden)]
    #[must_use]
    pub fn without(mut self, protection: Protection) -> Self {
        self.without.insert(protection);
        self
    }

    pub(crate) fn is_without(&self, protection: Protection) -> bool {
        self.without.contains(&protection)
    }

    /// Refuses what could not work or would not be safe, naming the field.
    pub fn validate(&self) -> Result<(), SpecError> {
        let refuse = |field: &str, problem: String| Err(SpecError { field: field.to_owned(), problem });
        if self.uid == 0 || self.gid == 0 {
            return refuse("uid", "a sandbox never runs as root; give the workspace's own user and group".into());
        }
        let hostname_fits = !self.hostname.is_empty()
            && self.hostname.len() <= 63
            && self.hostname.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !hostname_fits {
            return refuse("hostname", format!("{:?} is not 1 to 63 letters, digits or hyphens", self.hostname));
        }
        if !self.control_socket.is_absolute() || self.control_socket.as_os_str().len() > 107 {
            return refuse(
                "control_socket",
                format!("{} must be an absolute path of at most 107 bytes", self.control_socket.display()),
            );
        }
        if self.rootless && self.netns.is_some() {
            return refuse(
                "netns",
                "a rootless sandbox can't join a network namespace; it has the machine's network".into(),
            );
        }
        if self.elevated.is_some() && self.rootless {
            return refuse(
                "elevated",
                "root inside needs users of its own, which a rootless host does not have".into(),
            );
        }
        let further = |first: u32| first..=first.saturating_add(SUB_IDS - 1);
        if self.elevated.is_some_and(|first| {
            first == 0 || first.checked_add(SUB_IDS).is_none() || further(first).contains(&self.uid)
        }) {
            return refuse("elevated", "the further ids must be neither root's nor the workspace's own".into());
        }
        for bind in self.binds.iter().chain(&self.init_only) {
            if !is_plain_absolute(&bind.source) {
                return refuse("binds", format!("source {} must be absolute, without ..", bind.source.display()));
            }
            if !is_plain_absolute(&bind.target) || bind.target == Path::new("/") {
                return refuse(
                    "binds",
                    format!("target {} must be absolute, without .., and not /", bind.target.display()),
                );
            }
        }
        for path in &self.system {
            if !is_plain_absolute(path) || path == Path::new("/") {
                return refuse("system", format!("{} must be absolute, without .., and not /", path.display()));
            }
        }
        for entry in &self.etc {
            if entry.is_empty() || entry.contains('/') || entry == "*" || entry.starts_with('.') {
                return refuse("etc", format!("{entry:?} is not the name of one entry of /etc"));
            }
        }
        for file in &self.files {
            if !is_plain_absolute(&file.path) || file.path == Path::new("/") {
                return refuse("files", format!("{} must be absolute, without ..", file.path.display()));
            }
        }
        Ok(())
    }
}

fn is_plain_absolute(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

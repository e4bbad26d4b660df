//! From a child of the starter to a sandbox's init, step by step.
//!
//! It is PID 1 of the sandbox's pid namespace from its birth ([`super::birth`]) and has one thread. The order is not free: cgroups are joined before the cgroup namespace is
//! made, so that the group becomes its root; everything that is needed of the host (socket, log directory) is opened
//! while the host is still there; namespaces come before the mounts, mounts before the privileges go.
#![expect(unsafe_code, reason = "close_range and signal have no safe form")]

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode};
use rustix::mount::OpenTreeFlags;

use super::seccomp::Filter;
use super::{SandboxSpec, identity, join, mounts, privileges, starter};
use crate::init::wire;
use crate::sys::netns;

/// What the init holds once it is inside.
pub(crate) struct Entered {
    pub(crate) spec: SandboxSpec,
    pub(crate) listener: OwnedFd,
    pub(crate) log_dir: Option<OwnedFd>,
    /// Directories that it alone has, by where its targets say they are.
    pub(crate) init_only: BTreeMap<PathBuf, OwnedFd>,
}

/// A step that failed.
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) step: String,
    pub(crate) reason: String,
}

/// Names the step a result belongs to.
pub(crate) trait Step<T> {
    fn step(self, step: impl fmt::Display) -> Result<T, StepError>;
}

impl<T, E: fmt::Display> Step<T> for Result<T, E> {
    fn step(self, step: impl fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| StepError { step: step.to_string(), reason: error.to_string() })
    }
}

/// Becomes a sandbox's init as a specification says. Returns in inits only; in the starter, `None`, when there is nobody left to
/// start one for.
pub(crate) fn enter() -> Result<Option<Entered>, StepError> {
    close_strays().step("close_range")?;
    // In a user namespace that was just made nobody has a number yet.
    let user = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // Once for all inits.
    let filter = Filter::compile().step("seccomp")?;
    privileges::give_up_for_all();
    let Some(is_born_there) = starter::serve()? else { return Ok(None) };
    // The starter's own.
    close_strays().step("close_range")?;
    ordinary_signals().step("signals")?;
    own_keyring().step("session keyring")?;
    let spec = read_spec()?;
    // Neither the daemon's session nor its file mode mask.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if spec.rootless {
        identity::be_yourself(&spec, user)?;
    }
    join::join(&spec.cgroup_procs, is_born_there)?;
    let listener =
        wire::listen(&spec.control_socket).step(format_args!("control socket {}", spec.control_socket.display()))?;
    let users = spec.elevated.map(|first| identity::user_namespace(&spec, first)).transpose()?;
    join_namespaces(&spec)?;
    let log_dir = spec.log_dir.as_deref().map(open_log_dir).transpose()?;
    rustix::system::sethostname(spec.hostname.as_bytes()).step("sethostname")?;
    let init_only = mounts::build(&spec)?;
    if let Some(users) = users {
        setns(users, CloneFlags::CLONE_NEWUSER).step("setns user namespace")?;
    }
    privileges::give_up(&spec, log_dir.as_ref(), &filter)?;
    Ok(Some(Entered { spec, listener, log_dir, init_only }))
}

/// The daemon's own descriptors are close-on-exec; what the daemon was started with may not be.
fn close_strays() -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2 yet.
    let done = unsafe { nix::libc::close_range(3, nix::libc::c_uint::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A daemon started with `nohup`, say, must not hand its deafness on: what is ignored stays so through fork and exec.
fn ordinary_signals() -> nix::Result<()> {
    for signal in nix::sys::signal::Signal::iterator() {
        // SAFETY: no handler is installed, only the default is restored. KILL and STOP refuse, and need no change.
        let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// What the daemon keeps in its session's keyring, a file system's key say, would be found and used by whoever inherits it.
fn own_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: nix::libc::c_long = 1;
    // SAFETY: without a name, which is what the null pointer says, the kernel reads no memory.
    let joined = unsafe {
        nix::libc::syscall(nix::libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<nix::libc::c_char>())
    };
    if joined >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A kernel without keys, or a container that may not use them.
        error if matches!(error.raw_os_error(), Some(nix::libc::ENOSYS | nix::libc::EPERM)) => Ok(()),
        error => Err(error),
    }
}

fn read_spec() -> Result<SandboxSpec, StepError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).step("specification")?;
    let spec: SandboxSpec = serde_json::from_slice(&bytes).step("specification")?;
    spec.validate().step("specification")?;
    Ok(spec)
}

/// As a mount of its own, so that the descriptor leads to this directory and, even through `..`, to nothing else. Only a
/// mount of this process's own namespace can be copied, so this comes after that was made.
fn open_log_dir(path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(CWD, path, flags).step(format_args!("log directory {}", path.display()))
}

fn join_namespaces(spec: &SandboxSpec) -> Result<(), StepError> {
    let mut fresh =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP;
    match &spec.netns {
        Some(path) if !spec.rootless => {
            let file = std::fs::File::open(path).step(format_args!("network namespace {}", path.display()))?;
            setns(&file, CloneFlags::CLONE_NEWNET).step(format_args!("setns {}", path.display()))?;
        }
        // The network of whoever started it; a way out of one of its own takes root to make.
        _ if spec.rootless => {}
        _ => fresh |= CloneFlags::CLONE_NEWNET,
    }
    unshare(fresh).step("unshare")?;
    if fresh.contains(CloneFlags::CLONE_NEWNET) {
        netns::prepare_inside().step("loopback")?;
    }
    Ok(())
}

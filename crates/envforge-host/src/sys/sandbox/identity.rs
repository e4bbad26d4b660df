//! User namespaces: who somebody in a sandbox is on this machine.
//!
//! In an elevated one, user 0 inside is the workspace's own unprivileged user, so what root writes in a checkout belongs to the workspace and
//! what root can touch is what the workspace could. A few further ids stand for the static system users that packages
//! give files to; they are the workspace's alone. No other user of the machine has a name inside: not root, not another
//! workspace's.
#![expect(unsafe_code, reason = "fork has no safe form")]

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::enter::{Step, StepError};
use super::{SUB_IDS, SandboxSpec};

/// The user and group that nobody is, by convention.
const NOBODY: u32 = 65_534;

/// Id inside, id on the host, how many.
fn map(own: u32, first: u32) -> String {
    let last = SUB_IDS - 1;
    format!("0 {own} 1\n1 {first} {last}\n{NOBODY} {} 1\n", first + last)
}

/// Of a sandbox made without root: its user is, outside, `whoever` started it.
pub(super) fn be_yourself(spec: &SandboxSpec, (uid, gid): (u32, u32)) -> Result<(), StepError> {
    std::fs::write("/proc/self/setgroups", "deny").step("setgroups deny")?;
    std::fs::write("/proc/self/uid_map", format!("{} {uid} 1", spec.uid)).step("uid_map")?;
    std::fs::write("/proc/self/gid_map", format!("{} {gid} 1", spec.gid)).step("gid_map")
}

/// Makes the namespace. A map of more than one's own id is written from outside, so another process enters it first and
/// is gone when this returns.
pub(super) fn user_namespace(spec: &SandboxSpec, first: u32) -> Result<OwnedFd, StepError> {
    let (entered, say_entered) = pipe_with(PipeFlags::CLOEXEC).step("pipe")?;
    let (done, say_done) = pipe_with(PipeFlags::CLOEXEC).step("pipe")?;
    // SAFETY: this process has one thread, so the child's copy of the heap and of every lock is consistent.
    let child = match unsafe { nix::unistd::fork() }.step("fork")? {
        ForkResult::Child => {
            drop(say_done);
            if unshare(CloneFlags::CLONE_NEWUSER).is_ok()
                && let Ok(own) = std::fs::read_link("/proc/self")
            {
                let _ = rustix::io::write(&say_entered, own.as_os_str().as_bytes());
                let _ = rustix::io::read(&done, &mut [0; 1]);
            }
            // SAFETY: ends this process, and runs nothing of its parent's on the way.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    };
    drop(say_entered);
    let made = (|| {
        // Its name in what is still the machine's `/proc`.
        let mut name = [0; 16];
        let read = rustix::io::read(entered.as_fd(), &mut name).step("user namespace")?;
        if read == 0 {
            let reason = "the kernel refuses user namespaces".to_owned();
            return Err(StepError { step: "user namespace".to_owned(), reason });
        }
        let its = Path::new("/proc").join(OsStr::from_bytes(&name[..read]));
        std::fs::write(its.join("uid_map"), map(spec.uid, first)).step("uid_map")?;
        std::fs::write(its.join("gid_map"), map(spec.gid, first)).step("gid_map")?;
        rustix::fs::open(its.join("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step("user namespace")
    })();
    drop(say_done);
    waitpid(child, None).step("user namespace")?;
    made
}

/// Whether this process's root is who it should be.
pub(super) fn check(spec: &SandboxSpec) -> Result<(), StepError> {
    for (file, own) in [("/proc/self/uid_map", spec.uid), ("/proc/self/gid_map", spec.gid)] {
        let text = std::fs::read_to_string(file).step(file)?;
        let first: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        if first != ["0", &own.to_string(), "1"] || own == 0 {
            let reason = format!("root inside is not the workspace's user: {text}");
            return Err(StepError { step: file.to_owned(), reason });
        }
    }
    Ok(())
}

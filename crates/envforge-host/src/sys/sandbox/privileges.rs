//! Giving up, for good, everything that root could do.
//!
//! Afterwards no capability is left in any set, none can come back (no program gains any by being executed, no set-user-id
//! works), the user is the workspace's, and system calls that have no business in a sandbox are refused. The init keeps
//! itself unreadable to the processes it starts, which are of the same user: it holds their secrets for a moment.
//!
//! An elevated sandbox keeps what root needs over the workspace's own files and processes, within its user namespace, and
//! no more: nothing that reaches the network, devices, mounts, time or the kernel.
//!
//! Then the two lines that hold even if one of these should not: no file beyond the sandbox's own root ([`landlock`]), and no
//! system call that has no business here ([`seccomp`]).

use std::os::fd::OwnedFd;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::enter::{Step, StepError};
use super::seccomp::Filter;
use super::{Protection, SandboxSpec, identity, landlock};

/// What root of an elevated sandbox may.
const OF_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Who the sandbox's processes are, as they see it, and what they may.
fn wanted(spec: &SandboxSpec) -> (u32, u32, CapabilitySet) {
    match spec.elevated {
        Some(_) => (0, 0, OF_ROOT),
        None => (spec.uid, spec.gid, CapabilitySet::empty()),
    }
}

/// Gives up beforehand what no sandbox may have: each capability that every init would have to give up takes as long as many
/// other calls. What an init does itself needs none of this, which only limits what it could get by running a program. Without
/// the right to do so nothing changes: [`give_up`] looks at what is there.
pub(super) fn give_up_for_all() {
    let _ = bound(OF_ROOT);
}

/// `log_dir` is the one directory that is used without being seen.
pub(super) fn give_up(spec: &SandboxSpec, log_dir: Option<&OwnedFd>, filter: &Filter) -> Result<(), StepError> {
    let (uid, gid, kept) = wanted(spec);
    rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
    rustix::thread::clear_ambient_capability_set().step("ambient capabilities")?;
    bound(kept)?;
    if !spec.rootless {
        setgroups(&[]).step("setgroups")?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid).step("setgid")?;
    setresuid(uid, uid, uid).step("setuid")?;
    let left = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, left).step("capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("dumpable")?;
    check(spec)?;
    if !spec.is_without(Protection::Landlock) {
        landlock::confine(log_dir)?;
    }
    if spec.is_without(Protection::SystemCalls) {
        return Ok(());
    }
    filter.install().step("seccomp")
}

/// Limits what can ever be had to `kept`. The kernel says which capabilities it knows by refusing the first that it does not. Those
/// that are gone already are left alone: to ask is cheap, and to give one up is not.
fn bound(kept: CapabilitySet) -> Result<(), StepError> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => break,
            Ok(false) => continue,
            // Even if it can't be asked.
            Ok(true) | Err(_) => {}
        }
        rustix::thread::remove_capability_from_bounding_set(capability)
            .step(format_args!("bounding set: capability {bit}"))?;
    }
    Ok(())
}

/// Trust nothing of the above.
fn check(spec: &SandboxSpec) -> Result<(), StepError> {
    let refuse = |reason: &str| Err(StepError { step: "give up privileges".to_owned(), reason: reason.to_owned() });
    let left = rustix::thread::capabilities(None).step("capabilities")?;
    let (uid, gid, kept) = wanted(spec);
    if !(left.effective == kept && left.permitted == kept && left.inheritable.is_empty()) {
        return refuse("capabilities are left");
    }
    if rustix::process::getuid().as_raw() != uid || rustix::process::getgid().as_raw() != gid {
        return refuse("the user was not changed");
    }
    if spec.elevated.is_some() {
        return identity::check(spec);
    }
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return refuse("root can be had back");
    }
    Ok(())
}

//! Giving up, for good, everything that root could do.
//!
//! Afterwards no capability is left in any set, none can come back (no program gains any by being executed, no set-user-id
//! works), the user is the workspace's, and system calls that have no business in a sandbox are refused. The init keeps
//! itself unreadable to the processes it starts, which are of the same user: it holds their secrets for a moment.
//!
//! A place for Landlock is after the user is set and before the seccomp filter.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::enter::{Step, StepError};
use super::{SandboxSpec, seccomp};

pub(super) fn give_up(spec: &SandboxSpec) -> Result<(), StepError> {
    rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
    rustix::thread::clear_ambient_capability_set().step("ambient capabilities")?;
    empty_bounding_set()?;
    if !spec.rootless {
        setgroups(&[]).step("setgroups")?;
    }
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    setresgid(gid, gid, gid).step("setgid")?;
    setresuid(uid, uid, uid).step("setuid")?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).step("capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("dumpable")?;
    check(spec)?;
    seccomp::install().step("seccomp")
}

/// The kernel says which capabilities it knows by refusing the first that it does not.
fn empty_bounding_set() -> Result<(), StepError> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => break,
            other => other.step(format_args!("bounding set: capability {bit}"))?,
        }
    }
    Ok(())
}

/// Trust nothing of the above.
fn check(spec: &SandboxSpec) -> Result<(), StepError> {
    let refuse = |reason: &str| Err(StepError { step: "give up privileges".to_owned(), reason: reason.to_owned() });
    let left = rustix::thread::capabilities(None).step("capabilities")?;
    if !(left.effective.is_empty() && left.permitted.is_empty() && left.inheritable.is_empty()) {
        return refuse("capabilities are left");
    }
    if rustix::process::getuid().as_raw() != spec.uid || rustix::process::getgid().as_raw() != spec.gid {
        return refuse("the user was not changed");
    }
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return refuse("root can be had back");
    }
    Ok(())
}

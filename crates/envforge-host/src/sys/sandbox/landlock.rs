//! Landlock: a process may use files of its own root and nothing else, whatever leads elsewhere.
//!
//! Names of other files do not exist in a sandbox. What could still lead to them is a thing that stands for one: a descriptor
//! that somebody passed in by mistake, a link of `/proc` to a program that was started outside, a mount that came in from
//! the host. The kernel walks from such a file up to a root; one that does not end in this sandbox's is refused, for good
//! and for all that is started here. Within the root everything is as before, TCP too.
//!
//! The processes of a sandbox are one domain. They debug each other as their user may, and nobody beyond, not even a process
//! of the same user in the other layer; since Linux 6.12 they also neither connect to abstract Unix sockets (which the
//! layers of a workspace share with the network) nor signal anybody outside of it.
//!
//! Linux 5.19 or later: the first version would refuse to move files between directories.
#![expect(unsafe_code, reason = "the crate does not tell the version")]

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};
use nix::libc;

use super::enter::{Step, StepError};

/// The newest version this was tried with; of an older one what it knows is used.
const TRIED: ABI = ABI::V7;
/// The first one that lets files move between directories.
const FIRST: i32 = 2;

/// The version of this kernel; 0 where there is none, or where it was not switched on. From 6 on it confines abstract
/// sockets and signals too.
pub fn version() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel looks at no attributes and answers with a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    i32::try_from(answer).unwrap_or_default().max(0)
}

/// A plain sentence where this kernel can't confine sandboxes so.
pub(crate) fn missing() -> Option<String> {
    (version() < FIRST).then(|| {
        "no Landlock: the kernel is older than Linux 5.19 or started without it, so only namespaces and users keep a \
         sandbox from what was left open for it"
            .to_owned()
    })
}

/// Confines the calling thread, and all it will start, to the root it sees, and to the directory it writes logs to.
pub(super) fn confine(log_dir: Option<&OwnedFd>) -> Result<(), StepError> {
    if version() < FIRST {
        return Ok(());
    }
    let status = restrict(log_dir).step("landlock")?;
    if status == RulesetStatus::NotEnforced {
        return Err(StepError { step: "landlock".to_owned(), reason: "the kernel enforces nothing of it".to_owned() });
    }
    Ok(())
}

fn restrict(log_dir: Option<&OwnedFd>) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
    let all = AccessFs::from_all(TRIED);
    let mut ruleset = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::from_all(TRIED))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, all))?;
    if let Some(log_dir) = log_dir {
        ruleset = ruleset.add_rule(PathBeneath::new(log_dir, all))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

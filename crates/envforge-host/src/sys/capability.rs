//! What this machine permits, in sentences an operator can act on.

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use super::{cgroup, egress, netns, sandbox};

/// How well workspaces can be kept apart here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Nothing is missing.
    pub full: bool,
    /// Sandboxes need the rootless way (`SandboxSpec::rootless`).
    pub rootless: bool,
    /// What is missing, a plain sentence each.
    pub reductions: Vec<String>,
}

/// The machine can't run sandboxes at all.
#[derive(Debug, thiserror::Error)]
#[error("this machine can't run native sandboxes: {0}")]
pub struct NotPermitted(pub String);

/// What is missing wherever the daemon is not root.
const ROOTLESS: [&str; 3] = [
    "not root: server, gateway and all workspaces run as one Linux user, so only namespaces keep them apart",
    "not root: workspaces share this machine's network; two branches can't listen on the same port, and what \
     listens here can be reached from each",
    "not root: no CPU, memory or process limits; a frozen runtime is stopped by signals and keeps its memory",
];

/// Finds out, by trying where only trying tells.
pub fn probe() -> Result<Isolation, NotPermitted> {
    if has_admin() {
        if !netns::is_permitted() {
            return Err(NotPermitted("the kernel refuses network namespaces to this container".to_owned()));
        }
        let mut reductions = cgroup::detect().missing_limits();
        reductions.extend(egress::missing_programs());
        reductions.extend(sandbox::missing_landlock());
        return Ok(Isolation { full: reductions.is_empty(), rootless: false, reductions });
    }
    if !user_namespaces_work() {
        return Err(NotPermitted(
            "the host daemon is not root, and the kernel refuses user namespaces to ordinary users \
             (kernel.unprivileged_userns_clone, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
                .to_owned(),
        ));
    }
    Ok(Isolation {
        full: false,
        rootless: true,
        reductions: ROOTLESS.map(str::to_owned).into_iter().chain(sandbox::missing_landlock()).collect(),
    })
}

fn has_admin() -> bool {
    let needed = CapabilitySet::SYS_ADMIN
        | CapabilitySet::NET_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::CHOWN
        | CapabilitySet::KILL;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

/// A user namespace can only be made by a process of one thread, so another process tries.
pub(crate) fn user_namespaces_work() -> bool {
    crate::sys::command::run("unshare", &["--user", "--map-root-user", "--mount", "--net", "true"], "").is_ok()
}

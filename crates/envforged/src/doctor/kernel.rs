//! What sandboxes need of the kernel: namespaces, control groups, room for watchers, swap.

use super::Check;
use crate::account::is_root;
use nix::sched::{CloneFlags, unshare};
use std::path::Path;

/// Development servers watch every file of a checkout.
const WATCHES: u64 = 65_536;
const INSTANCES: u64 = 256;
/// Controllers that limits are made with.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) fn checks() -> Vec<Check> {
    vec![namespaces(), control_groups(), swap(), watchers(), open_files()]
}

fn namespaces() -> Check {
    let wanted =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let wanted = if is_root() { wanted } else { wanted | CloneFlags::CLONE_NEWUSER };
    // Only the thread that asks gets them, and it ends with the answer. A user namespace is refused to a process with
    // threads, which says nothing about the machine: there the kernel's own switches are read.
    if is_root() {
        return match std::thread::spawn(move || unshare(wanted)).join() {
            Ok(Ok(())) => Check::ok("namespaces", "mount, network, IPC and UTS namespaces can be made"),
            Ok(Err(error)) => Check::failed(
                "namespaces",
                format!("namespaces can't be made ({error}): nothing could be isolated"),
                "inside a container, run it with `--privileged`, or run EnvForge outside of it",
            ),
            Err(_) => Check::failed("namespaces", "the check itself failed", "report it"),
        };
    }
    let denied = ["/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces"]
        .into_iter()
        .find(|path| number(path) == Some(0));
    match denied {
        Some(path) => {
            Check::warning("namespaces", format!("{path} is 0: without root nothing is isolated"), "run it as root")
        }
        None => Check::ok("namespaces", "user namespaces are allowed"),
    }
}

fn control_groups() -> Check {
    let fix = "run it as root, outside of a container or in one with its own writable control groups";
    let root = Path::new("/sys/fs/cgroup");
    if let Ok(text) = std::fs::read_to_string(root.join("cgroup.controllers")) {
        let missing: Vec<&str> =
            CONTROLLERS.into_iter().filter(|wanted| !text.split_whitespace().any(|have| have == *wanted)).collect();
        if !missing.is_empty() {
            let cause = format!("version 2 without {}: sizes of runtimes are not enforced", missing.join(", "));
            return Check::warning("control groups", cause, fix);
        }
        return writable("control groups", root, "version 2", fix);
    }
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().chain(["freezer"]).filter(|name| !root.join(name).is_dir()).collect();
    if missing.len() > CONTROLLERS.len() {
        return Check::warning("control groups", "none are mounted: runtimes have no limits and can't be frozen", fix);
    }
    if !missing.is_empty() {
        return Check::warning("control groups", format!("version 1 without {}", missing.join(", ")), fix);
    }
    writable("control groups", &root.join("memory"), "version 1", fix)
}

fn writable(name: &'static str, path: &Path, version: &str, fix: &str) -> Check {
    if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok() {
        return Check::ok(name, format!("{version}, with {}", CONTROLLERS.join(", ")));
    }
    Check::warning(
        name,
        format!("{version}, not writable: sizes of runtimes are not enforced, sleep can't freeze"),
        fix,
    )
}

fn swap() -> Check {
    let text = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let devices: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if devices.is_empty() {
        let cause = "none: a frozen runtime keeps most of its memory";
        return Check::warning("swap", cause, "apt-get install zram-tools, or add a swap file");
    }
    Check::ok("swap", devices.join(", "))
}

fn watchers() -> Check {
    let of = |name: &str| number(&format!("/proc/sys/fs/inotify/{name}")).unwrap_or(u64::MAX);
    let (watches, instances) = (of("max_user_watches"), of("max_user_instances"));
    if watches < WATCHES || instances < INSTANCES {
        let cause =
            format!("{watches} files and {instances} watchers per user: development servers of larger checkouts fail");
        let fix = format!(
            "sysctl -w fs.inotify.max_user_watches={} fs.inotify.max_user_instances={}",
            WATCHES * 8,
            INSTANCES * 2
        );
        return Check::warning("file watching", cause, fix);
    }
    Check::ok("file watching", format!("{watches} files and {instances} watchers per user"))
}

fn open_files() -> Check {
    const WANTED: u64 = 65_536;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit < WANTED && !is_root() {
        let cause = format!("at most {limit}: the gateway holds that many connections and no more");
        return Check::warning(
            "open files",
            cause,
            format!("raise the hard limit to {WANTED} (`ulimit -Hn`, LimitNOFILE=)"),
        );
    }
    let limit = if limit == u64::MAX { "no limit".to_owned() } else { limit.to_string() };
    Check::ok("open files", limit)
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

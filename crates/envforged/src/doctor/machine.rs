//! Programs, users, disk and memory.

use super::Check;
use crate::account::{Account, is_root};
use crate::args::DoctorArguments;
use crate::postgres::Binaries;
use rustix::fs::statvfs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GB: u64 = 1_000_000_000;

/// A program the product starts: name, flag that prints its version, package, what would not work, needed or not.
const PROGRAMS: [(&str, &str, &str, &str, bool); 6] = [
    ("git", "--version", "git", "no checkout can be made", true),
    ("tmux", "-V", "tmux", "shells would not survive a lost connection", true),
    ("redis-server", "--version", "redis-server", "workspaces that declare `redis` stay blocked", false),
    ("zstd", "--version", "zstd", "the box can't be backed up", false),
    ("ip", "-V", "iproute2", "workspaces get no network of their own", false),
    ("nft", "--version", "nftables", "what workspaces may reach can't be limited", false),
];

pub(super) fn checks(arguments: &DoctorArguments) -> Vec<Check> {
    let mut checks = vec![user()];
    checks.push(match Binaries::find(arguments.postgres_bin.as_deref(), None) {
        Ok(found) => Check::ok("postgresql", format!("version {} in {}", found.version, found.dir.display())),
        Err(error) => Check::of_error("postgresql", &error),
    });
    if is_root() {
        checks.push(match Account::resolve("postgres", "--postgres-user") {
            Ok(account) => Check::ok("postgres user", format!("user id {}", account.uid)),
            Err(error) => Check::of_error("postgres user", &error),
        });
    }
    checks.extend(PROGRAMS.iter().map(program));
    let directory = arguments.place.data_dir.clone().unwrap_or_else(|| PathBuf::from("/var/lib"));
    checks.extend(disk(&directory));
    checks.push(memory());
    checks
}

fn user() -> Check {
    if is_root() {
        return Check::ok("user", "root: each role gets a user of its own");
    }
    Check::warning(
        "user",
        "not root: workspaces of a box share one Linux user and this machine's network, and have no limits",
        "run `envforged all` as root for full isolation",
    )
}

fn program((name, flag, package, without, is_needed): &(&'static str, &str, &str, &str, bool)) -> Check {
    // The host looks there too, whatever PATH says.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|path| path.is_file());
    let Some(path) = found else {
        let (cause, fix) = (format!("not installed: {without}"), format!("apt-get install {package}"));
        return if *is_needed { Check::failed(name, cause, fix) } else { Check::warning(name, cause, fix) };
    };
    #[expect(clippy::disallowed_methods, reason = "asks a program for its version")]
    let output = Command::new(&path).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.lines().next().unwrap_or_default().trim();
    Check::ok(name, if version.is_empty() { path.display().to_string() } else { version.to_owned() })
}

fn disk(directory: &Path) -> Vec<Check> {
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let Ok(disk) = statvfs(existing) else { return Vec::new() };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let said = format!("{:.1} GB free at {}", free as f64 / GB as f64, existing.display());
    let fix = "free some, or give another directory with --data-dir";
    let space = match free {
        0..GB => Check::failed("disk", format!("{said}: databases and checkouts would fail"), fix),
        GB..5_000_000_000 => {
            Check::warning("disk", format!("{said}: a few checkouts with their packages fill it"), fix)
        }
        _ => Check::ok("disk", said),
    };
    // Some file systems have no fixed number.
    let inodes = (disk.f_files > 0 && disk.f_favail < 100_000).then(|| {
        Check::warning("inodes", format!("{} files can still be made at {}", disk.f_favail, existing.display()), fix)
    });
    [Some(space), inodes].into_iter().flatten().collect()
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let bytes = kilobytes.unwrap_or_default() * 1024;
    let said = format!("{:.1} GB", bytes as f64 / GB as f64);
    if bytes < 2 * GB {
        return Check::warning(
            "memory",
            format!("{said}: less than one small runtime"),
            "use a machine with 4 GB or more",
        );
    }
    Check::ok("memory", said)
}

//! What would undo the rest: mounts, namespaces, the kernel's own knobs.

use super::attempt::{Attempt, Control, attempt, try_all};
use super::scene::{Scene, Standpoint};
use crate::support::is_root;
use envforge_host::sys::sandbox::Protection;

use Control::{Host, Without};

/// System calls that root of the machine may make, and nobody in a sandbox. Where one would harm the machine, its arguments are
/// such that the kernel would refuse them once it has allowed the call.
const OF_ROOT: &[&str] = &[
    "mount",
    "remount",
    "umount",
    "fsopen",
    "fspick",
    "open-tree",
    "open-tree-attr",
    "chroot",
    "pivot-root",
    "unshare-mount",
    "unshare-pid",
    "unshare-net",
    "unshare-ipc",
    "unshare-uts",
    "unshare-cgroup",
    "unshare-time",
    "setns",
    "sethostname",
    "settimeofday",
    "syslog",
    "reboot",
    "swapon",
    "acct",
    "init-module",
    "delete-module",
    "kexec",
    "bpf",
    "perf",
    "fanotify",
    "userfaultfd",
    "io-uring",
    "terminal-input",
];

/// Those that any user may make, were it not for the filter.
const OF_ANYBODY: &[&str] = &["unshare-user", "clone-user", "clone3-user", "session-keyring", "add-key", "personality"];

/// What is read or written to rule the machine.
const FILES: &[(&str, &str)] = &[
    ("open-write", "/proc/sys/kernel/core_pattern"),
    ("open-write", "/proc/sys/kernel/hostname"),
    ("open-write", "/proc/sys/kernel/modprobe"),
    ("open-write", "/proc/sys/vm/drop_caches"),
    ("open-write", "/proc/sys/net/ipv4/ip_forward"),
    ("open-write", "/proc/sys/fs/file-max"),
    ("open-write", "/proc/sysrq-trigger"),
    ("open-read", "/proc/kcore"),
    ("open-read", "/proc/kmsg"),
    ("open-read", "/proc/kpageflags"),
    ("open-write", "/dev/kmsg"),
    ("open-read", "/dev/mem"),
    ("open-read", "/dev/kvm"),
    ("open-read", "/dev/fuse"),
    ("open-read", "/dev/loop-control"),
    ("open-read", "/dev/loop0"),
    ("open-read", "/dev/net/tun"),
    ("open-read", "/dev/vda"),
    ("open-read", "/dev/sda"),
    ("open-read", "/dev/nvme0n1"),
    ("open-read", "/dev/console"),
];

fn attempts() -> Vec<Attempt> {
    const WITHOUT_ROOT: &[Standpoint] = &[Standpoint::Shell, Standpoint::Runtime];
    let filter = Without(Protection::SystemCalls);
    let mut attempts: Vec<Attempt> =
        OF_ROOT.iter().map(|call| attempt(*call, format!("$PROBE call {call}"), Host)).collect();
    attempts.extend(OF_ANYBODY.iter().map(|call| attempt(*call, format!("$PROBE call {call}"), filter)));
    attempts.extend(
        FILES
            .iter()
            .map(|(how, path)| attempt(format!("{how} {path}"), format!("$PROBE {how} {path}"), Host).needs(path)),
    );
    attempts.extend([
        attempt("a mount of control groups", "mkdir -p $TMP/cg && mount -t cgroup2 none $TMP/cg", Host)
            .needs("/sys/fs/cgroup"),
        attempt("a mount of a machine's devices", "mkdir -p $TMP/dev && mount -t devtmpfs none $TMP/dev", Host),
        attempt("a mount of another root", "mkdir -p $TMP/b && mount --bind /usr $TMP/b", Host),
        attempt("another user", "$PROBE call setuid", Host).from(WITHOUT_ROOT),
        attempt("another group", "$PROBE call setgroups", Host).from(WITHOUT_ROOT),
        attempt("a socket to the hypervisor", "$PROBE socket 40 1 0", filter),
        attempt("a socket to the kernel's cryptography", "$PROBE socket 38 5 0", filter),
    ]);
    #[cfg(target_arch = "x86_64")]
    attempts.extend([
        attempt("the processor's ports", "$PROBE call iopl", Host),
        attempt("the calls of x32", "$PROBE call x32", filter),
        attempt("the calls of 32-bit programs", "$PROBE call ia32", filter).needs("/proc/sys/abi/vsyscall32"),
    ]);
    attempts
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kernel() {
    if is_root() {
        try_all(&Scene::new().await, &attempts()).await;
    }
}

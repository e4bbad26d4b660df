//! The cgroup tests and what every engine must do on a kernel that has cgroup v2 and nothing else, whatever this machine has.
//!
//! A virtual machine under emulation boots a distribution's kernel with this very test program as its only content, and
//! runs the tests of [`super::cgroups`] and [`super::conformance`] in it, with compressed memory as swap. Emulated, because a machine that runs
//! tests is often virtual itself; it takes about ten seconds. `./dev test` fetches kernel and emulator.

mod archive;

use archive::Archive;
use envforge_host::sys::command::std_command;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// Set inside: there the tests must find what they need.
pub(crate) const INSIDE: &str = "ENVFORGE_TEST_IN_VM";
/// A folder with the unpacked package of a kernel: `boot/vmlinuz-*` and `lib/modules`.
const KERNEL: &str = "ENVFORGE_TEST_KERNEL";
const EMULATOR: &str = "qemu-system-x86_64";
const BUSYBOX: &str = "/bin/busybox";
/// It boots and tests in ten seconds on a machine with nothing else to do.
const LIMIT: Duration = Duration::from_mins(4);
/// Compressed memory as swap, and what a root terminal writes over; newer kernels have what the first needs built in.
const MODULES: [&str; 4] =
    ["crypto/lzo-rle.ko", "mm/zsmalloc.ko", "drivers/block/zram/zram.ko", "fs/overlayfs/overlay.ko"];
/// The loader, where every program looks for it.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Leaves the kernel's first root, because nothing can pivot away from that, and becomes `start`.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t tmpfs -o mode=755 root /new
/bin/busybox cp -a /bin /etc /lib /lib64 /sbin /usr /it /start /modules /new/
/bin/busybox mkdir /new/proc /new/sys /new/dev /new/tmp /new/run /new/root /new/var /new/home
/bin/busybox mkdir -m 1777 /new/var/tmp
exec /bin/busybox switch_root /new /start
";
/// The second serial line is the tests' alone: the kernel writes to the first whenever it likes.
const START: &str = "#!/bin/busybox sh
/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
for module in /modules/*; do insmod $module; done
echo 512M > /sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0
ENVFORGE_TEST_IN_VM=1 /it cgroups:: conformance::with_cgroups:: --test-threads 1 > /dev/ttyS1 2>&1
echo ended: $? > /dev/ttyS1
poweroff -f
";

// proves RUN-2, RUN-4, RUN-5
#[test]
fn limits_freezer_kill_and_reclaim_hold_on_cgroup_v2_alone() {
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().expect("directory");
    let (initrd, console, said) = (dir.path().join("initrd"), dir.path().join("console"), dir.path().join("said"));
    std::fs::write(&initrd, content(&kernel)).expect("write");
    let mut machine = boot(&image(&kernel), &initrd, [&console, &said]);
    let end = Instant::now() + LIMIT;
    let ended = loop {
        match machine.0.try_wait().expect("wait") {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let said = read(&said);
    let told = || format!("{said}\nits console:\n{}", read(&console));
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {}", told());
    assert!(said.contains("test result: ok.") && said.contains("ended: 0"), "{}", told());
    // None was left out, also not the one that needs swap.
    for test in [
        "cgroups::a_kill_leaves_nothing_frozen_or_not",
        "cgroups::what_a_frozen_service_holds_is_given_back_and_comes_again",
        "conformance::with_cgroups::an_end_takes_everything",
    ] {
        assert!(said.contains(&format!("{test} ... ok")), "{}", told());
    }
}

/// The kernel's folder, or `None` where there is none and it is not asked for.
fn kernel() -> Option<PathBuf> {
    let missing = |what: &str| {
        assert!(std::env::var_os("CI").is_none(), "{what}; CI installs it by `./dev test`");
        #[expect(clippy::print_stderr, reason = "a test that is not run must be seen")]
        {
            eprintln!("NOT RUN: {what}; `./dev test` installs it");
        }
        None
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(EMULATOR).exists()) {
        return missing(&format!("{EMULATOR} is not installed"));
    }
    if !Path::new(BUSYBOX).exists() {
        return missing(&format!("{BUSYBOX} is not installed"));
    }
    match std::env::var_os(KERNEL) {
        Some(kernel) => Some(PathBuf::from(kernel)),
        None => missing(&format!("{KERNEL} names no kernel")),
    }
}

fn image(kernel: &Path) -> PathBuf {
    let entries = std::fs::read_dir(kernel.join("boot")).expect("the kernel's package");
    let mut paths = entries.map(|entry| entry.expect("entry").path());
    paths
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .expect("a kernel")
}

/// Its first root: this program with its libraries, a shell, the modules.
fn content(kernel: &Path) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in
        ["bin", "dev", "etc", "lib", "lib64", "modules", "new", "proc", "sbin", "sys", "usr", "usr/bin", "usr/sbin"]
    {
        archive.folder(folder);
    }
    archive.program("init", INIT.as_bytes());
    archive.program("start", START.as_bytes());
    archive.program("bin/busybox", &std::fs::read(BUSYBOX).expect("busybox"));
    let own = std::env::current_exe().expect("own path");
    let stripped = tempfile::NamedTempFile::new().expect("file");
    // What a debugger wants is nine tenths of it.
    let strip = std_command("strip").arg("-o").arg(stripped.path()).arg(own).status().expect("strip");
    assert!(strip.success());
    archive.program("it", &std::fs::read(stripped.path()).expect("own program"));
    for library in libraries() {
        let bytes = std::fs::read(&library).expect("library");
        let name = library.file_name().expect("a name").to_string_lossy().into_owned();
        // Where the loader looks without being told.
        let place = if LOADER.ends_with(&name) { LOADER.to_owned() } else { format!("/lib/{name}") };
        archive.program(place.trim_start_matches('/'), &bytes);
    }
    let modules = std::fs::read_dir(kernel.join("lib/modules")).expect("modules").next().expect("one").expect("entry");
    for (number, module) in MODULES.iter().enumerate() {
        if let Ok(bytes) = std::fs::read(modules.path().join("kernel").join(module)) {
            archive.program(&format!("modules/{number}.ko"), &bytes);
        }
    }
    archive.finish()
}

/// What this program is linked with: it is mapped into this process.
fn libraries() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    let mut libraries: Vec<PathBuf> = paths.filter(|path| path.contains(".so")).map(PathBuf::from).collect();
    libraries.sort();
    libraries.dedup();
    libraries
}

/// A running machine, ended with this.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot(kernel: &Path, initrd: &Path, serials: [&Path; 2]) -> Machine {
    let mut command = std_command(EMULATOR);
    command.args(["-M", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    command.args(["-append", "console=ttyS0 quiet panic=-1"]);
    for serial in serials {
        command.arg("-serial").arg(format!("file:{}", serial.display()));
    }
    Machine(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the emulator"))
}

//! A disk that is full, to the last byte.

use super::machine::{Machine, Ws, open};
use super::server::mint;
use super::shell::PLAIN;
use crate::support::{is_root, wait_until};
use envforge_api::host::{HostCommand, Order, Outcome};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const LOW: &str = "host.disk_low";

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_what_is_new_and_the_host_forgets_nothing() {
    if !is_root() {
        return;
    }
    let disk = Disk::new();
    let mut machine = Machine::without_daemon(PLAIN, &[]);
    machine.config.data_dir = disk.path().join("host");
    machine.start().await;
    let ws = machine.workspace().await;
    wait_until("spares", async || machine.config.data_dir.join("spare/7").exists()).await;
    disk.fill();

    let other = Ws { id: mint() };
    let new = machine.server.command(other.id, 1, machine.prepare_order("feature/other"));
    refused(&machine, &new).await;
    refused(&machine, &machine.server.command(mint(), 1, machine.fork_order(ws, "feature/fork"))).await;
    assert!(!machine.place(other).exists());
    wait_until("the server is told", async || machine.server.trouble().is_some_and(|it| it.code == LOW)).await;
    for generation in 2..40 {
        disk.fill();
        assert_eq!(machine.order(ws, generation, Order::FreezeRuntime).await, Outcome::Done);
    }
    machine.stop().await;
    machine.start().await;
    assert_eq!(machine.order(ws, 38, Order::FreezeRuntime).await, Outcome::Stale);

    disk.make_room();
    wait_until("the server is told", async || machine.server.trouble().is_none()).await;
    let again = machine.server.command(other.id, 2, machine.prepare_order("feature/other"));
    assert_eq!(machine.server.obeyed(&again).await, Outcome::Done);
}

async fn refused(machine: &Machine, command: &HostCommand) {
    let Outcome::Failed(trouble) = machine.server.obeyed(command).await else { panic!("it was done") };
    assert_eq!(trouble.code, LOW);
    assert!(trouble.cause.contains("0 MB left") && trouble.fix.contains("delete workspaces"), "{trouble:?}");
}

/// A filesystem of 64 MiB.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ef").tempdir().expect("directory");
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(c"size=64m")).expect("mount");
        open(dir.path());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes whatever is free, as a program does that writes on and on.
    fn fill(&self) {
        let mut filler = std::fs::OpenOptions::new().create(true).append(true).open(self.filler()).expect("open");
        while filler.write_all(&[1; 4_096]).is_ok() {}
        let full = std::fs::write(self.path().join("more"), "x").expect_err("it is full");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("remove");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

//! What services say is kept.

use std::path::Path;

use envforge_host::sys::cgroup::Layer;

use super::support::{Workspace, is_root, shell, wait_until};

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread")]
async fn output_is_kept_line_by_line_with_time_and_stream() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let mut spawn = shell("echo one; echo two >&2; printf unfinished");
    spawn.log = Some("web".to_owned());
    running.client.spawn(spawn).await.expect("spawn");
    let path = ws.path("logs/web.log");
    wait_until("three lines", async || read(&path).lines().count() == 3).await;
    let text = read(&path);
    for wanted in [" stdout one", " stderr two", " stdout unfinished"] {
        let line = text.lines().find(|line| line.ends_with(wanted)).unwrap_or_else(|| panic!("{wanted}: {text}"));
        let stamp = line.split(' ').next().expect("stamp");
        assert_eq!(stamp.len(), "2025-11-21T06:30:00.123Z".len(), "{line}");
        stamp.parse::<jiff::Timestamp>().expect("a time");
    }
    // Readable by the host, not by what runs: the directory is not mounted.
    let ran = running.run("find / -name 'web.log*' 2>/dev/null").await;
    assert_eq!(ran.text, "");
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_rotated_and_nothing_of_the_newest_is_lost() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let mut spec = ws.spec(Layer::Runtime);
    spec.log_max_bytes = 64 * 1024;
    let running = ws.start_with(Layer::Runtime, spec).await;
    let mut spawn = shell("seq 1 20000");
    spawn.log = Some("web".to_owned());
    running.client.spawn(spawn).await.expect("spawn");
    let logs = ws.path("logs");
    wait_until("the last line", async || read(&logs.join("web.log")).ends_with(" stdout 20000\n")).await;
    let all = ["web.log.2", "web.log.1", "web.log"].map(|name| read(&logs.join(name)));
    assert!(all.iter().all(|text| !text.is_empty() && text.len() <= 64 * 1024));
    assert!(!logs.join("web.log.3").exists());
    let numbers: Vec<u32> = all
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}")))
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no gap");
    assert_eq!(numbers.last(), Some(&20_000));
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_lines_and_nothing_else() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let disk = ws.path("disk");
    std::fs::create_dir(&disk).expect("directory");
    let _mounted = Mounted::small_disk(&disk);
    std::os::unix::fs::chown(&disk, Some(ws.uid), Some(ws.uid)).expect("owner");
    let mut spec = ws.spec(Layer::Runtime);
    spec.log_dir = Some(disk.clone());
    let running = ws.start_with(Layer::Runtime, spec).await;
    let mut spawn = shell("seq 1 20000; echo filled > filled; while [ ! -e room ]; do sleep 0.02; done; echo after");
    spawn.log = Some("web".to_owned());
    let name = spawn.name.clone();
    running.client.spawn(spawn).await.expect("spawn");
    wait_until("the service is not held up", async || ws.path("checkout/filled").exists()).await;
    wait_until("counted", async || running.client.list().await.expect("list").dropped_log_lines > 0).await;
    std::fs::write(disk.join("web.log"), "").expect("truncate");
    std::fs::write(ws.path("checkout/room"), "").expect("write");
    assert_eq!(running.exit_code(&name).await, Some(0));
    wait_until("resumed", async || read(&disk.join("web.log")).contains(" stdout after\n")).await;
    let text = read(&disk.join("web.log"));
    let dropped = running.client.list().await.expect("list").dropped_log_lines;
    assert!(text.contains(&format!(" stderr {dropped} lines were lost: the disk was full\n")), "{text}");
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread")]
async fn a_log_leaves_free_what_others_are_to_find() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let disk = ws.path("disk");
    std::fs::create_dir(&disk).expect("directory");
    let _mounted = Mounted::small_disk(&disk);
    std::os::unix::fs::chown(&disk, Some(ws.uid), Some(ws.uid)).expect("owner");
    let mut spec = ws.spec(Layer::Runtime);
    spec.log_dir = Some(disk.clone());
    spec.log_leaves_free = 64 * 1024;
    std::fs::write(disk.join("others"), vec![1; 80 * 1024]).expect("write");
    let running = ws.start_with(Layer::Runtime, spec).await;
    let mut spawn = shell("echo before; while [ ! -e room ]; do sleep 0.02; done; echo after");
    spawn.log = Some("web".to_owned());
    let name = spawn.name.clone();
    running.client.spawn(spawn).await.expect("spawn");
    wait_until("counted", async || running.client.list().await.expect("list").dropped_log_lines == 1).await;
    std::fs::remove_file(disk.join("others")).expect("remove");
    std::fs::write(ws.path("checkout/room"), "").expect("write");
    assert_eq!(running.exit_code(&name).await, Some(0));
    wait_until("resumed", async || read(&disk.join("web.log")).contains(" stdout after\n")).await;
    let text = read(&disk.join("web.log"));
    assert!(text.contains(" stderr 1 lines were lost: the disk was full\n") && !text.contains("before"), "{text}");
}

/// A file system of 128 KiB.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn small_disk(path: &'a Path) -> Self {
        rustix::mount::mount("tmpfs", path, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=128k"))
            .expect("mount");
        Self(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

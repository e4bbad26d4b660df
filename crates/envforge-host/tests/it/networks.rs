//! Network namespaces: pinned, entered by sockets only, and read for what listens in them.

use std::io::ErrorKind;

use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::{netns, ports};

use super::support::{Workspace, ask, inside, is_root, wait_until};

#[test]
fn a_namespace_can_be_made_and_removed_twice() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("net");
    let own = std::fs::read_link("/proc/thread-self/ns/net").expect("own");
    netns::create(&path).expect("create");
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("stat"));
    let first = inode(&path);
    netns::create(&path).expect("twice");
    assert_eq!(inode(&path), first, "the same one");
    assert!(netns::exists(&path));
    let refused = netns::connect_tcp(&path, 9).expect_err("nothing listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    netns::destroy(&path).expect("destroy");
    netns::destroy(&path).expect("twice");
    assert!(!path.exists());
    let gone = netns::connect_tcp(&path, 9).expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").expect("own"), own);
}

// proves RUN-7
#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_found_with_its_owner_and_reached_on_either_loopback() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let six = running.client.spawn(inside("six", &["serve", "[::1]:80", "six"])).await.expect("spawn");
    wait_until("server", async || netns::connect(&ws.netns, 80).await.is_ok()).await;
    assert_eq!(ask(&netns::connect_tcp(&ws.netns, 80).expect("connect"), "x").expect("answer"), "six x");
    running.serve(&ws, 3000, "four").await;

    let found = ports::listening_ports(running.sandbox.pid()).expect("ports");
    let mut numbers: Vec<u16> = found.iter().map(|port| port.port).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [80, 3000]);
    assert!(found.iter().all(ports::ListeningPort::is_loopback));
    let http = found.iter().find(|port| port.port == 80).expect("80");
    let pids = running.group.pids().expect("pids");
    let owner = ports::owner_of(http.inode, &pids).expect("owner");
    let leader = six.host_pid.expect("pid");
    assert_eq!(ports::leader_of(owner, &[leader]), Some(leader));
    let inodes: Vec<u64> = found.iter().map(|port| port.inode).collect();
    assert_eq!(ports::owners_of(&inodes, &pids).len(), 2);
    assert_eq!(ports::leader_of(owner, &[1]), None);

    // No thread of this program is in the workspace's namespace, save the one for sockets.
    let host = std::fs::read_link("/proc/self/ns/net").expect("host");
    for task in std::fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if let Ok(namespace) = std::fs::read_link(task.path().join("ns/net"))
            && !name.starts_with("netns-")
            && !name.starts_with("host-")
        {
            assert_eq!(namespace, host, "thread {name}");
        }
    }
}

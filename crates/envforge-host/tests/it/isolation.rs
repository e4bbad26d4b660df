//! How a sandbox looks from within: what is shared, what is missing, who one is. What is *tried* from within, and what shows that
//! it could have succeeded, is in [`super::escape`].

use std::collections::BTreeMap;

use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::netns;
use envforge_host::sys::sandbox::Bind;

use super::support::{LIMIT, Workspace, ask, inside, is_root, shell, wait_until};

// proves RUN-7
#[tokio::test(flavor = "multi_thread")]
async fn every_workspace_uses_the_same_port() {
    if !is_root() {
        return;
    }
    let (one, two) = (Workspace::new(), Workspace::new());
    let (first, second) = (one.start(Layer::Runtime).await, two.start(Layer::Runtime).await);
    first.serve(&one, 3000, "one").await;
    second.serve(&two, 3000, "two").await;
    let one_says = ask(&netns::connect_tcp(&one.netns, 3000).expect("connect"), "hi").expect("answer");
    let two_says = ask(&netns::connect_tcp(&two.netns, 3000).expect("connect"), "hi").expect("answer");
    assert_eq!((one_says.as_str(), two_says.as_str()), ("one hi", "two hi"));
    // And through the init, without entering the namespace.
    let stream = first.client.connect_port(3000).await.expect("connect");
    stream.set_nonblocking(false).expect("blocking");
    assert_eq!(ask(&stream, "again").expect("answer"), "one again");
}

// proves UP-2
#[tokio::test(flavor = "multi_thread")]
async fn shell_and_runtime_share_network_and_checkout_only() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let (shell_box, runtime) = (ws.start(Layer::Shell).await, ws.start(Layer::Runtime).await);
    runtime.serve(&ws, 3000, "api").await;
    let connected = shell_box.run_spawn(inside("c", &["connect", "localhost:3000"])).await;
    assert_eq!(connected.text, "connected\n");
    assert_eq!(shell_box.run("echo text > file; cat file").await.text, "text\n");
    assert_eq!(runtime.run("cat file").await.text, "text\n");
    let namespaces = "for n in mnt pid ipc uts cgroup user net; do readlink /proc/self/ns/$n; done";
    let (of_shell, of_runtime) = (shell_box.run(namespaces).await.text, runtime.run(namespaces).await.text);
    let shared: Vec<&str> = of_shell.lines().filter(|line| of_runtime.contains(*line)).collect();
    assert!(matches!(shared[..], [user, net] if user.starts_with("user:") && net.starts_with("net:")), "{shared:?}");
    runtime.run("echo x > /tmp/mine; echo x > /dev/shm/mine").await;
    assert_eq!(shell_box.run("ls /tmp /dev/shm").await.text, "/dev/shm:\n\n/tmp:\n");
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_service_are_out_of_the_shells_reach() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let (shell_box, runtime) = (ws.start(Layer::Shell).await, ws.start(Layer::Runtime).await);
    let mut service = shell("exec sleep 1000");
    service.env = BTreeMap::from([("DATABASE_URL".to_owned(), "hunter2".to_owned())]);
    assert!(!format!("{service:?}").contains("hunter2"), "a secret is never printed");
    runtime.client.spawn(service).await.expect("spawn");
    let read = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c hunter2";
    wait_until("exec", async || runtime.run(read).await.text.trim() != "0").await;
    assert_eq!(shell_box.run(read).await.text, "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_not_visible() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Shell).await;
    std::fs::write(ws.path("outside"), "x").expect("write");
    let outside = ws.path("outside");
    let ran = running
        .run(&format!(
            "ls {} /root /etc/shadow /etc/ssh /sys/fs /boot /work 2>&1 | grep -v 'No such file'",
            outside.display()
        ))
        .await;
    assert_eq!(ran.text, "", "each is missing");
    assert_eq!(
        running.run("cat /proc/1/comm; ls /proc | grep -c '^[0-9]'").await.text.lines().next(),
        Some("envforge-init")
    );
    assert_eq!(running.run("hostname; id -un; pwd; umask").await.text, format!("{}\ndev\n/workspace\n0022\n", ws.name));
    let ran = running.run("touch /usr/x /etc/x /x /proc/sys/kernel/x 2>&1; echo y > /usr/bin/env").await;
    assert_eq!(ran.text.matches("touch:").count(), 4, "{ran:?}");
    // Besides its own three streams a process finds nothing open (4 is `ls` reading the directory).
    assert_eq!(running.run("exec ls /proc/self/fd").await.text, "0\n1\n2\n3\n");
    let mounts = running.run("cat /proc/self/mountinfo").await.text;
    assert!(mounts.lines().all(|line| line.contains("nosuid")), "{mounts}");
    assert!(!mounts.contains("/old"), "{mounts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_sandbox_has_or_gets_a_privilege() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let status = running.run("cat /proc/self/status").await.text;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:"), field("Groups:")), ("1".into(), "2".into(), String::new()));
    let uid = ws.uid;
    assert_eq!(field("Uid:"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(field("SigBlk:"), "0000000000000000");
    let ignored = u64::from_str_radix(&field("SigIgn:"), 16).expect("a number");
    // 32 and 33 are the C library's own and can't be set by programs.
    assert_eq!(ignored & !(0b11 << 31), 0, "{ignored:x}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_in_a_checkout_is_not_followed_by_a_mount() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let victim = ws.path("victim");
    std::fs::create_dir(&victim).expect("directory");
    std::os::unix::fs::symlink(&victim, ws.path("checkout/link")).expect("link");
    std::os::unix::fs::symlink("/etc", ws.path("checkout/etc")).expect("link");
    for target in ["/workspace/link/made", "/workspace/etc", "/workspace/etc/made"] {
        let mut spec = ws.spec(Layer::Shell);
        spec.binds.push(Bind::read_only(ws.path("home"), target));
        let started = envforge_host::sys::sandbox::Starter::new("/proc/self/exe").start(&spec, LIMIT).await;
        let error = started.expect_err("refused").to_string();
        assert!(error.starts_with(&format!("sandbox: make {target} in the sandbox: ")), "{error}");
    }
    assert_eq!(std::fs::read_dir(&victim).expect("read").count(), 0);
    assert!(!std::path::Path::new("/etc/made").exists());
}

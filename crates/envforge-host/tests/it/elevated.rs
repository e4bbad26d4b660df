//! Root in an elevated sandbox: over the workspace's own files and processes. That it is over nothing else is tried in
//! [`super::escape`].

use super::support::{LIMIT, Running, Workspace, is_root, shell, wait_until};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::sandbox::SandboxSpec;
use std::os::unix::fs::MetadataExt as _;

async fn elevated(ws: &Workspace) -> Running {
    let mut spec = ws.spec(Layer::Elevated);
    spec.elevated = Some(ws.uid * 100);
    spec.log_dir = None;
    spec.environment.insert("HOME".to_owned(), "/root".to_owned());
    ws.start_with(Layer::Elevated, spec).await
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread")]
async fn root_inside_is_the_workspaces_user_outside() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let root = elevated(&ws).await;
    assert_eq!(
        root.run("id -u; id -un; id -g; id -G; echo $HOME; pwd").await.text,
        "0\nroot\n0\n0\n/root\n/workspace\n"
    );
    let ran = root
        .run(
            "echo x > mine && touch theirs && chown 33:42 theirs && chmod 600 theirs && cat theirs && echo y >> theirs",
        )
        .await;
    assert_eq!((ran.code, ran.text.as_str()), (Some(0), ""), "root owns, gives away and still reads");
    let owner = |name: &str| {
        let metadata = std::fs::metadata(ws.path("checkout").join(name)).expect("there");
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owner("mine"), (ws.uid, ws.uid));
    let first = ws.uid * 100;
    assert_eq!(owner("theirs"), (first + 32, first + 41), "a further id of this workspace");
    let spawned = root.client.spawn(shell("exec sleep 1000")).await.expect("spawn");
    let status = std::fs::read_to_string(format!("/proc/{}/status", spawned.host_pid.expect("pid"))).expect("status");
    let uid = ws.uid;
    assert!(
        status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")),
        "on the machine it is nobody's root: {status}"
    );
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID.
    assert!(status.contains("CapBnd:\t00000000000000fb"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread")]
async fn the_system_can_be_written_and_the_machine_is_not() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let root = elevated(&ws).await;
    let name = format!("ef-{}", ws.uid);
    let install = format!(
        "printf '#!/bin/sh\\necho mine' > /usr/local/bin/{name} && chmod +x /usr/local/bin/{name} && {name} \
         && mkdir -p /usr/share/{name} /var/lib/{name} && chown www-data /usr/share/{name} && stat -c %U /usr/share/{name} \
         && ln -sf /bin/true /usr/bin/env && /usr/bin/env || id"
    );
    assert_eq!(root.run(&install).await.text, "mine\nwww-data\n");
    assert!(!std::path::Path::new("/usr/local/bin").join(&name).exists());
    assert!(std::fs::symlink_metadata("/usr/bin/env").expect("there").is_file(), "the machine's own is as it was");
    // Not what the machine keeps for its own root, and nothing in place.
    let ran = root.run("echo x >> /usr/bin/id").await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    drop(root);
    let other = Workspace::new();
    let again = elevated(&other).await;
    assert_ne!(again.run(&name).await.code, Some(0), "gone with the sandbox");
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread")]
async fn root_ends_with_whoever_started_it() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let root = elevated(&ws).await;
    let left = "setsid -f sleep 4321; trap '' TERM HUP; sleep 4321 & sleep 4321 & wait";
    root.client.spawn(shell(left)).await.expect("spawn");
    wait_until("three sleepers", async || root.group.pids().expect("pids").len() >= 5).await;
    // A second connection that ends changes nothing, the first takes everything with it.
    drop(root.sandbox.connect().await.expect("another"));
    assert_eq!(root.run("echo there").await.text, "there\n");
    let Running { sandbox, client, group } = root;
    drop(client);
    tokio::time::timeout(LIMIT, sandbox.ended()).await.expect("in time").expect("ended");
    wait_until("nothing", async || group.pids().expect("pids").is_empty()).await;
}

#[tokio::test]
async fn a_specification_that_would_be_real_root_is_refused() {
    let mut spec = SandboxSpec::new("x", 1000, 1000, "/tmp/x");
    for (elevated, rootless) in [(0, false), (950, false), (u32::MAX - 5, false), (100_000, true)] {
        (spec.elevated, spec.rootless) = (Some(elevated), rootless);
        assert_eq!(spec.validate().expect_err("refused").field, "elevated", "{elevated} {rootless}");
    }
    (spec.elevated, spec.rootless) = (Some(100_000), false);
    spec.validate().expect("good");
}

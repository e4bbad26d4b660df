//! Without root: weaker, and honest about it.

use std::os::unix::process::CommandExt;

use envforge_host::init::protocol::{Program, Spawn};
use envforge_host::sys::capability;
use envforge_host::sys::command::std_command;
use envforge_host::sys::sandbox::{Bind, SandboxSpec, Starter};

use super::entry::INSIDE;
use super::support::{LIMIT, is_root};

/// What the unprivileged copy of this program does: the daemon's part.
#[expect(clippy::print_stdout, reason = "a program of its own")]
pub(crate) fn inside(spec: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        match capability::probe() {
            Ok(isolation) => println!("rootless {} full {}", isolation.rootless, isolation.full),
            Err(error) => {
                println!("refused: {error}");
                return;
            }
        }
        let spec: SandboxSpec = serde_json::from_str(spec).expect("specification");
        let sandbox = Starter::new("/proc/self/exe").start(&spec, LIMIT).await.expect("sandbox");
        let client = sandbox.connect().await.expect("client");
        let spawn = Spawn::new(
            "whoami",
            Program::Shell(
                "id -un; id -u; ls -A /proc | grep -c '^[0-9]'; cat /proc/self/uid_map; ls /root".to_owned(),
            ),
        );
        let spawn = Spawn { log: Some("who".to_owned()), ..spawn };
        client.spawn(spawn).await.expect("spawn");
        super::support::wait_until("exit", async || {
            let state = client.list().await.expect("list");
            state.processes.iter().any(|p| p.state != envforge_host::init::protocol::ProcessState::Running)
        })
        .await;
        sandbox.kill().expect("kill");
        sandbox.ended().await.expect("ended");
        println!("done");
    });
}

#[test]
fn a_sandbox_works_without_root() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").expect("directory");
    let user = 65_000;
    for name in ["", "checkout", "logs", "control"] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).expect("directory");
        std::os::unix::fs::chown(&path, Some(user), Some(user)).expect("owner");
    }
    let mut spec = SandboxSpec::new("rootless", 1000, 1000, dir.path().join("control/s"));
    spec.rootless = true;
    spec.log_dir = Some(dir.path().join("logs"));
    spec.binds = vec![Bind::writable(dir.path().join("checkout"), "/workspace")];
    // Build output may lie in a home directory that only its owner can enter.
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().expect("own path"), &program).expect("a copy");
    let output = std_command(&program)
        .args([INSIDE, "rootless", &serde_json::to_string(&spec).expect("json")])
        .uid(user)
        .gid(user)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.starts_with("refused: this machine can't run native sandboxes: ") {
        return;
    }
    assert_eq!(text, "rootless true full false\ndone\n");
    let log = std::fs::read_to_string(dir.path().join("logs/who.log")).expect("log");
    let lines: Vec<&str> = log.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    assert_eq!(&lines[..2], ["dev", "1000"], "{log}");
    assert!(lines[3].split_whitespace().eq(["1000", &user.to_string(), "1"]), "{log}");
    assert!(lines.iter().any(|line| line.contains("cannot access '/root'")), "{log}");
}

#[test]
fn the_probe_agrees_with_the_machine() {
    if !is_root() {
        return;
    }
    let isolation = capability::probe().expect("root can");
    assert!(!isolation.rootless);
    assert_eq!(isolation.full, isolation.reductions.is_empty(), "{isolation:?}");
}

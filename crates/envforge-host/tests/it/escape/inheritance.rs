//! What a sandbox gets from whoever started it: nothing that is open, no key, not the program itself; and its init does not
//! end when the sandbox tells it to.

use super::scene::{Scene, program, run_with_left, weakened};
use crate::support::{LIMIT, Workspace, is_root, wait_until};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::command::std_command;
use envforge_host::sys::sandbox::{Protection, landlock_version};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What is open in a process, and where it leads; `ls` itself has the directory open.
const OPEN: &str = "ls -l /proc/self/fd";

// proves ORG-3
#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_has_open_is_not_open_inside() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let planted = ws.path("left-open-by-the-daemon");
    std::fs::write(&planted, "a secret").expect("written");
    let file = std::fs::File::open(&planted).expect("opened");
    // One that is not closed when a program is run, as a daemon's own starter may have left it.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("inherited");
    let running = ws.start(Layer::Shell).await;
    let inside = running.run(OPEN).await;
    assert!(!inside.text.contains("left-open"), "{inside:?}");
    // Control: it is open in any other program that this process runs.
    let outside = std_command("sh").args(["-c", OPEN]).output().expect("run");
    assert!(String::from_utf8_lossy(&outside.stdout).contains("left-open"), "{outside:?}");
}

// proves ORG-3
#[test]
fn the_keys_of_the_daemon_are_not_keys_inside() {
    if !is_root() {
        return;
    }
    let description = format!("envforge-test-{}", std::process::id());
    if !super::probes::keep_key(&description) {
        // A kernel without keys, or a container that may not use them.
        return;
    }
    // What is started is started by this thread, and inherits its keyring.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let ws = Workspace::new();
        let running = ws.start(Layer::Shell).await;
        let look = format!("grep {description} /proc/keys");
        let inside = running.run(&look).await;
        assert!(!inside.text.contains(&description), "{inside:?}");
        // Control: another program of the same user finds it.
        let outside = std_command("sh").args(["-c", &look]).output().expect("run");
        assert!(outside.status.success(), "{outside:?}");
    });
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_that_is_the_init_can_not_be_run_inside() {
    if !is_root() || landlock_version() < 2 {
        return;
    }
    let scene = Scene::new().await;
    // Whoever starts a script runs what its first line names; until then, `/proc/self/exe` is the program that starts it,
    // the init's, which is the daemon's.
    let script = scene.machine.place(scene.one).join("checkout/tricky");
    std::fs::write(&script, "#!/proc/self/exe\n").expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let tricky = || program(&["/workspace/tricky"]);
    let refused = scene.own_runtime().client.spawn(tricky()).await.expect_err("refused").to_string();
    assert!(refused.contains("Permission denied"), "{refused}");
    // Control: without Landlock it is run.
    let weak = weakened(&scene, Protection::Landlock).await;
    let ran = run_with_left(&weak, tricky(), &std::fs::File::open("/dev/null").expect("null")).await;
    assert!(ran.text.contains("running 0 tests"), "{ran:?}");
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread")]
async fn an_init_can_not_be_stopped_or_killed_from_within() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let pid = running.sandbox.pid();
    for signal in ["KILL", "STOP", "SEGV", "ABRT", "TSTP"] {
        running.run(&format!("kill -{signal} 1")).await;
        tokio::time::timeout(LIMIT, running.client.ping()).await.expect("in time").expect("it answers");
    }
    // Control: the same signal from the machine's root.
    assert!(std_command("kill").args(["-KILL", &pid.to_string()]).status().expect("run").success());
    wait_until("its end", async || !running.sandbox.is_running()).await;
}

/// What debuggers do, among the processes of one sandbox.
// proves UP-4
#[tokio::test(flavor = "multi_thread")]
async fn processes_of_one_sandbox_can_be_debugged_there() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Shell).await;
    let probe = format!("/run/envforge/inside {} probe", crate::entry::INSIDE);
    let traced = running
        .run(&format!(
            "sleep 100 & {probe} ptrace $! && {probe} vm-read $! && {probe} pidfd-getfd $!; r=$?; kill $!; exit $r"
        ))
        .await;
    // With Yama's restriction only a process's own children may be traced, which is the machine's decision.
    let is_open =
        std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").map_or(true, |scope| scope.trim() == "0");
    assert!(!is_open || traced.code == Some(0), "{traced:?}");
    if Path::new("/usr/bin/strace").exists() {
        let ran = running.run("strace -f -e trace=execve sh -c '/bin/true; exit 7'").await;
        assert!(ran.text.contains("execve(\"/bin/true\"") && ran.code == Some(7), "{ran:?}");
    }
    if Path::new("/usr/bin/gdb").exists() {
        let ran = running.run("gdb -nx -batch -ex 'break exit' -ex run -ex bt -ex kill /bin/true 2>&1").await;
        assert!(ran.text.contains("Breakpoint 1, ") && ran.text.contains("#0 "), "{ran:?}");
    }
    // Not those of the other layer, which are the same user's.
    let other = ws.start(Layer::Runtime).await;
    let far = other.client.spawn(crate::support::shell("exec sleep 100")).await.expect("spawn").host_pid.expect("pid");
    assert_ne!(running.run(&format!("{probe} ptrace {far}")).await.code, Some(0));
}

/// Abstract sockets and signals work within a sandbox as ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_landlock_confines_works_within_a_sandbox() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let probe = format!("/run/envforge/inside {} probe", crate::entry::INSIDE);
    let line = format!(
        "{probe} serve-abstract within & until {probe} abstract within; do :; done && kill $! && mkdir -p a b && echo x > a/f && mv a/f b/f && ln b/f a/g && cat a/g && : > b/f"
    );
    let ran = running.run(&line).await;
    assert_eq!((ran.code, ran.text.lines().last()), (Some(0), Some("x")), "{ran:?}");
}

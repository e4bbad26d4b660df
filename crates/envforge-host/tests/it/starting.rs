//! Starting: fast, or with an error that says what is wrong, and then with nothing left behind.

use std::time::Duration;

use envforge_host::init::protocol::{Program, Spawn};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::sandbox::{Bind, GeneratedFile, Protection, SandboxError, SandboxSpec, Starter};

use tokio::time::Instant;

use super::support::{LIMIT, Workspace, is_root, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_step_and_nothing_is_left() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let starter = Starter::new("/proc/self/exe");
    let missing_bind = {
        let mut spec = ws.spec(Layer::Shell);
        spec.binds.push(Bind::writable("/nowhere", "/x"));
        spec
    };
    let missing_net = {
        let mut spec = ws.spec(Layer::Shell);
        spec.netns = Some("/nowhere/net".into());
        spec
    };
    let missing_group = {
        let mut spec = ws.spec(Layer::Shell);
        spec.cgroup_procs = vec!["/sys/fs/cgroup/nowhere/cgroup.procs".into()];
        spec
    };
    let missing_socket = {
        let mut spec = ws.spec(Layer::Shell);
        spec.control_socket = "/nowhere/socket".into();
        spec
    };
    for (spec, words) in [
        (missing_bind, "sandbox: bind /nowhere: No such file or directory"),
        (missing_net, "sandbox: network namespace /nowhere/net: No such file or directory"),
        (missing_group, "sandbox: join cgroup /sys/fs/cgroup/nowhere/cgroup.procs: No such file or directory"),
        (missing_socket, "sandbox: control socket /nowhere/socket: No such file or directory"),
    ] {
        let error = starter.start(&spec, LIMIT).await.expect_err("fails").to_string();
        assert!(error.starts_with(words), "{error}");
    }
    let not_an_init = Starter::new("/bin/true").start(&ws.spec(Layer::Shell), LIMIT).await.expect_err("fails");
    assert!(matches!(not_an_init, SandboxError::Died(_)), "{not_an_init}");
    let group = ws.group(Layer::Shell);
    wait_until("nothing left", async || group.pids().expect("pids").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_begins_all_sandboxes_is_replaced_when_it_dies_and_ends_with_its_owner() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let starter = Starter::new("/proc/self/exe");
    let spec = |number: usize| {
        let mut spec = ws.spec(Layer::Shell);
        spec.control_socket = ws.path(&format!("control/{number}"));
        spec
    };
    let (first, second) = (spec(1), spec(2));
    let (first, second) = tokio::join!(starter.start(&first, LIMIT), starter.start(&second, LIMIT));
    let (first, second) = (first.expect("first"), second.expect("second"));
    let begun_by = children();
    assert_eq!(begun_by.len(), 1, "one starter, and nothing that was not waited for: {begun_by:?}");
    // What it started does not notice its death, and the next start is as any other.
    rustix::process::kill_process(begun_by[0], rustix::process::Signal::KILL).expect("killed");
    let third = starter.start(&spec(3), LIMIT).await.expect("third");
    for sandbox in [&first, &second, &third] {
        sandbox.connect().await.expect("it serves");
    }
    wait_until("the dead one was waited for", async || children().len() == 1).await;
    let begun_by_another = children();
    assert_ne!(begun_by_another, begun_by);
    // One that dies while nothing is started is gone all the same.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", begun_by_another[0])).expect("name");
    assert_eq!(name, "sandbox-starter\n");
    rustix::process::kill_process(begun_by_another[0], rustix::process::Signal::KILL).expect("killed");
    wait_until("it was waited for without a start", async || children().is_empty()).await;
    let fourth = starter.start(&spec(4), LIMIT).await.expect("fourth");
    assert_eq!(children().len(), 1);
    drop(starter);
    wait_until("it ended with its owner", async || children().is_empty()).await;
    for sandbox in [first, second, third, fourth] {
        sandbox.connect().await.expect("it still serves");
        sandbox.kill().expect("kill");
        sandbox.ended().await.expect("ended");
    }
}

/// This process's own.
fn children() -> Vec<rustix::process::Pid> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.expect("a thread").path().join("children")).unwrap_or_default()
    };
    let pids: String = tasks.map(of_task).collect();
    pids.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)).collect()
}

#[test]
fn impossible_specifications_are_refused_before_anything_is_done() {
    let good = || SandboxSpec::new("web", 1000, 1000, "/run/x");
    good().validate().expect("good");
    let message = |change: &dyn Fn(&mut SandboxSpec)| {
        let mut spec = good();
        change(&mut spec);
        spec.validate().expect_err("refused").to_string()
    };
    assert_eq!(
        message(&|spec| spec.uid = 0),
        "sandbox: uid: a sandbox never runs as root; give the workspace's own user and group"
    );
    assert!(
        message(&|spec| (spec.rootless, spec.netns) = (true, Some("/run/net".into()))).starts_with("sandbox: netns: ")
    );
    assert!(message(&|spec| spec.hostname = "a.b".into()).starts_with("sandbox: hostname: "));
    assert!(message(&|spec| spec.control_socket = "relative".into()).starts_with("sandbox: control_socket: "));
    assert!(
        message(&|spec| spec.binds = vec![Bind::writable("/a", "/b/../../etc")]).starts_with("sandbox: binds: target ")
    );
    assert!(message(&|spec| spec.binds = vec![Bind::writable("a", "/b")]).starts_with("sandbox: binds: source "));
    assert!(message(&|spec| spec.etc = vec!["*".into()]).starts_with("sandbox: etc: "));
    assert!(message(&|spec| spec.system = vec!["/".into()]).starts_with("sandbox: system: "));
    let file = GeneratedFile { path: "x".into(), content: String::new() };
    assert!(message(&|spec| spec.files = vec![file.clone()]).starts_with("sandbox: files: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_looks_as_specified() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    std::fs::write(ws.path("ro"), "read me\n").expect("write");
    let mut spec = ws.spec(Layer::Shell);
    spec.binds.push(Bind::read_only(ws.path("ro"), "/home/dev/deep/down/ro"));
    spec.binds.push(Bind::read_only(ws.path("logs"), "/run/envforge/logs"));
    spec.files.push(GeneratedFile { path: "/etc/envforge.json".into(), content: "{}".into() });
    spec.resolv_conf = Some("nameserver 9.9.9.9\n".into());
    spec.hosts = vec![("10.0.0.9".parse().expect("address"), "db".to_owned())];
    spec.environment.insert("COLOR".into(), "blue".into());
    let running = ws.start_with(Layer::Shell, spec).await;
    let ran = running
        .run("cat /home/dev/deep/down/ro /etc/envforge.json /etc/resolv.conf; grep db /etc/hosts; env | sort")
        .await;
    assert!(
        ran.text.starts_with("read me\n{}nameserver 9.9.9.9\n10.0.0.9 db\nCOLOR=blue\nGEM_HOME=/home/dev/.local/share/gem\nHOME=/home/dev\n"),
        "{ran:?}"
    );
    let environment: Vec<&str> = ran.text.lines().skip(3).filter_map(|line| line.split('=').next()).collect();
    assert_eq!(environment, ["COLOR", "GEM_HOME", "HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"]);
    assert_ne!(running.run("echo x > /home/dev/deep/down/ro").await.code, Some(0));
    assert_ne!(running.run("echo x > /run/envforge/logs/x").await.code, Some(0));
    assert_eq!(running.run("echo x > /home/dev/x && cat ~/x").await.text, "x\n");
}

/// Also prints what the machine can do: run with `--nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_starts_quickly_and_stays_small() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let mut times = Vec::new();
    let mut freezes = Vec::new();
    let (mut resident, mut own) = (0, 0);
    for _ in 0..11 {
        let spec = ws.spec(Layer::Runtime);
        let start = Instant::now();
        let running = ws.start_with(Layer::Runtime, spec).await;
        times.push(start.elapsed());
        let freeze = Instant::now();
        running.group.freeze(LIMIT).expect("freeze");
        freezes.push(freeze.elapsed());
        running.group.thaw().expect("thaw");
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.sandbox.pid())).expect("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
        };
        resident = field("VmRSS:");
        let anonymous = field("RssAnon:");
        own = anonymous;
        assert!(anonymous < 5 * 1024, "the init's own memory: {anonymous} KiB");
        running.group.kill(LIMIT).expect("kill");
        wait_until("ended", async || !running.sandbox.is_running()).await;
    }
    times.sort();
    freezes.sort();
    eprintln!("start to connected client: min {:?}, median {:?}", times[0], times[5]);
    eprintln!("freeze: min {:?}, median {:?}; the init holds {resident} KiB, {own} of its own", freezes[0], freezes[5]);
    assert!(times[5] < Duration::from_secs(1), "{times:?}");
}

/// Also prints what it costs: run with `--nocapture`. In turns, because a busy machine is busy for both.
#[tokio::test(flavor = "multi_thread")]
async fn landlock_adds_little_to_a_start() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..82 {
        let spec = ws.spec(Layer::Runtime);
        let spec = if round % 2 == 0 { spec } else { spec.without(Protection::Landlock) };
        let start = Instant::now();
        let running = ws.start_with(Layer::Runtime, spec).await;
        assert_eq!(running.run_spawn(Spawn::new("first", Program::Argv(vec!["/bin/true".into()]))).await.code, Some(0));
        if round % 2 == 0 { &mut with } else { &mut without }.push(start.elapsed());
        running.group.kill(LIMIT).expect("kill");
    }
    with.sort();
    without.sort();
    let (half, least) = (with.len() / 2, 0);
    eprintln!("start to the end of the first program: with Landlock median {:?}, min {:?}", with[half], with[least]);
    eprintln!("the same without it: median {:?}, min {:?}", without[half], without[least]);
    assert!(with[least] < without[least] + Duration::from_millis(20), "{with:?} {without:?}");
}

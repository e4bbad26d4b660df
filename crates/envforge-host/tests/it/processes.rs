//! Starting, stopping and remembering processes.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use envforge_host::init::client::{ClientError, InitClient};
use envforge_host::init::protocol::{Event, ProcessState, Program, RefusalCode, Spawn, TerminalSize};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::netns;
use envforge_host::sys::sandbox::{Bind, Sandbox, SandboxError};

use super::support::{LIMIT, Workspace, ask, inside, is_root, shell, wait_until};

// proves UP-2
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_a_terminal() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Shell).await;
    let mut spawn = shell("tty; stty size; read line; echo \"got $line\"; exec sleep 1000");
    spawn.tty = Some(TerminalSize { cols: 90, rows: 33 });
    let name = spawn.name.clone();
    let spawned = running.client.spawn(spawn).await.expect("spawn");
    let mut terminal = std::fs::File::from(spawned.terminal.expect("terminal"));
    terminal.write_all(b"hello\n").expect("write");
    let reader = terminal.try_clone().expect("clone");
    let text = tokio::task::spawn_blocking(move || read_until(reader, "got hello")).await.expect("reader");
    assert!(text.contains("/dev/pts/0"), "{text}");
    assert!(text.contains("33 90"), "{text}");
    assert!(text.contains("hello\r\n"), "echoed: {text}");
    // The last copy closed is a hang-up.
    drop(terminal);
    wait_until("hang-up", async || running.exit(&name).await.is_some_and(|exit| exit.signal == Some(1))).await;
}

fn read_until(mut from: impl Read, wanted: &str) -> String {
    let mut text = String::new();
    let mut chunk = [0; 1024];
    while !text.contains(wanted) {
        match from.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&chunk[..count])),
        }
    }
    text
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_comes_back_learns_what_happened() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    running.serve(&ws, 3000, "still here").await;
    let mut short = shell("read line < fifo; exit 7");
    short.name = "short".to_owned();
    running.run("mkfifo fifo").await;
    running.client.spawn(short).await.expect("spawn");
    let stream = netns::connect_tcp(&ws.netns, 3000).expect("connect");
    let (identity, socket) = (running.sandbox.identity(), running.sandbox.control_socket().to_owned());
    // The daemon is gone: its client, its sandbox handle, its pipes.
    let group = running.group.clone();
    drop(running);
    std::fs::write(ws.path("checkout/fifo"), "go\n").expect("fifo");

    let sandbox = Sandbox::adopt(identity, &socket).expect("adopt");
    let client = sandbox.connect().await.expect("connect");
    let again = super::support::Running { sandbox, client, group };
    assert_eq!(again.exit_code("short").await, Some(7));
    assert_eq!(ask(&stream, "?").expect("answer"), "still here ?");
    let state = again.client.list().await.expect("list");
    let server = state.processes.iter().find(|record| record.name == "serve-3000").expect("record");
    assert_eq!(server.state, ProcessState::Running);
    // Remembered until forgotten; forgetting twice is fine; what runs is not forgotten.
    for name in ["short", "short", "serve-3000"] {
        again.client.forget(name).await.expect("forget");
    }
    let names: Vec<String> = again.client.list().await.expect("list").processes.into_iter().map(|r| r.name).collect();
    assert!(!names.contains(&"short".to_owned()) && names.contains(&"serve-3000".to_owned()), "{names:?}");

    let mut stranger = identity;
    stranger.start_ticks += 1;
    assert!(matches!(Sandbox::adopt(stranger, &socket), Err(SandboxError::Gone(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_told_of_every_end() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let other = InitClient::connect(running.sandbox.control_socket()).await.expect("second client");
    let mut events = other.subscribe().await.expect("subscribe");
    let by_code = running.client.spawn(shell("exit 3")).await.expect("spawn");
    let Some(Event::Exited { pid, exit, .. }) = events.next().await else { panic!("no event") };
    assert_eq!((pid, exit.code, exit.signal), (by_code.pid, Some(3), None));
    running.client.spawn(shell("kill -9 $$")).await.expect("spawn");
    let Some(Event::Exited { exit, .. }) = events.next().await else { panic!("no event") };
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    running.sandbox.kill().expect("kill");
    assert_eq!(events.next().await, None);
    assert!(matches!(other.ping().await, Err(ClientError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_runs_once_and_refusals_say_why() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let mut spawn = shell("exec sleep 1000");
    spawn.name = "web".to_owned();
    let spawned = running.client.spawn(spawn.clone()).await.expect("spawn");
    let again = running.client.spawn(spawn.clone()).await.expect_err("taken");
    assert_eq!(again.refusal(), Some(RefusalCode::NameTaken));
    assert_eq!(again.to_string(), format!("web runs already, as process {}", spawned.pid));
    let (host_pid, _pidfd) = running.client.locate("web").await.expect("locate");
    assert_eq!(Some(host_pid), spawned.host_pid);
    assert!(running.group.pids().expect("pids").contains(&host_pid));

    let refused = |spawn: Spawn| {
        let client = running.client.clone();
        async move {
            let error = client.spawn(spawn).await.expect_err("refused");
            (error.refusal(), error.to_string())
        }
    };
    let missing = Spawn::new("m", Program::Argv(vec!["no-such-program".to_owned()]));
    assert_eq!(
        refused(missing).await,
        (Some(RefusalCode::SpawnFailed), "m: no-such-program: No such file or directory (os error 2)".to_owned())
    );
    let mut nowhere = shell("true");
    nowhere.cwd = "/nowhere".into();
    nowhere.name = "n".to_owned();
    assert_eq!(
        refused(nowhere).await,
        (Some(RefusalCode::BadRequest), "n: /nowhere is not a directory in the sandbox".to_owned())
    );
    let mut odd = shell("true");
    odd.name = "../x".to_owned();
    assert_eq!(refused(odd).await.0, Some(RefusalCode::BadRequest));
    let nobody = running.client.signal("nobody", 15, false).await.expect_err("unknown");
    assert_eq!(nobody.refusal(), Some(RefusalCode::NoSuchProcess));

    // Once it ended its name is free, and the record is the new one's.
    running.client.stop("web", LIMIT).await.expect("stop");
    assert_eq!(running.exit("web").await.and_then(|exit| exit.signal), Some(15));
    running.client.spawn(spawn).await.expect("spawn again");
    assert_eq!(running.exit("web").await, None);
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_done_once_is_begun_once_whoever_asks() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let other = running.sandbox.connect().await.expect("another connection");
    let mut spawn = shell("echo once >> said");
    (spawn.name, spawn.key, spawn.once) = ("hook".to_owned(), Some("one".to_owned()), true);
    let (first, second) = tokio::join!(running.client.spawn(spawn.clone()), other.spawn(spawn.clone()));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    wait_until("its end", async || running.exit("hook").await.is_some()).await;
    let again = other.spawn(spawn.clone()).await.expect_err("it was done");
    assert_eq!(again.refusal(), Some(RefusalCode::NameTaken));
    assert_eq!(again.to_string(), "hook was started for this already");
    spawn.key = Some("another".to_owned());
    other.spawn(spawn.clone()).await.expect("something else");
    wait_until("its end", async || running.exit("hook").await.is_some()).await;
    assert_eq!(std::fs::read_to_string(ws.path("checkout/said")).expect("said"), "once\nonce\n");
    // However much else was run since.
    for n in 0..300 {
        let mut other = shell(":");
        other.name = format!("job.{n}");
        running.client.spawn(other).await.expect("a job");
        wait_until("its end", async || running.exit(&format!("job.{n}")).await.is_some()).await;
    }
    assert!(running.exit("job.0").await.is_none(), "the oldest of them is forgotten");
    running.client.spawn(spawn.clone()).await.expect_err("it was done");
    // Who does not ask for once may begin it again.
    spawn.once = false;
    other.spawn(spawn).await.expect("again");
}

// proves RUN-4
#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_what_resists_and_what_ran_away() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    // Ignores TERM, has a child in its session, and a daemon that left it.
    let line = "trap '' TERM; sleep 1000 & setsid setsid sleep 2000 & echo ready > up; while :; do sleep 1000; done";
    let mut service = shell(line);
    service.name = "stubborn".to_owned();
    service.whole_tree = true;
    running.client.spawn(service).await.expect("spawn");
    let count = "cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^sleep$'";
    wait_until("three sleeps", async || running.run(count).await.text.trim() == "3").await;
    running.client.stop("stubborn", Duration::from_millis(50)).await.expect("stop");
    assert_eq!(running.run(count).await.text, "0\n");
    // Twice is fine.
    running.client.stop("stubborn", Duration::from_millis(50)).await.expect("stop again");

    // A shell's multiplexer stays: it left the session, and nobody asked for the whole tree.
    let mut plain = shell("setsid setsid sleep 2000 & while :; do sleep 1000; done");
    plain.name = "plain".to_owned();
    running.client.spawn(plain).await.expect("spawn");
    wait_until("two sleeps", async || running.run(count).await.text.trim() == "2").await;
    running.client.stop("plain", LIMIT).await.expect("stop");
    assert_eq!(running.run(count).await.text, "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_leader_or_the_whole_session() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let mut service = shell(
        "trap 'echo leader >> got' USR1; sh -c 'trap \"echo child >> got; exit\" USR1; echo up > up; while :; do sleep 0.05; done' & while :; do sleep 0.05; done",
    );
    service.name = "s".to_owned();
    running.client.spawn(service).await.expect("spawn");
    wait_until("up", async || ws.path("checkout/up").exists()).await;
    running.client.signal("s", 10, false).await.expect("signal");
    let got = || std::fs::read_to_string(ws.path("checkout/got")).unwrap_or_default();
    wait_until("leader", async || got() == "leader\n").await;
    running.client.signal("s", 10, true).await.expect("signal");
    wait_until("both", async || got().contains("child") && got().matches("leader").count() == 2).await;
}

/// Listens for the workspace's user and says what it hears; how many came.
fn echo(ws: &Workspace, path: &Path) -> Arc<AtomicUsize> {
    let listener = std::os::unix::net::UnixListener::bind(path).expect("bind");
    std::os::unix::fs::chown(path, Some(ws.uid), Some(ws.uid)).expect("owner");
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().expect("clone");
                let _ = std::io::copy(&mut reader, &mut &stream);
            });
        }
    });
    came
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread")]
async fn a_forward_to_what_the_init_alone_has_carries_no_more_than_its_limit() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let sockets = ws.path("sockets");
    std::fs::create_dir(&sockets).expect("directory");
    let came = echo(&ws, &sockets.join("db.sock"));
    let mut spec = ws.spec(Layer::Runtime);
    spec.init_only.push(Bind::read_only(&sockets, "/run/envforge/sockets"));
    let running = ws.start_with(Layer::Runtime, spec).await;
    let to = Path::new("/run/envforge/sockets/db.sock");
    running.client.forward("127.0.0.1:5432".parse().expect("address"), to, Some(2)).await.expect("forward");
    let seen = "ls -d /run/envforge/sockets; ls /proc/1/fd/; find / -name db.sock 2> /dev/null; echo done";
    running.client.spawn(shell(&format!("({seen}) > seen 2> /dev/null; mv seen all"))).await.expect("spawn");
    wait_until("looked", async || ws.path("checkout/all").exists()).await;
    assert_eq!(std::fs::read_to_string(ws.path("checkout/all")).expect("read"), "done\n");

    let connect = || netns::connect_tcp(&ws.netns, 5432).expect("connect");
    let (one, two, three) = (connect(), connect(), connect());
    assert_eq!(ask(&one, "one").expect("echo"), "one");
    assert_eq!(ask(&two, "two").expect("echo"), "two");
    assert_eq!(ask(&one, "again").expect("echo"), "again");
    assert_eq!(came.load(Ordering::Relaxed), 2, "the third waits");
    // Its place is free; a target that is made again meanwhile is found again.
    drop(one);
    assert_eq!(ask(&three, "three").expect("echo"), "three");
    drop((two, three));
    std::fs::remove_file(sockets.join("db.sock")).expect("removed");
    let came = echo(&ws, &sockets.join("db.sock"));
    assert_eq!(ask(&connect(), "four").expect("echo"), "four");
    assert_eq!(came.load(Ordering::Relaxed), 1);
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread")]
async fn a_forward_carries_connections_and_outlives_the_daemon() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let sockets = ws.path("sockets");
    std::fs::create_dir(&sockets).expect("directory");
    echo(&ws, &sockets.join("db.sock"));
    let mut spec = ws.spec(Layer::Runtime);
    spec.binds.push(Bind::read_only(sockets, "/run/envforge/sockets"));
    let running = ws.start_with(Layer::Runtime, spec).await;
    let address = "127.0.0.1:5432".parse().expect("address");
    let to = Path::new("/run/envforge/sockets/db.sock");
    running.client.forward(address, to, None).await.expect("forward");
    running.client.forward(address, to, None).await.expect("twice");
    let elsewhere = running.client.forward(address, Path::new("/run/other"), None).await.expect_err("taken");
    assert_eq!(elsewhere.to_string(), "forward 127.0.0.1:5432: leads to /run/envforge/sockets/db.sock already");
    let stream = netns::connect_tcp(&ws.netns, 5432).expect("connect");
    assert_eq!(ask(&stream, "one").expect("echo"), "one");
    let socket = running.sandbox.control_socket().to_owned();
    drop(running);
    assert_eq!(ask(&stream, "two").expect("echo"), "two");
    let client = InitClient::connect(&socket).await.expect("connect");
    assert_eq!(client.list().await.expect("list").forwards.len(), 1);
    client.unforward(address).await.expect("unforward");
    client.unforward(address).await.expect("twice");
    wait_until("closed", async || netns::connect_tcp(&ws.netns, 5432).is_err()).await;
    assert_eq!(ask(&stream, "three").expect("echo"), "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_asks_first_and_ends_everything() {
    if !is_root() {
        return;
    }
    for by_signal in [false, true] {
        let ws = Workspace::new();
        let running = ws.start(Layer::Runtime).await;
        let mut polite = shell("trap 'echo bye > bye; exit' TERM; echo up > up; while :; do sleep 0.05; done");
        polite.name = "polite".to_owned();
        running.client.spawn(polite).await.expect("spawn");
        wait_until("up", async || ws.path("checkout/up").exists()).await;
        if by_signal {
            let pid = rustix::process::Pid::from_raw(running.sandbox.pid()).expect("pid");
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        } else {
            running.client.shutdown(LIMIT).await.expect("shutdown");
        }
        tokio::time::timeout(LIMIT, running.sandbox.ended()).await.expect("in time").expect("ended");
        assert!(ws.path("checkout/bye").exists());
        assert!(!running.sandbox.is_running());
        wait_until("empty", async || running.group.pids().expect("pids").is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_reaped() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    running.run("for i in 1 2 3 4 5; do (setsid sh -c 'echo $$ >> orphans' > /dev/null 2>&1 &) ; done").await;
    let orphans = || std::fs::read_to_string(ws.path("checkout/orphans")).unwrap_or_default();
    wait_until("five", async || orphans().lines().count() == 5).await;
    wait_until("all reaped", async || {
        running.run("for p in $(cat orphans); do [ ! -e /proc/$p ] || exit 1; done").await.code == Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_get_their_own_answers() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let client = running.client.clone();
        tasks.spawn(async move {
            let spawn = inside(&format!("n{number}"), &["connect", "127.0.0.1:1"]);
            (number, client.spawn(spawn).await.expect("spawn").pid)
        });
    }
    let started = tasks.join_all().await;
    wait_until("all ended", async || {
        let state = running.client.list().await.expect("list");
        state.processes.iter().all(|record| record.state != ProcessState::Running)
    })
    .await;
    let state = running.client.list().await.expect("list");
    for (number, pid) in started {
        let record = state.processes.iter().find(|record| record.name == format!("n{number}")).expect("record");
        assert_eq!(record.pid, pid);
    }
}

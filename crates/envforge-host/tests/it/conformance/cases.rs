//! The cases.

use super::Verdict;
use super::rig::{Kind, Live, MIB, Rig, ask};
use crate::support::{LIMIT, inside, shell, wait_until};
use envforge_host::engines::{Bind, Engine as _, Layer};
use envforge_host::place::Place;
use envforge_host::sys::process::ProcessIdentity;
use rustix::process::Signal;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

const LAYERS: [Layer; 2] = [Layer::Shell, Layer::Runtime];

// proves RUN-7
pub(super) async fn a_layer_is_what_was_planned(rig: &Rig) -> Verdict {
    let given = rig.path("given");
    std::fs::write(&given, "from outside\n").expect("written");
    // Only how it is bound keeps anybody from writing.
    std::fs::set_permissions(&given, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("mode");
    let place = rig.place().await;
    for layer in LAYERS {
        let mut plan = Rig::plan(layer);
        plan.binds.push(Bind::read_only(&given, "/run/envforge/given"));
        plan.files.push((PathBuf::from("/run/envforge/planned"), "as planned\n".to_owned()));
        plan.environment.insert("PLANNED".to_owned(), "told".to_owned());
        let live = rig.start_planned(&place, &plan).await;
        let ran = live
            .run("cat /proc/sys/kernel/hostname /run/envforge/given /run/envforge/planned; echo $PLANNED; pwd; id -u")
            .await;
        let uid = place.uid;
        assert_eq!(ran.text, format!("conformance\nfrom outside\nas planned\ntold\n/workspace\n{uid}\n"));
        let ran = live.run(&format!("echo {layer} > /workspace/{layer} && echo {layer} > /home/dev/{layer}")).await;
        assert_eq!((ran.code, ran.text.as_str()), (Some(0), ""));
        for path in [place.checkout(), place.home()] {
            let path = path.join(layer.to_string());
            assert_eq!(std::fs::read_to_string(&path).expect("there"), format!("{layer}\n"));
            let owner = std::os::unix::fs::MetadataExt::uid(&path.metadata().expect("there"));
            assert_eq!(owner, place.host_user().0, "on the machine it is the workspace's user's");
        }
        let ran = live.run("echo x > /run/envforge/given || echo x > /usr/x").await;
        assert_ne!(ran.code, Some(0), "only to be read: {}", ran.text);
    }
    Ok(())
}

// proves RUN-7
pub(super) async fn a_layer_has_only_what_it_needs(rig: &Rig) -> Verdict {
    const NAMESPACES: [&str; 5] = ["cgroup", "ipc", "mnt", "pid", "uts"];
    /// Where something may be written; nowhere else, not even by whom a file belongs to.
    const WRITABLE: [&str; 6] = ["/dev", "/home/dev", "/proc", "/run", "/tmp", "/workspace"];
    let place = rig.place().await;
    let mut seen: Vec<String> = NAMESPACES
        .map(|kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("read").to_string_lossy().into_owned())
        .into();
    for layer in LAYERS {
        let live = rig.start(&place, layer).await;
        // A program's own, and the init's.
        for of in ["self", "1"] {
            let status = live.run(&format!("cat /proc/{of}/status")).await.text;
            let told = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            assert_eq!((told("NoNewPrivs:"), told("Seccomp:")), (Some("1"), Some("2")), "{layer}, {of}: {status}");
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(told(set), Some("0000000000000000"), "{layer}, {of}: {set}");
            }
        }
        // The init holds what services are given, and is of the same user.
        for file in ["environ", "maps"] {
            assert_ne!(live.run(&format!("cat /proc/1/{file}")).await.code, Some(0), "{layer}: {file}");
        }
        // What an ordinary user may do where nothing is filtered.
        let ran = live.run("unshare --user true").await;
        assert_ne!(ran.code, Some(0), "{layer}: a user namespace of its own");

        let mounts = live.run("cat /proc/self/mounts").await.text;
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, at, _, options, ..] = fields[..] else { panic!("{line}") };
            let options: Vec<&str> = options.split(',').collect();
            let is_writable = WRITABLE.iter().any(|path| std::path::Path::new(at).starts_with(path));
            assert!(options.contains(&"ro") || is_writable, "{layer}: {line}");
            assert!(options.contains(&"nosuid"), "{layer}: {line}");
            assert!(options.contains(&"nodev") || at.starts_with("/dev"), "{layer}: {line}");
        }
        assert!(mounts.contains(" /usr "), "{layer}: {mounts}");

        // BusyBox reads one link at a time.
        let names = NAMESPACES.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
        for own in live.run(&names).await.text.lines() {
            assert!(!seen.iter().any(|other| other == own), "{layer}: {own} is another's");
            seen.push(own.to_owned());
        }
        let ran = live.run("env | grep -c '^CARGO\\|^NEXTEST'").await;
        assert_eq!(ran.text, "0\n", "{layer}: nothing that the daemon was started with");
    }
    assert_eq!(seen.len(), 3 * NAMESPACES.len());
    Ok(())
}

// proves OPS-2
pub(super) async fn a_start_clears_away_what_was_there(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let first = rig.start(&place, Layer::Runtime).await;
    let left = first.client.spawn(shell("exec sleep 1000")).await.expect("started").host_pid.expect("a pid");
    let left = ProcessIdentity::of(left).expect("it runs");
    let second = rig.start(&place, Layer::Runtime).await;
    have_ended(&[left, first.sandbox.identity()]).await;
    assert_eq!(second.run("echo here").await.text, "here\n");
    // The same by a daemon that never heard of it.
    let engine = rig.next_engine();
    let third = engine.start(&place, &Rig::plan(Layer::Runtime)).await.expect("a layer");
    have_ended(&[second.sandbox.identity()]).await;
    assert!(third.is_running());
    engine.end(&place, Layer::Runtime).await.expect("ended");
    Ok(())
}

// proves RUN-7
pub(super) async fn what_cannot_be_started_leaves_nothing(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let mut plan = Rig::plan(Layer::Runtime);
    plan.binds.push(Bind::read_only(rig.path("not there"), "/run/envforge/given"));
    let error = rig.engine.start(&place, &plan).await.expect_err("there is nothing to bind").to_string();
    assert!(error.contains("not there"), "the place is named: {error}");
    assert_eq!(rig.engine.processes(&place, Layer::Runtime).unwrap_or_default(), Vec::<i32>::new());
    assert_eq!(rig.start(&place, Layer::Runtime).await.run("echo here").await.text, "here\n");
    Ok(())
}

// proves OPS-2
pub(super) async fn a_layer_is_adopted_and_a_stranger_is_not(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let live = rig.start(&place, Layer::Runtime).await;
    let pid = live.client.spawn(shell("exec sleep 1000")).await.expect("started").host_pid.expect("a pid");
    let process = ProcessIdentity::of(pid).expect("it runs");
    let (next, identity) = (rig.next_engine(), live.sandbox.identity());
    let stranger = ProcessIdentity { start_ticks: identity.start_ticks + 1, ..identity };
    assert!(next.adopt(&place, Layer::Runtime, stranger).is_none(), "another process with the same pid");
    let adopted = next.adopt(&place, Layer::Runtime, identity).expect("it runs");
    adopted.connect().await.expect("a client").ping().await.expect("it answers");
    assert!(next.processes(&place, Layer::Runtime).expect("known").contains(&pid));
    next.freeze(&place, Layer::Runtime).await.expect("paused");
    assert_ne!(next.is_frozen(&place, Layer::Runtime), Some(false));
    next.thaw(&place, Layer::Runtime).expect("goes on");
    assert_eq!(live.run("echo here").await.text, "here\n");
    next.end(&place, Layer::Runtime).await.expect("ended");
    have_ended(&[identity, process]).await;
    assert!(next.adopt(&place, Layer::Runtime, identity).is_none(), "it is gone");
    Ok(())
}

/// That none of these runs any more: what has left its layer may need a moment until the kernel says that it has ended.
async fn have_ended(processes: &[ProcessIdentity]) {
    wait_until("their end", async || processes.iter().all(|process| !process.is_running())).await;
}

/// How much a layer has written so far.
fn ticks(place: &Place) -> u64 {
    std::fs::metadata(place.checkout().join("ticks")).map(|metadata| metadata.len()).unwrap_or_default()
}

// proves RUN-5
pub(super) async fn a_paused_layer_does_nothing_and_loses_nothing(rig: &Rig) -> Verdict {
    let (place, port) = (rig.place().await, rig.port());
    let engine = &rig.engine;
    let (runtime, other) = (rig.start(&place, Layer::Runtime).await, rig.start(&place, Layer::Shell).await);
    rig.serve(&place, &runtime, &format!("127.0.0.1:{port}"), "served").await;
    let before = engine.connect(&place, port).await.expect("connected");
    let (answer, before) = ask(before, "1").await;
    assert_eq!(answer, "served 1");
    // In a session of its own.
    let writes = "setsid sh -c 'while :; do printf x >> /workspace/ticks; sleep 0.01; done' > /dev/null 2>&1 &";
    runtime.run(writes).await;
    wait_until("it writes", async || ticks(&place) > 0).await;
    for _ in 0..2 {
        engine.freeze(&place, Layer::Runtime).await.expect("paused");
    }
    assert_ne!(engine.is_frozen(&place, Layer::Runtime), Some(false));
    assert_ne!(engine.is_frozen(&place, Layer::Shell), Some(true), "only the one");
    let then = ticks(&place);
    for _ in 0..20 {
        assert_eq!(other.run("true").await.code, Some(0), "time passes for the other layer");
    }
    assert_eq!(ticks(&place), then);
    let during = engine.connect(&place, port).await.expect("accepted");
    for _ in 0..2 {
        engine.thaw(&place, Layer::Runtime).expect("goes on");
    }
    assert_ne!(engine.is_frozen(&place, Layer::Runtime), Some(true));
    assert_eq!(ask(during, "2").await.0, "served 2");
    assert_eq!(ask(before, "3").await.0, "served 3", "a connection of before");
    wait_until("it writes again", async || ticks(&place) > then).await;
    Ok(())
}

// proves RUN-5
pub(super) async fn memory_given_back_is_not_lost(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let live = rig.start(&place, Layer::Runtime).await;
    let remembers = "data=$(seq 1 200000 | sha256sum; seq 1 200000); read go; echo \"$data\" | tail -n +2 | sha256sum; echo \"$data\" | head -1";
    let (reader, writer) = std::io::pipe().expect("pipe");
    let (answer, answers) = std::io::pipe().expect("pipe");
    let spawn = shell(remembers);
    let name = spawn.name.clone();
    live.client.spawn_with_stdio(spawn, reader.as_fd(), answers.as_fd(), answers.as_fd()).await.expect("started");
    drop((reader, answers));
    rig.engine.freeze(&place, Layer::Runtime).await.expect("paused");
    rig.engine.reclaim(&place, Layer::Runtime).await.expect("as much as there is");
    rig.engine.thaw(&place, Layer::Runtime).expect("goes on");
    std::io::Write::write_all(&mut &writer, b"go\n").expect("told");
    let text = tokio::task::spawn_blocking(move || std::io::read_to_string(answer)).await.expect("read").expect("text");
    let mut sums = text.lines();
    assert_eq!(sums.next(), sums.next(), "{name}: {text}");
    Ok(())
}

// proves RUN-4
pub(super) async fn an_end_takes_everything(rig: &Rig) -> Verdict {
    let (place, engine) = (rig.place().await, &rig.engine);
    for frozen in [false, true] {
        let live = rig.start(&place, Layer::Runtime).await;
        live.run("for i in 1 2 3; do (trap '' TERM HUP; setsid setsid sleep 1000 > /dev/null 2>&1 &); done").await;
        let known = || engine.processes(&place, Layer::Runtime).expect("known");
        let sleeps =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
        wait_until("all there", async || known().iter().filter(|pid| sleeps(pid)).count() == 3).await;
        let all: Vec<ProcessIdentity> = known().into_iter().filter_map(|pid| ProcessIdentity::of(pid).ok()).collect();
        if frozen {
            engine.freeze(&place, Layer::Runtime).await.expect("paused");
        }
        for _ in 0..2 {
            engine.end(&place, Layer::Runtime).await.expect("ended");
        }
        assert!(all.len() >= 3, "frozen: {frozen}");
        have_ended(&all).await;
        have_ended(&[live.sandbox.identity()]).await;
        assert_eq!(engine.processes(&place, Layer::Runtime).unwrap_or_default(), Vec::<i32>::new());
        assert_ne!(engine.is_frozen(&place, Layer::Runtime), Some(true));
    }
    Ok(())
}

// proves RUN-7 UP-2
pub(super) async fn layers_are_apart(rig: &Rig) -> Verdict {
    let (place, port) = (rig.place().await, rig.port());
    let (runtime, other) = (rig.start(&place, Layer::Runtime).await, rig.start(&place, Layer::Shell).await);
    let mut secret = shell("exec sleep 1000");
    secret.env.insert("PLANTED".to_owned(), "a service's own".to_owned());
    runtime.client.spawn(secret).await.expect("started");
    // Brackets, lest it finds itself.
    let looks =
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c 'PLANT[E]D\\|slee[p]'";
    assert_eq!(other.run(looks).await.text, "0\n");
    assert_ne!(runtime.run(looks).await.text, "0\n", "control: where it is, it is seen");
    assert_eq!(runtime.run("echo mine > /tmp/file").await.code, Some(0));
    assert_ne!(other.run("cat /tmp/file").await.code, Some(0));
    // Network and files are both's.
    rig.serve(&place, &runtime, &format!("127.0.0.1:{port}"), "served").await;
    let connects = inside("connects", &["connect", &format!("127.0.0.1:{port}")]);
    assert_eq!(crate::support::run(&other.client, connects).await.text, "connected\n");
    assert_eq!(runtime.run("echo ours > /workspace/file").await.code, Some(0));
    assert_eq!(other.run("cat /workspace/file").await.text, "ours\n");
    // Each ends by itself.
    rig.engine.end(&place, Layer::Runtime).await.expect("ended");
    have_ended(&[runtime.sandbox.identity()]).await;
    assert_eq!(other.run("echo here").await.text, "here\n");
    Ok(())
}

// proves ORG-4
pub(super) async fn an_elevated_layer_is_root_inside(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    if !rig.engine.elevates() {
        let refused = rig.engine.start(&place, &Rig::plan(Layer::Elevated)).await;
        assert!(refused.is_err(), "it says that it does not, and then does not");
        return Err("workspaces have no users of their own here");
    }
    let live = rig.start(&place, Layer::Elevated).await;
    assert_eq!(live.run("id -u; touch /workspace/file && chown 5:5 /workspace/file; echo $?").await.text, "0\n0\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&place.checkout().join("file").metadata().expect("there"));
    let first = place.sub_ids().expect("it has some");
    assert!((first..first + 99).contains(&owner), "a further id of this workspace, not {owner}");
    assert!(live.run("cat /etc/shadow; mknod /tmp/disk b 8 0").await.code != Some(0), "of nothing else");
    Ok(())
}

// proves RUN-2
pub(super) async fn memory_and_processes_are_limited(rig: &Rig) -> Verdict {
    if !rig.has_limits() {
        return Err("nothing enforces limits without cgroups");
    }
    let (place, mut plan) = (rig.place().await, Rig::plan(Layer::Runtime));
    plan.limits.memory = 64 * MIB;
    plan.limits.processes = 12;
    let live = rig.start_planned(&place, &plan).await;
    let eats = |name: &str| inside(name, &["eat", "200"]);
    let forks = "for i in $(seq 1 40); do sleep 1000 > /dev/null 2>&1 & done";
    assert_ne!(crate::support::run(&live.client, eats("first")).await.code, Some(0));
    let ran = live.run(forks).await;
    assert!(ran.text.to_lowercase().contains("fork"), "{ran:?}");
    let stats = rig.engine.stats(&place, Layer::Runtime).expect("known");
    assert!(stats.oom_kills >= 1 && stats.pids <= 12, "{stats:?}");
    // Changed while it runs.
    rig.engine.limit(&place, Layer::Runtime, Rig::plan(Layer::Runtime).limits).expect("changed");
    assert_eq!(crate::support::run(&live.client, eats("second")).await.text, "ate 200\n");
    assert_eq!(live.run(forks).await.text, "");
    Ok(())
}

// proves RUN-2
pub(super) async fn what_a_layer_uses_is_told(rig: &Rig) -> Verdict {
    let (place, engine) = (rig.place().await, &rig.engine);
    let live = rig.start(&place, Layer::Runtime).await;
    let stats = || engine.stats(&place, Layer::Runtime).expect("known");
    let before = stats();
    let busy = live.client.spawn(shell("while :; do :; done")).await.expect("started").host_pid.expect("a pid");
    wait_until("its time is counted", async || stats().cpu_usage_us > before.cpu_usage_us + 100_000).await;
    assert!(engine.processes(&place, Layer::Runtime).expect("known").contains(&busy));
    assert!(stats().pids > before.pids && stats().memory_bytes > 0, "{:?} after {before:?}", stats());
    // Another layer's is not this one's.
    let other = rig.start(&place, Layer::Shell).await;
    assert!(!engine.processes(&place, Layer::Shell).expect("known").contains(&busy));
    drop(other);
    Ok(())
}

// proves LINK-1
pub(super) async fn a_service_is_reached_wherever_it_listens(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let live = rig.start(&place, Layer::Runtime).await;
    for (number, address) in ["127.0.0.1", "0.0.0.0", "[::1]", "127.0.0.9"].into_iter().enumerate() {
        if address.starts_with('[') && !std::path::Path::new("/proc/net/if_inet6").exists() {
            continue;
        }
        let port = rig.port() + if rig.engine.has_own_network() { number as u16 } else { 0 };
        let free = rig.engine.connect(&place, port).await.expect_err("nobody listens");
        assert_eq!(free.kind(), std::io::ErrorKind::ConnectionRefused);
        rig.serve(&place, &live, &format!("{address}:{port}"), address).await;
        assert_eq!(rig.ask(&place, port, "?").await, format!("{address} ?"));
        // Also while it is paused, when nobody looks who listens where.
        rig.engine.freeze(&place, Layer::Runtime).await.expect("paused");
        let stream = rig.engine.connect(&place, port).await.expect("accepted");
        rig.engine.thaw(&place, Layer::Runtime).expect("goes on");
        assert_eq!(ask(stream, "paused").await.0, format!("{address} paused"));
    }
    Ok(())
}

// proves RUN-1
pub(super) async fn a_port_of_the_workspace_is_listened_on(rig: &Rig) -> Verdict {
    let place = rig.place().await;
    let live = rig.start(&place, Layer::Runtime).await;
    if !rig.engine.has_own_network() {
        rig.engine.listen(&place, rig.port()).await.expect_err("the ports are the machine's");
        return Err("the network is the machine's");
    }
    let listener = rig.engine.listen(&place, 5_432).await.expect("listens");
    let taken = rig.engine.listen(&place, 5_432).await.expect_err("somebody listens");
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let connects = |name: &str| inside(name, &["connect", "127.0.0.1:5432"]);
    assert_eq!(crate::support::run(&live.client, connects("own")).await.text, "connected\n");
    tokio::time::timeout(LIMIT, listener.accept()).await.expect("in time").expect("accepted");
    // Nowhere else.
    let stranger_place = rig.place().await;
    let stranger = rig.start(&stranger_place, Layer::Runtime).await;
    assert_eq!(crate::support::run(&stranger.client, connects("other")).await.text, "ConnectionRefused\n");
    Ok(())
}

// proves RUN-1
pub(super) async fn whoever_listens_is_found(rig: &Rig) -> Verdict {
    let (place, port) = (rig.place().await, rig.port());
    let live = rig.start(&place, Layer::Runtime).await;
    let init = live.sandbox.pid();
    let find = |leaders: &[i32]| rig.engine.listeners(&place, Layer::Runtime, init, leaders).expect("known");
    assert!(find(&[]).iter().all(|listener| listener.port != port));
    let leader = rig.serve(&place, &live, &format!("127.0.0.1:{port}"), "first").await;
    let of = |found: Vec<envforge_host::engines::Listener>| {
        found.into_iter().find(|listener| listener.port == port).map(|listener| (listener.address, listener.leader))
    };
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!(of(find(&[leader])), Some((loopback, Some(leader))));
    assert_eq!(of(find(&[])), Some((loopback, None)), "it belongs to nobody that was asked for");
    live.client.signal(&format!("serve-{port}"), Signal::KILL.as_raw(), true).await.expect("sent");
    wait_until("it is gone", async || of(find(&[leader])).is_none()).await;
    Ok(())
}

// proves ORG-3 RUN-1
pub(super) async fn networks_are_apart(rig: &Rig) -> Verdict {
    if !rig.engine.has_own_network() {
        return Err("the network is the machine's");
    }
    let (one, two) = (rig.place().await, rig.place().await);
    let mut lives: Vec<Live> = Vec::new();
    for (place, name) in [(&one, "one"), (&two, "two")] {
        rig.engine.prepare_network(place).await.expect("again");
        let live = rig.start(place, Layer::Runtime).await;
        rig.serve(place, &live, "127.0.0.1:3000", name).await;
        lives.push(live);
    }
    // The same port, and each its own.
    assert_eq!(rig.ask(&one, 3_000, "?").await, "one ?");
    assert_eq!(rig.ask(&two, 3_000, "?").await, "two ?");
    // Made again while it is in use, it is still the one that is used.
    rig.engine.prepare_network(&one).await.expect("again");
    assert_eq!(rig.ask(&one, 3_000, "!").await, "one !");
    rig.engine.end(&one, Layer::Runtime).await.expect("ended");
    for _ in 0..2 {
        rig.engine.remove_network(&one).await.expect("taken away");
    }
    rig.engine.connect(&one, 3_000).await.expect_err("there is none");
    assert_eq!(rig.ask(&two, 3_000, "!").await, "two !");
    assert_eq!(rig.kind != Kind::Rootless, rig.engine.has_own_network());
    Ok(())
}

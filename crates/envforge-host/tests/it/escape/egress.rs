//! The way out. The "host" of these tests is a network namespace of its own, with an "internet" behind it, so that the
//! machine's own network is neither needed nor changed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envforge_host::sys::command::run;
use envforge_host::sys::egress::{Egress, EgressConfig, EgressState, missing_programs};
use envforge_host::sys::netns;
use nix::sched::{CloneFlags, setns};

use crate::support::is_root;

/// Runs on a thread of its own inside a namespace.
fn within<T: Send + 'static>(ns: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = std::fs::File::open(ns).expect("namespace");
    let thread = std::thread::Builder::new().name("host-test".to_owned());
    let thread = thread.spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).expect("setns");
        work()
    });
    thread.expect("thread").join().expect("no panic")
}

fn listen(ns: &Path, address: &str) {
    let address: SocketAddr = address.parse().expect("address");
    let listener = within(ns, move || TcpListener::bind(address).expect("bind"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Who came, as seen from here.
            let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
            let _ = stream.write_all(peer.as_bytes());
        }
    });
}

fn reach(ns: &Path, address: &str) -> Result<String, ErrorKind> {
    let address: SocketAddr = address.parse().expect("address");
    within(ns, move || {
        let mut stream =
            TcpStream::connect_timeout(&address, Duration::from_millis(300)).map_err(|error| error.kind())?;
        // A door may close behind whoever just came in.
        stream.set_read_timeout(Some(Duration::from_secs(1))).map_err(|error| error.kind())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|error| error.kind())?;
        Ok(text)
    })
}

/// Where a machine of AWS, Azure, Google and others, of ECS, of Alibaba, Azure's agent and Oracle is told who it is.
const METADATA: [&str; 5] = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"];
/// The same on EC2, by IPv6.
const METADATA_SIX: &str = "fd00:ec2::254";

/// The host's end of a workspace's cable.
fn cable(index: u32) -> String {
    let links = run("ip", &["-o", "link"], "").expect("links");
    let name = links.split_whitespace().find(|word| word.starts_with("ef") && word.contains(&format!("{index:04x}@")));
    name.and_then(|name| name.split('@').next()).expect("a cable").to_owned()
}

struct Net {
    dir: tempfile::TempDir,
}

impl Net {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in ["host", "internet", "a", "b", "container"] {
            let _ = netns::destroy(&self.path(name));
        }
    }
}

/// Nobody in a workspace could give it a route for IPv6; with one, and the machine forwarding, it leads nowhere either.
fn give_six(net: &Net) {
    within(&net.path("host"), || {
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("forwarding");
        run("ip", &["addr", "add", "fd01::1/64", "dev", &cable(0), "nodad"], "").expect("an address");
    });
    within(&net.path("a"), || {
        let lines = "addr add fd01::2/64 dev eth0 nodad\nroute add default via fd01::1\n";
        run("ip", &["-batch", "-"], lines).expect("a route");
    });
}

/// A machine between the internet and two workspaces that have no way out yet.
fn world() -> Net {
    let net = Net { dir: tempfile::tempdir().expect("directory") };
    for name in ["host", "internet", "a", "b"] {
        netns::create(&net.path(name)).expect("namespace");
    }
    let internet = net.path("internet");
    within(&net.path("host"), move || {
        let ns = internet.to_string_lossy().into_owned();
        run("ip", &["link", "add", "up0", "type", "veth", "peer", "name", "in0"], "").expect("cable");
        run("ip", &["link", "set", "in0", "netns", &ns], "").expect("cable");
        run(
            "ip",
            &["-batch", "-"],
            "addr add 203.0.113.1/24 dev up0\naddr add fd00::1/64 dev up0 nodad\nlink set up0 up\n\
             route add default via 203.0.113.2\nroute add default via fd00::2\n",
        )
        .expect("host");
    });
    within(&net.path("internet"), || {
        let lines = "addr add 203.0.113.2/24 dev in0\nlink set in0 up\naddr add 198.51.100.7/32 dev lo\n\
                     addr add 192.168.7.7/32 dev lo\naddr add 9.9.9.9/32 dev lo\n";
        let metadata = METADATA.map(|address| format!("addr add {address}/32 dev lo\n")).concat();
        let six = format!("addr add {METADATA_SIX}/128 dev lo nodad\naddr add fd00::2/64 dev in0 nodad\n");
        run("ip", &["-batch", "-"], &(lines.to_owned() + &metadata + &six)).expect("internet");
    });
    for address in ["198.51.100.7:443", "192.168.7.7:80", "9.9.9.9:53", "9.9.9.9:80"] {
        listen(&net.path("internet"), address);
    }
    for address in METADATA {
        listen(&net.path("internet"), &format!("{address}:80"));
    }
    listen(&net.path("internet"), &format!("[{METADATA_SIX}]:80"));
    net
}

/// How its workspaces get out.
fn config(instance: &str) -> EgressConfig {
    EgressConfig {
        // No name of a box: its cables would be taken for ours.
        instance: instance.to_owned(),
        pool: [10, 213],
        resolvers: vec![Ipv4Addr::new(203, 0, 113, 1).into(), Ipv4Addr::new(9, 9, 9, 9).into()],
        closed: vec!["192.168.0.0/16".to_owned(), "9.9.9.0/24".to_owned()],
    }
}

// proves LINK-6
#[test]
fn a_workspace_gets_out_and_reaches_nothing_of_the_host() {
    if !is_root() || missing_programs().is_some() {
        return;
    }
    let net = world();
    let (a, b) = (net.path("a"), net.path("b"));
    let egress = within(&net.path("host"), move || {
        let egress = Egress::new(config("way_out")).expect("config");
        for (ns, index) in [(&a, 0), (&b, 1), (&b, 1)] {
            let state = egress.open(ns, index);
            assert!(matches!(state, EgressState::Open { .. }), "{state:?}");
        }
        egress
    });
    listen(&net.path("host"), "[::]:22");
    listen(&net.path("host"), "203.0.113.1:53");
    listen(&net.path("b"), "0.0.0.0:3000");
    let a = net.path("a");

    assert_eq!(reach(&a, "198.51.100.7:443").as_deref(), Ok("203.0.113.1"), "out, under the host's address");
    assert_eq!(reach(&a, "203.0.113.1:53").as_deref(), Ok("10.213.0.2"), "DNS on the host");
    assert_eq!(reach(&a, "9.9.9.9:53").as_deref(), Ok("203.0.113.1"), "DNS in a closed network");
    give_six(&net);
    let mut closed = vec![
        ("203.0.113.1:22".to_owned(), "host"),
        ("10.213.0.1:22".to_owned(), "host"),
        ("10.213.0.5:22".to_owned(), "host"),
        ("10.213.0.6:3000".to_owned(), "b"),
        ("192.168.7.7:80".to_owned(), "host"),
        ("9.9.9.9:80".to_owned(), "host"),
        (format!("[{METADATA_SIX}]:80"), "host"),
        ("[fd01::1]:22".to_owned(), "host"),
    ];
    closed.extend(METADATA.map(|address| (format!("{address}:80"), "host")));
    for (address, open_from) in &closed {
        let outcome = reach(&a, address);
        assert!(outcome.is_err(), "{address} answered {outcome:?}");
        // The same door is open from elsewhere, so the refusal means something.
        let outcome = reach(&net.path(open_from), address);
        assert!(outcome.is_ok(), "{address} from {open_from}: {outcome:?}");
    }
    // Nothing comes in from outside, even with a route.
    within(&net.path("internet"), || {
        run("ip", &["route", "add", "10.213.0.0/16", "via", "203.0.113.1"], "").map(drop).expect("route");
    });
    assert!(reach(&net.path("internet"), "10.213.0.6:3000").is_err());

    within(&net.path("host"), move || {
        egress.close(0).expect("close");
        egress.close(0).expect("twice");
        egress.close(1).expect("close");
        egress.unload().expect("unload");
        egress.unload().expect("twice");
        assert_eq!(run("nft", &["list", "tables"], "").expect("tables"), "");
        assert!(!run("ip", &["-o", "link"], "").expect("links").contains(": ef"), "no cable is left");
    });
    assert!(reach(&a, "198.51.100.7:443").is_err());
}

/// Both ways out, and the rules watched, as a host's engine has them.
fn open_both(net: &Net, instance: &'static str) -> Arc<Egress> {
    let (a, b) = (net.path("a"), net.path("b"));
    within(&net.path("host"), move || {
        let egress = Arc::new(Egress::new(config(instance)).expect("config"));
        egress.watch().expect("watched");
        for (ns, index) in [(&a, 0), (&b, 1)] {
            let state = egress.open(ns, index);
            assert!(matches!(state, EgressState::Open { .. }), "{state:?}");
        }
        egress
    })
}

/// Waits for what follows a change of rules, by trying.
#[expect(clippy::disallowed_methods, reason = "it is the kernel and other programs that are waited for")]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::yield_now();
    }
}

// proves LINK-6
#[test]
fn a_reload_of_the_machines_firewall_opens_nothing() {
    if !is_root() || missing_programs().is_some() {
        return;
    }
    let net = world();
    let egress = open_both(&net, "reloaded");
    listen(&net.path("host"), "[::]:22");
    let a = net.path("a");
    let is_closed = || reach(&a, "203.0.113.1:22").is_err() && reach(&a, "10.213.0.5:22").is_err();
    assert!(is_closed());
    // All of it, and more than once: an operator's reload; then a part.
    for take in ["flush ruleset", "flush ruleset", "delete chain inet envforge_reloaded input"] {
        within(&net.path("host"), move || run("nft", &["-f", "-"], take).map(drop).expect("taken"));
        until("the host is closed again", is_closed);
        until("the way out is open", || reach(&a, "198.51.100.7:443").is_ok());
    }
    // A daemon that comes back after a reload it did not see.
    drop(egress);
    within(&net.path("host"), || run("nft", &["flush", "ruleset"], "").map(drop).expect("taken"));
    assert!(!is_closed(), "nobody watches");
    let again = within(&net.path("host"), || {
        let egress = Arc::new(Egress::new(config("reloaded")).expect("config"));
        egress.watch().expect("watched");
        egress
    });
    assert!(is_closed());
    within(&net.path("host"), move || again.unload().expect("unload"));
}

#[test]
fn dockers_rules_keep_no_workspace_in_and_its_containers_stay_closed() {
    if !is_root() || missing_programs().is_some() || run("iptables", &["-V"], "").is_err() {
        return;
    }
    let net = world();
    netns::create(&net.path("container")).expect("namespace");
    let container = net.path("container");
    within(&net.path("host"), move || {
        let ns = container.to_string_lossy().into_owned();
        run("ip", &["link", "add", "docker0", "type", "veth", "peer", "name", "c0"], "").expect("cable");
        run("ip", &["link", "set", "c0", "netns", &ns], "").expect("cable");
        run("ip", &["-batch", "-"], "addr add 172.17.0.1/16 dev docker0\nlink set docker0 up\n").expect("bridge");
    });
    within(&net.path("container"), || {
        let lines = "addr add 172.17.0.2/16 dev c0\nlink set c0 up\nroute add default via 172.17.0.1\n";
        run("ip", &["-batch", "-"], lines).expect("container");
    });
    listen(&net.path("container"), "0.0.0.0:80");
    let egress = open_both(&net, "docked");
    let a = net.path("a");
    assert!(reach(&a, "198.51.100.7:443").is_ok());
    let forwards = |policy: &str| {
        format!(
            "*filter\n:FORWARD {policy} [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\nCOMMIT\n"
        )
    };
    let published = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\n-A PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 198.51.100.7:443\nCOMMIT\n";
    let load = |rules: String| {
        within(&net.path("host"), move || run("iptables-restore", &["--noflush"], &rules).map(drop).expect("rules"));
    };
    // As Docker's engine leaves them when it starts: where the machine forwarded before, and where it did not.
    load(published.to_owned());
    for policy in ["ACCEPT", "DROP"] {
        load(forwards(policy));
        until("the way out is open", || reach(&a, "198.51.100.7:443").is_ok());
        assert!(reach(&net.path("host"), "172.17.0.2:80").is_ok());
        assert!(reach(&a, "172.17.0.2:80").is_err(), "a container is none of the internet");
        assert!(reach(&a, "203.0.113.1:8080").is_err(), "nor is what the machine publishes of it");
        assert!(reach(&a, "203.0.113.1:8081").is_err(), "nor is what it leads on elsewhere");
        let from_outside = reach(&net.path("internet"), "203.0.113.1:8080");
        assert_eq!(from_outside.is_ok(), policy == "ACCEPT", "{from_outside:?}");
    }
    until("nothing is told", || egress.closed_by().is_none());
    within(&net.path("host"), move || {
        egress.unload().expect("unload");
        egress.unload().expect("twice");
        let left = run("iptables", &["-S"], "").expect("rules");
        assert!(left.contains("-A FORWARD -j DOCKER-USER") && !left.contains("ENVFORGE"), "{left}");
    });
}

#[test]
fn a_firewall_that_forwards_nothing_is_told_of() {
    if !is_root() || missing_programs().is_some() {
        return;
    }
    let net = world();
    let egress = open_both(&net, "walled");
    assert_eq!(egress.closed_by(), None);
    let wall = "table inet wall {\nchain through { type filter hook forward priority 0; policy drop; }\n}\n";
    within(&net.path("host"), move || run("nft", &["-f", "-"], wall).map(drop).expect("rules"));
    until("it is told", || egress.closed_by().is_some());
    let why = egress.closed_by().expect("told");
    assert!(why.contains("chain through of table inet wall"), "{why}");
    let cables = within(&net.path("host"), || cable(0)).trim_end_matches("0000").to_owned();
    assert!(why.contains(&format!("interfaces {cables}*")), "{why}");
    // As it says.
    let through = format!(
        "add rule inet wall through iifname \"{cables}*\" accept\n\
         add rule inet wall through oifname \"{cables}*\" ct state established,related accept\n"
    );
    within(&net.path("host"), move || run("nft", &["-f", "-"], &through).map(drop).expect("rules"));
    until("it is told no more", || egress.closed_by().is_none());
    assert!(reach(&net.path("a"), "198.51.100.7:443").is_ok());
    within(&net.path("host"), move || egress.unload().expect("unload"));
}

#[test]
fn no_way_out_is_said_in_words() {
    if !is_root() {
        return;
    }
    let config =
        EgressConfig { instance: "no_way_out".to_owned(), pool: [10, 214], resolvers: Vec::new(), closed: Vec::new() };
    let net = Net { dir: tempfile::tempdir().expect("directory") };
    netns::create(&net.path("host")).expect("namespace");
    let state =
        within(&net.path("host"), move || Egress::new(config).expect("config").open(Path::new("/nowhere/net"), 0));
    let EgressState::Unavailable(reason) = state else { panic!("{state:?}") };
    assert!(reason.starts_with("workspaces have no way out: "), "{reason}");
    let links = within(&net.path("host"), || run("ip", &["-o", "link"], ""));
    if let Ok(links) = links {
        assert!(!links.contains(": ef"), "nothing half made is left: {links}");
    }
}

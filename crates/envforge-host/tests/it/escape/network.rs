//! What listens: the neighbour, the machine, the other layer. The clouds' metadata addresses are tried in [`super::egress`].

use super::attempt::{Attempt, Control, attempt, try_all};
use super::scene::{OPEN_PORT, SECRET, Scene, Standpoint};
use crate::support::{inside, is_root, wait_until};
use envforge_host::sys::command::run;
use envforge_host::sys::netns;
use envforge_host::sys::sandbox::Protection;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::Path;

use Control::{Host, Neighbour, Without};

fn attempts(host: &[String], has_way_out: bool, has_six: bool) -> Vec<Attempt> {
    const OTHER_LAYERS: &[Standpoint] = &[Standpoint::Shell, Standpoint::RootTerminal];
    let mut attempts = vec![
        attempt("the machine's loopback", "$PROBE tcp 127.0.0.1:$HOST_PORT", Host),
        attempt("the machine's other loopback", "$PROBE tcp [::1]:$HOST_PORT", Host),
        attempt("the machine's abstract socket", "$PROBE abstract $HOST_NAME", Host),
        attempt("a neighbour's loopback", "$PROBE tcp 127.0.0.1:$NEIGHBOUR_PORT", Neighbour),
        attempt("a neighbour's abstract socket", "$PROBE abstract $NEIGHBOUR_NAME", Neighbour),
        attempt("an abstract socket of its runtime", "$PROBE abstract $RUNTIME_NAME", Without(Protection::Landlock))
            .from(OTHER_LAYERS)
            .landlock(6),
        attempt("raw packets", "$PROBE socket 17 3 768", Host),
        attempt("raw addresses", "$PROBE socket 2 3 255", Host),
        attempt("another address", "$ENTER ip addr add 10.99.99.99/32 dev lo", Host),
        attempt("another route", "$ENTER ip route add 10.250.0.0/16 dev lo", Host),
        attempt("no loopback", "$ENTER ip link set lo down && $ENTER ip link set lo up", Host),
        attempt("another cable", "$ENTER ip link add tried type veth peer name tried1", Host),
        attempt("rules of its own", "$ENTER nft add table inet tried", Host).needs("/usr/sbin/nft"),
    ];
    if has_way_out {
        attempts.push(attempt(
            "a neighbour's address",
            format!("$PROBE tcp $NEIGHBOUR_ADDRESS:{OPEN_PORT}"),
            Neighbour,
        ));
        attempts.push(attempt("the machine by the gateway", "$PROBE tcp $GATEWAY:$HOST_PORT", Host));
        if has_six {
            attempts.push(attempt(
                "the machine by the cable's IPv6",
                "$PROBE link-local $CABLE_SIX $CABLE $HOST_PORT",
                Host,
            ));
        }
        attempts.extend(host.iter().map(|address| {
            attempt(format!("the machine by {address}"), format!("$PROBE tcp {address}:$HOST_PORT"), Host)
        }));
    }
    attempts
}

/// The machine's own addresses, save loopback and link-local ones; IPv6 in brackets.
fn addresses() -> Vec<String> {
    let text = run("ip", &["-o", "addr", "show", "scope", "global"], "").unwrap_or_default();
    let of_line = |line: &str| {
        let address = line.split_whitespace().nth(3)?.split('/').next()?.to_owned();
        Some(if address.contains(':') { format!("[{address}]") } else { address })
    };
    // A cable of another test may be gone before it is tried.
    text.lines().filter(|line| !line.contains(": ef")).filter_map(of_line).collect()
}

/// The IPv6 address that the machine's end of a workspace's cable gave itself, and the end's name; `None` where it has none or
/// is not sure of it yet.
fn cable(net: &Path) -> Option<(String, String)> {
    let inside = run("nsenter", &[&format!("--net={}", net.display()), "ip", "-o", "link", "show", "dev", "eth0"], "");
    // `2: eth0@if57: …`: the number of the other end, colon and all.
    let number = inside.ok()?.split_whitespace().nth(1)?.strip_prefix("eth0@if")?.to_owned();
    let text = run("ip", &["-6", "-o", "addr", "show", "scope", "link"], "").ok()?;
    let line = text.lines().find(|line| line.starts_with(&number) && !line.contains("tentative"))?;
    let mut words = line.split_whitespace().skip(1);
    let (name, address) = (words.next()?, words.nth(1)?);
    Some((address.split('/').next()?.to_owned(), name.to_owned()))
}

// proves ORG-3 RUN-7 LINK-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new().await;
    let listener = TcpListener::bind("[::]:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    scene.name("HOST_PORT", port.to_string());
    let name = format!("envforge-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).expect("a name")).expect("bound");
    scene.name("HOST_NAME", name);
    let neighbour = scene.neighbours_runtime();
    for (name, address) in [("loopback", "127.0.0.1:4711".to_owned()), ("open", format!("0.0.0.0:{OPEN_PORT}"))] {
        let mut serve = inside(name, &["serve", &address, SECRET]);
        serve.program =
            super::scene::program(&["/workspace/probe", crate::entry::INSIDE, "serve", &address, SECRET]).program;
        neighbour.client.spawn(serve).await.expect("spawn");
    }
    for (running, name) in [(neighbour, "neighbours"), (scene.own_runtime(), "runtimes")] {
        let argv = ["/workspace/probe", crate::entry::INSIDE, "probe", "serve-abstract", name];
        running.client.spawn(super::scene::program(&argv)).await.expect("spawn");
        let look = format!("grep -q @{name} /proc/net/unix");
        wait_until("it listens", async || running.run(&look).await.code == Some(0)).await;
    }
    let net = scene.machine.place(scene.two).join("run/net");
    for port in [4711, OPEN_PORT] {
        wait_until("it listens", async || netns::connect(&net, port).await.is_ok()).await;
    }
    scene.name("NEIGHBOUR_PORT", "4711");
    scene.name("NEIGHBOUR_NAME", "neighbours");
    scene.name("RUNTIME_NAME", "runtimes");
    let ways = scene.addresses(scene.one).zip(scene.addresses(scene.two));
    let has_way_out = ways.is_some();
    let has_six = Path::new("/proc/net/if_inet6").exists();
    if let Some(((_, gateway), (neighbour, _))) = ways {
        if has_six {
            let net = scene.machine.place(scene.one).join("run/net");
            wait_until("the cable's address", async || cable(&net).is_some()).await;
            let (six, cable) = cable(&net).expect("found");
            scene.name("CABLE_SIX", six);
            scene.name_apart("CABLE", "eth0", cable);
        }
        scene.name("GATEWAY", gateway);
        scene.name("NEIGHBOUR_ADDRESS", neighbour);
    }
    try_all(&scene, &attempts(&addresses(), has_way_out, has_six)).await;
}

//! Services that listen where nobody expects it.

use super::machine::Machine;
use crate::support::is_root;
use envforge_api::host::{Order, Report};
use envforge_core::readiness::{Part, ReadinessState};
use envforge_core::runtime::ObservedPhase;

/// Listens on each `address:port` in turn, `+` waits between two, and answers with the one asked. `own` stands for an
/// address of the workspace that is not the usual one.
const BIND: &str = r#"
import http.server, os, socket, sys, threading, time
def own():
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    except OSError:
        return "127.0.0.2"
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
def serve(place):
    address, port = place.rsplit(":", 1)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = os.environ.get(self.path[5:], "-") if self.path.startswith("/env/") else place
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())
        def log_message(self, *a):
            pass
    Server.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = Server((own() if address == "own" else address, int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
for place in sys.argv[1:]:
    if place == "+":
        time.sleep(0.5)
    else:
        serve(place)
"#;

// proves RUN-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_found_wherever_it_listens() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n\
        \x20 else:\n    command: python3 bind.py 127.0.0.1:5173\n    port: 3001\n\
        \x20 asked:\n    command: python3 bind.py 127.0.0.1:5174\n    port: 3006\n    health: { http: / }\n\
        \x20 late:\n    command: python3 bind.py 127.0.0.1:9230 + 127.0.0.1:3002\n    port: 3002\n\
        \x20 several:\n    command: python3 bind.py 127.0.0.1:2000 127.0.0.1:3003 127.0.0.1:24678\n    port: 3003\n\
        \x20 found:\n    command: python3 bind.py 127.0.0.1:9229 + 127.0.0.1:9400\n    routes: [/found]\n\
        \x20 six:\n    command: python3 bind.py ::1:$PORT\n    routes: [/six]\n\
        \x20 own:\n    command: python3 bind.py own:$PORT\n    routes: [/own]\n    health: { http: / }\n\
        \x20 asks:\n    command: python3 bind.py 0.0.0.0:$PORT\n    inputs: { six_url: required, own_url: required }\n\
        \x20   environment: { SIX: input.six_url, OWN: input.own_url }\n    routes: [/]\n";
    let machine = Machine::new(manifest, &[("bind.py", BIND)]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    for (name, expected) in [("late", 3002), ("several", 3003), ("found", 9400)] {
        let part = machine.part(ws, name, ReadinessState::Ready).await;
        assert_eq!((part.port, part.cause, part.fix), (Some(expected), None, None), "{name}");
        assert!(machine.server.get(ws.id, name, "/").await.ends_with(&format!(":{expected}")), "{name}");
    }
    for (name, declared, real) in [("else", 3001, 5173), ("asked", 3006, 5174)] {
        let part = machine.part(ws, name, ReadinessState::Ready).await;
        assert_eq!(part.port, Some(real));
        assert_eq!(part.cause, Some(format!("envforge.yml says port {declared}, it listens on {real}")));
        assert!(part.fix.is_some_and(|fix| fix.contains(&format!("port: {real}")) && fix.contains("$PORT")));
        assert_eq!(machine.server.get(ws.id, name, "/").await, format!("127.0.0.1:{real}"));
    }
    let elsewhere = |part: &Part| part.name == "late" && part.port.is_some_and(|port| port != 3002);
    assert!(!machine.server.reports(ws.id).iter().any(|report: &Report| report.parts.iter().any(elsewhere)));
    // Neighbours are told the address that leads there.
    machine.part(ws, "asks", ReadinessState::Ready).await;
    for (name, variable) in [("six", "SIX"), ("own", "OWN")] {
        let port = machine.part(ws, name, ReadinessState::Ready).await.port.expect("a port");
        assert!(machine.server.get(ws.id, name, "/").await.ends_with(&format!(":{port}")), "{name}");
        let url = machine.server.get(ws.id, "asks", &format!("/env/{variable}")).await;
        assert!(url.ends_with(&format!(":{port}")) && !url.contains("127.0.0.1"), "{url}");
    }
    assert!(machine.server.get(ws.id, "asks", "/env/SIX").await.starts_with("http://[::1]:"));
    // The kernel accepts for a paused one too, wherever it listens.
    machine.phase(ws, ObservedPhase::Up).await;
    machine.order(ws, 3, Order::FreezeRuntime).await;
    machine.phase(ws, ObservedPhase::Frozen).await;
    for name in ["else", "six", "own"] {
        machine.server.service(ws.id, name).await.expect("accepted while frozen");
    }
}

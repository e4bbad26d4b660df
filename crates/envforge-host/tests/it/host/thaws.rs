//! What a long pause does to connections, timers and health: nothing that anybody notices.

use super::machine::{Machine, Ws};
use super::resources::has_programs;
use crate::support::wait_until;
use envforge_api::host::{Order, Outcome, Report};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A service with connections to its database that it keeps, and one that is not healthy yet.
const MANIFEST: &str = "services:\n  web:\n    command: python3 pool.py\n    port: 3000\n    inputs: { database_url: required }\n    environment: { DATABASE_URL: input.database_url }\n    health: { http: /healthz }\n  slow:\n    command: sleep 1000\n    port: 3999\n    health: { tcp: true }\nresources:\n  postgres: branch_scoped\n";

/// Each connection is a `psql`, which speaks to the server through libpq and keeps what it opened.
const POOL: &str = r#"
import http.server, os, subprocess, threading, time
class Connection:
    def __init__(self):
        self.lock = threading.Lock()
        self.psql = subprocess.Popen(["psql", "-XqAt", os.environ["DATABASE_URL"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask("create temporary table mine(x int); insert into mine values (41); select 1")
    def ask(self, sql):
        with self.lock:
            self.psql.stdin.write(sql + ";\n")
            self.psql.stdin.flush()
            return self.psql.stdout.readline().strip()
pool = [Connection() for _ in range(4)]
ticks = [0]
def tick():
    while True:
        time.sleep(0.05)
        ticks[0] += 1
threading.Thread(target=tick, daemon=True).start()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/pool":
            body = " ".join(each.ask("select pg_backend_pid() || ':' || x + 1 from mine") for each in pool)
        elif self.path == "/ticks":
            body = str(ticks[0])
        else:
            body = pool[0].ask("select 1")
        self.send_response(200 if body else 500)
        self.end_headers()
        self.wfile.write(body.encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"#;

/// Makes a pause as long as if it had begun so much earlier, with all that was under way when it began.
fn lengthen(machine: &Machine, ws: Ws, by: SignedDuration) {
    let read = |name: &str| -> Option<Value> {
        serde_json::from_slice(&std::fs::read(machine.place(ws).join(name)).ok()?).ok()
    };
    let revision = |state: &Value| state["revision"].as_u64().expect("a number");
    let mut state =
        ["state.json", "state.recent.json"].into_iter().filter_map(read).max_by_key(revision).expect("a journal");
    let earlier = |instant: &mut Value| {
        let then: Timestamp = instant.as_str().expect("an instant").parse().expect("an instant");
        *instant = Value::from(then.checked_sub(by).expect("in range").to_string());
    };
    earlier(&mut state["intent"]["since"]);
    for service in state["services"].as_object_mut().expect("services").values_mut() {
        earlier(&mut service["supervisor"]["state"]["since"]);
    }
    state["revision"] = Value::from(revision(&state) + 1);
    std::fs::write(machine.place(ws).join("state.recent.json"), state.to_string()).expect("written");
}

// proves RUN-4, RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_timers_and_health_survive_a_long_pause() {
    if !has_programs() {
        return;
    }
    let mut machine = Machine::new(MANIFEST, &[("pool.py", POOL)]).await;
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    machine.part(ws, "slow", ReadinessState::Waking).await;
    let ticks = async || machine.server.get(ws.id, "web", "/ticks").await.parse::<u64>().expect("a number");
    wait_until("its timer runs", async || ticks().await > 5).await;
    let pool = machine.server.get(ws.id, "web", "/pool").await;
    assert_eq!(pool.split(' ').filter(|each| each.ends_with(":42")).count(), 4, "{pool}");

    // Ten minutes: far longer than a health check's interval, and than a service may take to start.
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    machine.stop().await;
    lengthen(&machine, ws, SignedDuration::from_mins(10));
    machine.start().await;
    machine.phase(ws, ObservedPhase::Frozen).await;
    let told = machine.server.reports(ws.id).len();
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(machine.server.get(ws.id, "web", "/pool").await, pool, "the same sessions, with what is theirs");
    let before = machine.server.get(ws.id, "web", "/ticks").await.parse::<u64>().expect("a number");
    let ticks = async || machine.server.get(ws.id, "web", "/ticks").await.parse::<u64>().expect("a number");
    wait_until("its timer goes on", async || ticks().await > before + 5).await;
    // Long enough for the ports and the health of both to be looked at again.
    let pulsed = || machine.server.pulses().iter().any(|pulse| pulse.workspace == ws.id && pulse.generation == 4);
    wait_until("a pulse of the thawed runtime", async || pulsed()).await;
    let thawed: Vec<Report> =
        machine.server.reports(ws.id).split_off(told).into_iter().filter(|report| report.generation == 4).collect();
    assert!(!thawed.is_empty());
    for part in thawed.iter().flat_map(|report| &report.parts) {
        match part.name.as_str() {
            "web" => assert_eq!((part.state, part.restarts), (ReadinessState::Ready, 0), "{part:?}"),
            "slow" => assert_eq!((part.state, part.restarts), (ReadinessState::Waking, 0), "{part:?}"),
            _ => {}
        }
    }
}

//! Two gateways beside each other, under load: either may be killed, and so may the server; nobody who asks again is lost.

use super::sample::{Member, PATIENCE, commit, repository};
use crate::support::{TestBox, kill};
use envforge_api::http::ledger::{LedgerEvents, ListedEvent};
use envforge_api::http::links::Links;
use envforge_core::idle::IdleVerdict;
use envforge_core::ledger::Event;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, free_port, wait_until_within};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The idle time is far beyond the story's length.
const MANIFEST: &str = "services: { web: { command: node web.mjs, port: 3000, routes: [/], health: { http: / } } }
runtime: { idle: 1h }
";

/// Says what it was asked, never answers one path, and echoes short texts over a WebSocket (enough of RFC 6455 for that).
const WEB: &str = r#"
import { createHash } from "node:crypto";
import { createServer } from "node:http";
const server = createServer((request, response) => request.url === "/never" || response.end(`asked for ${request.url}.`));
server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on("error", () => {});
  socket.on("data", (frame) => {
    const length = frame[1] & 127;
    if ((frame[0] & 15) !== 1 || length > 125) return;
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, index) => byte ^ frame[2 + (index % 4)]));
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1");
"#;

const CLIENTS: u32 = 4;
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(25);
/// The idle rule is looked at every second, and later on a machine that is busy.
const THREE_LOOKS: Duration = Duration::from_secs(5);

/// Clients that ask for one page after another through either gateway; whoever is not answered asks the other one.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    answered: u32,
    asked_again: u32,
    slowest: Duration,
}

impl Load {
    fn begin(gateways: &[Browser; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (gateways, stop) = (gateways.clone(), Arc::clone(&stop));
            clients.spawn(async move {
                let mut tally = Tally::default();
                let mut pace = tokio::time::interval(PACE);
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let path = format!("/{client}/{}", tally.answered);
                    let begun = Instant::now();
                    tally.asked_again += ask(&gateways, (client + tally.answered) as usize, &path).await;
                    tally.slowest = tally.slowest.max(begun.elapsed());
                    tally.answered += 1;
                }
                tally
            });
        }
        Self { stop, clients }
    }

    /// Ends when every request was answered.
    async fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().fold(Tally::default(), |sum, one| Tally {
            answered: sum.answered + one.answered,
            asked_again: sum.asked_again + one.asked_again,
            slowest: sum.slowest.max(one.slowest),
        })
    }
}

/// Asks until one of the gateways passes on what the service says; how often it had to ask again.
async fn ask(gateways: &[Browser; 2], first: usize, path: &str) -> u32 {
    let end = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        match gateways[(first + tries) % 2].get(path).await {
            Ok(text) => {
                assert_eq!(text, format!("asked for {path}."));
                return u32::try_from(tries).unwrap();
            }
            Err(error) => assert!(Instant::now() < end, "{path} is lost: {error:#}"),
        }
        tries += 1;
        tokio::time::sleep(PACE).await;
    }
}

impl Member<'_> {
    /// Puts it to sleep under load, does something meanwhile, and waits until the load has woken it.
    async fn sleeps_and_is_woken(&self, meanwhile: impl AsyncFnOnce()) {
        let before = self.show().await.unwrap().runtime.generation;
        self.ask_for_sleep("frozen").await;
        meanwhile().await;
        self.until("the load woke it", |workspace| {
            workspace.runtime.state == RuntimeState::Awake && workspace.runtime.generation > before + 1
        })
        .await;
    }

    /// Every order to sleep and wake, the oldest first.
    async fn orders(&self) -> Vec<Event> {
        let path = "/v1/orgs/local/ledger?verb=runtime.&order=oldest&limit=500";
        let found: LedgerEvents = self.the_box.client().get(path).await.unwrap();
        let asked = |event: &Event| event.verb.ends_with("_asked");
        found.events.into_iter().map(|ListedEvent { event, .. }| event).filter(asked).collect()
    }

    /// What was asleep was woken once, and each wake of a visitor is one of the link's.
    async fn each_sleep_has_one_wake(&self) {
        let orders = self.orders().await;
        for (turn, order) in orders.iter().enumerate() {
            let wanted = ["runtime.wake_asked", "runtime.sleep_asked"][turn % 2];
            assert_eq!(order.verb, wanted, "{orders:#?}");
        }
        let by_link = |order: &&Event| order.verb == "runtime.wake_asked" && order.actor.starts_with("link_session:");
        let links: Links = self.the_box.client().get("/v1/orgs/local/workspaces/main/links").await.unwrap();
        assert_eq!(links.links[0].wakes as usize, orders.iter().filter(by_link).count(), "{orders:#?}");
    }
}

// proves LINK-2 LINK-4 RUN-3 RUN-4 OPS-2 OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_under_load_lose_nobody_whichever_part_is_killed() {
    let the_box = TestBox::new();
    let uplink = the_box.scratch("second").join("uplink.sock");
    let mut the_box = the_box.with(&["--gateway-uplink", uplink.to_str().unwrap()]);
    the_box.start().await;
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut second = the_box.second_gateway(listen, &uplink);

    let folder = repository(&the_box.scratch("web"));
    fs_err::write(folder.join("envforge.yml"), MANIFEST).unwrap();
    fs_err::write(folder.join("web.mjs"), WEB).unwrap();
    commit(&folder, "One service");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&folder, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    // One session, exchanged at one gateway, good at both.
    let gateways = [browser.clone(), browser.through(listen.port())];
    let serves = async || gateways[1].get("/").await.is_ok();
    wait_until_within("the second gateway serves", PATIENCE, serves).await;
    let mut socket = gateways[0].websocket("/").await.unwrap();

    let load = Load::begin(&gateways);
    member.sleeps_and_is_woken(async || ()).await;
    member
        .sleeps_and_is_woken(async || {
            second.kill().await.unwrap();
        })
        .await;
    Browser::echo(&mut socket, "one gateway", "one gateway").await.unwrap();
    let mut second = the_box.second_gateway(listen, &uplink);
    wait_until_within("the second gateway serves again", PATIENCE, serves).await;
    let server = the_box.children()["server"];
    member
        .sleeps_and_is_woken(async || {
            kill(server);
            the_box.successor("server", server).await;
        })
        .await;
    wait_until_within("the second gateway serves with the new server", PATIENCE, serves).await;
    Browser::echo(&mut socket, "another server", "another server").await.unwrap();
    let tally = load.end().await;
    println!("{tally:?}");
    member.each_sleep_has_one_wake().await;

    // A request that is never answered keeps it awake beyond its idle time, as long as the request's gateway lives.
    let is_idle = |verdict: &Option<IdleVerdict>| matches!(verdict, Some(IdleVerdict::Idle { .. }));
    member
        .until_within("the server knows that the load ended", 2 * PATIENCE, |workspace| {
            is_idle(&workspace.runtime.idle)
        })
        .await;
    let waits = tokio::spawn({
        let second = gateways[1].clone();
        async move { second.get("/never").await }
    });
    let is_kept = |verdict: &Option<IdleVerdict>| matches!(verdict, Some(IdleVerdict::Busy { reason, .. }) if reason == "1 request in flight");
    member.until("the server knows of the request", |workspace| is_kept(&workspace.runtime.idle)).await;
    the_box.psql("UPDATE workspaces SET manifest = jsonb_set(manifest, '{runtime,idle}', '0')");
    let begun = Instant::now();
    while begun.elapsed() < THREE_LOOKS {
        let kept = member.show().await.unwrap().runtime;
        assert!(kept.state == RuntimeState::Awake && is_kept(&kept.idle), "{kept:?}");
        tokio::time::sleep(PACE).await;
    }
    second.kill().await.unwrap();
    waits.await.unwrap().unwrap_err();
    member.until("it falls asleep", |workspace| workspace.runtime.state == RuntimeState::Frozen).await;
    assert_eq!(member.orders().await.last().unwrap().actor, "system:idle");
    Browser::echo(&mut socket, "and awake", "and awake").await.unwrap();
    member.each_sleep_has_one_wake().await;
}

//! The same bytes to nginx, HAProxy, Caddy and our gateway: what becomes of each is told side by side, and ours is judged.
//!
//! Smuggling needs two readers who disagree where a request ends, or what it asks for. So each case is sent with an ordinary request
//! right behind it, to a recorder behind each proxy that keeps every byte. Of our gateway it is asserted:
//!
//! - what is ambiguous is refused and the connection closed, or it arrives as one request that everybody reads alike;
//! - what lies in a body is never a request; what is good arrives whole;
//! - every byte a service was sent is the same for the strictest reader and for the most lenient one ([`crate::support::readings`]);
//! - the visitor's session and another host's name are in none of it, and the next visitor is answered well.
//!
//! What the others do is no law: they are there to be looked at (`--no-capture`), where ours is the only one of its kind.

mod cases;
mod client;
mod peers;

use crate::support::readings::{Read, agreed, lenient};
use crate::support::recorder::Recorder;
use crate::support::{COOKIE, HOST, World};
use cases::{Case, Kit, Must};
use client::{Heard, send};
use futures_util::StreamExt as _;
use peers::Peer;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Without a word for so long, nothing more is coming: of the peers' it is only looked at, ours is judged by it.
const QUIET: Duration = Duration::from_millis(150);
const QUIET_OURS: Duration = Duration::from_secs(1);
/// Cases at our gateway at once, each with a world of its own.
const AT_ONCE: usize = 4;

/// What became of a case.
struct Outcome {
    heard: Heard,
    statuses: Vec<u16>,
    /// Every connection to the service.
    sent: Vec<Vec<u8>>,
    /// Targets of whole requests, as a lenient service reads them.
    targets: Vec<String>,
}

impl Outcome {
    fn new(heard: Heard, sent: Vec<Vec<u8>>) -> Self {
        let targets = sent.iter().flat_map(|bytes| read_leniently(bytes)).map(|read| read.target).collect();
        Self { statuses: heard.statuses(), heard, sent, targets }
    }

    /// The request behind the case was read as one.
    fn goes_on(&self) -> bool {
        self.statuses.len() > 1 || self.targets.iter().any(|target| target == "/next")
    }

    /// A request out of a body was read as one.
    fn is_smuggled(&self) -> bool {
        self.targets.iter().any(|target| target.contains("/hidden"))
    }

    fn is_refused(&self) -> bool {
        self.statuses.first().is_some_and(|status| (400..500).contains(status) || matches!(status, 501 | 505))
    }

    /// In a few words.
    fn verdict(&self) -> String {
        let status = self.statuses.first().map_or_else(|| "-".to_owned(), u16::to_string);
        let end = match (self.is_smuggled(), self.goes_on(), self.heard.is_over) {
            (true, _, _) => "SMUGGLED",
            (_, true, _) => "next",
            (_, _, true) => "closed",
            _ => "waits",
        };
        if self.heard.is_http2() { "HTTP/2".to_owned() } else { format!("{status} {end}") }
    }
}

fn read_leniently(mut bytes: &[u8]) -> Vec<Read> {
    let mut found = Vec::new();
    while let Some((read, length)) = lenient(bytes).filter(|(_, length)| *length > 0) {
        found.push(read);
        bytes = &bytes[length..];
    }
    found
}

// proves LINK-6 LINK-10
#[tokio::test]
async fn what_servers_read_differently_is_refused_or_made_clear() {
    let (ours, peers) = tokio::join!(all_at_ours(), async {
        let peers = Peer::all().await;
        let ran = peers.iter().map(all_at_peer);
        futures_util::future::join_all(ran).await
    });
    let (mut table, mut faults) = (String::new(), Vec::new());
    let names = peers.iter().map(|(name, _)| *name);
    row(&mut table, std::iter::once("envforge").chain(names), "case");
    for (case, verdict, fault) in ours {
        let theirs = peers.iter().map(|(_, verdicts)| verdicts[&case.name].as_str());
        row(&mut table, std::iter::once(verdict.as_str()).chain(theirs), &case.name);
        faults.extend(fault.map(|fault| format!("{}: {fault}", case.name)));
    }
    println!("{table}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn row<'a>(table: &mut String, cells: impl Iterator<Item = &'a str>, name: &str) {
    for cell in cells {
        write!(table, "{cell:<14}").expect("a string takes anything");
    }
    writeln!(table, "{}", name.chars().take(100).collect::<String>()).expect("a string takes anything");
}

async fn all_at_peer(peer: &Peer) -> (&'static str, HashMap<String, String>) {
    let kit = Kit { host: HOST.to_owned(), cookie: format!("{COOKIE}=no-session") };
    let mut verdicts = HashMap::new();
    for case in cases::all(&kit) {
        let heard = send(peer.connect().await, &[case.bytes, kit.next()].concat(), QUIET).await;
        verdicts.insert(case.name, Outcome::new(heard, peer.recorder.take()).verdict());
    }
    (peer.name, verdicts)
}

async fn all_at_ours() -> Vec<(Case, String, Option<String>)> {
    // A world's clock stands still and its keys are always the same: one session is good in all.
    let cookie = tokio::task::spawn_blocking(|| alone(async || World::awake().await.cookie(1)));
    let cookie = cookie.await.expect("a session");
    let kit = Arc::new(Kit { host: HOST.to_owned(), cookie });
    let judged = futures_util::stream::iter(cases::all(&kit)).map(|case| {
        let kit = Arc::clone(&kit);
        let judging = tokio::task::spawn_blocking(move || {
            let outcome = alone(async || at_ours(&case, &kit).await);
            let (verdict, fault) = (outcome.verdict(), judge(&case.must, &outcome).err());
            (case, verdict, fault)
        });
        async { judging.await.expect("a case runs to its end") }
    });
    judged.buffered(AT_ONCE).collect().await
}

/// In a runtime of its own, with which everything ends that was begun: hundreds of worlds live in this test.
fn alone<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work())
}

async fn at_ours(case: &Case, kit: &Kit) -> Outcome {
    let (world, recorder) = (World::awake().await, Recorder::start().await);
    world.host.place("web", recorder.address);
    let bytes = [case.bytes.as_slice(), &kit.next()].concat();
    let heard = send(world.connect().await, &bytes, QUIET_OURS).await;
    // Whoever comes next may be given a connection that the case was on.
    let other = world.visit("/other").await;
    assert_eq!(other.body, "GET /other 0", "{}: the next visitor was answered {}", case.name, other.status);
    Outcome::new(heard, recorder.all())
}

fn judge(must: &Must, outcome: &Outcome) -> Result<(), String> {
    let mut arrived = Vec::new();
    for bytes in &outcome.sent {
        arrived.extend(agreed(bytes).map_err(|why| format!("a service was sent {}: {why}", shown(bytes)))?);
    }
    if outcome.is_smuggled() {
        return Err("what was hidden was read as a request".to_owned());
    }
    for read in &arrived {
        let host = read.all("host").next().unwrap_or_default();
        let is_ours = |name: &str| {
            name.split(':').next().is_some_and(|name| name.trim_end_matches('.').eq_ignore_ascii_case(HOST))
        };
        if !is_ours(host) || !read.all("x-forwarded-host").all(is_ours) {
            return Err(format!("another host is told: {:?}", read.headers));
        }
        let is_foreign = |value: &str| value.contains("evil.example") || !value.to_ascii_lowercase().contains(HOST);
        if read.headers.iter().any(|(_, value)| value.contains(COOKIE)) || read.all("forwarded").any(is_foreign) {
            return Err(format!("what is ours is told: {:?}", read.headers));
        }
    }
    let (next, case): (Vec<&Read>, Vec<&Read>) =
        arrived.iter().filter(|read| read.target != "/other").partition(|read| read.target == "/next");
    let is_nothing = case.is_empty() && outcome.sent.iter().all(|bytes| !bytes.windows(5).any(|five| five == b"/case"));
    let is_closed = outcome.heard.is_over && !outcome.goes_on();
    let (is_refused, is_http2) = (outcome.is_refused() && is_nothing, outcome.heard.is_http2() && arrived.len() == 1);
    let fault = match must {
        _ if case.len() > 1 || next.len() > 1 => Some("more than one request arrived"),
        Must::Refuse if !is_refused => Some("it was not refused"),
        Must::Settle if is_refused && !is_closed => Some("it was refused, and the connection not closed"),
        Must::Settle | Must::Choose if case.is_empty() && !is_refused && !is_http2 && outcome.goes_on() => {
            Some("it was neither refused nor passed on")
        }
        Must::Break if !case.is_empty() => Some("it was passed on whole"),
        Must::Refuse | Must::Break if !is_closed => Some("the connection was not closed"),
        Must::Pass(body) if case.first().is_none_or(|read| read.body != *body) => Some("it did not arrive as it is"),
        Must::Pass(_) if outcome.statuses.first() != Some(&200) => Some("its answer did not come back"),
        _ => None,
    };
    fault.map_or(Ok(()), |fault| {
        Err(format!(
            "{fault}; {}, arrived {:?}, heard {}",
            outcome.verdict(),
            outcome.targets,
            shown(&outcome.heard.bytes)
        ))
    })
}

/// The beginning, as it may be printed.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().chars().take(300).collect()
}

//! What an operator, and whoever balances load, asks a gateway.

use crate::support::client::Answer;
use crate::support::{LABEL, Plan, World, asleep, awake_again, until, waking};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_gateway::{Limits, Rate};
use std::time::Duration;
use tokio::time::Instant;

/// One each second, five at once.
const PACE: Rate = Rate { each_second: 1, burst: 5 };

/// Asks until it is told to wait: after five at once and, on a machine that is slow, one for each second it took. The
/// answer that tells it, and how many had the wanted status before.
async fn paced(wanted: u16, ask: impl AsyncFn(usize) -> Answer) -> (Answer, usize) {
    let begun = Instant::now();
    for taken in 0..20 {
        let answer = ask(taken).await;
        if answer.status == 429 {
            let most = 5 + begun.elapsed().as_secs();
            assert!((5..=most).contains(&(taken as u64)), "{taken} were let through, {most} at most should be");
            return (answer, taken);
        }
        assert_eq!(answer.status, wanted);
    }
    panic!("nobody is told to wait")
}

/// The value of a line, by how it begins.
fn value(text: &str, begins: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(begins))?.rsplit(' ').next()?.parse().ok()
}

// proves OPS-4
#[tokio::test]
async fn health_and_readiness_are_on_the_gateways_own_name_and_on_no_dev_host() {
    let limits = Limits { drain_notice: Duration::from_hours(1), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let address = world.gateway.local_addr.to_string();
    for host in ["localhost", "localhost:7081", "127.0.0.1", "[::1]:7081", &address] {
        for path in ["/.envforge/health", "/.envforge/ready"] {
            assert_eq!(world.get(path, &[("host", host)]).await.status, 200, "{host} {path}");
        }
        assert_eq!(world.get("/.envforge/readiness", &[("host", host)]).await.status, 404, "{host}");
    }
    for host in ["web--fix--acme.localhost", "evil.example", "localhost.evil.example", ""] {
        for path in ["/.envforge/health", "/.envforge/ready"] {
            assert_ne!(world.get(path, &[("host", host)]).await.status, 200, "{host} {path}");
        }
    }
    world.stop.cancel();
    until("it says that it is about to end", || world.gateway.operated().ready().is_err()).await;
    let answer = world.get("/.envforge/ready", &[("host", "localhost")]).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "gateway.draining"));
    assert_eq!(world.get("/.envforge/health", &[("host", "localhost")]).await.status, 200);
    assert_eq!(world.visit("/").await.status, 200, "it still answers, on new connections too");
}

// proves OPS-4
#[tokio::test]
async fn without_its_server_a_gateway_is_alive_and_not_ready() {
    let limits = Limits { lease: Duration::from_millis(600), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    world.server.fall_silent(true);
    until("its lease ended", || !world.gateway.is_connected()).await;
    let answer = world.get("/.envforge/ready", &[("host", "localhost")]).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "gateway.lease_over"));
    assert_eq!(world.get("/.envforge/health", &[("host", "localhost")]).await.status, 200);
}

// proves OPS-4
#[tokio::test]
async fn metrics_count_what_became_of_requests_and_name_nobody() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    let woken = async {
        until("a wake is asked for", || world.gateway.stats().wake_calls == 1).await;
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(world.visit("/a?token=secret"), woken);
    assert_eq!(answer.status, 200);
    assert_eq!(world.get("/", &[]).await.status, 401);
    let socket = world.socket(1).await.expect("a socket");
    let text = world.gateway.operated().metrics();
    let ended =
        |outcome: &str| value(&text, &format!("envforge_gateway_requests_ended_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((ended("forwarded"), ended("unverified"), ended("fault")), (Some(2.0), Some(1.0), Some(0.0)), "{text}");
    assert_eq!(value(&text, r#"envforge_gateway_phase_seconds_count{phase="wake"}"#), Some(1.0), "{text}");
    assert_eq!(value(&text, "envforge_gateway_realtime "), Some(1.0));
    assert_eq!(value(&text, "envforge_gateway_sessions "), Some(1.0));
    assert_eq!(value(&text, "envforge_gateway_connected "), Some(1.0));
    for secret in [LABEL, "acme", "secret", "token", "/a"] {
        assert!(!text.contains(secret), "{secret} is in the metrics: {text}");
    }
    drop(socket);
    let realtime = || value(&world.gateway.operated().metrics(), "envforge_gateway_realtime ");
    until("the socket is counted out", || realtime() == Some(0.0)).await;
}

/// The lines of the access log that are there.
fn lines(world: &World) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(world.folder.path().join("access.log")).expect("an access log");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

// proves OPS-4 LINK-2
#[tokio::test]
async fn a_line_tells_who_asked_for_what_and_what_it_woke_and_no_secret() {
    let world = World::with(asleep()).await;
    world.server.set_wake(waking());
    let woken = async {
        until("a wake is asked for", || world.gateway.stats().wake_calls == 1).await;
        world.becomes(awake_again(2));
    };
    let (answer, ()) = tokio::join!(world.visit("/a?token=secret"), woken);
    world.get("/", &[]).await;
    world.get(&format!("/share/{}", world.link(1)), &[]).await;
    until("three lines", || lines(&world).len() == 3).await;
    let lines = lines(&world);
    let visit = lines.iter().find(|line| line["path"] == "/a").expect("the visit's line");
    assert_eq!((&visit["status"], &visit["woke"], &visit["whole"]), (&200.into(), &2.into(), &true.into()));
    assert_eq!((visit["bytes"].as_u64(), visit["label"].as_str()), (Some(answer.body.len() as u64), Some(LABEL)));
    assert!(visit["holder"].as_str().is_some_and(|holder| holder.starts_with("link_")), "{visit}");
    assert!(visit["waited_ms"].as_f64().is_some_and(|waited| waited > 0.0), "{visit}");
    let stranger = lines.iter().find(|line| line["path"] == "/").expect("the stranger's line");
    assert_eq!((&stranger["status"], &stranger["holder"]), (&401.into(), &serde_json::Value::Null));
    let text = format!("{lines:?}");
    assert!(text.contains("/share/…") && !text.contains("secret") && !text.contains("efl1."), "{text}");
}

// proves LINK-4
#[tokio::test]
async fn strangers_who_flood_are_told_to_wait_and_nobody_else_is() {
    let limits = Limits { stranger_rate: PACE, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let (answer, _) = paced(401, async |_| world.get("/", &[]).await).await;
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(world.visit("/").await.status, 200);
}

// proves LINK-4
#[tokio::test]
async fn strangers_who_try_links_are_told_to_wait_before_the_server_is_asked() {
    let limits = Limits { stranger_rate: PACE, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    world.server.set_exchange(Err(Refusal::new(RefusalKind::Forbidden, "link.revoked", "no longer")));
    let path = format!("/share/{}", world.link(1));
    let (_, taken) = paced(403, async |_| world.ask("POST", &path, &[], "").await).await;
    assert_eq!(world.server.exchanges().len(), taken);
}

// proves LINK-2
#[tokio::test]
async fn a_links_sessions_share_one_pace() {
    let limits = Limits { link_rate: PACE, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let (answer, _) = paced(200, async |_| world.visit("/").await).await;
    assert_eq!(answer.code(), "request.rate");
    let other = world.cookie(2);
    assert_eq!(world.get("/", &[("cookie", &other)]).await.status, 200);
}

// proves LINK-3
#[tokio::test]
async fn a_load_balancer_of_ours_is_believed_and_nobody_else() {
    let trusted = vec!["127.0.0.0/8".parse().expect("a network"), "10.9.0.0/16".parse().expect("a network")];
    let limits = Limits { stranger_rate: PACE, ..Limits::default() };
    let world = World::new(Plan { limits, trusted, ..Plan::default() }).await;
    let cookie = world.cookie(1);
    let chain = "6.6.6.6, 203.0.113.9, 10.9.1.1";
    assert_eq!(world.get("/", &[("cookie", &cookie), ("x-forwarded-for", chain)]).await.status, 200);
    assert_eq!(world.web.seen()[0].headers["x-forwarded-for"], format!("{chain}, 127.0.0.1"));
    // A balancer may write a line of its own below the one that a stranger made up.
    let lines = [("cookie", cookie.as_str()), ("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(world.get("/", &lines).await.status, 200);
    assert_eq!(world.web.seen()[1].headers["x-forwarded-for"], "6.6.6.6, 203.0.113.9, 127.0.0.1");
    // Strangers are counted by where they come from, not by the balancer; what a stranger made up before it counts nothing.
    let from_one = [chain, "7.7.7.7, 203.0.113.9"];
    paced(401, async |nth| world.get("/", &[("x-forwarded-for", from_one[nth % 2])]).await).await;
    assert_eq!(world.get("/", &[("x-forwarded-for", "203.0.113.10")]).await.status, 401);
}

// proves LINK-4
#[tokio::test]
async fn one_address_has_so_many_connections() {
    let limits = Limits { address_connections: 3, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let sockets = [world.socket(1).await, world.socket(1).await];
    assert!(sockets.iter().all(Result::is_ok));
    let held = world.connect().await;
    until("three are open", || world.gateway.stats().connections == 3).await;
    assert!(world.socket(1).await.is_err(), "a fourth is hung up on");
    drop(held);
    until("one is free", || world.gateway.stats().connections == 2).await;
    assert_eq!(world.visit("/").await.status, 200);
}

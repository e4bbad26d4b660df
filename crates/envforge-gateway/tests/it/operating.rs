//! What an operator, and whoever balances load, asks a gateway.

use crate::support::{LABEL, Plan, World, asleep, awake_again, until, waking};
use envforge_gateway::Limits;
use std::time::Duration;

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
    assert_eq!(value(&text, "envforge_gateway_wake_wait_seconds_count"), Some(1.0), "{text}");
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

//! Beginning and end.

use crate::support::{Plan, World, id, until};
use envforge_api::ambient::SystemClock;
use envforge_core::secret::Secret;
use envforge_gateway::{Gateway, GatewayConfig, Limits, StartError};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

fn config(folder: &Path, listen: SocketAddr) -> GatewayConfig {
    let key = Secret::new("gateway-key".to_owned());
    GatewayConfig {
        listen,
        ..GatewayConfig::one_box(id(1), folder.join("server.sock"), folder.join("uplink.sock"), key)
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_helps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let config = config(folder.path(), address);
    let error = Gateway::start(config, Arc::new(SystemClock), CancellationToken::new()).await.expect_err("refused");
    assert!(matches!(error, StartError::PortInUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{address} is already in use by another program"));
    assert!(error.fix().contains(&address.port().to_string()));
}

#[tokio::test]
async fn a_socket_that_can_not_be_made_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&folder.path().join("missing"), SocketAddr::from(([127, 0, 0, 1], 0)));
    let error = Gateway::start(config, Arc::new(SystemClock), CancellationToken::new()).await.expect_err("refused");
    assert!(matches!(error, StartError::Uplink { .. }), "{error:?}");
    assert!(error.fix().contains("missing"));
}

#[tokio::test]
async fn what_is_under_way_is_finished_before_the_end() {
    let mut world = World::awake().await;
    let cookie = world.cookie(1);
    let socket = world.socket(1).await.expect("a socket");
    {
        let headers = [("cookie", cookie.as_str())];
        let slow = world.get("/slow", &headers);
        let conduct = async {
            until("the app has it", || world.web.seen().len() == 2).await;
            let in_flight = |one: &envforge_api::gateway::Activity| one.workspaces.iter().any(|one| one.in_flight == 1);
            until("the server was told of it", || world.server.activity().iter().any(in_flight)).await;
            world.stop.cancel();
            until("nobody is let in any more", || std::net::TcpStream::connect(world.gateway.local_addr).is_err())
                .await;
            world.web.finish();
        };
        let (answer, ()) = tokio::join!(slow, conduct);
        assert_eq!(answer.body, "done at last");
    }
    timeout(Duration::from_secs(5), &mut world.gateway.join).await.expect("it ends").expect("well");
    drop(socket);
    assert_eq!(world.gateway.stats().connections, 0);
    let activity = world.server.activity();
    let last = activity.iter().rev().flat_map(|one| &one.workspaces).next().expect("told");
    assert_eq!((last.in_flight, last.realtime), (0, 0), "the server is told of the end, too");
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let mut world = World::new(Plan { limits, ..Plan::default() }).await;
    let cookie = world.cookie(1);
    let request = World::request("GET", "/events", &[("cookie", &cookie)], "");
    let _events = world.open(request).await;
    world.stop.cancel();
    timeout(Duration::from_secs(5), &mut world.gateway.join).await.expect("it ends").expect("well");
}

#[tokio::test]
async fn slow_headers_are_not_waited_for() {
    let limits = Limits { header_time: Duration::from_millis(100), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let answer = world.raw("GET / HTTP/1.1\r\nHost: we", |_| false).await;
    assert_eq!(answer, "", "hung up without a word");
}

#[tokio::test]
async fn only_so_many_connections_are_served_at_once() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let first = world.connect().await;
    until("it is served", || world.gateway.stats().connections == 1).await;
    let conduct = async {
        assert_eq!(world.gateway.stats().requests, 0);
        drop(first);
    };
    let (answer, ()) = tokio::join!(world.visit("/"), conduct);
    assert_eq!(answer.status, 200, "the second is served once the first is gone");
}

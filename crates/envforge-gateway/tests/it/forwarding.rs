//! What passes through, and how.

use crate::support::{COOKIE, HOST, World, until};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

// proves LINK-10
#[tokio::test]
async fn what_is_ours_stays_ours() {
    let world = World::awake().await;
    let cookie = format!("theme=dark; {}; lang=en", world.cookie(1));
    let headers = [("cookie", cookie.as_str()), ("x-forwarded-for", "10.1.1.1"), ("proxy-connection", "keep-alive")];
    let answer = world.get("/cookies", &headers).await;
    let seen = world.web.seen().remove(0).headers;
    assert_eq!(seen["cookie"], "theme=dark; lang=en");
    assert_eq!(seen["host"], HOST);
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1", "a client's own word on where it comes from is not passed on");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], HOST);
    assert!(!seen.contains_key("proxy-connection") && !format!("{seen:?}").contains(COOKIE));
    let set: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("text")).collect();
    assert_eq!(set, ["theme=dark; Path=/", "plain=1"]);
    assert!(!answer.headers.contains_key("keep-alive"));
}

// proves LINK-3
#[tokio::test]
async fn connections_are_kept_and_a_dead_one_is_replaced() {
    let world = World::awake().await;
    for n in 0..5 {
        assert_eq!(world.visit(&format!("/{n}")).await.status, 200);
    }
    assert_eq!(world.host.opened().len(), 1, "one connection carries them all");
    world.web.hang_up();
    for n in 5..8 {
        assert_eq!(world.visit(&format!("/{n}")).await.status, 200, "{n}");
    }
    assert_eq!(world.host.opened().len(), 2);
    assert_eq!(world.web.seen().len(), 8, "none arrives twice");
}

/// A service that answers its first request and then, on the same connection, hangs up on the second.
async fn hangs_up_on_the_second(world: &World) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    world.host.place("web", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut bytes = [0; 8192];
                let got = stream.read(&mut bytes).await.expect("a request");
                assert!(got > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("written");
                drop(stream.read(&mut bytes).await);
            });
        }
    });
}

// proves LINK-3
#[tokio::test]
async fn a_request_without_effect_is_sent_again_and_one_with_effect_is_not() {
    let world = World::awake().await;
    hangs_up_on_the_second(&world).await;
    assert_eq!(world.visit("/1").await.body, "ok");
    assert_eq!(world.visit("/2").await.body, "ok", "the connection died under it, so it is sent again");
    assert_eq!(world.gateway.stats().retried, 1);
    let cookie = world.cookie(1);
    let post = world.ask("POST", "/3", &[("cookie", &cookie)], "pay").await;
    assert_eq!(
        (post.status.as_u16(), post.code().as_str()),
        (502, "service.unreachable"),
        "it may have had its effect"
    );
}

// proves LINK-5
#[tokio::test]
async fn a_service_that_is_not_there_is_looked_for_once_more() {
    let world = World::awake().await;
    assert_eq!(world.visit("/").await.status, 200);
    world.web.hang_up();
    world.host.remove("web");
    let answer = world.visit("/").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "service.unreachable"));
    assert_eq!(world.server.calls().len(), 2, "the route is asked for again before giving up");
    world.host.place("web", world.web.address);
    assert_eq!(world.visit("/").await.status, 200);
}

// proves LINK-3
#[tokio::test]
async fn a_large_upload_streams() {
    let world = World::awake().await;
    let mut stream = world.connect().await;
    let size = 8_000_000;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\nContent-Length: {size}\r\n\r\n",
        world.cookie(1)
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&vec![b'u'; size / 2]).await.expect("written");
    until("half of it has arrived before the rest was sent", || world.web.uploaded() == size / 2).await;
    stream.write_all(&vec![b'u'; size / 2]).await.expect("written");
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("8000000"), "{answer}");
}

// proves LINK-3
#[tokio::test]
async fn a_large_download_arrives_whole_and_the_connection_is_kept() {
    let world = World::awake().await;
    for _ in 0..2 {
        let answer = world.visit("/large").await;
        assert_eq!(answer.body.len(), 5_000_000);
        assert_eq!(answer.header("content-length"), "5000000");
    }
    assert_eq!(world.host.opened().len(), 1);
}

// proves LINK-3
#[tokio::test]
async fn whoever_leaves_takes_the_upstream_along() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let body = world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body();
    until("somebody listens", || world.web.listeners() == 1).await;
    drop(body);
    until("the app notices", || world.web.listeners() == 0).await;
}

// proves LINK-3
#[tokio::test]
async fn heads_and_empty_answers_keep_their_shape() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let head = world.ask("HEAD", "/x", &[("cookie", &cookie)], "").await;
    assert_eq!((head.status.as_u16(), head.body.as_str(), head.header("content-length")), (200, "", "12"));
    let empty = world.visit("/nothing").await;
    assert_eq!((empty.status.as_u16(), empty.body.as_str()), (204, ""));
    assert_eq!(world.visit("/x").await.body, "web:GET:/x:");
    assert_eq!(world.host.opened().len(), 1);
}

// proves LINK-6
#[tokio::test]
async fn an_absolute_target_wins_over_host() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let request = format!(
        "GET http://{HOST}/x?y HTTP/1.1\r\nHost: web--evil--acme.localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
    );
    let answer = world.raw(&request, |_| false).await;
    assert!(answer.ends_with("web:GET:/x?y:"), "{answer}");
    assert_eq!(world.web.seen()[0].headers["host"], HOST, "the service sees one host");
}

// proves LINK-6
#[tokio::test]
async fn a_request_can_not_hide_another() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let shapes = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", hidden.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("Transfer-Encoding: xchunked\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: +5\r\n\r\n12345{hidden}"),
        format!("X: y\r\n Content-Length: 5\r\n\r\n{hidden}"),
    ];
    for shape in shapes {
        let request = format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n{shape}");
        let answer = world.raw(&request, |_| false).await;
        assert!(answer.matches("HTTP/1.1").count() == 1, "one answer, then the end: {shape:?} {answer}");
        assert!(answer.starts_with("HTTP/1.1 400") || answer.contains("web:POST:/x:"), "{shape:?} {answer}");
    }
    assert!(world.web.seen().iter().all(|seen| !seen.target.contains("hidden")));
    let long = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(world.raw(&long, |_| false).await.starts_with("HTTP/1.1 431"));
}

// proves LINK-3
#[tokio::test]
async fn chunks_and_trailers_survive_old_clients() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let chunked = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    );
    assert!(world.raw(&chunked, |_| false).await.ends_with("web:POST:/x:abcde"));
    let old = format!("GET /x HTTP/1.0\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    assert!(world.raw(&old, |_| false).await.ends_with("web:GET:/x:"));
}

// proves LINK-3
#[tokio::test]
async fn a_continue_is_answered_before_the_body_is_sent() {
    let world = World::awake().await;
    let mut stream = world.connect().await;
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        world.cookie(1)
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut bytes = [0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes)).await.expect("in time");
    assert!(bytes[..length.expect("an answer")].starts_with(b"HTTP/1.1 100"));
    stream.write_all(b"abc").await.expect("written");
    let length = stream.read(&mut bytes).await.expect("an answer");
    assert!(String::from_utf8_lossy(&bytes[..length]).ends_with("web:POST:/x:abc"));
}

// proves LINK-10
#[tokio::test]
async fn a_sibling_preview_can_not_use_the_session() {
    let world = World::awake().await;
    let cookie = world.cookie(1);
    let sibling = ("origin", "http://web--evil--acme.localhost");
    let answer = world.ask("POST", "/x", &[("cookie", &cookie), sibling], "").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "request.cross_origin"));
    assert!(world.web.seen().is_empty());
}

// proves RUN-4
#[tokio::test]
async fn a_response_that_flows_counts_as_in_flight_until_its_end() {
    let world = World::awake().await;
    let conduct = async {
        until("it is told as in flight", || {
            let activity = world.server.activity();
            activity.iter().flat_map(|one| &one.workspaces).any(|one| one.in_flight == 1)
        })
        .await;
        world.web.finish();
    };
    let cookie = world.cookie(1);
    let slow = async {
        let mut body = world.open(World::request("GET", "/slow", &[("cookie", &cookie)], "")).await.into_body();
        let frame = body.frame().await.expect("a frame").expect("whole");
        frame.into_data().expect("data")
    };
    let (data, ()) = tokio::join!(slow, conduct);
    assert_eq!(data, Bytes::from_static(b"done at last"));
    until("its end is told", || {
        let activity = world.server.activity();
        activity.last().and_then(|one| one.workspaces.first()).is_some_and(|one| one.in_flight == 0)
    })
    .await;
}

// proves LINK-3 LINK-10
#[tokio::test]
async fn an_apps_cookie_of_any_bytes_costs_nobody_the_session() {
    let world = World::awake().await;
    let mut stream = world.connect().await;
    let mut head = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncookie: name=").into_bytes();
    head.extend_from_slice(b"Gr\xfc\xdfe; ");
    head.extend_from_slice(format!("{}\r\n\r\n", world.cookie(1)).as_bytes());
    stream.write_all(&head).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(world.web.seen()[0].headers["cookie"].as_bytes(), b"name=Gr\xfc\xdfe");
}

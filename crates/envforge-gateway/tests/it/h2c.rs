//! Services that speak HTTP/2 without TLS: the same answers, on one connection.

use crate::http2::{Connection, request, websocket, whole};
use crate::support::h2c::LARGE;
use crate::support::scripted::{Do, say, soon};
use crate::support::{Declared, HOST, PATIENCE, Plan, World, until};
use bytes::Bytes;
use envforge_core::manifest::Protocol;
use envforge_gateway::Limits;
use futures_util::future::join_all;
use http::{Method, Version};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

async fn world(limits: Limits) -> World {
    let declared = Declared { protocol: Protocol::H2c, ..Declared::default() };
    World::new(Plan { limits, declared, ..Plan::default() }).await
}

// proves LINK-3
// proves LINK-10
#[tokio::test]
async fn a_service_that_speaks_http2_is_asked_and_cleaned_like_any_other() {
    let world = world(Limits::default()).await;
    let service = world.h2c(false).await;
    let cookie = format!("mine=1; {}", world.cookie(1));
    let headers =
        [("cookie", cookie.as_str()), ("connection", "x-hop"), ("x-hop", "1"), ("x-forwarded-for", "1.1.1.1")];
    let answer = world.ask("POST", "/a?b", &headers, "body").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "POST:/a:4:0"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/"]);
    assert!(!answer.headers.contains_key("alt-svc"));
    let seen = service.seen().remove(0);
    assert_eq!((seen.version(), seen.uri().to_string()), (Version::HTTP_2, format!("http://{HOST}/a?b")));
    assert_eq!((&seen.headers()["cookie"], &seen.headers()["content-length"]), (&"mine=1".parse().unwrap(), &4.into()));
    assert_eq!(seen.headers()["x-forwarded-host"], HOST);
    assert_eq!(seen.headers()["x-forwarded-for"], "127.0.0.1", "a stranger's word of the way is not passed on");
    for gone in ["x-hop", "connection", "host"] {
        assert!(!seen.headers().contains_key(gone), "{gone}: {seen:?}");
    }
}

// proves LINK-3
#[tokio::test]
async fn many_requests_share_a_connection_and_its_streams_are_not_exceeded() {
    let world = world(Limits::default()).await;
    let service = world.h2c(false).await;
    let connection = Connection::open(&world).await;
    let asks = |()| join_all((0..30).map(|n| connection.ask(request(&world, Method::GET, &format!("/{n}")), &[])));
    for answer in asks(()).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!((service.connections(), world.host.opened().len()), (1, 1));
    // As many streams as it allows are taken by whoever listens.
    let cookie = world.cookie(1);
    let mut listening = Vec::new();
    for _ in 0..40 {
        listening.push(world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body());
    }
    assert_eq!(world.visit("/more").await.body, "GET:/more:0:0");
    assert_eq!(service.connections(), 2);
    drop(listening);
    until("whoever leaves takes the stream along", || service.listening() == 0).await;
}

// proves LINK-3
#[tokio::test]
async fn bodies_flow_both_ways_as_fast_as_they_are_taken() {
    let world = world(Limits::default()).await;
    world.h2c(false).await;
    let connection = Connection::open(&world).await;
    let answer = connection.ask(request(&world, Method::GET, "/large"), &[]).await;
    assert_eq!((answer.body.len(), answer.headers["content-length"].as_bytes()), (LARGE, &b"5000000"[..]));
    let pieces = vec![Bytes::from(vec![b'x'; 200_000]); 10];
    let answer = connection.ask(request(&world, Method::POST, "/up"), &pieces).await;
    assert_eq!(answer.body, b"POST:/up:2000000:0");
    let answer = connection.ask(request(&world, Method::HEAD, "/large"), &[]).await;
    assert_eq!((answer.body.len(), answer.headers["content-length"].as_bytes()), (0, &b"5000000"[..]));
    // One who does not read holds up nobody else.
    let cookie = world.cookie(1);
    let slow = world.open(World::request("GET", "/large", &[("cookie", &cookie)], "")).await;
    assert_eq!(world.visit("/large").await.body.len(), LARGE);
    assert_eq!(slow.into_body().collect().await.expect("whole").to_bytes().len(), LARGE);
}

// proves LINK-3
#[tokio::test]
async fn an_answer_that_is_cut_short_is_never_told_whole() {
    let world = world(Limits::default()).await;
    world.h2c(false).await;
    let mut client = world.connect().await;
    let head = format!("POST /cut HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n", world.cookie(1));
    client.write_all(format!("{head}Content-Length: 1\r\n\r\n").as_bytes()).await.expect("written");
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"a begin") {
        let read = timeout(PATIENCE, client.read(&mut buffer)).await.expect("in time").expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    client.write_all(b"x").await.expect("written");
    // Another request on the connection would have its answer taken for the rest of this one.
    let end = timeout(PATIENCE, client.read(&mut buffer)).await.expect("the connection ends");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

// proves LINK-3
#[tokio::test]
async fn grpc_goes_through_with_its_trailers() {
    let world = world(Limits::default()).await;
    let service = world.h2c(false).await;
    let connection = Connection::open(&world).await;
    let mut call = request(&world, Method::POST, "/pkg.Service/Call");
    call.headers_mut().insert("te", "trailers".parse().expect("a value"));
    call.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    let answer = connection.ask(call, &[Bytes::from_static(b"\0\0\0\0\0")]).await;
    assert_eq!(answer.body, b"POST:/pkg.Service/Call:5:0");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    assert_eq!(service.seen()[0].headers()["te"], "trailers");
    let answer = connection.ask(request(&world, Method::POST, "/status-only"), &[]).await;
    assert_eq!((answer.body.len(), answer.headers["grpc-status"].as_bytes()), (0, &b"5"[..]));
    // Trailers of a request, from a client of either kind.
    let mut sender = connection.0.clone().ready().await.expect("ready");
    let (response, mut stream) = sender.send_request(request(&world, Method::POST, "/t"), false).expect("sent");
    stream.send_data(Bytes::from_static(b"abc"), false).expect("sent");
    stream.send_trailers([("x-sum".parse().unwrap(), "7".parse().unwrap())].into_iter().collect()).expect("sent");
    assert_eq!(whole(soon("an answer", response).await.expect("an answer")).await.body, b"POST:/t:3:1");
    let head = world.head("POST /t HTTP/1.1", "te: trailers\r\ntransfer-encoding: chunked\r\n");
    let sent = format!("{head}\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    let answer = world.raw(&sent, |got| got.contains("grpc-status: 0\r\n\r\n")).await;
    assert!(answer.contains("POST:/t:3:1") && answer.ends_with("0\r\ngrpc-status: 0\r\n\r\n"), "{answer}");
}

// proves LINK-3
#[tokio::test]
async fn hints_come_before_the_answer() {
    let world = world(Limits::default()).await;
    world.h2c(false).await;
    let got = world.raw(&format!("{}\r\n", world.head("GET /hint HTTP/1.1", "")), |got| got.contains("200 OK")).await;
    assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200"), "{got}");
}

// proves LINK-3
#[tokio::test]
async fn what_the_service_never_looked_at_is_sent_again() {
    let world = world(Limits::default()).await;
    let service = world.h2c(false).await;
    let cookie = world.cookie(1);
    let refused = world.ask("POST", "/refused", &[("cookie", &cookie)], "").await;
    assert_eq!(refused.body, "POST:/refused:0:0", "refused once, and sent again");
    assert_eq!((service.seen().len(), world.gateway.stats().retried), (2, 1));
    let service = world.h2c(false).await;
    assert_eq!(world.visit("/last").await.status, 200);
    let again = world.ask("POST", "/next", &[("cookie", &cookie)], "body").await;
    assert_eq!(again.body, "POST:/next:4:0", "what was told to end takes nothing more");
    drop(service);
}

// proves LINK-3
#[tokio::test]
async fn a_goaway_tells_what_was_not_looked_at() {
    let world = world(Limits::default()).await;
    let service = world.h2c_that_goes_away().await;
    let cookie = world.cookie(1);
    let answer = world.ask("POST", "/pay", &[("cookie", &cookie)], "").await;
    assert_eq!(answer.body, "POST:/pay:0:0");
    assert_eq!((service.seen().len(), service.connections(), world.host.opened().len()), (1, 1, 2));
}

// proves LINK-3
#[tokio::test]
async fn a_request_whose_body_was_begun_is_not_sent_again() {
    let world = world(Limits::default()).await;
    let service = world.h2c(false).await;
    let cookie = world.cookie(1);
    let answer = world.ask("POST", "/refused", &[("cookie", &cookie)], "pay").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "service.unreachable"));
    assert_eq!(service.seen().len(), 1);
}

// proves LINK-3
#[tokio::test]
async fn a_websocket_is_a_stream_of_the_connection() {
    let world = world(Limits::default()).await;
    let service = world.h2c(true).await;
    let handshake = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut socket = world.connect().await;
    let head = world.head("GET /ws HTTP/1.1", handshake);
    socket.write_all(format!("{head}\r\n").as_bytes()).await.expect("written");
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(soon("an answer", socket.read_u8()).await.expect("an answer"));
    }
    let answer = String::from_utf8_lossy(&got).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    socket.write_all(&frame).await.expect("written");
    let mut back = [0; 8];
    soon("an echo", socket.read_exact(&mut back)).await.expect("an echo");
    assert_eq!(back, frame);
    let seen = service.seen().remove(0);
    assert_eq!((seen.method(), seen.uri().path()), (&Method::CONNECT, "/ws"));
    assert!(!seen.headers().contains_key("sec-websocket-key") && !seen.headers().contains_key("upgrade"));
}

// proves LINK-3
#[tokio::test]
async fn a_websocket_is_a_stream_on_both_sides() {
    let world = world(Limits::default()).await;
    let service = world.h2c(true).await;
    let mut sender = Connection::open(&world).await.0.ready().await.expect("ready");
    let (response, mut says) = sender.send_request(websocket(&world), false).expect("sent");
    let response = soon("an answer", response).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    says.send_data(Bytes::copy_from_slice(&frame), false).expect("said");
    let echo = soon("an echo", response.into_body().data()).await.expect("an echo").expect("data");
    assert_eq!(echo[..], frame);
    let seen = service.seen().remove(0);
    assert_eq!((seen.method(), seen.uri().path()), (&Method::CONNECT, "/ws"));
}

// proves LINK-3
#[tokio::test]
async fn a_service_without_websockets_says_so() {
    let world = world(Limits::default()).await;
    world.h2c(false).await;
    let handshake = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let head = world.head("GET /ws HTTP/1.1", handshake);
    let refused = world.raw(&format!("{head}\r\n"), |got| got.contains("no_websocket")).await;
    assert!(refused.starts_with("HTTP/1.1 502") && refused.contains("service.no_websocket"), "{refused}");
}

// proves LINK-3
#[tokio::test]
async fn a_connection_that_rests_is_let_go() {
    let world = world(Limits { upstream_rest: Duration::from_millis(50), ..Limits::default() }).await;
    let service = world.h2c(false).await;
    assert_eq!(world.visit("/1").await.status, 200);
    until("it is let go", || service.open() == 0).await;
    assert_eq!(world.visit("/2").await.status, 200);
    assert_eq!(service.connections(), 2);
}

// proves LINK-3
#[tokio::test]
async fn a_service_that_does_not_speak_it_is_told_as_broken() {
    let world = world(Limits::default()).await;
    let answer = world.visit("/").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "service.unreachable"));
    world.scripted(vec![Do::Until("PRI"), say("SSH-2.0-OpenSSH_9.2\r\n\r\n")]).await;
    assert_eq!(world.visit("/").await.code(), "service.unreachable");
}

// proves LINK-3
#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_given_up() {
    // Long enough for the events to begin on a machine that is busy with other tests.
    let limits = Limits { answer: Duration::from_secs(1), ..Limits::default() };
    let world = world(limits.clone()).await;
    let service = world.h2c(false).await;
    let cookie = world.cookie(1);
    let mut events = world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body();
    let answer = world.visit("/never").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "service.timeout"));
    let event = events.frame().await.expect("an event").expect("whole").into_data().expect("data");
    assert_eq!((event, service.listening()), (Bytes::from_static(b"data: one\n\n"), 1));
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let cookie = world.cookie(1);
    let mut events = world.open(World::request("GET", "/events", &[("cookie", &cookie)], "")).await.into_body();
    until("somebody listens", || world.web.listeners() == 1).await;
    let read = world.scripted(vec![Do::Until("never")]).await;
    let answer = world.visit("/").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "service.timeout"));
    assert_eq!(read.text().matches("GET / HTTP/1.1").count(), 1, "asked once");
    world.web.event("late");
    let event = events.frame().await.expect("an event").expect("whole").into_data().expect("data");
    assert_eq!(event, "data: late\n\n", "what has begun is not hurried");
}

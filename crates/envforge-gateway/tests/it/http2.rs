//! HTTP/2 in front: the same requests, the same answers.

use crate::support::scripted::{Do, say, soon};
use crate::support::{HOST, LABEL, PATIENCE, Plan, World};
use bytes::Bytes;
use envforge_core::runtime::RuntimeState;
use envforge_gateway::Limits;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// A connection that is spoken on.
pub(crate) struct Connection(pub(crate) SendRequest<Bytes>);

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Connection {
    pub(crate) async fn open(world: &World) -> Self {
        let (sender, connection) = h2::client::handshake(world.connect().await).await.expect("HTTP/2 is spoken");
        tokio::spawn(async move { drop(connection.await) });
        Self(sender)
    }

    pub(crate) async fn ask(&self, request: Request<()>, body: &[Bytes]) -> Answer {
        let mut sender = self.0.clone().ready().await.expect("ready");
        let (response, mut stream) = sender.send_request(request, body.is_empty()).expect("sent");
        for (n, piece) in body.iter().enumerate() {
            stream.send_data(piece.clone(), n + 1 == body.len()).expect("sent");
        }
        whole(soon("an answer", response).await.expect("an answer")).await
    }
}

pub(crate) async fn whole(response: Response<h2::RecvStream>) -> Answer {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = soon("a body", stream.data()).await {
        let data = data.expect("data");
        stream.flow_control().release_capacity(data.len()).expect("released");
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await.expect("trailers or none");
    Answer { status: head.status, headers: head.headers, body, trailers }
}

/// An extended CONNECT.
pub(crate) fn websocket(world: &World) -> Request<()> {
    let mut asked = Request::builder().method("CONNECT").uri(format!("http://{HOST}/ws"));
    asked = asked.header("cookie", world.cookie(1)).header("sec-websocket-version", "13");
    let mut asked = asked.body(()).expect("a request");
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    asked
}

pub(crate) fn request(world: &World, method: Method, path: &str) -> Request<()> {
    let uri = format!("http://{HOST}{path}");
    Request::builder().method(method).uri(uri).header("cookie", world.cookie(1)).body(()).expect("a request")
}

// proves LINK-3
#[tokio::test]
async fn many_requests_share_a_connection() {
    let world = World::awake().await;
    let connection = Connection::open(&world).await;
    let asks = (0..50).map(|n| connection.ask(request(&world, Method::GET, &format!("/{n}")), &[]));
    let answers = futures_util::future::join_all(asks).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!((answer.status.as_u16(), answer.body), (200, format!("web:GET:/{n}:").into_bytes()));
    }
    let seen = world.web.seen().remove(0);
    assert_eq!(seen.headers["host"], HOST);
    assert!(!seen.headers.contains_key("cookie"), "ours is taken out");
}

// proves LINK-3
#[tokio::test]
async fn large_bodies_flow_both_ways() {
    let world = World::awake().await;
    let connection = Connection::open(&world).await;
    let answer = connection.ask(request(&world, Method::GET, "/large"), &[]).await;
    assert_eq!((answer.body.len(), answer.headers["content-length"].as_bytes()), (5_000_000, &b"5000000"[..]));
    let pieces = vec![Bytes::from(vec![b'x'; 200_000]); 10];
    let answer = connection.ask(request(&world, Method::POST, "/upload"), &pieces).await;
    assert_eq!(answer.body, b"2000000");
    let answer = connection.ask(request(&world, Method::HEAD, "/large"), &[]).await;
    assert_eq!((answer.body.len(), answer.headers["content-length"].as_bytes()), (0, &b"5000000"[..]));
}

// proves LINK-3
#[tokio::test]
async fn trailers_and_hints_arrive() {
    let world = World::awake().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\n\r\n";
    let read = world.scripted(vec![Do::Until("\r\n\r\n"), say(hint), say(answer)]).await;
    let connection = Connection::open(&world).await;
    let mut asked = request(&world, Method::GET, "/");
    asked.headers_mut().insert("te", "trailers".parse().expect("a value"));
    let mut sender = connection.0.clone().ready().await.expect("ready");
    let (mut response, _) = sender.send_request(asked, true).expect("sent");
    let hinted = soon("a hint", std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    let hinted = hinted.expect("a hint").expect("readable");
    assert_eq!((hinted.status().as_u16(), hinted.headers()["link"].as_bytes()), (103, &b"</a.css>; rel=preload"[..]));
    let answer = whole(soon("an answer", response).await.expect("an answer")).await;
    assert_eq!((answer.body, answer.trailers.expect("trailers")["grpc-status"].as_bytes()), (b"a".to_vec(), &b"0"[..]));
    assert!(read.text().contains("te: trailers"), "{}", read.text());
}

// proves LINK-6
#[tokio::test]
async fn one_request_names_one_host_here_too() {
    let world = World::awake().await;
    let connection = Connection::open(&world).await;
    let mut asked = request(&world, Method::GET, "/");
    asked.headers_mut().insert("host", "evil--fix--acme.localhost".parse().expect("a value"));
    assert_eq!(connection.ask(asked, &[]).await.status, 400);
    let mut asked = request(&world, Method::GET, "/");
    asked.headers_mut().insert("host", HOST.parse().expect("a value"));
    assert_eq!(connection.ask(asked, &[]).await.status, 200);
    let stranger = Request::builder().uri(format!("http://{HOST}/")).body(()).expect("a request");
    assert_eq!(connection.ask(stranger, &[]).await.status, 401);
    let tunnel = Request::builder().method("CONNECT").uri(HOST).header("cookie", world.cookie(1));
    assert_eq!(connection.ask(tunnel.body(()).expect("a request"), &[]).await.status, 405);
}

// proves LINK-3
#[tokio::test]
async fn a_head_of_too_many_fields_is_refused() {
    let world = World::awake().await;
    let mut crowded = request(&world, Method::GET, "/x");
    for n in 0..200 {
        let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).expect("a name");
        crowded.headers_mut().insert(name, "1".parse().expect("a value"));
    }
    let connection = Connection::open(&world).await;
    let answer = connection.ask(crowded, &[]).await;
    assert_eq!((answer.status.as_u16(), world.gateway.stats().upstream_opened), (431, 0), "no service is asked");
    assert_eq!(connection.ask(request(&world, Method::GET, "/x"), &[]).await.status, 200, "the connection goes on");
}

// proves LINK-3
#[tokio::test]
async fn a_connection_at_rest_ends_whether_its_client_answers_or_not() {
    let limits = Limits { header_time: Duration::from_millis(100), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let mut silent = world.connect().await;
    // A preface, no settings, and from then on nothing, not even to a ping.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("written");
    let mut told = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut told)).await.expect("hung up in time").expect("read");
    assert!(!told.is_empty(), "it was spoken with before");
}

// proves LINK-10
#[tokio::test]
async fn cookies_sent_apart_are_one_header_to_the_service() {
    let world = World::awake().await;
    let connection = Connection::open(&world).await;
    let mut asked = request(&world, Method::GET, "/");
    for cookie in ["theme=dark", "lang=en"] {
        asked.headers_mut().append("cookie", cookie.parse().expect("a value"));
    }
    assert_eq!(connection.ask(asked, &[]).await.status, 200);
    assert_eq!(world.web.seen()[0].headers["cookie"], "theme=dark; lang=en");
}

/// A masked text frame, and what it looks like echoed.
const SAID: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
const ECHOED: &[u8] = &[0x81, 0x02, b'h', b'i'];

// proves LINK-3
#[tokio::test]
async fn an_extended_connect_is_a_websocket() {
    let world = World::awake().await;
    let connection = Connection::open(&world).await;
    let asked = websocket(&world);
    let mut sender = connection.0.clone().ready().await.expect("ready");
    let (response, mut says) = sender.send_request(asked, false).expect("sent");
    let response = soon("an answer", response).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers().contains_key("sec-websocket-accept")), (200, false));
    says.send_data(Bytes::from_static(SAID), false).expect("said");
    let mut hears = response.into_body();
    let heard = soon("an echo", hears.data()).await.expect("an echo").expect("data");
    assert_eq!(heard, ECHOED);
    world.server.feed(&envforge_api::gateway::FeedItem::Revoked { link: crate::support::id(1) });
    let last = soon("the end", hears.data()).await.expect("a close frame").expect("data");
    assert_eq!(last[..4], [0x88, 0x02, 0x03, 0xF0], "policy violation");
}

// proves LINK-4
#[tokio::test]
async fn a_sleeping_workspace_wakes_once_for_all_streams() {
    let world = World::new(Plan { runtime: crate::support::asleep(), ..Plan::default() }).await;
    world.server.set_wake(crate::support::waking());
    let connection = Connection::open(&world).await;
    let asks = (0..20).map(|n| connection.ask(request(&world, Method::POST, &format!("/{n}")), &[]));
    let all = futures_util::future::join_all(asks);
    let wakes = async {
        crate::support::until("one wake", || !world.server.wakes().is_empty()).await;
        world.becomes(crate::support::awake_again(2));
    };
    let (answers, ()) = tokio::join!(all, wakes);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.server.wakes().len(), 1, "{LABEL} {:?}", RuntimeState::Awake);
}

//! A service that speaks HTTP/2 without TLS, by the path it is asked for.

use crate::support::World;
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of `/large`.
pub(crate) const LARGE: usize = 5_000_000;

/// What the service saw.
#[derive(Default)]
pub(crate) struct Service {
    seen: Mutex<Vec<Request<()>>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    refusals: AtomicUsize,
    listening: AtomicUsize,
}

impl Service {
    /// The heads it was sent.
    pub(crate) fn seen(&self) -> Vec<Request<()>> {
        self.seen.lock().expect("no panic while held").clone()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.connections() - self.ended.load(Ordering::Relaxed)
    }

    /// Streams of events that are open.
    pub(crate) fn listening(&self) -> usize {
        self.listening.load(Ordering::Relaxed)
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, takes_websockets: bool) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut builder = Builder::new();
        builder.max_concurrent_streams(40);
        if takes_websockets {
            builder.enable_connect_protocol();
        }
        let Ok(mut connection) = builder.handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            if request.uri().path() == "/last" {
                connection.graceful_shutdown();
            }
            tokio::spawn(Arc::clone(&self).answer(request, respond));
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    async fn answer(self: Arc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (mut head, mut body) = request.into_parts();
        head.extensions.clear();
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        self.seen.lock().expect("no panic while held").push(Request::from_parts(head, ()));
        let ok = || Response::builder().status(StatusCode::OK);
        match path.as_str() {
            "/refused" if self.refusals.fetch_add(1, Ordering::Relaxed) == 0 => {
                respond.send_reset(Reason::REFUSED_STREAM);
            }
            "/never" => drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await),
            "/status-only" => {
                let head = ok().header("grpc-status", "5").body(()).expect("a response");
                respond.send_response(head, true).expect("sent");
            }
            "/hint" => {
                let hint = Response::builder().status(103).header("link", "</a.css>; rel=preload");
                respond.send_informational(hint.body(()).expect("a hint")).expect("sent");
                respond.send_response(ok().body(()).expect("a response"), true).expect("sent");
            }
            "/events" => {
                self.listening.fetch_add(1, Ordering::Relaxed);
                let head = ok().header("content-type", "text/event-stream").body(()).expect("a response");
                let mut send = respond.send_response(head, false).expect("sent");
                send.send_data(Bytes::from_static(b"data: one\n\n"), false).expect("sent");
                drop(std::future::poll_fn(|cx| send.poll_reset(cx)).await);
                self.listening.fetch_sub(1, Ordering::Relaxed);
            }
            "/large" => {
                let head = ok().header("content-length", LARGE).body(()).expect("a response");
                let send = respond.send_response(head, method == Method::HEAD).expect("sent");
                if method != Method::HEAD {
                    put(send, Bytes::from(vec![b'x'; LARGE])).await;
                }
            }
            "/cut" => {
                let head = ok().header("content-length", LARGE).body(()).expect("a response");
                let mut send = respond.send_response(head, false).expect("sent");
                send.send_data(Bytes::from_static(b"a begin"), false).expect("sent");
                // Not before the client was told the head, so that it is the body that ends early.
                drop(body.data().await);
                send.send_reset(Reason::NO_ERROR);
            }
            "/ws" => {
                assert_eq!(method, Method::CONNECT);
                let mut send = respond.send_response(ok().body(()).expect("a response"), false).expect("sent");
                while let Some(Ok(data)) = body.data().await {
                    drop(body.flow_control().release_capacity(data.len()));
                    send.send_data(data, false).expect("sent");
                }
            }
            _ => {
                let (length, trailers) = read(&mut body).await;
                let mut head = ok().header("set-cookie", "a=1; Domain=localhost; Path=/");
                head = head.header("set-cookie", "envforge-session=stolen").header("alt-svc", "h2=\":8443\"");
                let mut send = respond.send_response(head.body(()).expect("a response"), false).expect("sent");
                let told = format!("{method}:{path}:{length}:{}", trailers.map_or(0, |trailers| trailers.len()));
                send.send_data(Bytes::from(told), false).expect("sent");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().expect("a value"));
                send.send_trailers(trailers).expect("sent");
            }
        }
    }
}

async fn read(body: &mut RecvStream) -> (usize, Option<HeaderMap>) {
    let mut length = 0;
    while let Some(Ok(data)) = body.data().await {
        length += data.len();
        drop(body.flow_control().release_capacity(data.len()));
    }
    (length, body.trailers().await.ok().flatten())
}

async fn put(mut send: h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
        let is_last = room >= data.len();
        send.send_data(data.split_to(room.min(data.len())), is_last).expect("sent");
    }
}

impl World {
    /// From now on `web` is such a service.
    pub(crate) async fn h2c(&self, takes_websockets: bool) -> Arc<Service> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        self.host.place("web", listener.local_addr().expect("an address"));
        let service = Arc::new(Service::default());
        let serving = Arc::clone(&service);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(Arc::clone(&serving).serve(stream, takes_websockets));
            }
        });
        service
    }

    /// From now on `web` is such a service, except that its first connection says, once it was asked something, that
    /// it looks at no stream any more, and stays open.
    pub(crate) async fn h2c_that_goes_away(&self) -> Arc<Service> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        self.host.place("web", listener.local_addr().expect("an address"));
        let service = Arc::new(Service::default());
        let serving = Arc::clone(&service);
        tokio::spawn(async move {
            let (first, _) = listener.accept().await.expect("a connection");
            tokio::spawn(go_away(first));
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(Arc::clone(&serving).serve(stream, false));
            }
        });
        service
    }
}

/// Speaks just enough of RFC 9113: settings, answers to pings, and a GOAWAY that names no stream.
async fn go_away(mut stream: TcpStream) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_TAKEN: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("a preface");
    stream.write_all(&SETTINGS).await.expect("said");
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        stream.read_exact(&mut payload).await.expect("a frame");
        let answer = match (head[3], head[4]) {
            (1, _) => GOAWAY.to_vec(),
            (4, 0) => SETTINGS_TAKEN.to_vec(),
            (6, 0) => [&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat(),
            _ => Vec::new(),
        };
        stream.write_all(&answer).await.expect("said");
    }
}

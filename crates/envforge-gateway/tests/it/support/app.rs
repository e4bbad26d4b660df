//! A small app behind the gateway: it tells what it was asked, echoes WebSockets, streams events, takes uploads.
//! Frozen, it accepts nothing; its kernel socket still does, as with a paused process.

use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = BoxBody<Bytes, Infallible>;

/// One request as the app saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    events: Mutex<Vec<mpsc::UnboundedSender<String>>>,
    uploaded: Mutex<usize>,
    sockets: Mutex<usize>,
    finish: Notify,
}

/// The app.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    frozen: watch::Sender<bool>,
    generation: watch::Sender<u32>,
}

impl App {
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, frozen, generation) = (Arc::<State>::default(), watch::Sender::new(false), watch::Sender::new(0));
        let app = Self { name: name.to_owned(), address, state: Arc::clone(&state), frozen, generation };
        let (mut thaws, generation, name) = (app.frozen.subscribe(), app.generation.subscribe(), app.name.clone());
        tokio::spawn(async move {
            loop {
                thaws.wait_for(|frozen| !frozen).await.expect("the app lives");
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.expect("a connection"),
                    _ = thaws.wait_for(|frozen| *frozen) => continue,
                };
                tokio::spawn(serve(stream, Arc::clone(&state), name.clone(), generation.clone()));
            }
        });
        app
    }

    /// Accepts nothing from now on, or does again.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
    }

    /// Ends every connection, as a restart does.
    pub(crate) fn hang_up(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no panic while held").clone()
    }

    /// Says something to everybody who listens to `/events`.
    pub(crate) fn event(&self, text: &str) {
        let mut events = self.state.events.lock().expect("no panic while held");
        events.retain(|one| one.send(format!("data: {text}\n\n")).is_ok());
    }

    pub(crate) fn listeners(&self) -> usize {
        let mut events = self.state.events.lock().expect("no panic while held");
        events.retain(|one| !one.is_closed());
        events.len()
    }

    pub(crate) fn uploaded(&self) -> usize {
        *self.state.uploaded.lock().expect("no panic while held")
    }

    pub(crate) fn sockets(&self) -> usize {
        *self.state.sockets.lock().expect("no panic while held")
    }

    /// Lets requests to `/slow` end.
    pub(crate) fn finish(&self) {
        self.state.finish.notify_waiters();
    }
}

async fn serve(stream: TcpStream, state: Arc<State>, name: String, mut generation: watch::Receiver<u32>) {
    generation.mark_unchanged();
    let service = service_fn(|request| {
        let (state, name) = (Arc::clone(&state), name.clone());
        async move { Ok::<_, Infallible>(answer(request, state, &name).await) }
    });
    let http = hyper::server::conn::http1::Builder::new();
    tokio::select! {
        served = http.serve_connection(TokioIo::new(stream), service).with_upgrades() => drop(served),
        _ = generation.changed() => {}
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed())
}

async fn answer(mut request: Request<Incoming>, state: Arc<State>, name: &str) -> Response<Body> {
    let seen = Seen { target: request.uri().to_string(), headers: request.headers().clone() };
    state.seen.lock().expect("no panic while held").push(seen);
    match request.uri().path() {
        "/ws" => socket(&mut request, state),
        "/events" => {
            let (sender, receiver) = mpsc::unbounded_channel();
            state.events.lock().expect("no panic while held").push(sender);
            let mut response = Response::new(http_body_util::BodyExt::boxed(StreamBody::new(Events(receiver))));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            response
        }
        "/upload" => {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
                *state.uploaded.lock().expect("no panic while held") = length;
            }
            text(format!("{length}"))
        }
        "/slow" => {
            state.finish.notified().await;
            text("done at last")
        }
        "/cookies" => {
            let mut response = text("cookies");
            for cookie in ["theme=dark; Domain=.localhost; Path=/", "envforge-session=stolen", "plain=1"] {
                response.headers_mut().append("set-cookie", cookie.parse().expect("a value"));
            }
            let hsts = "max-age=1; includeSubDomains".parse().expect("a value");
            response.headers_mut().insert("strict-transport-security", hsts);
            response.headers_mut().insert("keep-alive", "timeout=5".parse().expect("a value"));
            response
        }
        "/large" => text(vec![b'x'; 5_000_000]),
        "/nothing" => {
            let mut response = text("");
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => {
            let body = request.body_mut().collect().await.expect("a body").to_bytes();
            text(format!("{name}:{}:{}:{}", request.method(), request.uri(), String::from_utf8_lossy(&body)))
        }
    }
}

/// Echoes what it hears.
fn socket(request: &mut Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        let mut response = text("a WebSocket is wanted");
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        *state.sockets.lock().expect("no panic while held") += 1;
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
        *state.sockets.lock().expect("no panic while held") -= 1;
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().expect("a value"));
    headers.insert("upgrade", "websocket".parse().expect("a value"));
    headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().expect("a value"));
    response
}

struct Events(mpsc::UnboundedReceiver<String>);

impl Stream for Events {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|text| Some(Ok(Frame::data(Bytes::from(text?)))))
    }
}

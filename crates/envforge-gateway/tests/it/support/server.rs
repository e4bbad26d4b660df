//! A server that answers as it is told, keeps every call, and whose feed says what the test says.

use bytes::Bytes;
use envforge_api::gateway::{
    ACTIVITY_PATH, Activity, ENTER_PATH, EXCHANGE_PATH, Enter, Exchange, Exchanged, FEED_PATH, FeedItem, ROUTES_PATH,
    Route, RouteRuntime, UnverifiedCount, WAKE_PATH, WakeAnswer, WakeRequest,
};
use envforge_api::http::ErrorBody;
use envforge_core::id::{GatewayId, LinkId, LinkSessionId};
use envforge_core::refusal::Refusal;
use envforge_core::token::PublicKey;
use futures_util::Stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};

type Body = BoxBody<Bytes, Infallible>;

/// What the script says.
#[derive(Default)]
struct Script {
    keys: Vec<PublicKey>,
    revoked: Vec<LinkId>,
    ended: Vec<LinkSessionId>,
    routes: HashMap<String, Route>,
    exchange: Option<Result<Exchanged, Refusal>>,
    /// By link: who may not wake.
    wake_refused: HashMap<String, Refusal>,
    wake: Option<RouteRuntime>,
    wake_is_held: bool,
    activity_fails: bool,
    activity_refused: u32,
    /// What came in.
    calls: Vec<String>,
    wakes: Vec<WakeRequest>,
    exchanges: Vec<Exchange>,
    enters: Vec<Enter>,
    activity: Vec<Activity>,
    feeds: Vec<mpsc::UnboundedSender<String>>,
    is_silent: bool,
    is_down: bool,
}

/// The scripted server.
#[derive(Default)]
pub(crate) struct Server {
    script: Mutex<Script>,
    let_go: Notify,
}

fn line(item: &FeedItem) -> String {
    format!("{}\n", serde_json::to_string(item).expect("an item is plain data"))
}

fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let bytes = serde_json::to_vec(value).expect("plain data");
    let mut response = Response::new(Full::new(Bytes::from(bytes)).boxed());
    *response.status_mut() = status;
    response
}

fn refuse(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.kind.http_status()).expect("a status");
    json(status, &ErrorBody { error: refusal })
}

impl Server {
    pub(crate) fn start(path: &Path, keys: Vec<PublicKey>) -> Arc<Self> {
        let listener = UnixListener::bind(path).expect("the server's socket");
        let server = Arc::new(Self::default());
        server.script().keys = keys;
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&accepting);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let server = Arc::clone(&server);
                        async move { server.answer(request).await }
                    });
                    let served =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        let beating = Arc::clone(&server);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if !beating.script().is_silent {
                    beating.feed(&FeedItem::Beat);
                }
            }
        });
        server
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("no panic while held")
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        assert_eq!(request.headers()["authorization"], "Bearer gateway-key");
        if self.script().is_down {
            return Err(std::io::Error::other("the server is down"));
        }
        let bytes = request.into_body().collect().await.expect("a body").to_bytes();
        if path != FEED_PATH && path != ACTIVITY_PATH {
            self.script().calls.push(path.clone());
        }
        Ok(match path.as_str() {
            FEED_PATH => {
                let who = format!("gateway={}&address=127.0.0.1:", crate::support::id::<GatewayId>(1));
                assert!(query.starts_with(&who), "{query}");
                self.open_feed()
            }
            EXCHANGE_PATH => self.exchange(&bytes),
            ENTER_PATH => self.enter(&bytes),
            WAKE_PATH => self.wake(&bytes).await,
            ACTIVITY_PATH => {
                if self.script().activity_fails {
                    self.script().activity_refused += 1;
                    return Ok(refuse(Refusal::unavailable("test.down", "not now")));
                }
                self.script().activity.push(serde_json::from_slice(&bytes).expect("activity"));
                Response::new(Full::default().boxed())
            }
            other => {
                let label = other.strip_prefix(ROUTES_PATH).expect("a route").trim_start_matches('/');
                match self.script().routes.get(label) {
                    Some(route) => json(StatusCode::OK, route),
                    None => refuse(Refusal::not_found("preview.not_found", "no such label")),
                }
            }
        })
    }

    fn open_feed(&self) -> Response<Body> {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        let mut script = self.script();
        let snapshot = FeedItem::Snapshot {
            keys: script.keys.clone(),
            revoked: script.revoked.clone(),
            ended: script.ended.clone(),
        };
        drop(sender.send(line(&snapshot)));
        script.feeds.push(sender);
        Response::new(http_body_util::BodyExt::boxed(StreamBody::new(Lines(receiver))))
    }

    fn exchange(&self, bytes: &Bytes) -> Response<Body> {
        let mut script = self.script();
        script.exchanges.push(serde_json::from_slice(bytes).expect("an exchange"));
        Self::exchanged(&script)
    }

    fn enter(&self, bytes: &Bytes) -> Response<Body> {
        let mut script = self.script();
        script.enters.push(serde_json::from_slice(bytes).expect("a code"));
        Self::exchanged(&script)
    }

    fn exchanged(script: &Script) -> Response<Body> {
        match script.exchange.clone().expect("a scripted exchange") {
            Ok(exchanged) => json(StatusCode::OK, &exchanged),
            Err(refusal) => refuse(refusal),
        }
    }

    async fn wake(&self, bytes: &Bytes) -> Response<Body> {
        let request: WakeRequest = serde_json::from_slice(bytes).expect("a wake");
        let let_go = self.let_go.notified();
        let is_held = {
            let mut script = self.script();
            script.wakes.push(request.clone());
            script.wake_is_held
        };
        if is_held {
            let_go.await;
        }
        let script = self.script();
        if let Some(refusal) = script.wake_refused.get(&request.session) {
            return refuse(refusal.clone());
        }
        json(StatusCode::OK, &WakeAnswer { runtime: script.wake.clone().expect("a scripted wake") })
    }

    pub(crate) fn set_route(&self, route: Route) {
        self.script().routes.insert(route.label.clone(), route);
    }

    pub(crate) fn drop_route(&self, label: &str) {
        self.script().routes.remove(label);
    }

    pub(crate) fn set_exchange(&self, answer: Result<Exchanged, Refusal>) {
        self.script().exchange = Some(answer);
    }

    pub(crate) fn set_wake(&self, runtime: RouteRuntime) {
        self.script().wake = Some(runtime);
    }

    /// Wakes are answered only once they are let go.
    pub(crate) fn hold_wakes(&self) {
        self.script().wake_is_held = true;
    }

    pub(crate) fn let_wakes_go(&self) {
        self.script().wake_is_held = false;
        self.let_go.notify_waiters();
    }

    pub(crate) fn refuse_wake(&self, session: &str, refusal: Refusal) {
        self.script().wake_refused.insert(session.to_owned(), refusal);
    }

    pub(crate) fn fail_activity(&self, fails: bool) {
        self.script().activity_fails = fails;
    }

    /// Says something on every open feed.
    pub(crate) fn feed(&self, item: &FeedItem) {
        match item {
            FeedItem::Revoked { link } => self.script().revoked.push(*link),
            FeedItem::SessionEnded { session } => self.script().ended.push(*session),
            _ => {}
        }
        let line = line(item);
        self.script().feeds.retain(|feed| feed.send(line.clone()).is_ok());
    }

    /// Stops beating without closing anything.
    pub(crate) fn fall_silent(&self, is_silent: bool) {
        self.script().is_silent = is_silent;
    }

    /// Ends every feed, and lets none open while down.
    pub(crate) fn go_down(&self, is_down: bool) {
        let mut script = self.script();
        script.is_down = is_down;
        script.feeds.clear();
    }

    /// Calls so far, without feed and activity.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    pub(crate) fn wakes(&self) -> Vec<WakeRequest> {
        self.script().wakes.clone()
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.script().exchanges.clone()
    }

    pub(crate) fn enters(&self) -> Vec<Enter> {
        self.script().enters.clone()
    }

    pub(crate) fn feeds_open(&self) -> usize {
        self.script().feeds.len()
    }

    pub(crate) fn activity(&self) -> Vec<Activity> {
        self.script().activity.clone()
    }

    pub(crate) fn activity_refused(&self) -> u32 {
        self.script().activity_refused
    }

    /// How many unverified requests were told, by label and reason.
    pub(crate) fn unverified(&self, label: &str, reason: &str) -> u64 {
        let fits = |count: &&UnverifiedCount| count.label == label && count.reason == reason;
        let activity = self.activity();
        activity.iter().flat_map(|one| &one.unverified).filter(fits).map(|count| count.count).sum()
    }
}

/// The lines of one feed.
struct Lines(mpsc::UnboundedReceiver<String>);

impl Stream for Lines {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| Some(Ok(Frame::data(Bytes::from(line?)))))
    }
}

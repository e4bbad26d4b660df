//! Speaking to the gateway: whole requests, raw bytes, streams and WebSockets.

use crate::support::{HOST, PATIENCE, World};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).expect("a refusal as JSON");
        json["error"]["code"].as_str().expect("a code").to_owned()
    }
}

/// What a browser sends when it goes somewhere.
pub(crate) const NAVIGATES: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

pub(crate) type Socket = WebSocketStream<TcpStream>;

impl World {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.gateway.local_addr).await.expect("the gateway listens")
    }

    /// Sends a request and returns the answer's head, its body still to come.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        let response = timeout(PATIENCE * 4, sender.send_request(request)).await.expect("an answer in time");
        response.expect("an answer")
    }

    pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request")
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.open(Self::request(method, path, headers, body)).await;
        let (parts, body) = response.into_parts();
        let body =
            timeout(PATIENCE * 4, body.collect()).await.expect("a body in time").expect("a whole body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").await
    }

    /// `GET` with the cookie of session 1.
    pub(crate) async fn visit(&self, path: &str) -> Answer {
        let cookie = self.cookie(1);
        self.get(path, &[("cookie", &cookie)]).await
    }

    /// Asks again and again until the answer is other than 200, and returns that one.
    pub(crate) async fn until_refused(&self, headers: &[(&str, &str)]) -> Answer {
        let asks = async {
            loop {
                let answer = self.get("/", headers).await;
                if answer.status != 200 {
                    return answer;
                }
            }
        };
        timeout(PATIENCE, asks).await.expect("refused in time")
    }

    /// Sends bytes as they are and returns everything until the gateway hangs up or `enough` holds.
    pub(crate) async fn raw(&self, bytes: &str, enough: impl Fn(&str) -> bool) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("written");
        let mut got = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            match timeout(PATIENCE, stream.read(&mut chunk)).await.expect("an answer in time") {
                Ok(0) | Err(_) => break,
                Ok(length) => got.extend_from_slice(&chunk[..length]),
            }
            if enough(&String::from_utf8_lossy(&got)) {
                break;
            }
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    /// Opens a WebSocket with the cookie of session `n`.
    pub(crate) async fn socket(&self, n: u128) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        self.socket_with(&self.cookie(n)).await
    }

    pub(crate) async fn socket_with(&self, cookie: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{HOST}/ws").into_client_request().expect("a request");
        request.headers_mut().insert("cookie", cookie.parse().expect("a value"));
        let stream = self.connect().await;
        let opened = timeout(PATIENCE * 4, tokio_tungstenite::client_async(request, stream)).await.expect("in time");
        opened.map(|(socket, _)| socket)
    }
}

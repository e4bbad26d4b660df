//! The typed client of the public API, and the plain one for the internal calls of gateway and host.
//!
//! One client type: a base URL, or a local socket for the processes of the one box, and a bearer key. Every
//! refusal comes back as the [`Refusal`] the server wrote; anything else is a transport error with its cause.

use crate::http::ErrorBody;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://…` or `https://…`, without a trailing slash.
    Url(String),
    /// A local socket that speaks HTTP.
    Socket(PathBuf),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server says no, and why.
    #[error("{0}")]
    Refused(Refusal),
    /// The server could not be reached, or did not answer in its own language.
    #[error("{message}")]
    Transport {
        /// What happened, with the cause.
        message: String,
        /// Whether nothing answered at all.
        is_connect: bool,
    },
}

impl CallError {
    /// The refusal to show; a transport error becomes one too.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Transport { message, is_connect: true } => {
                Refusal::unavailable("server.unreachable", message).hint("is it running? `envforge doctor` looks")
            }
            Self::Transport { message, .. } => Refusal::new(RefusalKind::Internal, "server.unexpected_answer", message),
        }
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        use std::error::Error as _;
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        let is_connect = error.is_connect() || error.is_timeout() || error.is_request();
        Self::Transport { message, is_connect }
    }
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<Secret>,
}

impl Client {
    /// A client of the server at `address` that shows `key`.
    pub fn new(address: &Address, key: Option<Secret>) -> Result<Self, CallError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that builds HTTP clients")]
        let builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")));
        let (builder, base) = match address {
            Address::Url(url) => (builder, url.trim_end_matches('/').to_owned()),
            Address::Socket(path) => (builder.unix_socket(path.clone()), "http://localhost".to_owned()),
        };
        Ok(Self { http: builder.build()?, base, key })
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The key shown with every call.
    pub fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match crate::trace::current() {
            Some(traceparent) => request.header(crate::trace::TRACEPARENT, traceparent),
            None => request,
        };
        match &self.key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
    }

    /// `GET`, answered with JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        read(self.request(Method::GET, path).timeout(CALL_TIMEOUT).send().await?).await
    }

    /// `POST` with JSON, answered with JSON.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CallError> {
        read(self.request(Method::POST, path).json(body).timeout(CALL_TIMEOUT).send().await?).await
    }

    /// `PUT` with JSON, answered with JSON.
    pub async fn put<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CallError> {
        read(self.request(Method::PUT, path).json(body).timeout(CALL_TIMEOUT).send().await?).await
    }

    /// `DELETE`, answered with JSON.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        read(self.request(Method::DELETE, path).timeout(CALL_TIMEOUT).send().await?).await
    }

    /// `POST` of a file, sent as it is read and answered with JSON. No time limit.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, file: std::fs::File) -> Result<T, CallError> {
        let file = tokio::fs::File::from_std(file);
        let request =
            self.request(Method::POST, path).header(reqwest::header::CONTENT_TYPE, "application/octet-stream");
        read(request.body(file).send().await?).await
    }

    /// `GET` whose body is read as it comes: log lines, server-sent events, the feed. No time limit.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response, CallError> {
        let response = self.request(Method::GET, path).send().await?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }
}

/// How long an ordinary call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, CallError> {
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    let bytes = response.bytes().await?;
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| CallError::Transport { message: format!("unexpected answer: {error}"), is_connect: false })
}

async fn refused(response: reqwest::Response) -> CallError {
    let status = response.status();
    match response.json::<ErrorBody>().await {
        Ok(body) => CallError::Refused(body.error),
        // A proxy before the server speaks for it while it is away.
        Err(_) if matches!(status.as_u16(), 502..=504) => CallError::Refused(Refusal::unavailable(
            "server.unavailable",
            format!("the server can't be reached: {status}"),
        )),
        Err(_) => CallError::Transport { message: format!("the server answered {status}"), is_connect: false },
    }
}

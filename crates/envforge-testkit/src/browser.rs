//! A reviewer's browser, as far as the loop needs one: opens a link, keeps the cookie, speaks HTTP and WebSocket.
//!
//! Dev hosts need no DNS: connections go to the gateway's address with the dev host in the `Host` header, as any tool does
//! that does not resolve `*.localhost`. The URL a link has names the port.

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, REFRESH, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use reqwest::{Method, RequestBuilder, Response, Url};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than the gateway holds a request while a runtime wakes.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a connection may rest. The gateway closes it after 30 seconds, and a request sent meanwhile has no answer.
const REST: Duration = Duration::from_secs(20);

/// A browser on one dev host.
#[derive(Debug, Clone)]
pub struct Browser {
    http: reqwest::Client,
    /// `label.localhost:7081`.
    host: String,
    gateway: SocketAddr,
    cookie: Option<String>,
}

impl Browser {
    /// A browser for the dev host of `url`, without a session.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        let rest =
            url.strip_prefix("http://").with_context(|| format!("{url}: the loop speaks plain HTTP to the one box"))?;
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        #[expect(clippy::disallowed_methods, reason = "this is a browser, not a client of the product's API")]
        let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_idle_timeout(REST);
        let name = host.split(':').next().unwrap_or_default();
        let http = builder.redirect(reqwest::redirect::Policy::none()).resolve(name, gateway).build()?;
        Ok(Self { http, host, gateway, cookie: None })
    }

    /// The dev host, as in the `Host` header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The same browser, with the same session, through the gateway at another port.
    #[must_use]
    pub fn through(&self, port: u16) -> Self {
        Self { gateway: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..self.clone() }
    }

    /// The session, as in the `Cookie` header.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let name = self.host.split(':').next().unwrap_or_default();
        let url = format!("http://{name}:{}{path}", self.gateway.port());
        let request = self.http.request(method, url).header(HOST, &self.host);
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    /// This browser's cookie, shown on another dev host.
    #[must_use]
    pub fn with_host_of(&self, other: &Self) -> Self {
        Self { cookie: self.cookie.clone(), ..other.clone() }
    }

    /// Opens a link: the card, its button, the cookie.
    pub async fn open(&mut self, link: &str) -> anyhow::Result<()> {
        let path = link.split_once(self.host.as_str()).map(|(_, path)| path).context("a link of this dev host")?;
        let card = self.request(Method::GET, path).header(ACCEPT, "text/html").send().await?;
        ensure!(card.status() == StatusCode::OK, "the card of the link: {}", describe(card).await);
        ensure!(card.headers().get(SET_COOKIE).is_none(), "the card set a cookie: GET must have no effect");
        let opened = self.request(Method::POST, path).header(ORIGIN, "null").send().await?;
        ensure!(opened.status() == StatusCode::SEE_OTHER, "the card's button: {}", describe(opened).await);
        let place = opened.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(!place.contains("/share/"), "the token stays in the address bar: {place}");
        self.cookie = Some(cookie_of(&opened).context("no cookie was set")?);
        Ok(())
    }

    /// Opens the dev host with an account: the line on a stranger's card, the product's page and its form, and back to `path`.
    pub async fn sign_in(&mut self, key: &str, path: &str) -> anyhow::Result<()> {
        let card = self.request(Method::GET, path).header(ACCEPT, "text/html").send().await?;
        ensure!(card.status() == StatusCode::UNAUTHORIZED, "the card: {}", describe(card).await);
        let card = card.text().await?;
        let (_, rest) = card.split_once("On the team? <a href=\"").context("no line for members on the card")?;
        let left = self.request(Method::GET, rest.split('"').next().unwrap_or_default()).send().await?;
        let (open, nonce) = (leads_to(&left)?, cookie_of(&left).context("no nonce was set")?);
        let asked = self.http.get(open.clone()).send().await?;
        let form = leads_to(&asked)?;
        ensure!(form.path() == "/sign-in", "whoever is not signed in signs in first: {form}");
        let return_to = form.query_pairs().find(|(name, _)| name == "return_to").context("no way back")?.1.into_owned();
        let fields = Url::parse_with_params("http://form/", [("key", key), ("return_to", &return_to)])?;
        let signed_in = self.http.post(form.join("/sign-in/key")?).header(ORIGIN, form.origin().ascii_serialization());
        let signed_in = signed_in.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let signed_in = signed_in.body(fields.query().unwrap_or_default().to_owned()).send().await?;
        let onward = signed_in.headers().get(REFRESH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(onward == format!("0; url={return_to}"), "a page leads on: {onward}");
        let session = cookie_of(&signed_in).context("nobody was signed in")?;
        let back = leads_to(&self.http.get(open).header(COOKIE, session).send().await?)?;
        let entered = self.http.get(back).header(HOST, &self.host).header(COOKIE, &nonce).send().await?;
        ensure!(entered.status() == StatusCode::SEE_OTHER, "the way back: {}", describe(entered).await);
        let place = leads_to(&entered)?;
        ensure!(place.path() == path && place.host_str() == self.host.split(':').next(), "it led to {place}");
        self.cookie = cookie_of(&entered);
        Ok(())
    }

    /// Gets a path, as a program would: held while the runtime wakes. The body, if it is a success.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        success(self.request(Method::GET, path).header(ACCEPT, "*/*").send().await?).await
    }

    /// The status a path answers with.
    pub async fn status(&self, path: &str) -> anyhow::Result<StatusCode> {
        Ok(self.request(Method::GET, path).header(ACCEPT, "*/*").send().await?.status())
    }

    /// Posts JSON; the body, if it is a success.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<String> {
        let origin = format!("http://{}", self.host);
        success(self.request(Method::POST, path).header(ORIGIN, origin).json(body).send().await?).await
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self, path: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{}{path}", self.host).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(ORIGIN, HeaderValue::try_from(format!("http://{}", self.host))?);
        if let Some(cookie) = &self.cookie {
            headers.insert(COOKIE, HeaderValue::try_from(cookie)?);
        }
        let stream = TcpStream::connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        let connected =
            tokio::time::timeout(PATIENCE, client_async(request, stream)).await.context("no answer in time")?;
        Ok(connected?.0)
    }

    /// Sends a text over a WebSocket and waits until `wanted` comes back.
    pub async fn echo(socket: &mut WebSocketStream<TcpStream>, text: &str, wanted: &str) -> anyhow::Result<()> {
        socket.send(Message::text(text)).await?;
        let coming = async {
            while let Some(message) = socket.next().await {
                if message?.to_text().is_ok_and(|text| text.contains(wanted)) {
                    return Ok(());
                }
            }
            bail!("the WebSocket was closed")
        };
        tokio::time::timeout(PATIENCE, coming).await.context("the message did not come back")?
    }
}

async fn success(response: Response) -> anyhow::Result<String> {
    if response.status().is_success() {
        return Ok(response.text().await?);
    }
    bail!("{}", describe(response).await)
}

/// Where a redirect leads.
fn leads_to(response: &Response) -> anyhow::Result<Url> {
    let place = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let place = place.with_context(|| format!("{} leads nowhere: {}", response.url().path(), response.status()))?;
    Ok(response.url().join(place)?)
}

/// The first cookie that an answer sets, as in the `Cookie` header.
fn cookie_of(response: &Response) -> Option<String> {
    Some(response.headers().get(SET_COOKIE)?.to_str().ok()?.split(';').next()?.to_owned())
}

/// Status, where, and the beginning of the body.
async fn describe(response: Response) -> String {
    let (status, path) = (response.status(), response.url().path().to_owned());
    let path = if path.starts_with("/share/") { "/share/…".to_owned() } else { path };
    let body: String = response.text().await.unwrap_or_default().chars().take(400).collect();
    format!("{path} answered {status}: {body}")
}

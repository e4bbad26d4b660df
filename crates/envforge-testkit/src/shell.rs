//! A person at a workspace's terminal, as far as the loop needs one: types, and reads what comes.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(15);

/// An open terminal.
#[derive(Debug)]
pub struct Shell {
    socket: WebSocketStream<TcpStream>,
    seen: String,
}

impl Shell {
    /// Attaches to the workspace's shell with the owner's key.
    pub async fn attach(server: &str, key: &str, org: &str, workspace: &str) -> anyhow::Result<Self> {
        Self::attach_to(server, key, org, workspace, "main").await
    }

    /// Attaches to another terminal than the main one.
    pub async fn attach_to(
        server: &str,
        key: &str,
        org: &str,
        workspace: &str,
        terminal: &str,
    ) -> anyhow::Result<Self> {
        let address = server.strip_prefix("http://").context("the one box speaks plain HTTP here")?;
        let path = format!("/v1/orgs/{org}/workspaces/{workspace}/terminal?terminal={terminal}&");
        Self::open(address, key, &path).await
    }

    /// Opens the root terminal of an elevation.
    pub async fn elevated(server: &str, key: &str, org: &str, elevation: &str) -> anyhow::Result<Self> {
        let address = server.strip_prefix("http://").context("the one box speaks plain HTTP here")?;
        Self::open(address, key, &format!("/v1/orgs/{org}/elevations/{elevation}/terminal?")).await
    }

    async fn open(address: &str, key: &str, path: &str) -> anyhow::Result<Self> {
        let url = format!("ws://{address}{path}cols=120&rows=30");
        let mut request = url.into_client_request()?;
        let bearer = HeaderValue::try_from(format!("Bearer {key}"))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connected =
            tokio::time::timeout(PATIENCE, client_async(request, stream)).await.context("no answer in time")?;
        Ok(Self { socket: connected.context("the terminal did not open")?.0, seen: String::new() })
    }

    /// Types.
    pub async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Binary(Bytes::copy_from_slice(text.as_bytes()))).await?)
    }

    /// Reads until `wanted` was on the screen since the last call.
    pub async fn expect(&mut self, wanted: &str) -> anyhow::Result<()> {
        let reading = async {
            while !self.seen.contains(wanted) {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                    Some(Ok(Message::Text(text))) => bail!("the terminal ended: {text}"),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the terminal was closed"),
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        let screen = std::mem::take(&mut self.seen);
        match read {
            Ok(read) => read,
            Err(_) => bail!("`{wanted}` did not come; the screen had:\n{}", screen.escape_debug()),
        }
    }

    /// Runs a sum no echo of the typed line could answer.
    pub async fn answers(&mut self) -> anyhow::Result<()> {
        self.send("echo ready-$((40+2))\r").await?;
        self.expect("ready-42").await
    }
}

//! A mail server that keeps what it is given: the few commands of RFC 5321 a client needs, without TLS.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The recipient in the envelope.
    pub to: String,
    /// Headers and body, lines ended by `\n`.
    pub data: String,
}

/// A mail server on a free port of loopback.
#[derive(Debug)]
pub struct MailSink {
    /// Where it listens.
    pub address: SocketAddr,
    mails: mpsc::UnboundedReceiver<Received>,
}

impl MailSink {
    /// Listens. A recipient that begins with `refused` is refused for good.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, mails) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, sender.clone()));
            }
        });
        Ok(Self { address, mails })
    }

    /// The next message; waits for it.
    pub async fn next(&mut self) -> Received {
        let coming = tokio::time::timeout(std::time::Duration::from_secs(20), self.mails.recv()).await;
        coming.ok().flatten().expect("a mail arrives within 20 s")
    }

    /// A message that has arrived already.
    pub fn arrived(&mut self) -> Option<Received> {
        self.mails.try_recv().ok()
    }
}

impl Received {
    /// The body without the soft line breaks and escapes of quoted-printable (RFC 2045, 6.7).
    pub fn decoded(&self) -> String {
        self.data.replace("=\n", "").replace("=3D", "=")
    }
}

async fn converse(stream: TcpStream, sender: mpsc::UnboundedSender<Received>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink ready\r\n").await?;
    let (mut to, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match line.trim_end().to_ascii_uppercase() {
            verb if verb.starts_with("EHLO") => b"250-sink\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
            verb if verb.starts_with("RCPT TO:") => {
                to = line.trim_end()["RCPT TO:".len()..].trim_matches(['<', '>', ' ']).to_owned();
                if to.starts_with("refused") { b"550 no such user\r\n" } else { b"250 ok\r\n" }
            }
            verb if verb.starts_with("AUTH") => b"235 in\r\n",
            verb if verb == "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut data = String::new();
                loop {
                    line.clear();
                    if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
                        break;
                    }
                    // A leading dot was doubled (RFC 5321, 4.5.2).
                    data.push_str(
                        line.trim_end_matches(['\r', '\n'])
                            .strip_prefix('.')
                            .unwrap_or(line.trim_end_matches(['\r', '\n'])),
                    );
                    data.push('\n');
                }
                drop(sender.send(Received { to: to.clone(), data }));
                b"250 kept\r\n"
            }
            verb if verb == "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

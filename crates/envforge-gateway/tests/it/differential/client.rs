//! A client that sends bytes as they are, with an ordinary request right behind them, and reads what comes back.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// The other side hung up.
    pub(crate) is_over: bool,
}

impl Heard {
    /// The statuses of the answers, those on the way (1xx) left out; empty when what came is no HTTP/1.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let (mut rest, mut statuses) = (&self.bytes[..], Vec::new());
        while let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            rest = &rest[end + 4..];
            let Some(status) = head.strip_prefix("http/1.").and_then(|head| head.get(2..5)?.parse().ok()) else {
                break;
            };
            if (100..200).contains(&status) {
                continue;
            }
            statuses.push(status);
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let Some(length) = header("content-length:").and_then(|length| length.parse::<usize>().ok()) {
                rest = rest.get(length..).unwrap_or_default();
            } else if header("transfer-encoding:").is_some() {
                let Some(end) = rest.windows(5).position(|five| five == b"0\r\n\r\n") else { break };
                rest = &rest[end + 5..];
            } else if status != 204 && status != 304 {
                break;
            }
        }
        statuses
    }

    /// Whether it began to speak HTTP/2: its first frame is SETTINGS on stream 0 (RFC 9113, section 3.4).
    pub(crate) fn is_http2(&self) -> bool {
        self.bytes.get(3) == Some(&4) && self.bytes.get(5..9) == Some(&[0; 4])
    }
}

/// Sends it all, and reads until the other side hangs up or has been quiet for so long.
pub(crate) async fn send(stream: impl AsyncRead + AsyncWrite, bytes: &[u8], quiet: Duration) -> Heard {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut heard = Heard::default();
    let sending = async {
        // Whoever refuses early does not read on.
        drop(write.write_all(bytes).await);
        drop(write.flush().await);
    };
    let reading = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match timeout(quiet, read.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return heard.is_over = true,
                Ok(Ok(length)) => heard.bytes.extend_from_slice(&buffer[..length]),
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(sending, reading) } => {}
        // Nobody reads, nobody answers: the other side is wedged, and that is what was heard.
        () = tokio::time::sleep(quiet * 20) => {}
    }
    heard
}

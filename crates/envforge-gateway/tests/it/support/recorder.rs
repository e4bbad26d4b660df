//! A service that keeps every byte it is sent, by connection, and answers what is a request by the strictest reading.

use crate::support::readings::strict;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What was sent, a connection each.
type Log = Arc<Mutex<Vec<Vec<u8>>>>;

/// The service.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    log: Log,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Log::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(record(stream, Arc::clone(&kept)));
            }
        });
        Self { address, log }
    }

    /// What was sent since this was asked last; of connections that go on, only what is new.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        let mut log = self.log.lock().expect("no panic while held");
        log.iter_mut().map(std::mem::take).filter(|bytes| !bytes.is_empty()).collect()
    }

    /// Everything that was sent so far.
    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        self.log.lock().expect("no panic while held").clone()
    }
}

async fn record(mut stream: TcpStream, log: Log) {
    let number = {
        let mut log = log.lock().expect("no panic while held");
        log.push(Vec::new());
        log.len() - 1
    };
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..length]);
        log.lock().expect("no panic while held")[number].extend_from_slice(&buffer[..length]);
        loop {
            let (read, length) = match strict(&bytes) {
                Ok(Some(whole)) => whole,
                Ok(None) => break,
                Err(_) => return,
            };
            bytes.drain(..length);
            let told = format!("{} {} {}", read.method, read.target, read.body.len());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

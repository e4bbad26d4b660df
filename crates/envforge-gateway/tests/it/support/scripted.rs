//! A service that says exactly what it is told to, byte by byte.

use crate::support::{PATIENCE, World};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// What the service read so far, over all of its connections.
#[derive(Clone, Default)]
pub(crate) struct Read(Arc<Mutex<Vec<u8>>>);

impl Read {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while held")).into_owned()
    }
}

/// What the service does on a connection.
#[derive(Clone)]
pub(crate) enum Do {
    /// Waits until it has read this.
    Until(&'static str),
    /// Says this.
    Say(Vec<u8>),
}

/// Says.
pub(crate) fn say(text: impl AsRef<[u8]>) -> Do {
    Do::Say(text.as_ref().to_vec())
}

impl World {
    /// From now on `web` is a service that does this on each connection and hangs up.
    pub(crate) async fn scripted(&self, script: Vec<Do>) -> Read {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        self.host.place("web", listener.local_addr().expect("an address"));
        let read = Read::default();
        let reading = read.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (script, read) = (script.clone(), reading.clone());
                tokio::spawn(async move {
                    for step in script {
                        match step {
                            Do::Say(bytes) => stream.write_all(&bytes).await.expect("said"),
                            Do::Until(text) => {
                                while !read.text().contains(text) {
                                    let mut bytes = [0; 4096];
                                    let length = stream.read(&mut bytes).await.unwrap_or(0);
                                    if length == 0 {
                                        return;
                                    }
                                    read.0.lock().expect("no panic while held").extend_from_slice(&bytes[..length]);
                                }
                            }
                        }
                    }
                });
            }
        });
        read
    }

    /// The head of a request of session 1, without the empty line at its end.
    pub(crate) fn head(&self, line: &str, more: &str) -> String {
        format!("{line}\r\nhost: {}\r\ncookie: {}\r\n{more}", super::HOST, self.cookie(1))
    }
}

/// Waits for something, for as long as anything is waited for.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

//! The mail sink: SMTP (RFC 5321) that accepts every message and delivers none.
//!
//! ```text
//! <directory>/
//!   messages/<mail id>   a message: its content as it was sent, and behind it its envelope ([`mailbox`])
//!   unfinished/          what is being received; emptied at the start
//! ```
//!
//! Commands are read by the `smtp-proto` library, headers by `mail-parser`; the conversation ([`session`]) and what is kept are
//! ours. A message is answered once it is on the disk under its name, by one rename; so one that was cut off is sent again
//! by its program, and there is never half of one. Nothing here opens a connection to anybody.
//!
//! Everything a client can send is bounded: lines and recipients, a message and all of them together (the oldest make room),
//! its silence, and how many talk at once.

mod mailbox;
pub(crate) mod reading;
mod session;

use envforge_api::ambient::{SystemClock, SystemEntropy};
use mailbox::Mailbox;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait to be accepted. Each may have a message under way.
const CONNECTIONS: usize = 32;
/// The pause after a connection could not be accepted: it is the machine that lacks something.
const AGAIN: Duration = Duration::from_millis(100);

/// Answers clients until the process ends.
pub(crate) async fn serve(listener: TcpListener, directory: PathBuf) -> io::Result<()> {
    let open = move || Mailbox::open(&directory, Arc::new(SystemClock), Arc::new(SystemEntropy));
    let mailbox = Arc::new(tokio::task::spawn_blocking(open).await??);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        let mailbox = Arc::clone(&mailbox);
        tokio::spawn(async move {
            // Its end is the client's to notice.
            drop(session::converse(stream, mailbox).await);
            drop(place);
        });
    }
}

//! Resources that are programs of our own: the object storage and the mail sink of one workspace.
//!
//! The host daemon starts them inside a workspace's runtime, as the workspace's user, like any other program: the same
//! executable again, with [`ARGUMENT`] as its first argument. So what strangers say in S3 or SMTP is read by a process that
//! may do nothing but what the workspace itself may, is paused with it, and counts against its memory and disk.
//!
//! What must stay true:
//!
//! - Everything is in the one directory the process is given, and a process killed at any instant leaves there only whole
//!   objects and messages, beside leftovers that the next one clears away.
//! - Keys come in the environment, never as arguments; nothing a client sent is logged.
//! - It is a crate of its own, and only `envforged` joins it: nobody who works on the host waits for an S3 library.
//!
//! [`storage`] is the object storage, [`mail`] the mail sink; what both write are [`sealed`] files;
//! [`console`] answers one question about these or the [`database`], and ends.

mod console;
mod database;
mod mail;
mod sealed;
mod storage;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The first argument that makes a program one of these.
pub const ARGUMENT: &str = "resource";

/// Threads that answer clients; files are read and written by others.
const THREADS: usize = 2;

/// Whether this program was started to be a resource.
pub fn is_requested() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Is the resource that the arguments name, until it is told to end: `resource <kind> <port> <directory>`. Or answers a
/// question: `resource console <data directory>`.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["console", data] => console::answer(Path::new(data)),
        [kind, port, directory] => run(kind, port, PathBuf::from(directory)),
        _ => Err(io::Error::other("write: resource <kind> <port> <directory>")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(kind: &str, port: &str, directory: PathBuf) -> io::Result<()> {
    let port: u16 = port.parse().map_err(|_| io::Error::other(format!("`{port}` is no port")))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        // Whoever listens is the only one at work in the directory.
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("port {port} can't be listened on: {error}")))?;
        log(&format!("{kind} listens on {}", listener.local_addr()?));
        match kind {
            "object_storage" => storage::serve(listener, directory, storage::Keys::from_environment()?).await,
            "mail" => mail::serve(listener, directory).await,
            other => Err(io::Error::other(format!("there is no resource `{other}`"))),
        }
    })
}

/// A line for the resource's log.
fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

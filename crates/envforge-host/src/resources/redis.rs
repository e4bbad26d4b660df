//! Redis: an instance per workspace, inside its runtime.
//!
//! It runs as the workspace's user in the workspace's own network, so nobody else can reach it and it needs no password; it
//! counts against the runtime's memory and is paused with it. Its data lies in the workspace's data directory, every
//! write is appended to a file there.

use crate::config::HostConfig;
use crate::engines::inside;
use crate::init::protocol::{Program, Spawn};
use crate::place::Place;
use crate::trouble::{Blocked, blocked};
use crate::uplink::logs::own_log;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The port inside a workspace with a network of its own.
pub(crate) const PORT: u16 = 6379;
/// The process's name in the runtime.
pub(crate) const PROCESS: &str = "resource.redis";

/// Whether the host can run it.
pub(crate) fn check(config: &HostConfig) -> Result<(), Blocked> {
    if config.redis_server.exists() {
        return Ok(());
    }
    Err(blocked(
        "resource.redis_missing",
        format!("Redis is not installed on the host: there is no {}", config.redis_server.display()),
        "install it: apt-get install redis-server",
    ))
}

/// The address services use.
pub(crate) fn url(place: &Place) -> String {
    format!("redis://127.0.0.1:{}", place.resource_port(PORT))
}

/// The process to start.
pub(crate) fn spawn(config: &HostConfig, place: &Place) -> Spawn {
    let data = format!("{}/redis", inside::DATA);
    let port = place.resource_port(PORT).to_string();
    let program = config.redis_server.to_string_lossy();
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--dir",
        &data,
        "--appendonly",
        "yes",
        "--save",
        "",
        "--daemonize",
        "no",
        "--logfile",
        "",
        "--always-show-logo",
        "no",
    ];
    // The directory is the workspace user's; whoever owns it makes it.
    let line = format!(
        "mkdir -p {data} && exec {} {}",
        crate::script::quote(&program),
        arguments.map(crate::script::quote).join(" ")
    );
    let mut spawn = Spawn::new(PROCESS, Program::Shell(line));
    spawn.cwd = "/".into();
    spawn.log = Some(own_log("redis"));
    spawn.whole_tree = true;
    spawn
}

/// Whether it answers; while it loads its data it says so and is not ready.
pub(crate) async fn is_ready(mut stream: TcpStream) -> io::Result<bool> {
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0_u8; 5];
    stream.read_exact(&mut answer).await?;
    Ok(answer == *b"+PONG")
}

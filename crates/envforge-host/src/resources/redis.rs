//! Redis: an instance per workspace, inside its runtime.
//!
//! It runs as the workspace's user in the workspace's own network, so nobody else can reach it and it needs no password.
//! Every write is appended to a file of its data directory.

use super::{Instance, Values, values};
use crate::config::HostConfig;
use crate::engines::inside;
use crate::init::protocol::Program;
use crate::place::Place;
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use std::io;

/// The port inside a workspace with a network of its own.
const PORT: u16 = 6379;

/// The kind.
pub(crate) struct Redis;

impl Instance for Redis {
    fn title(&self) -> &'static str {
        "Redis"
    }

    fn check(&self, config: &HostConfig) -> Result<(), Blocked> {
        if config.redis_server.exists() {
            return Ok(());
        }
        Err(blocked(
            "resource.redis_missing",
            format!("Redis is not installed on the host: there is no {}", config.redis_server.display()),
            "install it: apt-get install redis-server",
        ))
    }

    fn program(&self, config: &HostConfig, place: &Place) -> Program {
        let data = format!("{}/redis", inside::DATA);
        let port = self.port(place).to_string();
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
        Program::Shell(format!(
            "mkdir -p {data} && exec {} {}",
            crate::script::quote(&program),
            arguments.map(crate::script::quote).join(" ")
        ))
    }

    fn port(&self, place: &Place) -> u16 {
        place.resource_port(PORT)
    }

    /// While it loads its data it answers, and says that it is not ready.
    fn hello(&self) -> (&'static [u8], &'static [u8]) {
        (b"PING\r\n", b"+PONG")
    }

    fn values(&self, place: &Place, _entropy: &dyn Entropy) -> io::Result<Values> {
        let port = self.port(place);
        Ok(values([
            ("redis_url", format!("redis://127.0.0.1:{port}")),
            ("redis_host", "127.0.0.1".to_owned()),
            ("redis_port", port.to_string()),
        ]))
    }
}

//! The mail sink: SMTP that accepts every message to anybody and delivers none.
//!
//! The process is `envforge-resources`' and keeps what it accepts as files of its data directory. Nobody outside the workspace
//! reaches it, so it asks for no password; programs that insist on giving one may give any.

use super::{Instance, Values, own_program, values};
use crate::config::HostConfig;
use crate::engines::inside;
use crate::init::protocol::Program;
use crate::place::Place;
use envforge_core::clock::Entropy;
use std::io;

/// The port inside a workspace with a network of its own.
const PORT: u16 = 1025;

/// The kind.
pub(crate) struct Mail;

impl Instance for Mail {
    fn title(&self) -> &'static str {
        "mail sink"
    }

    fn program(&self, _config: &HostConfig, place: &Place) -> Program {
        own_program("mail", self.port(place), &format!("{}/mail", inside::DATA))
    }

    fn port(&self, place: &Place) -> u16 {
        place.resource_port(PORT)
    }

    /// It greets whoever connects.
    fn hello(&self) -> (&'static [u8], &'static [u8]) {
        (b"", b"220 ")
    }

    fn values(&self, place: &Place, _entropy: &dyn Entropy) -> io::Result<Values> {
        let port = self.port(place);
        Ok(values([
            ("smtp_url", format!("smtp://127.0.0.1:{port}")),
            ("smtp_host", "127.0.0.1".to_owned()),
            ("smtp_port", port.to_string()),
        ]))
    }
}

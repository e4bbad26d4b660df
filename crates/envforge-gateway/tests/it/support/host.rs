//! A host that hands out real connections to the test's apps. A ticket is the service's name.

use crate::support::app::App;
use crate::support::id;
use envforge_api::host::HostPass;
use envforge_api::uplink::{Open, dial};
use envforge_core::refusal::Refusal;
use envforge_core::token::Signer;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

/// The host.
#[derive(Default)]
pub(crate) struct Host {
    services: Mutex<HashMap<String, SocketAddr>>,
    opened: Mutex<Vec<String>>,
}

impl Host {
    pub(crate) fn dial(path: &Path, signer: &Signer, apps: &[&App]) -> Arc<Self> {
        let host = Arc::new(Self::default());
        for app in apps {
            host.place(&app.name, app.address);
        }
        let pass = signer.sign(&HostPass { host: id(1), org: id(1), expires: i64::from(u32::MAX) });
        let (path, handing) = (path.to_owned(), Arc::clone(&host));
        tokio::spawn(async move {
            // The gateway hangs up on a pass it has no key for yet.
            loop {
                let handing = Arc::clone(&handing);
                let ended = dial(&path, &pass, move |ticket, open| {
                    let host = Arc::clone(&handing);
                    async move { host.open(ticket, open).await }
                });
                drop(ended.await);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        host
    }

    async fn open(&self, ticket: String, open: Open) -> Result<OwnedFd, Refusal> {
        assert_eq!(open, Open::Service, "a gateway asks for services only");
        self.opened.lock().expect("no panic while held").push(ticket.clone());
        let address = self.services.lock().expect("no panic while held").get(&ticket).copied();
        let address = address.ok_or_else(|| Refusal::unavailable("service.unreachable", "nothing listens"))?;
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| Refusal::unavailable("service.unreachable", error.to_string()))?;
        Ok(OwnedFd::from(stream.into_std().expect("a socket")))
    }

    /// A service listens there from now on.
    pub(crate) fn place(&self, service: &str, address: SocketAddr) {
        self.services.lock().expect("no panic while held").insert(service.to_owned(), address);
    }

    /// A service listens nowhere from now on.
    pub(crate) fn remove(&self, service: &str) {
        self.services.lock().expect("no panic while held").remove(service);
    }

    /// The services opened so far.
    pub(crate) fn opened(&self) -> Vec<String> {
        self.opened.lock().expect("no panic while held").clone()
    }
}

//! Names of destinations to addresses: none that leads back to this machine.
//!
//! The daemon's network reaches what a workspace's may not: its loopback, the machine's metadata service. A rule is made
//! by an admin, but what its name resolves to is decided by whoever owns the name.

use envforge_core::address::is_outside;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Resolves names for the proxy.
pub(super) struct Resolver {
    /// Found here instead of by name.
    pub(super) known: BTreeMap<String, SocketAddr>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.known.get(name.as_str()).copied();
        Box::pin(async move {
            if let Some(address) = known {
                return Ok(Box::new(std::iter::once(address)) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let outside: Vec<SocketAddr> = found.into_iter().filter(|address| is_outside(address.ip())).collect();
            if outside.is_empty() {
                return Err(format!("{} leads to no address outside of this machine", name.as_str()).into());
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

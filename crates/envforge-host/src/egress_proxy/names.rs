//! Names of destinations to addresses: none that leads back to this machine.
//!
//! The daemon's network reaches what a workspace's may not: its loopback, the machine's metadata service. A rule is made
//! by an admin, but what its name resolves to is decided by whoever owns the name.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// Whether an address leads away from this machine and its link. Private networks do: a company's own gateway is there.
pub(super) fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_outside_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded(v6)) {
            Some(v4) => is_outside_v4(v4),
            None => {
                !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
                    // The metadata service of EC2.
                    && v6 != Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
            }
        },
    }
}

/// Where clouds answer a machine's own questions outside of the link: Azure's agent, Oracle's metadata.
const MACHINE_SERVICES: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

fn is_outside_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_cloud = MACHINE_SERVICES.contains(&v4);
    !(a == 0 || a >= 240 || is_shared || is_cloud || v4.is_loopback() || v4.is_link_local() || v4.is_multicast())
}

/// The IPv4 address inside one of NAT64 (RFC 6052) or of 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::is_outside;

    // proves ORG-5
    #[test]
    fn no_name_leads_back_to_the_machine() {
        for inside in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(!is_outside(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "10.1.2.3", "192.168.1.1", "2606:4700::1111", "fd12::1", "64:ff9b::101:101"] {
            assert!(is_outside(outside.parse().unwrap()), "{outside}");
        }
    }
}

//! Where an address leads: away from this machine, or back to it.
//!
//! Whoever sends something out for somebody, to where a name of theirs resolves, asks here first: a machine's own loopback and its
//! metadata service answer to it alone, and must not answer to whoever owns a name.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address leads away from this machine and its link. Private networks do: a company's own gateway is there.
pub fn is_outside(address: IpAddr) -> bool {
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

/// Whether an address is of the internet: it leads outside, and to no private network either.
pub fn is_public(address: IpAddr) -> bool {
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => embedded(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    let is_private = match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_documentation(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    is_outside(address) && !is_private
}

#[cfg(test)]
mod tests {
    use super::{is_outside, is_public};

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

    #[test]
    fn a_private_network_is_outside_and_not_of_the_internet() {
        for private in ["10.1.2.3", "192.168.1.1", "172.16.0.1", "fd12::1", "64:ff9b::a01:203", "::ffff:10.0.0.1"] {
            let address = private.parse().unwrap();
            assert!(is_outside(address) && !is_public(address), "{private}");
        }
        for public in ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for machine in ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:127.0.0.1"] {
            assert!(!is_public(machine.parse().unwrap()), "{machine}");
        }
    }
}

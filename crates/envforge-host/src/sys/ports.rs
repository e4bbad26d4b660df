//! Which ports are listened on in a network namespace, and by whom.
//!
//! The kernel shows sockets per namespace and descriptors per process; the socket's inode number joins the two. A
//! service that was told no port is found this way the moment it binds one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A TCP socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListeningPort {
    /// The port.
    pub port: u16,
    /// The address it is bound to; unspecified means all.
    pub address: IpAddr,
    /// The socket's inode number, see [`owner_of`].
    pub inode: u64,
}

impl ListeningPort {
    /// Whether only the namespace itself can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback()
    }
}

/// The state column of a listening socket.
const LISTEN: &str = "0A";

/// What is listened on in the network namespace of this process (of the host's `/proc`).
pub fn listening_ports(pid: i32) -> io::Result<Vec<ListeningPort>> {
    let mut found = parse(&std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?);
    match std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")) {
        Ok(text) => found.extend(parse(&text)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Bytes that came and went in the network namespace of this process, since it was made; what stays inside is not counted.
pub fn traffic(pid: i32) -> io::Result<u64> {
    Ok(bytes_of(&std::fs::read_to_string(format!("/proc/{pid}/net/dev"))?))
}

/// Columns after the name: eight of what came, bytes first, then as many of what went.
fn bytes_of(table: &str) -> u64 {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        (name.trim() != "lo").then(|| Some(numbers.first()?.saturating_add(*numbers.get(8)?)))?
    };
    table.lines().filter_map(line).fold(0, u64::saturating_add)
}

fn parse(table: &str) -> Vec<ListeningPort> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<ListeningPort> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(ListeningPort {
        port: u16::from_str_radix(port, 16).ok()?,
        address: parse_address(address)?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Groups of four bytes, each group a number in the machine's own byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..text.len()).step_by(8) {
        let group = u32::from_str_radix(text.get(start..start + 8)?, 16).ok()?;
        bytes.extend(group.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

/// Which of these processes (the host's pids) has the socket open. Several may; the first in the order given wins.
pub fn owner_of(inode: u64, pids: &[i32]) -> Option<i32> {
    let wanted = format!("socket:[{inode}]");
    pids.iter().copied().find(|pid| open_files(*pid).any(|name| name == wanted))
}

/// The owners of many sockets in one pass over the processes.
pub fn owners_of(inodes: &[u64], pids: &[i32]) -> HashMap<u64, i32> {
    let mut owners = HashMap::new();
    for pid in pids {
        for name in open_files(*pid) {
            let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|text| text.parse().ok())
                && inodes.contains(&inode)
            {
                owners.entry(inode).or_insert(*pid);
            }
        }
    }
    owners
}

/// Which of these leaders a process belongs to: the leader of its session, or else its nearest ancestor among them.
/// Leaders and process are the host's pids.
pub fn leader_of(pid: i32, leaders: &[i32]) -> Option<i32> {
    let mut at = pid;
    // Deeper than any real tree; it only guards against a table that changes while it is read.
    for _ in 0..64 {
        if leaders.contains(&at) {
            return Some(at);
        }
        let stat = super::process::Stat::read(at).ok()?;
        if leaders.contains(&stat.session) {
            return Some(stat.session);
        }
        if stat.parent <= 1 {
            return None;
        }
        at = stat.parent;
    }
    None
}

fn open_files(pid: i32) -> impl Iterator<Item = String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_what_leaves_and_comes() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                     lo:  900000   1 0 0 0 0 0 0  900000   1 0 0 0 0 0 0\n  \
                     eth0: 1500   12 0 0 0 0 0 0 700   9 0 0 0 0 0 0\n";
        assert_eq!(bytes_of(table), 2_200);
        assert_eq!(bytes_of("nothing"), 0);
    }

    #[test]
    fn only_listening_sockets_are_listed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0\n\
             1: 0100007F:0BB8 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0\n";
        let found = parse(table);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].port, found[0].inode, found[0].is_loopback()), (3000, 4711, true));
    }

    #[test]
    fn an_ipv4_address_in_the_ipv6_table_is_seen_for_what_it_is() {
        assert_eq!(parse_address("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(parse_address("0000000000000000FFFF00000100007F"), Some(Ipv4Addr::LOCALHOST.into()));
    }
}

//! The machine's own firewall, beside our table.
//!
//! Two things of it concern workspaces. Who loads its rules anew (`nft flush ruleset`, a restart of its service) takes ours
//! away with them, and what they close would be open. And who forwards nothing by default, as Docker's rules do, drops what
//! our table lets through: every table has its say, and one that drops is enough. Docker keeps a chain for others' rules,
//! `DOCKER-USER`, and ours go there; of anybody else's we only tell.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Weak;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use serde::Deserialize;

use super::Egress;
use crate::sys::command::{CommandError, run};

/// The multicast group told of every change of rules: `NFNLGRP_NFTABLES` (7) as a mask, linux/netfilter/nfnetlink.h.
const CHANGES: u32 = 1 << (7 - 1);
/// Rules that change all the time, as under an orchestrator, are looked at so often at most.
const LOOKS_APART: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long a wait for changes lasts before it asks whether anybody still wants to know.
const WAIT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// A chain, as `nft --json list chains` tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

impl Chain {
    /// Whether what is forwarded ends here unless a rule says otherwise.
    fn drops_forwarded(&self) -> bool {
        self.hook.as_deref() == Some("forward") && self.policy.as_deref() == Some("drop")
    }

    fn is_dockers(&self) -> bool {
        (self.family.as_str(), self.table.as_str(), self.name.as_str()) == ("ip", "filter", "DOCKER-USER")
    }
}

/// What there is of the machine's firewall.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Firewall {
    chains: BTreeSet<Chain>,
}

impl Firewall {
    /// Asks for it.
    pub(super) fn look() -> Result<Self, CommandError> {
        Self::parse(&run("nft", &["--json", "list", "chains"], "")?)
    }

    fn parse(text: &str) -> Result<Self, CommandError> {
        #[derive(Deserialize)]
        struct Listing {
            nftables: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            chain: Option<Chain>,
        }
        let listing: Listing = serde_json::from_str(text).map_err(|error| CommandError::Failed {
            line: "nft --json list chains".to_owned(),
            said: error.to_string(),
        })?;
        Ok(Self { chains: listing.nftables.into_iter().filter_map(|entry| entry.chain).collect() })
    }

    /// Whether all chains of our table are there.
    pub(super) fn has(&self, table: &str, chains: &[&str]) -> bool {
        let is_there = |name: &&str| {
            self.chains.iter().any(|chain| chain.family == "inet" && chain.table == table && chain.name == **name)
        };
        chains.iter().all(is_there)
    }

    /// Whether Docker's chain for others' rules is there.
    pub(super) fn has_dockers(&self) -> bool {
        self.chains.iter().any(Chain::is_dockers)
    }

    /// What keeps workspaces from getting out, if a chain drops by default and names none of our cables.
    pub(super) fn closes(&self, prefix: &str) -> Result<Option<String>, CommandError> {
        for chain in self.chains.iter().filter(|chain| chain.drops_forwarded()) {
            // The rule that lets them through may be in any chain it leads to.
            let rules = run("nft", &["list", "table", &chain.family, &chain.table], "")?;
            if !rules.contains(prefix) {
                let Chain { family, table, name, .. } = chain;
                return Ok(Some(format!(
                    "workspaces have no way out: the machine's firewall drops what it forwards (chain {name} of table {family} {table}); \
                     let through what comes from the interfaces {prefix}*, and the answers to it"
                )));
            }
        }
        Ok(None)
    }
}

/// Bridges between containers or virtual machines of this machine, by how those who make them name them: Docker, Podman, CNI,
/// libvirt, LXC and Incus.
const BRIDGES: [&str; 8] = ["docker*", "br-*", "podman*", "cni*", "virbr*", "lxcbr*", "lxdbr*", "incusbr*"];

/// What of [`BRIDGES`] is closed: all but what the machine itself goes out by.
pub(super) fn closed_bridges() -> impl Iterator<Item = &'static str> {
    let route = run("ip", &["-o", "-4", "route", "show", "default"], "").unwrap_or_default();
    let is_way_out =
        move |bridge: &&str| route.split_whitespace().any(|word| word.starts_with(bridge.trim_end_matches('*')));
    BRIDGES.into_iter().filter(move |bridge| !is_way_out(bridge))
}

/// Our chain among Docker's.
fn chain(prefix: &str) -> String {
    format!("ENVFORGE-{prefix}")
}

/// Lets workspaces through Docker's rules; to its containers our own have let nothing. By `iptables`, which Docker has too: it
/// could not read its own table any more if rules were put there that only `nft` can say.
pub(super) fn through_dockers(prefix: &str) -> Result<(), CommandError> {
    let chain = chain(prefix);
    let rules = format!(
        "*filter\n:{chain} - [0:0]\n\
         -A {chain} -i {prefix}+ -j ACCEPT\n\
         -A {chain} -o {prefix}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         COMMIT\n"
    );
    if run("iptables", &["-w", "-C", "DOCKER-USER", "-j", &chain], "").is_ok() {
        return Ok(());
    }
    run("iptables-restore", &["-w", "--noflush"], &rules)?;
    run("iptables", &["-w", "-I", "DOCKER-USER", "-j", &chain], "").map(drop)
}

/// Takes that away again.
pub(super) fn out_of_dockers(prefix: &str) -> Result<(), CommandError> {
    let chain = chain(prefix);
    if run("iptables", &["-w", "-C", "DOCKER-USER", "-j", &chain], "").is_err() {
        return Ok(());
    }
    run("iptables", &["-w", "-D", "DOCKER-USER", "-j", &chain], "")?;
    run("iptables-restore", &["-w", "--noflush"], &format!("*filter\n:{chain} - [0:0]\n-X {chain}\nCOMMIT\n")).map(drop)
}

/// Looks again whenever rules of this network namespace change, on a thread of its own, for as long as there is an
/// [`Egress`].
pub(super) fn watch(egress: Weak<Egress>) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, CHANGES))?;
    std::thread::Builder::new().name("firewall".to_owned()).spawn(move || {
        while egress.strong_count() > 0 {
            let mut waiting = [PollFd::new(&socket, PollFlags::IN)];
            if !matches!(poll(&mut waiting, Some(&WAIT)), Ok(1..)) {
                continue;
            }
            drain(&socket);
            let Some(egress) = egress.upgrade() else { return };
            egress.keep();
            drop(egress);
            let _ = poll(&mut [], Some(&LOOKS_APART));
        }
    })?;
    Ok(())
}

/// Takes what has been told: it says only that something changed, and so does having missed some of it (`ENOBUFS`).
fn drain(socket: &OwnedFd) {
    let mut told = [0_u8; 8 * 1024];
    while !matches!(recv(socket, &mut told[..], RecvFlags::empty()), Err(Errno::AGAIN)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER", "handle": 2}},
        {"chain": {"family": "inet", "table": "envforge", "name": "forward", "handle": 1, "type": "filter", "hook": "forward", "prio": -10, "policy": "accept"}}]}"#;

    #[test]
    fn chains_are_read_as_nft_tells_them() {
        let seen = Firewall::parse(DOCKER).expect("valid");
        assert!(seen.has_dockers());
        assert!(seen.has("envforge", &["forward"]));
        assert!(!seen.has("envforge", &["forward", "input"]), "half of it is gone");
        assert!(!seen.has("envforge_other", &["forward"]));
        let dropping: Vec<_> = seen.chains.iter().filter(|chain| chain.drops_forwarded()).map(|c| &c.name).collect();
        assert_eq!(dropping, ["FORWARD"]);
        assert!(Firewall::parse("nothing of the kind").is_err());
    }
}

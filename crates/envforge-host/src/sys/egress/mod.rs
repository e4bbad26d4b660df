//! A workspace's way out: to the internet, and to nothing of the host.
//!
//! Each workspace gets a virtual cable between its namespace and the host with a /30 of its own, and traffic leaves under
//! the host's address. One nftables table of our own holds every rule, by interface name, so nothing has to be added
//! for a workspace and nothing of the machine's own firewall is touched. From a workspace this is closed:
//! the host itself (every address it has, the gateway end of the cable included), other workspaces, link-local and
//! metadata addresses, containers and virtual machines of this machine and what it publishes of them, what the operator lists,
//! and any source address but its own; into a workspace nothing comes that it did not ask for. DNS to the configured resolvers is open also where they are the host's.
//! The rules are watched: what the machine's own firewall does to them is mended ([`firewall`]).
//!
//! IPv4 only. A machine that can't do this keeps working without a way out, and says why ([`EgressState`]).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use self::firewall::Firewall;
use crate::sys::command::{CommandError, run};

mod firewall;

/// Workspaces in one pool: a /16 has room for as many /30s.
pub const POOL_SIZE: u32 = 16_384;

/// Closed on every machine: link-local, where most clouds have their metadata, loopback, and where the other clouds have
/// theirs or the agent that gives machines their identity (Alibaba Cloud, Azure, Oracle Cloud).
const CLOSED: [&str; 5] = ["169.254.0.0/16", "127.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"];

/// The chains of our table.
const CHAINS: [&str; 3] = ["input", "forward", "postrouting"];

/// How workspaces get out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressConfig {
    /// Tells several daemons on one machine apart; `default` for the only one.
    pub instance: String,
    /// The first two bytes of the /16 that workspaces' addresses are taken from.
    pub pool: [u8; 2],
    /// Name servers that workspaces may ask, wherever they are.
    pub resolvers: Vec<IpAddr>,
    /// Further IPv4 networks (`10.0.0.0/8`) that are closed to workspaces.
    #[serde(default)]
    pub closed: Vec<String>,
}

/// Whether a workspace has a way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressState {
    /// It has, under this address of its own.
    Open {
        /// The workspace's address.
        address: Ipv4Addr,
        /// The host's end.
        gateway: Ipv4Addr,
    },
    /// It has none, and why.
    Unavailable(String),
}

/// The host's side of every workspace's way out.
#[derive(Debug)]
pub struct Egress {
    config: EgressConfig,
    prefix: String,
    /// Changed under the lock, so that two workspaces do not load the rules at once.
    rules: Mutex<Rules>,
}

/// How the rules stand.
#[derive(Debug, Default)]
struct Rules {
    loaded: bool,
    /// What of the machine's firewall keeps workspaces in, in words.
    closed_by: Option<String>,
}

/// The ends of one cable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cable {
    interface: String,
    gateway: Ipv4Addr,
    address: Ipv4Addr,
}

impl Egress {
    /// Nothing is changed yet. Refuses what could not be put into a rule safely.
    pub fn new(config: EgressConfig) -> io::Result<Self> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let instance = &config.instance;
        if instance.is_empty() || !instance.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(bad(format!("egress: instance {instance:?} is not lower-case letters, digits and _")));
        }
        if let Some(network) = config.closed.iter().find(|network| !is_network(network)) {
            return Err(bad(format!("egress: {network:?} is not an IPv4 network like 10.0.0.0/8")));
        }
        let prefix = cable_prefix(instance);
        Ok(Self { config, prefix, rules: Mutex::default() })
    }

    /// Keeps the rules as they should be while the machine's firewall changes, from now on and for as long as there is this
    /// value. If there are cables already, of a daemon before this one, the rules are loaded now.
    pub fn watch(self: &Arc<Self>) -> Result<(), CommandError> {
        firewall::watch(Arc::downgrade(self))
            .map_err(|source| CommandError::Io { program: "netlink".to_owned(), source })?;
        if self.has_cables() { self.load() } else { Ok(()) }
    }

    /// Why no workspace gets out, when that is the doing of the machine's own firewall.
    pub fn closed_by(&self) -> Option<String> {
        self.rules().closed_by.clone()
    }

    /// Gives the namespace its way out. May be repeated. `index` is below [`POOL_SIZE`] and unique among the daemon's
    /// workspaces. Runs programs: not for an async thread.
    pub fn open(&self, ns_path: &Path, index: u32) -> EgressState {
        match self.try_open(ns_path, index) {
            Ok(cable) => EgressState::Open { address: cable.address, gateway: cable.gateway },
            Err(error) => EgressState::Unavailable(format!("workspaces have no way out: {error}")),
        }
    }

    fn try_open(&self, ns_path: &Path, index: u32) -> Result<Cable, CommandError> {
        let cable = self.cable(index)?;
        self.load()?;
        if !Path::new("/sys/class/net").join(&cable.interface).exists() && !link_exists(&cable.interface) {
            plug(ns_path, &cable)?;
        }
        Ok(cable)
    }

    /// Takes it away again; does nothing if there is none.
    pub fn close(&self, index: u32) -> Result<(), CommandError> {
        let cable = self.cable(index)?;
        if link_exists(&cable.interface) {
            run("ip", &["link", "del", &cable.interface], "")?;
        }
        Ok(())
    }

    /// Takes away the cables of workspaces that are none of these.
    pub fn close_others(&self, known: &BTreeSet<u32>) {
        let links = run("ip", &["-o", "link"], "").unwrap_or_default();
        let names = links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
        let indexes = names.filter_map(|name| u32::from_str_radix(name.strip_prefix(&self.prefix)?, 16).ok());
        for index in indexes.filter(|index| !known.contains(index)) {
            match self.close(index) {
                Ok(()) => tracing::warn!(index, "network: a cable that is no workspace's was taken away"),
                Err(error) => tracing::warn!(index, %error, "network: a cable that is no workspace's stays"),
            }
        }
    }

    /// Removes the rules; for when the daemon is removed from the machine, or its last workspace is.
    pub fn unload(&self) -> Result<(), CommandError> {
        let mut rules = self.rules();
        *rules = Rules::default();
        // Declaring first makes the deletion of a table that is not there no error.
        let table = self.table();
        run("nft", &["-f", "-"], &format!("table inet {table}\ndelete table inet {table}\n"))?;
        firewall::out_of_dockers(&self.prefix)
    }

    fn load(&self) -> Result<(), CommandError> {
        let mut rules = self.rules();
        if rules.loaded {
            return Ok(());
        }
        run("nft", &["-f", "-"], &self.table_rules())?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            .map_err(|source| CommandError::Io { program: "ip_forward".to_owned(), source })?;
        rules.loaded = true;
        if let Err(error) = self.look_after(&mut rules) {
            tracing::warn!(%error, "network: the machine's firewall could not be looked at");
        }
        Ok(())
    }

    /// The machine's firewall changed: puts back what went with it, and goes through what came.
    fn keep(&self) {
        let mut rules = self.rules();
        if !rules.loaded {
            return;
        }
        if let Err(error) = self.look_after(&mut rules) {
            tracing::warn!(%error, "network: what the machine's firewall does to workspaces could not be mended");
        }
    }

    fn look_after(&self, rules: &mut Rules) -> Result<(), CommandError> {
        let mut seen = Firewall::look()?;
        if !seen.has(&self.table(), &CHAINS) {
            tracing::warn!(table = %self.table(), "network: the workspaces' rules were taken away and are put back");
            run("nft", &["-f", "-"], &self.table_rules())?;
            seen = Firewall::look()?;
        }
        if seen.has_dockers() {
            firewall::through_dockers(&self.prefix)?;
        }
        let closed_by = seen.closes(&self.prefix)?;
        if closed_by != rules.closed_by {
            if let Some(why) = &closed_by {
                tracing::warn!("network: {why}");
            }
            rules.closed_by = closed_by;
        }
        Ok(())
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any workspace's cable is there, in this thread's network.
    fn has_cables(&self) -> bool {
        run("ip", &["-o", "link"], "").is_ok_and(|links| links.contains(&format!(": {}", self.prefix)))
    }

    fn table(&self) -> String {
        match self.config.instance.as_str() {
            "default" => "envforge".to_owned(),
            other => format!("envforge_{other}"),
        }
    }

    /// The whole table, replaced in one transaction.
    fn table_rules(&self) -> String {
        let table = self.table();
        let from = format!("iifname \"{}*\"", self.prefix);
        let to = format!("oifname \"{}*\"", self.prefix);
        let pool = format!("{}.{}.0.0/16", self.config.pool[0], self.config.pool[1]);
        let mut closed: Vec<String> = CLOSED.map(str::to_owned).to_vec();
        closed.push(pool.clone());
        closed.extend(self.config.closed.iter().cloned());
        let closed = closed.join(", ");
        let resolvers: Vec<String> =
            self.config.resolvers.iter().filter(|address| address.is_ipv4()).map(ToString::to_string).collect();
        let dns = if resolvers.is_empty() {
            String::new()
        } else {
            format!(
                "{from} ip saddr {pool} ip daddr {{ {} }} meta l4proto {{ tcp, udp }} th dport 53 accept\n",
                resolvers.join(", ")
            )
        };
        let bridges: Vec<String> =
            firewall::closed_bridges().map(|bridge| format!("{from} oifname \"{bridge}\" drop\n")).collect();
        let bridges = bridges.concat();
        format!(
            "table inet {table}\n\
             delete table inet {table}\n\
             table inet {table} {{\n\
             set closed {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {closed} }} }}\n\
             chain input {{ type filter hook input priority -10; policy accept;\n\
             {dns}\
             {from} drop\n\
             }}\n\
             chain forward {{ type filter hook forward priority -10; policy accept;\n\
             {from} ip saddr != {pool} drop\n\
             {from} meta nfproto ipv6 drop\n\
             {dns}\
             {from} ip daddr @closed drop\n\
             {from} ct status dnat drop\n\
             {bridges}\
             {from} {to} drop\n\
             {to} ct state != {{ established, related }} drop\n\
             }}\n\
             chain postrouting {{ type nat hook postrouting priority 100; policy accept;\n\
             ip saddr {pool} {not_to} masquerade\n\
             }}\n\
             }}\n",
            not_to = to.replacen("oifname", "oifname !=", 1),
        )
    }

    fn cable(&self, index: u32) -> Result<Cable, CommandError> {
        if index >= POOL_SIZE {
            return Err(CommandError::Failed {
                line: "egress".to_owned(),
                said: format!("index {index} is not below {POOL_SIZE}"),
            });
        }
        let base = u32::from(Ipv4Addr::new(self.config.pool[0], self.config.pool[1], 0, 0)) + index * 4;
        Ok(Cable {
            // 2 + 4 + 4 characters, and an i: within the kernel's 15.
            interface: format!("{}{index:04x}", self.prefix),
            gateway: Ipv4Addr::from(base + 1),
            address: Ipv4Addr::from(base + 2),
        })
    }
}

/// Lays the cable: both ends named, addressed and up, or nothing of it left.
fn plug(ns_path: &Path, cable: &Cable) -> Result<(), CommandError> {
    let ns = ns_path.to_string_lossy();
    let host = cable.interface.as_str();
    let inside = format!("{host}i");
    // Both ends get their names before one moves; a left-over inside end went with its other end.
    run("ip", &["link", "add", host, "type", "veth", "peer", "name", &inside], "")?;
    let rest = || -> Result<(), CommandError> {
        run("ip", &["link", "set", &inside, "netns", &ns], "")?;
        let outside = format!("addr add {}/30 dev {host}\nlink set {host} up\n", cable.gateway);
        run("ip", &["-batch", "-"], &outside)?;
        let within = format!(
            "link set {inside} name eth0\naddr add {}/30 dev eth0\nlink set eth0 up\nroute add default via {}\n",
            cable.address, cable.gateway
        );
        in_namespace(ns_path, move || run("ip", &["-batch", "-"], &within).map(drop))
    };
    rest().inspect_err(|_| {
        let _ = run("ip", &["link", "del", host], "");
    })
}

fn link_exists(interface: &str) -> bool {
    run("ip", &["link", "show", "dev", interface], "").is_ok()
}

/// Runs something on a thread of its own inside the namespace; programs it starts are inside too.
fn in_namespace(
    ns_path: &Path,
    work: impl FnOnce() -> Result<(), CommandError> + Send + 'static,
) -> Result<(), CommandError> {
    let io_error = |source: io::Error| CommandError::Io { program: "setns".to_owned(), source };
    let namespace = std::fs::File::open(ns_path).map_err(io_error)?;
    let thread = std::thread::Builder::new().name("netns-setup".to_owned()).spawn(move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| io_error(error.into()))?;
        work()
    });
    let joined = thread.map_err(io_error)?.join();
    joined.unwrap_or_else(|_| Err(io_error(io::Error::other("panicked"))))
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<Ipv4Addr>().is_ok();
    };
    address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
}

/// How the cables of a daemon with this instance name begin: an interface's name has 15 bytes at most.
pub(crate) fn cable_prefix(instance: &str) -> String {
    format!("ef{:04x}", short_hash(instance))
}

/// FNV-1a folded to 16 bits: enough to keep a handful of instances on one machine apart.
fn short_hash(text: &str) -> u16 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) as u16
}

/// Whether the programs for it are installed; a sentence otherwise.
pub fn missing_programs() -> Option<String> {
    let missing: Vec<&str> = ["ip", "nft"]
        .into_iter()
        .filter(|program| matches!(run(program, &["-V"], ""), Err(CommandError::Missing(_))))
        .collect();
    (!missing.is_empty()).then(|| format!("workspaces have no way out: {} not installed", missing.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(instance: &str) -> Egress {
        Egress::new(EgressConfig {
            instance: instance.to_owned(),
            pool: [10, 213],
            resolvers: vec!["10.0.0.2".parse().expect("address"), "::1".parse().expect("address")],
            closed: vec!["192.168.0.0/16".to_owned()],
        })
        .expect("valid")
    }

    #[test]
    fn addresses_do_not_overlap_and_stay_in_the_pool() {
        let egress = egress("default");
        let last = egress.cable(POOL_SIZE - 1).expect("last");
        assert_eq!(egress.cable(0).expect("first").address, Ipv4Addr::new(10, 213, 0, 2));
        assert_eq!(egress.cable(1).expect("second").gateway, Ipv4Addr::new(10, 213, 0, 5));
        assert_eq!(last.address, Ipv4Addr::new(10, 213, 255, 254));
        assert!(last.interface.len() < 15);
        assert!(egress.cable(POOL_SIZE).is_err());
    }

    #[test]
    fn nothing_odd_reaches_a_rule() {
        let mut config = egress("default").config;
        config.closed = vec!["10.0.0.0/8 } accept".to_owned()];
        assert!(Egress::new(config.clone()).is_err());
        config.closed.clear();
        config.instance = "a b".to_owned();
        assert!(Egress::new(config).is_err());
    }
}

//! What an operator decides about a host daemon; everything else it finds out by itself.

use crate::disk::LowWater;
use envforge_api::client::Address;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The shell layer's own baseline (UP-11), so that services run in a shell are not free capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellLimits {
    /// CPU at most, in thousandths of one core.
    pub milli_cpu: u32,
    /// Memory at most, in bytes.
    pub memory: u64,
    /// Processes and threads at most.
    pub processes: u64,
}

impl Default for ShellLimits {
    fn default() -> Self {
        Self { milli_cpu: 2_000, memory: 4 * 1024 * 1024 * 1024, processes: 2_048 }
    }
}

/// A host daemon's configuration.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where everything of this host is kept, `/var/lib/envforge/host`. Every directory above it must be open to
    /// other users (mode `x`): a checkout is made as the workspace's own user.
    pub data_dir: PathBuf,
    /// The server.
    pub server: Address,
    /// The file that holds the one-time registration token; not needed once registered.
    pub registration_token: Option<PathBuf>,
    /// The executable that is a sandbox's init when its first argument is `sandbox-init`, and in it a resource when that is
    /// `resource`: `/proc/self/exe` of `envforged`.
    pub program: PathBuf,
    /// Tells several daemons on one machine apart; lower-case letters, digits and `_`.
    pub instance: String,
    /// Where the hosts of this machine say what they take of it, `/run/envforge/hosts`; gone when the machine restarts.
    pub claims: PathBuf,
    /// The first Linux user id of workspaces; each takes one, `uid_base + index`.
    pub uid_base: u32,
    /// The first two bytes of the network that workspaces' addresses come from.
    pub network_pool: [u8; 2],
    /// Name servers workspaces may ask; empty takes the machine's own.
    pub resolvers: Vec<IpAddr>,
    /// Further IPv4 networks closed to workspaces.
    pub closed_networks: Vec<String>,
    /// What must be free on the data directory's filesystem for anything new to be taken on.
    pub low_water: LowWater,
    /// The shell layer's baseline.
    pub shell_limits: ShellLimits,
    /// The directory of `initdb` and `postgres`; found under `/usr/lib/postgresql` when absent.
    pub postgres_bin: Option<PathBuf>,
    /// How long nobody needs a shell in which there is nothing of anybody's until it is put away.
    pub shell_rest_after: Duration,
    /// The Linux user the resource cluster runs as.
    pub resource_user: String,
    /// The terminal multiplexer's program, as sandboxes find it.
    pub tmux: String,
    /// The Redis server's program.
    pub redis_server: PathBuf,
    /// Open root terminals for elevations that the server has granted (`--allow-elevation`).
    pub allow_elevation: bool,
    /// Bytes that a recording may have.
    pub recording_max: u64,
    /// Where the kernel tells of the machine's memory, `/proc`.
    pub proc: PathBuf,
    /// Certificates the egress proxy trusts besides the machine's, such as a company's own; a PEM file.
    pub egress_certificates: Option<PathBuf>,
    /// Destinations of the egress proxy that are found here instead of by name; these may be on this machine.
    pub egress_hosts: BTreeMap<String, SocketAddr>,
}

impl HostConfig {
    /// The configuration of the only daemon on a machine.
    pub fn new(data_dir: impl Into<PathBuf>, server: Address, program: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            server,
            registration_token: None,
            program: program.into(),
            instance: "default".to_owned(),
            claims: PathBuf::from("/run/envforge/hosts"),
            uid_base: 200_000,
            network_pool: [10, 213],
            resolvers: Vec::new(),
            closed_networks: Vec::new(),
            low_water: LowWater::default(),
            shell_limits: ShellLimits::default(),
            postgres_bin: None,
            shell_rest_after: Duration::from_mins(1),
            resource_user: "postgres".to_owned(),
            tmux: "tmux".to_owned(),
            redis_server: PathBuf::from("/usr/bin/redis-server"),
            allow_elevation: false,
            recording_max: 64 * 1024 * 1024,
            proc: PathBuf::from("/proc"),
            egress_certificates: None,
            egress_hosts: BTreeMap::new(),
        }
    }
}

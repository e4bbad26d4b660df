//! Layers built on the kernel directly: namespaces, cgroups, a network namespace per workspace.

use super::{Engine, EngineError, Layer, LayerLimits, LayerPlan, Listener, Work, inside};
use crate::config::HostConfig;
use crate::disk::LowWater;
use crate::faults::point;
use crate::init::client::InitClient;
use crate::place::Place;
use crate::sys::capability::{self, Isolation, NotPermitted};
use crate::sys::cgroup::{self, Cgroups, Group, GroupName, Limits, Stats};
use crate::sys::command::CommandError;
use crate::sys::egress::{Egress, EgressConfig, EgressState};
use crate::sys::netns::{self, loopback};
use crate::sys::ports::{self, ListeningPort};
use crate::sys::process::{ProcessIdentity, all_pids};
use crate::sys::sandbox::{Bind, GeneratedFile, Sandbox, SandboxSpec, Starter};
use envforge_core::id::WorkspaceId;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a sandbox may take to start; it takes milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to pause a layer.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);
/// How long an init may take to answer.
const REACH_LIMIT: Duration = Duration::from_secs(2);
/// How long the kernel may take to end everything in a layer.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The native engine.
pub struct Native {
    starter: Starter,
    instance: String,
    /// What logs leave free.
    low_water: LowWater,
    isolation: Isolation,
    elevates: bool,
    cgroups: Cgroups,
    egress: Arc<Egress>,
    /// Where the groups of running layers are: those of an earlier daemon keep the place it gave them.
    groups: Mutex<HashMap<(WorkspaceId, Layer), Group>>,
    /// Who listened when the same sockets were last looked at: finding out reads every descriptor of every process.
    listeners: Mutex<HashMap<(WorkspaceId, Layer), Looked>>,
}

/// What was looked at, and found.
struct Looked {
    sockets: Vec<ListeningPort>,
    leaders: Vec<i32>,
    found: Vec<Listener>,
}

impl Native {
    /// `isolation` is what the machine permits.
    pub fn new(config: &HostConfig, isolation: Isolation) -> Result<Self, NotPermitted> {
        let cgroups = if isolation.rootless { cgroup::none("the daemon is not root") } else { cgroup::detect() };
        Self::with_cgroups(config, isolation, cgroups)
    }

    /// The same with other cgroups than the machine's best.
    pub fn with_cgroups(config: &HostConfig, isolation: Isolation, cgroups: Cgroups) -> Result<Self, NotPermitted> {
        let resolvers = if config.resolvers.is_empty() { machine_resolvers() } else { config.resolvers.clone() };
        let egress = EgressConfig {
            instance: config.instance.clone(),
            pool: config.network_pool,
            resolvers,
            closed: config.closed_networks.clone(),
        };
        let egress = Arc::new(Egress::new(egress).map_err(|error| NotPermitted(error.to_string()))?);
        if !isolation.rootless
            && let Err(error) = egress.watch()
        {
            tracing::warn!(%error, "network: changes of the machine's firewall are not seen");
        }
        Ok(Self {
            starter: Starter::new(&config.program),
            instance: config.instance.clone(),
            low_water: config.low_water,
            elevates: config.allow_elevation && !isolation.rootless && capability::user_namespaces_work(),
            isolation,
            cgroups,
            egress,
            groups: Mutex::default(),
            listeners: Mutex::default(),
        })
    }

    fn group(&self, place: &Place, layer: Layer) -> io::Result<Group> {
        match self.known(place, layer) {
            Some(group) => Ok(group),
            None => Ok(self.cgroups.group(&self.name(place, layer)?)),
        }
    }

    fn name(&self, place: &Place, layer: Layer) -> io::Result<GroupName> {
        GroupName::new(&self.instance, &place.workspace.to_string(), layer)
    }

    fn known(&self, place: &Place, layer: Layer) -> Option<Group> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(&(place.workspace, layer)).cloned()
    }

    fn remember(&self, place: &Place, layer: Layer, group: Option<Group>) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        match group {
            Some(group) => drop(groups.insert((place.workspace, layer), group)),
            None => drop(groups.remove(&(place.workspace, layer))),
        }
        drop(groups);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(&(place.workspace, layer));
    }

    fn spec(&self, place: &Place, plan: &LayerPlan, group: &Group) -> SandboxSpec {
        let mut spec = SandboxSpec::new(&plan.hostname, place.uid, place.uid, control_socket(place, plan.layer));
        spec.netns = (!self.isolation.rootless).then(|| place.network());
        spec.cgroup_procs = group.join_files();
        spec.log_dir = Some(place.logs());
        spec.log_leaves_free = self.low_water.bytes_on(&place.logs());
        spec.binds =
            vec![Bind::writable(place.home(), inside::HOME), Bind::writable(place.checkout(), inside::CHECKOUT)];
        spec.binds.extend(plan.binds.iter().cloned());
        spec.init_only.clone_from(&plan.init_only);
        spec.files = plan
            .files
            .iter()
            .map(|(path, content)| GeneratedFile { path: path.clone(), content: content.clone() })
            .collect();
        spec.environment = plan.environment.clone();
        spec.rootless = self.isolation.rootless;
        if plan.layer == Layer::Elevated {
            spec.elevated = place.sub_ids();
            // Its output is recorded, not logged.
            spec.log_dir = None;
        }
        spec
    }

    /// Takes away what belongs to no workspace: the rules of the way out.
    pub async fn leave(&self) -> io::Result<()> {
        if self.isolation.rootless {
            return Ok(());
        }
        let egress = Arc::clone(&self.egress);
        blocking(move || match egress.unload() {
            // Without the program for it there never were any.
            Ok(()) | Err(CommandError::Missing(_)) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        })
        .await
    }

    async fn start_layer(&self, place: &Place, plan: &LayerPlan) -> Result<Sandbox, EngineError> {
        self.end_layer(place, plan.layer).await?;
        let group = self.group(place, plan.layer).map_err(told("cgroup"))?;
        group.create().map_err(told("cgroup"))?;
        group.apply(&limits(plan.limits)).map_err(told("limits"))?;
        point("layer.grouped");
        let spec = self.spec(place, plan, &group);
        if plan.layer == Layer::Elevated && spec.elevated.is_none() {
            return Err(EngineError("the workspace has no further users for root terminals".to_owned()));
        }
        let sandbox = match self.starter.start(&spec, START_LIMIT).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                // The init may still be about to end.
                self.end_layer(place, plan.layer).await?;
                return Err(EngineError(error.to_string()));
            }
        };
        let group = if self.cgroups.are_by_init() {
            let name = self.name(place, plan.layer).map_err(told("cgroup"))?;
            self.cgroups.group_of(&name, sandbox.pid())
        } else {
            group
        };
        self.remember(place, plan.layer, Some(group));
        point("layer.started");
        Ok(sandbox)
    }

    async fn end_layer(&self, place: &Place, layer: Layer) -> Result<(), EngineError> {
        if self.cgroups.are_by_init() && self.known(place, layer).is_none() {
            end_unknown(place, layer).await;
        }
        let group = self.group(place, layer).map_err(told("cgroup"))?;
        // Most that a daemon looks for at its start are not there.
        if group.exists() {
            blocking(move || {
                group.kill(KILL_LIMIT)?;
                point("layer.killed");
                group.remove(KILL_LIMIT)?;
                point("layer.ended");
                Ok(())
            })
            .await
            .map_err(told("end of the sandbox"))?;
        }
        self.remember(place, layer, None);
        Ok(())
    }
}

impl Native {
    /// Who of a layer has these sockets.
    fn owners(
        &self,
        place: &Place,
        layer: Layer,
        init: i32,
        leaders: &[i32],
        listening: &[ListeningPort],
    ) -> io::Result<Vec<Listener>> {
        let inodes: Vec<u64> = listening.iter().map(|listener| listener.inode).collect();
        let mut pids = self.group(place, layer)?.pids()?;
        if pids.is_empty() && !self.isolation.rootless {
            pids = all_pids();
        }
        // The init's own forwards are its, not a service's.
        pids.retain(|pid| *pid != init);
        let owners = ports::owners_of(&inodes, &pids);
        let mut found: Vec<Listener> = listening
            .iter()
            .filter_map(|listener| {
                let owner = owners.get(&listener.inode)?;
                let leader = ports::leader_of(*owner, leaders);
                Some(Listener { port: listener.port, address: listener.address, leader })
            })
            .collect();
        found.sort_unstable_by_key(|listener| (listener.port, listener.leader, listener.address));
        found.dedup();
        Ok(found)
    }
}

impl Native {
    /// Addresses other than the usual ones on which somebody in the runtime listens on this port; read anew each time, because
    /// a daemon that was replaced has never looked, and a paused runtime is not looked at.
    fn unusual_addresses(&self, place: &Place, port: u16) -> io::Result<Vec<SocketAddr>> {
        let pids = self.group(place, Layer::Runtime)?.pids()?;
        let Some(any) = pids.first() else { return Ok(Vec::new()) };
        let is_usual =
            |address: IpAddr| address.is_unspecified() || loopback(port).iter().any(|usual| usual.ip() == address);
        let listening = ports::listening_ports(*any)?.into_iter();
        let here = listening.filter(|listener| listener.port == port && !is_usual(listener.address));
        Ok(here.map(|listener| (listener.address, port).into()).collect())
    }
}

/// Ends a sandbox that was started right before its daemon died: nobody knows its init, but its init listens.
async fn end_unknown(place: &Place, layer: Layer) {
    let socket = control_socket(place, layer);
    let reaching = InitClient::connect(&socket);
    let Ok(Ok(client)) = tokio::time::timeout(REACH_LIMIT, reaching).await else { return };
    if tokio::time::timeout(KILL_LIMIT, client.shutdown(Duration::ZERO)).await.is_err() {
        tracing::warn!(workspace = %place.workspace, %layer, "sandbox: one of an earlier daemon does not end");
    }
}

fn told(what: &'static str) -> impl Fn(io::Error) -> EngineError {
    move |error| EngineError(format!("{what}: {error}"))
}

fn control_socket(place: &Place, layer: Layer) -> PathBuf {
    place.run().join(format!("{layer}.sock"))
}

fn limits(limits: LayerLimits) -> Limits {
    Limits {
        cpu_max_milli: u32::try_from(limits.milli_cpu).ok(),
        // One whole core reserved is the ordinary weight.
        cpu_weight: Some(u32::try_from(limits.reserved_milli_cpu / 10).unwrap_or(10_000).clamp(1, 10_000)),
        memory_max_bytes: Some(limits.memory),
        pids_max: Some(limits.processes),
    }
}

/// The machine's own name servers.
fn machine_resolvers() -> Vec<IpAddr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| fs_err::read_to_string(path).ok())
        .flat_map(|text| {
            let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
            servers.filter_map(|server| server.trim().parse().ok()).collect::<Vec<IpAddr>>()
        })
        .filter(|address| !address.is_loopback())
        .collect()
}

/// Runs what waits for the kernel on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Engine for Native {
    fn reductions(&self) -> Vec<String> {
        self.isolation.reductions.iter().cloned().chain(self.egress.closed_by()).collect()
    }

    fn elevates(&self) -> bool {
        self.elevates
    }

    fn has_own_network(&self) -> bool {
        !self.isolation.rootless
    }

    fn clear_others<'a>(&'a self, data: &'a Path, indexes: BTreeSet<u32>) -> Work<'a, ()> {
        Box::pin(async move {
            if self.isolation.rootless {
                return;
            }
            let (cgroups, egress, instance) = (self.cgroups.clone(), Arc::clone(&self.egress), self.instance.clone());
            let data = data.to_owned();
            let cleared = blocking(move || {
                for workspace in cgroups.workspaces(&instance) {
                    // Of one whose journal can't be read there is a directory too, and it is left alone.
                    if !workspace.starts_with("ws_") || std::fs::symlink_metadata(data.join(&workspace)).is_ok() {
                        continue;
                    }
                    tracing::warn!(workspace, "what an earlier daemon left of a workspace that is not here is ended");
                    for layer in Layer::ALL {
                        let group = cgroups.group(&GroupName::new(&instance, &workspace, layer)?);
                        if group.exists()
                            && let Err(error) = group.kill(KILL_LIMIT).and_then(|()| group.remove(KILL_LIMIT))
                        {
                            tracing::error!(workspace, %layer, %error, "it does not end");
                        }
                    }
                }
                egress.close_others(&indexes);
                Ok(())
            });
            if let Err(error) = cleared.await {
                tracing::error!(%error, "what earlier daemons left was not looked for");
            }
        })
    }

    fn prepare_network<'a>(&'a self, place: &'a Place) -> Work<'a, Result<Option<String>, EngineError>> {
        Box::pin(async move {
            if self.isolation.rootless {
                // The machine's own.
                return Ok(None);
            }
            let (egress, path, index) = (Arc::clone(&self.egress), place.network(), place.index);
            blocking(move || {
                netns::create(&path)?;
                point("network.made");
                let state = egress.open(&path, index);
                point("network.open");
                Ok(match state {
                    EgressState::Open { .. } => None,
                    EgressState::Unavailable(why) => Some(why),
                })
            })
            .await
            .map_err(told("network"))
        })
    }

    fn remove_network<'a>(&'a self, place: &'a Place) -> Work<'a, Result<(), EngineError>> {
        Box::pin(async move {
            if self.isolation.rootless {
                return Ok(());
            }
            let (egress, path, index) = (Arc::clone(&self.egress), place.network(), place.index);
            blocking(move || {
                // Without the programs for it there was never a way out to close.
                if let Err(error) = egress.close(index) {
                    tracing::debug!(%error, "network: the way out was not closed");
                }
                point("network.closed");
                netns::destroy(&path)?;
                point("network.gone");
                Ok(())
            })
            .await
            .map_err(told("network"))
        })
    }

    fn start<'a>(&'a self, place: &'a Place, plan: &'a LayerPlan) -> Work<'a, Result<Sandbox, EngineError>> {
        Box::pin(self.start_layer(place, plan))
    }

    fn adopt(&self, place: &Place, layer: Layer, identity: ProcessIdentity) -> Option<Sandbox> {
        let sandbox = Sandbox::adopt(identity, &control_socket(place, layer)).ok()?;
        let name = self.name(place, layer).ok()?;
        self.remember(place, layer, Some(self.cgroups.group_of(&name, sandbox.pid())));
        Some(sandbox)
    }

    fn limit(&self, place: &Place, layer: Layer, wanted: LayerLimits) -> io::Result<()> {
        self.group(place, layer)?.apply(&limits(wanted))
    }

    fn freeze<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, io::Result<()>> {
        Box::pin(async move {
            let group = self.group(place, layer)?;
            blocking(move || group.freeze(FREEZE_LIMIT)).await?;
            point("layer.frozen");
            Ok(())
        })
    }

    fn thaw(&self, place: &Place, layer: Layer) -> io::Result<()> {
        self.group(place, layer)?.thaw()?;
        point("layer.thawed");
        Ok(())
    }

    fn is_frozen(&self, place: &Place, layer: Layer) -> Option<bool> {
        match self.group(place, layer).and_then(|group| group.is_frozen()) {
            Ok(frozen) => Some(frozen),
            // Where a group is a directory, one that is not there is not frozen.
            Err(_) => (!self.cgroups.are_by_init()).then_some(false),
        }
    }

    fn reclaim<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, io::Result<u64>> {
        Box::pin(async move {
            let group = self.group(place, layer)?;
            blocking(move || group.reclaim()).await
        })
    }

    fn processes(&self, place: &Place, layer: Layer) -> io::Result<Vec<i32>> {
        self.group(place, layer)?.pids()
    }

    fn stats(&self, place: &Place, layer: Layer) -> io::Result<Stats> {
        self.group(place, layer)?.stats()
    }

    fn end<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, Result<(), EngineError>> {
        Box::pin(self.end_layer(place, layer))
    }

    fn connect<'a>(&'a self, place: &'a Place, port: u16) -> Work<'a, io::Result<tokio::net::TcpStream>> {
        Box::pin(async move {
            let path = (!self.isolation.rootless).then(|| place.network());
            let refused = match netns::connect_to(path.as_deref(), &loopback(port)).await {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => error,
                answer => return answer,
            };
            match self.unusual_addresses(place, port) {
                Ok(unusual) if !unusual.is_empty() => netns::connect_to(path.as_deref(), &unusual).await,
                _ => Err(refused),
            }
        })
    }

    fn listen<'a>(&'a self, place: &'a Place, port: u16) -> Work<'a, io::Result<tokio::net::TcpListener>> {
        Box::pin(async move {
            if self.isolation.rootless {
                return Err(io::ErrorKind::Unsupported.into());
            }
            netns::listen(&place.network(), port).await
        })
    }

    fn listeners(&self, place: &Place, layer: Layer, init: i32, leaders: &[i32]) -> io::Result<Vec<Listener>> {
        let listening = ports::listening_ports(init)?;
        if listening.is_empty() {
            return Ok(Vec::new());
        }
        let key = (place.workspace, layer);
        let mut looked = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = looked.get(&key)
            && before.sockets == listening
            && before.leaders == leaders
        {
            return Ok(before.found.clone());
        }
        let found = self.owners(place, layer, init, leaders, &listening)?;
        looked.insert(key, Looked { sockets: listening, leaders: leaders.to_vec(), found: found.clone() });
        Ok(found)
    }
}

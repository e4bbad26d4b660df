//! What keeps workspaces apart, behind one trait.
//!
//! A workspace has two layers, shell and runtime, each a sandbox with an init of ours inside it; they share the network and
//! the checkout. An engine makes, limits, pauses and ends such layers and opens sockets in their network. What runs
//! *in* a layer is no engine's business: that is asked of the init over its control socket, the same in every engine.
//!
//! [`native`] builds them on the kernel directly. Another engine (containers) brings the same init into what it
//! builds and answers the same calls.

pub mod native;

use crate::place::Place;
use crate::sys::cgroup::Stats;
use crate::sys::process::ProcessIdentity;
use crate::sys::sandbox::Sandbox;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

pub use crate::sys::cgroup::Layer;
pub use crate::sys::sandbox::Bind;

/// The paths both layers see, the same in every engine.
pub mod inside {
    /// The checkout.
    pub const CHECKOUT: &str = "/workspace";
    /// The user's home.
    pub const HOME: &str = "/home/dev";
    /// Data of resources that live in the runtime, in both; in the shell, to be read only.
    pub const DATA: &str = "/var/lib/envforge";
    /// Captured logs, in the shell, to be read only.
    pub const LOGS: &str = "/var/log/envforge";
    /// Git's configuration and the socket that answers it, in both.
    pub const GIT: &str = "/run/envforge/git";
    /// The daemon's own program, in both: what it can be beside a daemon is run there.
    pub const PROGRAM: &str = "/run/envforge/envforged";
    /// The directory of the resource cluster's socket, in the runtime.
    pub const POSTGRES: &str = "/run/envforge/postgres";
}

/// What a layer may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLimits {
    /// CPU at most, in thousandths of one core.
    pub milli_cpu: u64,
    /// CPU reserved when the machine is busy, in thousandths of one core.
    pub reserved_milli_cpu: u64,
    /// Memory at most, in bytes.
    pub memory: u64,
    /// Processes and threads at most.
    pub processes: u64,
}

/// What a layer looks like.
#[derive(Debug, Clone)]
pub struct LayerPlan {
    pub layer: Layer,
    /// Letters, digits and hyphens.
    pub hostname: String,
    pub limits: LayerLimits,
    /// Beside home and checkout, which both layers have.
    pub binds: Vec<Bind>,
    /// What the layer's init alone has.
    pub init_only: Vec<Bind>,
    /// Files in the layer's own root, readable by everyone in it.
    pub files: Vec<(PathBuf, String)>,
    pub environment: BTreeMap<String, String>,
}

/// A port somebody listens on in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    pub port: u16,
    /// Where; unspecified means on every address.
    pub address: IpAddr,
    /// The leader it belongs to, of those asked for.
    pub leader: Option<i32>,
}

/// An engine could not do it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// An answer that takes a while.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to build layers. Every call may be repeated.
pub trait Engine: Send + Sync + 'static {
    /// What this machine's isolation lacks, in plain sentences.
    fn reductions(&self) -> Vec<String>;

    /// Whether it starts elevated layers: this machine's operator allows it, and workspaces have users of their own.
    fn elevates(&self) -> bool;
    /// Whether each workspace has a network of its own; else ports and loopback are the machine's.
    fn has_own_network(&self) -> bool;

    /// Ends and takes away what earlier daemons of this instance left of workspaces that are not in `data` any more, by their
    /// groups; `indexes` are those of the ones that are. Before any workspace is made.
    fn clear_others<'a>(&'a self, data: &'a Path, indexes: BTreeSet<u32>) -> Work<'a, ()>;

    /// Makes the workspace's network. The answer says why there is no way out of it, if there is none.
    fn prepare_network<'a>(&'a self, place: &'a Place) -> Work<'a, Result<Option<String>, EngineError>>;

    /// Takes the network away.
    fn remove_network<'a>(&'a self, place: &'a Place) -> Work<'a, Result<(), EngineError>>;

    /// Starts a layer and waits until its init answers. What an earlier daemon left half made is cleared away first.
    fn start<'a>(&'a self, place: &'a Place, plan: &'a LayerPlan) -> Work<'a, Result<Sandbox, EngineError>>;

    /// The layer an earlier daemon started, if that very process still runs.
    fn adopt(&self, place: &Place, layer: Layer, identity: ProcessIdentity) -> Option<Sandbox>;

    /// Changes a layer's limits while it runs.
    fn limit(&self, place: &Place, layer: Layer, limits: LayerLimits) -> io::Result<()>;

    /// Pauses a layer; when it returns, nothing in it runs.
    fn freeze<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, io::Result<()>>;

    /// Lets a layer go on. Takes well under a millisecond and waits for nothing.
    fn thaw(&self, place: &Place, layer: Layer) -> io::Result<()>;

    /// Whether a layer is paused; `None` when that can't be told.
    fn is_frozen(&self, place: &Place, layer: Layer) -> Option<bool>;

    /// Gives back what memory a paused layer can spare; the bytes given back.
    fn reclaim<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, io::Result<u64>>;

    /// The processes in a layer, by their pid on the host; whether its init is one of them is the engine's affair.
    fn processes(&self, place: &Place, layer: Layer) -> io::Result<Vec<i32>>;

    /// What a layer used.
    fn stats(&self, place: &Place, layer: Layer) -> io::Result<Stats>;

    /// Ends everything in a layer, paused or not, and removes what is left of it.
    fn end<'a>(&'a self, place: &'a Place, layer: Layer) -> Work<'a, Result<(), EngineError>>;

    /// Opens a connection to a port inside the workspace, also while a layer is paused: on loopback, or else on the address
    /// somebody listens on.
    fn connect<'a>(&'a self, place: &'a Place, port: u16) -> Work<'a, io::Result<tokio::net::TcpStream>>;

    /// Listens on a port of the workspace's own loopback.
    fn listen<'a>(&'a self, place: &'a Place, port: u16) -> Work<'a, io::Result<tokio::net::TcpListener>>;

    /// Who listens inside the workspace, among the processes of a layer: `init` is its init, `leaders` the processes
    /// asked for, all by their pid on the host.
    fn listeners(&self, place: &Place, layer: Layer, init: i32, leaders: &[i32]) -> io::Result<Vec<Listener>>;
}

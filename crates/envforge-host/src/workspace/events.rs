//! What a workspace's driver is told, all through one queue.

use super::layers::Held;
use crate::commands::Finished;
use crate::init::client::InitClient;
use crate::init::protocol::{Exit, SandboxState};
use crate::resources::Values;
use crate::trouble::Blocked;
use envforge_api::host::HostCommand;
use envforge_core::id::CommandId;
use envforge_core::manifest::ResourceKind;
use envforge_core::secret::{Secret, SecretName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tokio::sync::mpsc;

/// Something happened. What is large is in a box: every driver's queue has room for some of these, also while it sleeps.
pub(crate) enum Event {
    /// The server orders something.
    Command(Box<HostCommand>),
    /// The operation for this command has come to its end.
    Finished(CommandId, Box<Finished>),
    /// The server has the reports up to this sequence.
    Acknowledge(u64),
    /// There is a new connection to the server.
    Connected,
    /// A layer's init answers again, and this is what it knows. The pid is the init's.
    Attached(Held, i32, InitClient, Box<SandboxState>),
    /// The connection to a layer's init broke.
    Detached(Held, i32),
    /// A layer ended: its init, and with it everything in it.
    Ended(Held, i32),
    /// A process in a layer ended. The first pid is the init's.
    Exited(Held, i32, String, i32, Exit),
    /// Something happened in the runtime with this init. Pids begin anew in every runtime, so what is told of an earlier
    /// one must not be taken for this one's.
    Runtime(i32, Box<RuntimeEvent>),
    /// A resource was made, or not. The pid is that of the runtime's init it was made for.
    Provisioned(ResourceKind, i32, Box<Result<Values, Blocked>>),
    /// The setup hook ended, and these were its last words.
    SetupEnded(Exit, String),
}

/// Something happened in the runtime. A pid is that of the process it is about.
pub(crate) enum RuntimeEvent {
    /// A service's process ended, and these were its last words.
    ServiceExited(String, i32, Exit, String),
    /// A service's process, told to end, is gone with all it started.
    ServiceGone(String),
    /// Who listens.
    Listening(Vec<Heard>),
    /// A service's health check passed or failed.
    Probed(String, i32, Result<(), String>),
    /// Processes were ended because memory ran out, and nothing was told of it yet.
    MemoryRanOut,
    /// An instance of a resource answers.
    InstanceReady(ResourceKind, i32),
    /// The server has said what there is of these secrets, or that it gives none.
    Secrets(BTreeSet<SecretName>, Result<BTreeMap<SecretName, Secret>, Blocked>),
    /// A smoke check of a service passed or failed.
    Checked(String, i32, Result<(), String>),
}

/// A port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(super) port: u16,
    /// Unspecified means on every address.
    pub(super) address: IpAddr,
    /// The service it belongs to; a process that left its service has none.
    pub(super) service: Option<String>,
}

/// The way to tell a driver of one runtime.
#[derive(Clone)]
pub(crate) struct RuntimeLine {
    pub(super) queue: mpsc::UnboundedSender<Event>,
    pub(super) init: i32,
}

impl RuntimeLine {
    /// Tells it; a driver that is gone does not mind.
    pub(crate) fn tell(&self, event: RuntimeEvent) {
        drop(self.queue.send(Event::Runtime(self.init, Box::new(event))));
    }
}

//! What a workspace's driver is told, all through one queue.

use crate::commands::Finished;
use crate::engines::Layer;
use crate::init::client::InitClient;
use crate::init::protocol::{Exit, SandboxState};
use crate::trouble::Blocked;
use envforge_api::host::HostCommand;
use envforge_core::id::CommandId;
use envforge_core::manifest::ResourceKind;
use envforge_core::secret::Secret;

/// Something happened.
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
    Attached(Layer, i32, InitClient, SandboxState),
    /// The connection to a layer's init broke.
    Detached(Layer, i32),
    /// A layer ended: its init, and with it everything in it.
    Ended(Layer, i32),
    /// A process in a layer ended.
    Exited(Layer, String, i32, Exit),
    /// A service's process ended, and these were its last words.
    ServiceExited(String, i32, Exit, String),
    /// A service's process, told to end, is gone with all it started.
    ServiceGone(String),
    /// Who listens in the runtime: ports with the service they belong to.
    Listening(Vec<(u16, Option<String>)>),
    /// A service's health check passed or failed; the pid is that of the process it was made for.
    Probed(String, i32, Result<(), String>),
    /// A resource was made, or not. The pid is that of the runtime's init it was made for.
    Provisioned(ResourceKind, i32, Result<Secret, Blocked>),
    /// Redis answers. The pid is that of its process.
    RedisReady(i32),
    /// A smoke check passed or failed. The pid is that of the service's process it asked.
    Checked(String, i32, Result<(), String>),
    /// The setup hook ended, and these were its last words.
    SetupEnded(Exit, String),
}

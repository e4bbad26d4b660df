//! What the daemon and a sandbox's init say to each other.
//!
//! One message is one packet of a Unix SEQPACKET socket: JSON, with descriptors beside it where a message says so.
//! Every request carries an id and gets exactly one answer or refusal with that id; events have none and reach
//! every connection that subscribed. A connection may be dropped at any time and by either side: nothing in the
//! sandbox depends on one, which is what lets a daemon be replaced while services run.
//!
//! What must stay true: a new daemon talks to an init that an older daemon started. Fields are only ever added,
//! with a default, and a meaning never changes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The largest message either side sends, in bytes: one packet must fit a default socket buffer.
pub const MAX_MESSAGE: usize = 160 * 1024;

/// A request and the id its answer will carry.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the client, unique on its connection.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What a daemon may ask of an init.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Request {
    /// Is anybody there?
    Ping,
    /// Start a process. Three descriptors (stdin, stdout, stderr) accompany it when `pass_stdio` is set.
    Spawn(Box<Spawn>),
    /// Send a signal to a process, or to everything in its session.
    Signal {
        /// The process.
        name: String,
        /// The signal's number.
        signal: i32,
        /// To every process of the session instead of the leader alone.
        whole_session: bool,
    },
    /// TERM to the process group, then after the grace KILL to everything in the session (and what left it, see
    /// [`Spawn::whole_tree`]). Answered when nothing of it is left. Also right for a process that has ended but left others.
    Stop {
        /// The process.
        name: String,
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
    /// Every process known, running or remembered, and every forward.
    List,
    /// Drop the exit record of a process that ended.
    Forget {
        /// The process.
        name: String,
    },
    /// A pidfd for a running process; the answer carries it.
    Locate {
        /// The process.
        name: String,
    },
    /// Receive events on this connection from now on.
    Subscribe,
    /// Accept TCP connections at `listen` in the network namespace and carry each to the Unix socket `to`.
    Forward {
        /// Where to listen.
        listen: SocketAddr,
        /// A socket's path as the init sees it.
        to: PathBuf,
        /// How many connections are carried at once; others wait until one of them ends. Without one there is no limit.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// Stop accepting at `listen`; connections already open stay.
    Unforward {
        /// Where it listened.
        listen: SocketAddr,
    },
    /// Open a TCP connection to a port on the sandbox's own loopback; the answer carries the connected socket.
    Connect {
        /// The port.
        port: u16,
    },
    /// TERM to everything, after the grace KILL, then end: the sandbox is gone.
    Shutdown {
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
}

/// A process to start.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spawn {
    /// What the daemon calls it: `[A-Za-z0-9._-]`, at most 64 characters, unique among running processes.
    pub name: String,
    /// What to run.
    pub program: Program,
    /// Added to the sandbox's own environment; a value here wins. Values may be secrets and are never printed.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Which variables of `env` hold secrets, and these secrets' names. Their values are marked out in every log of the
    /// sandbox from now on: a neighbour may write them too.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Where it starts, as the sandbox sees it.
    pub cwd: PathBuf,
    /// The log its output goes to, named like a process; without one, output is discarded.
    #[serde(default)]
    pub log: Option<String>,
    /// Give it a terminal; the answer carries the terminal's master side. `log` is then not used.
    #[serde(default)]
    pub tty: Option<TerminalSize>,
    /// `Stop` also ends what left the session (a daemon that forked twice). Right for a service; wrong for a shell, whose
    /// terminal multiplexer is meant to stay.
    #[serde(default)]
    pub whole_tree: bool,
    /// Stdin, stdout and stderr are the three descriptors sent along. Not together with `tty` or `log`.
    #[serde(default)]
    pub pass_stdio: bool,
    /// What it was started for, to be found in its record by whoever did not see it start.
    #[serde(default)]
    pub key: Option<String>,
    /// Refused ([`RefusalCode::NameTaken`]) if the last process of its name was started for the same key, also when that has ended:
    /// two who ask at the same time over two connections, a daemon and the one after it say, start one.
    #[serde(default)]
    pub once: bool,
}

/// Only the names of the environment: its values may be secrets.
impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets)
            .field("cwd", &self.cwd)
            .field("log", &self.log)
            .field("tty", &self.tty)
            .field("whole_tree", &self.whole_tree)
            .field("pass_stdio", &self.pass_stdio)
            .field("key", &self.key)
            .field("once", &self.once)
            .finish()
    }
}

impl Spawn {
    /// A process with no environment of its own, no log and no terminal, started in `/workspace`.
    pub fn new(name: &str, program: Program) -> Self {
        Self {
            name: name.to_owned(),
            program,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            cwd: PathBuf::from("/workspace"),
            log: None,
            tty: None,
            whole_tree: false,
            pass_stdio: false,
            key: None,
            once: false,
        }
    }
}

/// How a process names what it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A program, found on PATH, and its arguments.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Width.
    pub cols: u16,
    /// Height.
    pub rows: u16,
}

/// What an init sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to a request.
    Answer {
        /// The request's id.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// The request was not carried out.
    Refused {
        /// The request's id.
        id: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Something happened.
    Event(Event),
}

/// The answer to a request that was carried out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Answer {
    /// Carried out; nothing to add.
    Done,
    /// Started. Descriptors: a pidfd, then the terminal's master side if one was asked for.
    Spawned {
        /// The process's id inside the sandbox.
        pid: i32,
    },
    /// Found. Descriptor: a pidfd.
    Located {
        /// The process's id inside the sandbox.
        pid: i32,
    },
    /// Connected. Descriptor: the socket.
    Connected,
    /// Everything the init knows.
    State(SandboxState),
}

/// What a sandbox's init knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxState {
    /// Processes running, and those that ended and were not forgotten.
    pub processes: Vec<ProcessRecord>,
    /// Forwards that listen.
    pub forwards: Vec<ForwardRecord>,
    /// Log lines lost because the disk was full, over all logs, since the sandbox started.
    pub dropped_log_lines: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// The name it was started under.
    pub name: String,
    /// Its id inside the sandbox.
    pub pid: i32,
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Its [`Spawn::key`].
    #[serde(default)]
    pub key: Option<String>,
    /// Where it stands.
    pub state: ProcessState,
}

/// Whether a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It ended.
    Exited(Exit),
}

/// How a process ended: by itself with a code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When the init learned of it.
    pub at: Timestamp,
}

/// One forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRecord {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The Unix socket it leads to.
    pub to: PathBuf,
}

/// Something that happened, told to subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A named process ended.
    Exited {
        /// The process.
        name: String,
        /// Its id inside the sandbox, so that an old event is not taken for the end of a restarted process.
        pid: i32,
        /// How.
        exit: Exit,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// A process of that name runs, or was started for the same thing.
    NameTaken,
    /// No process of that name, or it ended.
    NoSuchProcess,
    /// The program could not be started.
    SpawnFailed,
    /// The request contradicts itself or names something impossible.
    BadRequest,
    /// The forward could not listen, or that address leads elsewhere.
    ForwardFailed,
    /// Nothing accepted the connection.
    ConnectFailed,
    /// The sandbox is ending.
    ShuttingDown,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Whether a name may be used for a process or a log: it becomes part of a file's name.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

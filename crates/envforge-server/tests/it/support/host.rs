//! A host that does as the test says, and what it says.

use super::MANIFEST;
use envforge_api::host::{
    FromHost, HostCommand, Machine, ManifestReport, Outcome, Pulse, Registered, Report, STREAM_PATH, ToHost, Trouble,
};
use envforge_core::clock::{Clock as _, FixedClock};
use envforge_core::id::WorkspaceId;
use envforge_core::manifest;
use envforge_core::pressure::MemoryReading;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::ObservedPhase;
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// A host that does as the test says.
pub(crate) struct FakeHost {
    /// What it says of its machine, with the next stream.
    pub(crate) machine: Machine,
    socket: PathBuf,
    pub(crate) registered: Registered,
    stream: WebSocketStream<UnixStream>,
    waiting: Vec<HostCommand>,
    sequences: HashMap<WorkspaceId, u64>,
    acknowledged: HashMap<WorkspaceId, u64>,
    pub(crate) generation: u64,
    /// Ids of the keys it was told to trust, and the pass it was given last.
    pub(crate) keys: Vec<String>,
    pub(crate) pass: String,
    /// Its clock, when it goes right: what it reports without saying when is seen now.
    pub(crate) clock: Option<Arc<FixedClock>>,
}

impl FakeHost {
    pub(crate) async fn connect(socket: PathBuf, registered: Registered) -> Self {
        let mut stream = open(&socket, &registered.key).await;
        let machine = Machine {
            milli_cpu: 2_000,
            memory: 24 << 30,
            swap: Some(0),
            reductions: Vec::new(),
            elevation: true,
            copy_on_write: true,
        };
        let (generation, keys) = hello(&mut stream, &machine).await;
        Self {
            machine,
            socket,
            registered,
            stream,
            waiting: Vec::new(),
            sequences: HashMap::new(),
            acknowledged: HashMap::new(),
            generation,
            keys,
            pass: String::new(),
            clock: None,
        }
    }

    /// Hangs up and comes again, as after a restart of either side.
    pub(crate) async fn reconnect(&mut self) {
        self.stream = open(&self.socket, &self.registered.key).await;
        self.waiting.clear();
        (self.generation, self.keys) = hello(&mut self.stream, &self.machine).await;
    }

    pub(crate) async fn send(&mut self, message: &FromHost) {
        self.stream.send(Message::Text(serde_json::to_string(message).unwrap().into())).await.unwrap();
    }

    async fn take(&mut self) {
        let message = tokio::time::timeout(Duration::from_secs(5), self.stream.next())
            .await
            .expect("the server says something")
            .unwrap()
            .unwrap();
        let Message::Text(text) = message else { return };
        match serde_json::from_str(&text).unwrap() {
            ToHost::Command { command } => self.waiting.push(*command),
            ToHost::Acknowledge { workspace, sequence } => {
                self.acknowledged.insert(workspace, sequence);
            }
            ToHost::Welcome { keys, uplinks, host_generation, .. } => {
                assert_eq!(host_generation, self.generation, "the same stream goes on");
                self.keys = keys.into_iter().map(|key| key.id).collect();
                self.pass = uplinks.into_iter().next().unwrap().pass;
            }
        }
    }

    /// The next command of a verb.
    pub(crate) async fn command(&mut self, verb: &str) -> HostCommand {
        loop {
            if let Some(index) = self.waiting.iter().position(|command| command.order.verb() == verb) {
                return self.waiting.remove(index);
            }
            self.take().await;
        }
    }

    /// Waits until it was told these keys, on the stream it holds.
    pub(crate) async fn told_keys(&mut self, keys: &[String]) {
        while self.keys != keys {
            self.take().await;
        }
    }

    /// The next command, whatever it is.
    pub(crate) async fn next(&mut self) -> HostCommand {
        while self.waiting.is_empty() {
            self.take().await;
        }
        self.waiting.remove(0)
    }

    /// Commands seen so far and not taken.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) async fn answer(&mut self, command: &HostCommand, outcome: Outcome) {
        self.send(&FromHost::Answer { command: command.id, outcome }).await;
    }

    pub(crate) async fn done(&mut self, command: &HostCommand) {
        self.answer(command, Outcome::Done).await;
    }

    /// Sends a report and waits until it is acknowledged.
    pub(crate) async fn report(&mut self, mut report: Report) {
        let sequence = self.sequences.entry(report.workspace).or_default();
        *sequence += 1;
        report.sequence = *sequence;
        self.report_as_is(report).await;
    }

    pub(crate) async fn report_as_is(&mut self, mut report: Report) {
        if let Some(clock) = &self.clock
            && report.at == Timestamp::MAX
        {
            report.at = clock.now();
        }
        let (workspace, sequence) = (report.workspace, report.sequence);
        self.acknowledged.remove(&workspace);
        self.send(&FromHost::Report { report: Box::new(report) }).await;
        while self.acknowledged.get(&workspace).is_none_or(|acknowledged| *acknowledged < sequence) {
            self.take().await;
        }
    }

    pub(crate) async fn prepared(&mut self, workspace: WorkspaceId) {
        let parsed = manifest::parse(MANIFEST.as_bytes(), "envforge.yml").unwrap();
        let mut report = report(workspace, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
        report.manifest = Some(ManifestReport::Valid { manifest: Box::new(parsed) });
        self.report(report).await;
    }

    /// Both services answer.
    pub(crate) async fn up(&mut self, command: &HostCommand) {
        self.report(report(command.workspace, command.generation, ObservedPhase::Up, true, ReadinessState::Ready))
            .await;
    }

    pub(crate) async fn pulse(&mut self, pulse: Pulse) {
        self.send_heartbeat(vec![pulse], None, None).await;
    }

    /// A heartbeat of a host that takes nothing new on, or does again.
    pub(crate) async fn troubled(&mut self, trouble: Option<Trouble>) {
        self.send_heartbeat(Vec::new(), trouble, None).await;
    }

    /// Says how much of its memory is available, and how much of the time somebody waits for it, in thousandths.
    pub(crate) async fn memory(&mut self, available: u64, stalled: u16) {
        let memory = MemoryReading { total: self.machine.memory, available, stalled: Some(stalled) };
        self.send_heartbeat(Vec::new(), None, Some(memory)).await;
    }

    async fn send_heartbeat(
        &mut self,
        workspaces: Vec<Pulse>,
        trouble: Option<Trouble>,
        memory: Option<MemoryReading>,
    ) {
        let (at, tickets) = (Timestamp::UNIX_EPOCH, BTreeSet::new());
        self.send(&FromHost::Heartbeat { at, workspaces, tickets, trouble, memory }).await;
    }
}

/// A report; its time is far ahead, so that the server's clock decides.
pub(crate) fn report(
    workspace: WorkspaceId,
    generation: u64,
    phase: ObservedPhase,
    process_runs: bool,
    services: ReadinessState,
) -> Report {
    Report {
        workspace,
        sequence: 0,
        generation,
        at: Timestamp::MAX,
        phase,
        process_runs,
        last_proof: None,
        trouble: None,
        parts: vec![
            Part::new(PartKind::Shell, "shell", ReadinessState::Ready),
            Part::new(PartKind::Service, "web", services),
            Part::new(PartKind::Service, "api", services),
        ],
        manifest: None,
        jobs: Vec::new(),
        checkout: None,
    }
}

async fn open(socket: &std::path::Path, key: &str) -> WebSocketStream<UnixStream> {
    let mut request = format!("ws://localhost{STREAM_PATH}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let socket = UnixStream::connect(socket).await.unwrap();
    tokio_tungstenite::client_async(request, socket).await.unwrap().0
}

/// Answers the generation, and the ids of the keys to trust.
async fn hello(stream: &mut WebSocketStream<UnixStream>, machine: &Machine) -> (u64, Vec<String>) {
    let hello = FromHost::Hello { version: "test".to_owned(), machine: machine.clone() };
    stream.send(Message::Text(serde_json::to_string(&hello).unwrap().into())).await.unwrap();
    loop {
        if let Message::Text(text) = stream.next().await.unwrap().unwrap() {
            match serde_json::from_str(&text).unwrap() {
                ToHost::Welcome { host_generation, keys, .. } => {
                    return (host_generation, keys.into_iter().map(|key| key.id).collect());
                }
                other => panic!("the first message must be the welcome, got {other:?}"),
            }
        }
    }
}

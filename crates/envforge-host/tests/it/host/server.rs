//! A server that does what the test says: welcomes, orders, acknowledges, and remembers everything it was told.

use crate::support::{LIMIT, wait_until};
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_api::host::{
    AskEgress, AskGitCredential, AskSecrets, EGRESS_PATH, FromHost, GIT_CREDENTIAL_PATH, GIT_REJECTED_PATH,
    GivenEgress, GivenSecrets, HostCommand, HostPass, Lent, Order, Outcome, Report, SECRETS_PATH, ToHost,
    UplinkAddress,
};
use envforge_api::sensitive::Sensitive;
use envforge_api::uplink::{LogFilter, Open, OpenError, Uplinks};
use envforge_core::clock::{Clock as _, Entropy as _};
use envforge_core::egress::EgressRule;
use envforge_core::id::{CommandId, HostId, OrgId, WorkspaceId};
use envforge_core::pressure::MemoryReading;
use envforge_core::refusal::Refusal;
use envforge_core::secret::{Secret, SecretName};
use envforge_core::ticket::{TicketClaims, TicketKind};
use envforge_core::token::{Keyring, Signer};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// The registration generation of the host.
pub(crate) const GENERATION: u64 = 3;

#[derive(Default)]
struct Inner {
    answers: Vec<(CommandId, Outcome)>,
    /// When each answer came.
    answered_at: Vec<(CommandId, Instant)>,
    /// When each report came.
    reported_at: Vec<(WorkspaceId, u64, Instant)>,
    reports: Vec<Report>,
    heard: Vec<String>,
    line: Option<mpsc::UnboundedSender<ToHost>>,
    acknowledges: bool,
    hellos: u32,
    heartbeats: Vec<envforge_api::host::Pulse>,
    trouble: Option<envforge_api::host::Trouble>,
    memory: Option<MemoryReading>,
    /// What Git in a workspace is given, as JSON.
    git_credentials: BTreeMap<WorkspaceId, String>,
    git_asked: Vec<AskGitCredential>,
    git_rejected: u32,
    secrets: BTreeMap<SecretName, Sensitive>,
    asked: Vec<AskSecrets>,
    lent: Vec<Lent>,
}

/// The server.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    pub(crate) uplinks: Arc<Uplinks>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) org: OrgId,
    pub(crate) host: HostId,
    inner: Arc<Mutex<Inner>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(crate) fn mint<T: envforge_core::id::Id>() -> T {
    T::mint(&SystemClock, &SystemEntropy)
}

fn serve(uplinks: &Arc<Uplinks>, path: &Path, keys: Keyring) -> tokio::task::JoinHandle<()> {
    let (uplinks, path) = (Arc::clone(uplinks), path.to_owned());
    tokio::spawn(async move {
        drop(uplinks.serve(&path, move || keys.clone(), || SystemClock.now(), drop).await);
    })
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        let (org, host): (OrgId, HostId) = (mint(), mint());
        let signer = Arc::new(Signer::from_seed(&[7; 32]));
        let inner = Arc::new(Mutex::new(Inner { acknowledges: true, ..Inner::default() }));
        let socket = dir.join("server.sock");
        let uplink = dir.join("uplink.sock");
        let uplinks = Arc::new(Uplinks::default());
        let keys = Keyring::new(&[signer.public_key()]);
        let serve_uplinks = serve(&uplinks, &uplink, keys);
        let pass = HostPass { host, org, expires: SystemClock.now().as_second() + 3600 };
        let welcome = ToHost::Welcome {
            org,
            host,
            host_generation: GENERATION,
            keys: vec![signer.public_key()],
            uplinks: vec![UplinkAddress { path: uplink.to_string_lossy().into_owned(), pass: signer.sign(&pass) }],
        };
        let listener = UnixListener::bind(&socket).expect("server socket");
        let shared = Arc::clone(&inner);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, welcome) = (Arc::clone(&shared), welcome.clone());
                tokio::spawn(async move {
                    if is_post(&stream).await {
                        call(stream, org, host, &shared).await;
                    } else {
                        speak(stream, shared, welcome).await;
                    }
                });
            }
        });
        Self { socket, uplinks, signer, org, host, inner, tasks: vec![serve_uplinks, accept] }
    }

    /// Another process at the same uplink, beside the one before.
    pub(crate) fn successor(&mut self) -> Arc<Uplinks> {
        let uplinks = Arc::new(Uplinks::default());
        let path = self.socket.with_file_name("uplink.sock");
        self.tasks.push(serve(&uplinks, &path, Keyring::new(&[self.signer.public_key()])));
        uplinks
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops acknowledging reports, or starts again.
    pub(crate) fn acknowledge(&self, acknowledges: bool) {
        self.lock().acknowledges = acknowledges;
    }

    /// Breaks the stream.
    pub(crate) fn hang_up(&self) {
        self.lock().line = None;
    }

    /// Keeps a secret from now on.
    pub(crate) fn keep_secret(&self, name: &str, value: &str) {
        let value = Sensitive(Secret::new(value.to_owned()));
        self.lock().secrets.insert(name.parse().expect("a name"), value);
    }

    /// Lends a secret to requests for a destination from now on.
    pub(crate) fn lend(&self, name: &str, host: &str, header: &str, prefix: &str, value: &str) {
        let rule = EgressRule { host: host.to_owned(), header: header.to_owned(), prefix: prefix.to_owned() };
        let value = Sensitive(Secret::new(value.to_owned()));
        self.lock().lent.push(Lent { name: name.parse().expect("a name"), rule, value });
    }

    /// Every request for secrets so far.
    pub(crate) fn asked(&self) -> Vec<AskSecrets> {
        self.lock().asked.clone()
    }

    pub(crate) fn hellos(&self) -> u32 {
        self.lock().hellos
    }

    pub(crate) fn hello(&self) -> String {
        self.lock().heard.iter().rev().find(|text| text.contains("\"hello\"")).cloned().unwrap_or_default()
    }

    /// Everything the host said.
    pub(crate) fn heard(&self) -> String {
        self.lock().heard.concat()
    }

    pub(crate) fn pulses(&self) -> Vec<envforge_api::host::Pulse> {
        self.lock().heartbeats.clone()
    }

    /// What the host said of itself with its last heartbeat.
    pub(crate) fn trouble(&self) -> Option<envforge_api::host::Trouble> {
        self.lock().trouble.clone()
    }

    /// What the host last said of its machine's memory.
    pub(crate) fn memory(&self) -> Option<MemoryReading> {
        self.lock().memory
    }

    /// Git in this workspace is given this token from now on.
    pub(crate) fn gives(&self, workspace: WorkspaceId, token: &str) {
        let credential = serde_json::json!({ "username": "ada", "password": token });
        self.lock().git_credentials.insert(workspace, credential.to_string());
    }

    /// What was asked for Git so far.
    pub(crate) fn git_asked(&self) -> Vec<AskGitCredential> {
        self.lock().git_asked.clone()
    }

    /// How often it was told that what it gave was rejected.
    pub(crate) fn git_rejected(&self) -> u32 {
        self.lock().git_rejected
    }

    /// Forgets the answers so far, so that the next are new ones.
    pub(crate) fn forget_answers(&self) {
        self.lock().answers.clear();
    }

    pub(crate) fn command(&self, workspace: WorkspaceId, generation: u64, order: Order) -> HostCommand {
        HostCommand { id: mint(), org: self.org, workspace, generation, order, traceparent: None }
    }

    /// Sends a command without waiting.
    pub(crate) async fn send(&self, command: &HostCommand) {
        wait_until("a connected host", async || self.lock().line.is_some()).await;
        let line = self.lock().line.clone().expect("connected");
        drop(line.send(ToHost::Command { command: Box::new(command.clone()) }));
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn obeyed(&self, command: &HostCommand) -> Outcome {
        self.send(command).await;
        self.answer(command.id).await
    }

    pub(crate) async fn answer(&self, id: CommandId) -> Outcome {
        let mut answer = None;
        wait_until("an answer", async || {
            answer =
                self.lock().answers.iter().find(|(answered, _)| *answered == id).map(|(_, outcome)| outcome.clone());
            answer.is_some()
        })
        .await;
        answer.expect("answered")
    }

    /// When the answer to a command came.
    pub(crate) fn answered_at(&self, id: CommandId) -> Instant {
        let inner = self.lock();
        inner.answered_at.iter().find(|(command, _)| *command == id).map(|(_, at)| *at).expect("answered")
    }

    /// When a report came.
    pub(crate) fn reported_at(&self, workspace: WorkspaceId, sequence: u64) -> Instant {
        let inner = self.lock();
        let found = inner.reported_at.iter().find(|(of, number, _)| (*of, *number) == (workspace, sequence));
        found.map(|(_, _, at)| *at).expect("reported")
    }

    /// Every answer to a command so far.
    pub(crate) fn answers(&self, id: CommandId) -> Vec<Outcome> {
        let inner = self.lock();
        inner.answers.iter().filter(|(answered, _)| *answered == id).map(|(_, outcome)| outcome.clone()).collect()
    }

    pub(crate) fn has_answered(&self, id: CommandId) -> bool {
        self.lock().answers.iter().any(|(answered, _)| *answered == id)
    }

    /// Every report of a workspace so far.
    pub(crate) fn reports(&self, workspace: WorkspaceId) -> Vec<Report> {
        self.lock().reports.iter().filter(|report| report.workspace == workspace).cloned().collect()
    }

    /// Waits until the latest report is like this.
    pub(crate) async fn report(
        &self,
        workspace: WorkspaceId,
        what: &str,
        mut fits: impl FnMut(&Report) -> bool,
    ) -> Report {
        let mut found = None;
        let until = tokio::time::Instant::now() + LIMIT;
        while found.is_none() {
            let last = self.reports(workspace).pop();
            found = last.clone().filter(|report| fits(report));
            assert!(tokio::time::Instant::now() < until, "not within {LIMIT:?}: {what}; the last report is {last:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        found.expect("found")
    }

    pub(crate) fn ticket(&self, workspace: WorkspaceId, kind: TicketKind, subject: &str) -> String {
        self.signer.sign(&self.claims(workspace, kind, subject))
    }

    pub(crate) fn claims(&self, workspace: WorkspaceId, kind: TicketKind, subject: &str) -> TicketClaims {
        let mut nonce = [0; 8];
        SystemEntropy.fill(&mut nonce);
        TicketClaims {
            org: self.org,
            host: self.host,
            generation: GENERATION,
            workspace,
            kind,
            subject: subject.to_owned(),
            expires: SystemClock.now().as_second() + 60,
            nonce: u64::from_le_bytes(nonce),
            person: None,
            until: None,
            recording: None,
        }
    }

    pub(crate) async fn open(&self, ticket: &str, open: Open) -> Result<OwnedFd, OpenError> {
        assert!(self.uplinks.connected(self.host, LIMIT).await, "the host dials its uplink");
        self.uplinks.open(self.host, ticket, open).await
    }

    /// The code with which a stream is refused.
    pub(crate) async fn refused(&self, ticket: &str, open: Open) -> String {
        match self.open(ticket, open).await {
            Err(OpenError::Refused(refusal)) => refusal.code,
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    /// A connection to a service.
    pub(crate) async fn service(
        &self,
        workspace: WorkspaceId,
        service: &str,
    ) -> Result<std::net::TcpStream, OpenError> {
        let ticket = self.ticket(workspace, TicketKind::Service, service);
        let stream = std::net::TcpStream::from(self.open(&ticket, Open::Service).await?);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    /// What a service answers to a GET.
    pub(crate) async fn get(&self, workspace: WorkspaceId, service: &str, path: &str) -> String {
        let stream = self.service(workspace, service).await.expect("a connection");
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || request(stream, &path)).await.expect("a request").expect("an answer")
    }

    /// Captured lines.
    pub(crate) async fn log(&self, workspace: WorkspaceId, subject: &str, tail: u32) -> String {
        let ticket = self.ticket(workspace, TicketKind::Logs, subject);
        let pipe =
            self.open(&ticket, Open::Logs { tail, follow: false, filter: LogFilter::default() }).await.expect("a log");
        tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut std::fs::File::from(pipe), &mut text).expect("lines");
            text
        })
        .await
        .expect("reader")
    }
}

pub(crate) fn request(mut stream: std::net::TcpStream, path: &str) -> io::Result<String> {
    use std::io::{Read as _, Write as _};
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.trim().to_owned()))
}

async fn is_post(stream: &UnixStream) -> bool {
    let mut first = [0; 4];
    let peek = |first: &mut [u8; 4]| Ok(rustix::net::recv(stream, &mut first[..], rustix::net::RecvFlags::PEEK)?.0);
    loop {
        stream.readable().await.expect("readable");
        match stream.try_io(tokio::io::Interest::READABLE, || peek(&mut first)) {
            Ok(_) => return first == *b"POST",
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}

async fn call(mut stream: UnixStream, org: OrgId, host: HostId, shared: &Mutex<Inner>) {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await.expect("a request");
        request.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&request);
    let answer = if text.starts_with(&format!("POST {GIT_REJECTED_PATH} ")) {
        shared.lock().unwrap_or_else(PoisonError::into_inner).git_rejected += 1;
        Ok("null".to_owned())
    } else if text.starts_with(&format!("POST {SECRETS_PATH} ")) {
        assert!(text.contains("efhk_test"), "a host shows its key");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        let ask: AskSecrets = serde_json::from_str(body).expect("the host speaks the protocol");
        let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |name: &SecretName| ask.services.values().any(|declared| declared.contains(name));
        let secrets = inner.secrets.iter().filter(|(name, _)| wanted(name));
        let given = GivenSecrets { secrets: secrets.map(|(name, value)| (name.clone(), value.clone())).collect() };
        inner.asked.push(ask);
        Ok(serde_json::to_string(&given).expect("json"))
    } else if text.starts_with(&format!("POST {EGRESS_PATH} ")) {
        assert!(text.contains("efhk_test"), "a host shows its key");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        let ask: AskEgress = serde_json::from_str(body).expect("the host speaks the protocol");
        let inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = inner.lent.iter().filter(|lent| lent.rule.host == ask.host).cloned().collect();
        Ok(serde_json::to_string(&GivenEgress { lent }).expect("json"))
    } else if text.starts_with(&format!("POST {GIT_CREDENTIAL_PATH} ")) {
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        let ask: AskGitCredential = serde_json::from_str(body).expect("the host speaks the protocol");
        let mut inner = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let given = inner.git_credentials.get(&ask.workspace).cloned();
        inner.git_asked.push(ask);
        given.ok_or_else(|| {
            Refusal::conflict("git.no_credential", "nobody has a credential").hint("`envforge git-credential set`")
        })
    } else if text.contains("one-time") {
        Ok(format!("{{\"host\":\"{host}\",\"org\":\"{org}\",\"key\":\"efhk_test\"}}"))
    } else {
        Err(Refusal::invalid("host.token_spent", "the token was used"))
    };
    let (status, body) = match answer {
        Ok(body) => ("200 OK", body),
        Err(refusal) => {
            ("400 Bad Request", format!("{{\"error\":{}}}", serde_json::to_string(&refusal).expect("json")))
        }
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()).await);
}

async fn speak(stream: UnixStream, shared: Arc<Mutex<Inner>>, welcome: ToHost) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (sender, mut orders) = mpsc::unbounded_channel();
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sender = Some(sender);
    loop {
        tokio::select! {
            incoming = socket.next() => {
                let Some(Ok(Message::Text(text))) = incoming else { break };
                let message: FromHost = serde_json::from_str(&text).expect("the host speaks the protocol");
                lock().heard.push(text.to_string());
                let reply = match message {
                    FromHost::Hello { .. } => {
                        lock().hellos += 1;
                        Some(welcome.clone())
                    }
                    FromHost::Answer { command, outcome } => {
                        lock().answered_at.push((command, Instant::now()));
                        lock().answers.push((command, outcome));
                        None
                    }
                    FromHost::Report { report } => {
                        let acknowledge = ToHost::Acknowledge { workspace: report.workspace, sequence: report.sequence };
                        let mut inner = lock();
                        inner.reported_at.push((report.workspace, report.sequence, Instant::now()));
                        inner.reports.push(*report);
                        inner.acknowledges.then_some(acknowledge)
                    }
                    FromHost::Heartbeat { workspaces, trouble, memory, .. } => {
                        let mut inner = lock();
                        (inner.heartbeats, inner.trouble, inner.memory) = (workspaces, trouble, memory);
                        None
                    }
                };
                if let Some(reply) = reply {
                    // A host that was killed reads nothing.
                    if socket.send(text_of(&reply)).await.is_err() {
                        break;
                    }
                }
                if let Some(sender) = sender.take() {
                    lock().line = Some(sender);
                }
            }
            order = orders.recv() => {
                let Some(order) = order else { break };
                if socket.send(text_of(&order)).await.is_err() {
                    break;
                }
            }
        }
    }
}

fn text_of(message: &ToHost) -> Message {
    Message::text(serde_json::to_string(message).expect("json"))
}

/// Public URLs for a start.
pub(crate) fn public_urls(names: &[&str]) -> BTreeMap<String, String> {
    names.iter().map(|name| ((*name).to_owned(), format!("http://{name}.test"))).collect()
}

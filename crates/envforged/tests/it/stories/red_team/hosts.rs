//! A host of `globex` that speaks of what is not its own, and what is replayed to a host.

use super::super::sample::PATIENCE;
use super::{OF_NOBODY, World, code, on_socket};
use crate::support::TestBox;
use envforge_api::gateway::EXCHANGE_PATH;
use envforge_api::host::{
    AskEgress, AskGitCredential, AskSecrets, EGRESS_PATH, FromHost, GIT_CREDENTIAL_PATH, HostPass, Machine, Pulse,
    REGISTER_PATH, Registered, Report, SECRETS_PATH, STREAM_PATH, ToHost, UplinkAddress,
};
use envforge_api::http::accounts::CreatedHostToken;
use envforge_api::http::workspaces::Workspace;
use envforge_api::uplink::dial;
use envforge_core::id::WorkspaceId;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use envforge_core::runtime::ObservedPhase;
use envforge_core::token::Signer;
use envforge_testkit::{Shell, wait_until_within};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const MAIN: &str = "/v1/orgs/globex/workspaces/main";

/// A host of theirs, with a workspace `main`; it says what it is told to, and is alive.
pub(super) struct TheirHost {
    registered: Registered,
    /// What it registered with, and the key of the first time.
    token: Value,
    stale_key: String,
    workspace: WorkspaceId,
    uplinks: Vec<UplinkAddress>,
    says: mpsc::UnboundedSender<FromHost>,
    hears: mpsc::UnboundedReceiver<ToHost>,
    /// Tickets that were shown to it over the server's uplink.
    tickets: Arc<Mutex<Vec<String>>>,
}

/// A report that nothing runs, with a shell as given.
fn report(workspace: WorkspaceId, sequence: u64, generation: u64, shell: ReadinessState) -> FromHost {
    let shell = Part {
        kind: PartKind::Shell,
        name: "shell".to_owned(),
        state: shell,
        code: None,
        cause: None,
        fix: None,
        port: None,
        restarts: 0,
    };
    let report = Report {
        workspace,
        sequence,
        generation,
        at: jiff::Timestamp::UNIX_EPOCH,
        phase: ObservedPhase::Absent,
        process_runs: false,
        last_proof: None,
        trouble: None,
        parts: vec![shell],
        manifest: None,
        jobs: Vec::new(),
        checkout: None,
    };
    FromHost::Report { report: Box::new(report) }
}

fn heartbeat(workspaces: Vec<Pulse>) -> FromHost {
    let (at, tickets) = (jiff::Timestamp::UNIX_EPOCH, BTreeSet::new());
    FromHost::Heartbeat { at, workspaces, tickets, trouble: None, memory: None }
}

impl TheirHost {
    /// It registers, opens its stream, and is given a workspace.
    pub(super) async fn come(the_box: &TestBox) -> Self {
        let owner = the_box.client();
        let body = json!({ "name": "theirs" });
        let token: CreatedHostToken = owner.post("/v1/orgs/globex/host-tokens", &body).await.unwrap();
        let nobody = on_socket(the_box, "efhk_nobody");
        let token = json!({ "token": token.token });
        let stale: Registered = nobody.post(REGISTER_PATH, &token).await.unwrap();
        let registered: Registered = nobody.post(REGISTER_PATH, &token).await.unwrap();
        let (says, mut hears) = Self::stream(the_box, &registered.key).await;
        let welcome = timeout(PATIENCE, hears.recv()).await.unwrap();
        let Some(ToHost::Welcome { uplinks, .. }) = welcome else {
            panic!("a stream begins with a welcome: {welcome:?}")
        };
        let project = json!({ "slug": "notes", "repository": "https://git.example.org/a/b.git" });
        let _: Value = owner.post("/v1/orgs/globex/projects", &project).await.unwrap();
        let request = json!({ "project": "notes", "branch": "main" });
        let made: Workspace = owner.post("/v1/orgs/globex/workspaces", &request).await.unwrap();
        let (stale_key, workspace, tickets) = (stale.key, made.id, Arc::default());
        let mut it = Self { registered, token, stale_key, workspace, uplinks, says, hears, tickets };
        it.tell(report(it.workspace, 5, 0, ReadinessState::Ready)).await;
        it
    }

    /// A stream that is kept alive.
    async fn stream(
        the_box: &TestBox,
        key: &str,
    ) -> (mpsc::UnboundedSender<FromHost>, mpsc::UnboundedReceiver<ToHost>) {
        let socket = the_box.path().join("run/internal/server.sock");
        let mut request = format!("ws://host{STREAM_PATH}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let (mut stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let (says, mut to_say) = mpsc::unbounded_channel::<FromHost>();
        let (heard, hears) = mpsc::unbounded_channel();
        let machine = Machine {
            milli_cpu: 64_000,
            memory: 1 << 40,
            swap: None,
            reductions: Vec::new(),
            elevation: true,
            copy_on_write: false,
        };
        says.send(FromHost::Hello { version: "0".to_owned(), machine }).unwrap();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(2));
            loop {
                let message = tokio::select! {
                    message = to_say.recv() => message,
                    message = stream.next() => match message {
                        Some(Ok(Message::Text(text))) => {
                            let _ = heard.send(serde_json::from_str(&text).unwrap());
                            continue;
                        }
                        Some(Ok(_)) => continue,
                        _ => return,
                    },
                    _ = beat.tick() => Some(heartbeat(Vec::new())),
                };
                let Some(message) = message else { return };
                let text = serde_json::to_string(&message).unwrap();
                if stream.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        });
        (says, hears)
    }

    /// The next message of the server that is so; an order to another's workspace is never one.
    async fn hear(&mut self, wanted: impl Fn(&ToHost) -> bool) -> ToHost {
        let hearing = async {
            loop {
                let message = self.hears.recv().await.expect("the stream goes on");
                if let ToHost::Command { command } = &message {
                    assert_eq!(command.workspace, self.workspace, "another's order");
                }
                if wanted(&message) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, hearing).await.unwrap()
    }

    /// Says it, and waits until it is taken in.
    async fn tell(&mut self, message: FromHost) {
        let FromHost::Report { report } = &message else { unreachable!("only reports are acknowledged") };
        let wanted = (report.workspace, report.sequence);
        self.says.send(message).unwrap();
        self.hear(
            |message| matches!(message, ToHost::Acknowledge { workspace, sequence } if (*workspace, *sequence) == wanted),
        )
        .await;
    }

    pub(super) const fn registered(&self) -> &Registered {
        &self.registered
    }

    pub(super) const fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Where the server has its uplinks.
    fn uplink(&self) -> (PathBuf, &str) {
        (PathBuf::from(&self.uplinks[0].path), &self.uplinks[0].pass)
    }
}

/// A host that speaks of a workspace that is not its own; a key and a token that are worth nothing any more.
pub(super) async fn as_a_host(world: &mut World) {
    let World { the_box, attacked, theirs: host, .. } = world;
    let workspace = attacked.workspace;
    let nobody = on_socket(the_box, "efhk_nobody");
    let (services, generation) = (BTreeMap::from([("web".to_owned(), ["STRIPE_KEY".parse().unwrap()].into())]), 1);
    let secrets = AskSecrets { workspace, generation, services };
    let egress = AskEgress { workspace, host: "api.stripe.com".to_owned() };
    let git =
        |workspace, host_generation, url: &str| AskGitCredential { host_generation, workspace, url: url.to_owned() };
    let (home, other) = ("https://git.example.org/a/b.git", "https://elsewhere.example/a/b.git");
    let theirs = on_socket(the_box, &host.registered.key);
    assert_eq!(code(on_socket(the_box, &host.stale_key).post::<_, Value>(SECRETS_PATH, &secrets).await), "host.key");
    assert_eq!(code(theirs.post::<_, Value>(SECRETS_PATH, &secrets).await), "secret.not_on_host");
    assert_eq!(code(theirs.post::<_, Value>(EGRESS_PATH, &egress).await), "secret.not_on_host");
    for (workspace, generation, url, wanted) in [
        (workspace, 1, home, "workspace.not_found"),
        (host.workspace, 1, other, "git.other_host"),
        (host.workspace, 0, home, "host.stale"),
        (host.workspace, 1, home, "git.no_credential"),
    ] {
        let refused = theirs.post::<_, Value>(GIT_CREDENTIAL_PATH, &git(workspace, generation, url)).await;
        assert_eq!(code(refused), wanted, "{url}");
    }
    assert_eq!(code(theirs.post::<_, Value>(EXCHANGE_PATH, &json!({})).await), "gateway.key");
    // Keys of people open nothing here, nor a host's there.
    let as_person = on_socket(the_box, the_box.key().expose());
    assert_eq!(code(as_person.post::<_, Value>(SECRETS_PATH, &secrets).await), "host.key");
    let over_the_api = super::client(the_box, &host.registered.key);
    assert_eq!(code(over_the_api.get::<Value>("/v1/orgs/globex").await), "access.unauthenticated");
    let spent = nobody.post::<_, Value>(REGISTER_PATH, &host.token).await;
    assert_eq!(code(spent), "host.token_invalid", "its token is spent");

    let pulse = Pulse {
        workspace,
        generation: 99,
        process_runs: true,
        service_milli_cpu: 9_000,
        memory: 1,
        jobs_running: 7,
        work: None,
    };
    host.says.send(heartbeat(vec![pulse])).unwrap();
    host.tell(report(workspace, 1_000_000, 99, ReadinessState::Blocked)).await;
    // Of its own: what it said before, said again, changes nothing.
    let own = host.workspace;
    host.tell(report(own, 4, 0, ReadinessState::Blocked)).await;
    host.tell(report(own, 5, 9, ReadinessState::Blocked)).await;
    let shown: Workspace = the_box.client().get(MAIN).await.unwrap();
    assert_eq!(shown.shell.state, ReadinessState::Ready, "a report that is older than the last");

    let actor = format!("host:{}", host.registered.host);
    for verb in ["secret.refused", "git.credential_refused", "host.report_refused", "host.heartbeat_refused"] {
        world.noted("orgs/globex", &[verb, &actor, "the workspace is not on this host"]);
    }
    world.noted("orgs/globex", &["git.credential_refused", &actor, "git.other_host"]);
    for cause in ["host.key", "host.token_invalid", "gateway.key"] {
        world.noted("installation", &["access.denied", "stranger", cause]);
    }
}

/// Whoever dials the server's uplink: with a pass of nobody, with something else that the server signed, and with a good
/// one, which is for streams of its own workspaces alone.
pub(super) async fn over_an_uplink(world: &World) {
    let (path, pass) = world.theirs.uplink();
    let Registered { host, org, .. } = world.theirs.registered;
    let own = Signer::from_seed(&[9; 32]).sign(&HostPass { host, org, expires: i64::from(u32::MAX) });
    let link = world.first().link("web").await.token;
    let mut flipped = pass.to_owned();
    let last = flipped.pop().unwrap();
    flipped.insert(flipped.len() - 5, last);
    let passes = [("of a key of its own", own), ("changed", flipped), ("a link", link), ("no", String::new())];
    for (what, pass) in passes {
        let dialled = dial(&path, &pass, |_, _| async { Err(Refusal::not_found("x", "x")) });
        assert!(timeout(PATIENCE, dialled).await.unwrap().is_err(), "a pass {what}: the other end hangs up");
    }
    world.noted("installation", &["access.denied", "stranger", "host.pass"]);

    let (tickets, pass) = (Arc::clone(&world.theirs.tickets), pass.to_owned());
    tokio::spawn(async move {
        dial(&path, &pass, move |ticket, _| {
            tickets.lock().unwrap().push(ticket);
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            async move {
                ours.set_nonblocking(true).unwrap();
                let ours = tokio::net::UnixStream::from_std(ours).unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = ours.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
                Ok(OwnedFd::from(theirs))
            }
        })
        .await
    });
    let server = format!("http://{}", world.the_box.listen);
    let attach = async |org: &str| Shell::attach(&server, world.the_box.key().expose(), org, "main").await;
    wait_until_within("its own terminals come to it", PATIENCE, async || attach("globex").await.is_ok()).await;
    let before = world.theirs.tickets.lock().unwrap().len();
    attach("local").await.unwrap().answers().await.unwrap();
    assert_eq!(world.theirs.tickets.lock().unwrap().len(), before, "another's terminal");
    // A ticket opens a stream on a host, and nothing else.
    let ticket = world.theirs.tickets.lock().unwrap()[0].clone();
    let with_ticket = super::client(&world.the_box, &ticket).get::<Value>("/v1/me").await;
    assert_eq!(code(with_ticket), "access.unauthenticated");
    let stream = on_socket(&world.the_box, &ticket).get::<Value>(STREAM_PATH).await;
    assert_eq!(code(stream), "host.key");
}

/// What a host was ordered once, and what another org's is ordered, sent to it.
pub(super) fn with_a_replayed_command(world: &World) {
    let workspace = world.attacked.workspace.to_string().replace("ws_", "");
    let insert = |generation: u64, org: &str| {
        format!(
            "INSERT INTO host_commands (id, org_id, host_id, workspace_id, generation, verb, command, created_at) \
             SELECT id, org_id, host_id, workspace_id, {generation}, 'STOP_RUNTIME', \
             jsonb_build_object('id', 'cmd_' || replace(id::text, '-', ''), 'org', {org}, 'workspace', command->'workspace', \
             'generation', {generation}, 'order', jsonb_build_object('verb', 'STOP_RUNTIME')), now() FROM \
             (SELECT gen_random_uuid() AS id, org_id, host_id, workspace_id, command FROM host_commands \
             WHERE workspace_id = '{workspace}' LIMIT 1) AS old"
        )
    };
    world.the_box.psql(&insert(0, "command->>'org'"));
    world.noted("orgs/local", &["host.command_refused", "newer generation", "STOP_RUNTIME"]);
    world.the_box.psql(&insert(99, &format!("'org_{OF_NOBODY}'")));
    world.noted("orgs/local", &["host.command_refused", "another org", "STOP_RUNTIME"]);
}

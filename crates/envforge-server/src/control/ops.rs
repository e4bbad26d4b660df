//! Taking in what a host says.

use crate::activity;
use crate::app::App;
use crate::hosts::{self, ops::NOT_ON_HOST};
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::OrgScope;
use crate::platform::fault::{Answer, Fault};
use crate::resources;
use crate::runs;
use crate::runtimes;
use crate::secrets;
use crate::secrets::ops::{Fetched, Give};
use crate::workspaces;
use envforge_api::host::{
    AskEgress, AskSecrets, GivenEgress, GivenSecrets, HostCommand, HostPass, Machine, Order, Outcome, Pulse, Report,
    ToHost, Trouble, UplinkAddress, Work,
};
use envforge_core::id::{CommandId, HostId, WorkspaceId};
use envforge_core::idle::Activity;
use envforge_core::pressure::MemoryReading;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::runtime::RuntimeIntent;
use jiff::SignedDuration;
use serde_json::json;

/// Life of the pass a host shows to gateways; a new stream brings a new one.
const PASS_LIFE: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Most times that values are read outside for one host that asks: once, and again for what was set meanwhile.
const FETCHES_MAX: usize = 3;

/// A stream begins: what the host is told first.
pub async fn begin(app: &App, host: HostId, scope: OrgScope, machine: &Machine) -> Answer<(u64, ToHost)> {
    let mut tx = app.db.begin(scope).await?;
    let host_generation = hosts::store::stream_began(&mut tx, host, machine, app.now()).await?;
    workspaces::ops::host_changed(&mut tx, scope, host).await?;
    tx.commit().await?;
    Ok((host_generation, welcome(app, host, scope, host_generation)?))
}

/// What a host is told first, and again whenever the signing keys have changed.
pub fn welcome(app: &App, host: HostId, scope: OrgScope, host_generation: u64) -> Answer<ToHost> {
    let now = app.now();
    let expires = now.saturating_add(PASS_LIFE).map_or(i64::MAX, jiff::Timestamp::as_second);
    let pass = app.signing_keys.sign(&HostPass { host, org: scope.org(), expires }, now)?;
    let uplinks = std::iter::once(&app.config.uplink_path).chain(&app.config.gateway_uplink_paths);
    let uplinks = uplinks.map(|path| UplinkAddress { path: path.display().to_string(), pass: pass.clone() }).collect();
    Ok(ToHost::Welcome { org: scope.org(), host, host_generation, keys: app.signing_keys.trusted(), uplinks })
}

/// A stream ended.
pub async fn end(app: &App, host: HostId, scope: OrgScope, host_generation: u64) -> Answer<()> {
    let mut tx = app.db.begin(scope).await?;
    if hosts::store::stream_ended(&mut tx, host, host_generation).await? {
        workspaces::ops::host_changed(&mut tx, scope, host).await?;
    }
    tx.commit().await
}

/// Commands that wait for an answer.
pub async fn open_commands(app: &App, host: HostId, scope: OrgScope) -> Answer<Vec<HostCommand>> {
    let mut tx = app.db.begin(scope).await?;
    hosts::store::open_commands(&mut tx, host).await
}

/// A command was answered.
pub async fn answered(app: &App, host: HostId, scope: OrgScope, id: CommandId, outcome: &Outcome) -> Answer<()> {
    let mut tx = app.db.begin(scope).await?;
    let Some(workspace) = hosts::store::command_workspace(&mut tx, host, id).await? else { return Ok(()) };
    // The workspace first, as everyone who gives or takes back commands has it.
    workspaces::store::lock(&mut tx, workspace).await?;
    let Some(command) = hosts::store::answer_command(&mut tx, host, id, outcome, app.now()).await? else {
        return Ok(());
    };
    let is_refused = match outcome {
        Outcome::Stale => Some("the host has obeyed a newer generation"),
        Outcome::Failed(trouble) if trouble.code == "host.wrong_org" => Some("the host obeys another org"),
        _ => None,
    };
    if let Some(cause) = is_refused {
        let (actor, verb) = (format!("host:{host}"), command.order.verb());
        let details = json!({ "workspace": command.workspace, "generation": command.generation, "verb": verb });
        let entry = Entry::new(&actor, "host.command_refused", command.id, cause).details(details);
        ledger::record(app, &mut tx, entry).await?;
    }
    match (&command.order, outcome) {
        (Order::PrepareShell(_), Outcome::Failed(trouble)) => {
            workspaces::ops::shell_blocked(&mut tx, command.workspace, trouble).await?;
        }
        (Order::StartRuntime(_), Outcome::Done) => {
            runtimes::ops::started(app, &mut tx, command.workspace, command.generation).await?;
            tx.nudge(Nudge::Workspace { org: scope.org(), workspace: command.workspace });
        }
        // Whoever asked for it waits; what runs goes on as it was, and the host's reports say how.
        (Order::StartRuntime(start), Outcome::Failed(_)) if start.again => {
            tx.nudge(Nudge::Workspace { org: scope.org(), workspace: command.workspace });
        }
        (Order::StartRuntime(_), Outcome::Failed(trouble)) => {
            runtimes::ops::start_failed(app, &mut tx, command.workspace, command.generation, trouble).await?;
        }
        (Order::RunJob(job), Outcome::Failed(trouble)) => {
            runs::ops::failed(app, &mut tx, command.workspace, job.job, trouble).await?;
        }
        (Order::RunJob(job), Outcome::Stale) => {
            let trouble = Trouble {
                code: "run.overtaken".to_owned(),
                cause: "the runtime was put to sleep before it began".to_owned(),
                fix: "run it again".to_owned(),
            };
            runs::ops::failed(app, &mut tx, command.workspace, job.job, &trouble).await?;
        }
        (Order::DestroyWorkspace, Outcome::Done) => {
            runtimes::ops::destroyed(app, &mut tx, command.workspace).await?;
            workspaces::ops::deleted(app, &mut tx, command.workspace).await?;
        }
        // Whoever asked for it waits, and says what came of it.
        (Order::ChangeService(_), _) => {
            tx.nudge(Nudge::Workspace { org: scope.org(), workspace: command.workspace });
        }
        (Order::RotateCredential(_), _) => resources::ops::answered(app, &mut tx, host, &command, outcome).await?,
        (order, Outcome::Failed(trouble)) => {
            if matches!(order, Order::DestroyWorkspace) {
                // It is ordered again; until then this is what people see.
                workspaces::ops::shell_blocked(&mut tx, command.workspace, trouble).await?;
            }
            tracing::warn!(verb = order.verb(), workspace = %command.workspace, code = trouble.code, cause = trouble.cause, "a host could not carry out a command");
        }
        _ => {}
    }
    tx.commit().await
}

/// A report came; `false` when it is about a workspace that is not on this host, and nothing of it is taken in.
pub async fn reported(app: &App, host: HostId, scope: OrgScope, report: &Report) -> Answer<bool> {
    let mut tx = app.db.begin(scope).await?;
    if !hosts::store::has(&mut tx, host, report.workspace).await? {
        return Ok(false);
    }
    for job in &report.jobs {
        runs::ops::reported(app, &mut tx, report.workspace, job).await?;
    }
    runtimes::ops::observe(app, &mut tx, report).await?;
    tx.commit().await?;
    Ok(true)
}

/// A host spoke of a workspace that is not on it.
pub async fn claimed(app: &App, host: HostId, scope: OrgScope, workspace: WorkspaceId) -> Answer<()> {
    let mut tx = app.db.begin(scope).await?;
    let actor = format!("host:{host}");
    let entry = Entry::new(&actor, "host.report_refused", host, NOT_ON_HOST).details(json!({ "workspace": workspace }));
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await
}

/// A host asks for what it adds to a workspace's requests for one destination; read as [`secrets`] are.
pub async fn egress(app: &App, host: HostId, scope: OrgScope, asked: &AskEgress) -> Answer<GivenEgress> {
    let mut fetched = Fetched::new();
    for _ in 0..FETCHES_MAX {
        let mut tx = app.db.begin(scope).await?;
        let row = workspaces::store::lock(&mut tx, asked.workspace).await?;
        if row.is_none_or(|row| row.host != host) {
            return Err(not_on_host(app, host, scope, asked.workspace));
        }
        match secrets::ops::lend(app, &mut tx, host, asked, &mut fetched).await? {
            Give::Given(given) => {
                tx.commit().await?;
                return Ok(given);
            }
            Give::Fetch(wanted) => {
                drop(tx);
                fetched.extend(secrets::ops::fetch(app, scope.org(), wanted).await?);
            }
        }
    }
    Err(changing())
}

fn changing() -> Fault {
    Refusal::unavailable("secret.changing", "somebody is just setting these secrets").retry_after(1).into()
}

/// Tells of a host that asks for another's.
fn not_on_host(app: &App, host: HostId, scope: OrgScope, workspace: WorkspaceId) -> Fault {
    hosts::ops::refused(app, host, scope, "secret.refused", NOT_ON_HOST);
    tracing::warn!(%host, %workspace, "a host asked for secrets of a workspace that is not its own");
    Refusal::new(RefusalKind::Forbidden, "secret.not_on_host", "this workspace is not on this host").into()
}

/// A host asks for the secrets of services that it is about to start. What lies in a store outside the database is read
/// between two transactions, and the right to it is checked in both.
pub async fn secrets(app: &App, host: HostId, scope: OrgScope, asked: &AskSecrets) -> Answer<GivenSecrets> {
    let mut fetched = Fetched::new();
    for _ in 0..FETCHES_MAX {
        match give_secrets(app, host, scope, asked, &mut fetched).await? {
            Give::Given(given) => return Ok(given),
            Give::Fetch(wanted) => fetched.extend(secrets::ops::fetch(app, scope.org(), wanted).await?),
        }
    }
    Err(changing())
}

async fn give_secrets(
    app: &App,
    host: HostId,
    scope: OrgScope,
    asked: &AskSecrets,
    fetched: &mut Fetched,
) -> Answer<Give<GivenSecrets>> {
    let mut tx = app.db.begin(scope).await?;
    let row = workspaces::store::lock(&mut tx, asked.workspace).await?;
    // Another org's workspace is none here.
    let Some(row) = row.filter(|row| row.host == host) else {
        return Err(not_on_host(app, host, scope, asked.workspace));
    };
    let wanted = row.runtime.intent == RuntimeIntent::Awake && !row.deleting;
    if !wanted || row.runtime.generation != asked.generation {
        let message = "this is not what the workspace is to do any more";
        return Err(Refusal::conflict("secret.stale", message).retry_after(1).into());
    }
    let given = secrets::ops::give(app, &mut tx, host, asked, fetched).await?;
    if matches!(given, Give::Given(_)) {
        tx.commit().await?;
    }
    Ok(given)
}

/// What a runtime did since the heartbeat before. A host that does not tell says how busy it was, every other second.
fn done(pulse: &Pulse) -> Activity {
    let work = pulse.work.unwrap_or_else(|| Work { cpu: pulse.service_milli_cpu.saturating_mul(2), ..Work::default() });
    let Work { cpu, disk, network } = work;
    Activity { cpu, disk, network, jobs: pulse.jobs_running, ..Activity::default() }
}

/// A heartbeat came.
pub async fn heartbeat(
    app: &App,
    host: HostId,
    scope: OrgScope,
    host_generation: u64,
    mut pulses: Vec<Pulse>,
    trouble: Option<&Trouble>,
    memory: Option<MemoryReading>,
) -> Answer<()> {
    let now = app.now();
    // Always in the same order, so that two streams of one host don't wait for each other.
    pulses.sort_by_key(|pulse| pulse.workspace);
    let mut tx = app.db.begin(scope).await?;
    let mut unmetered = Vec::new();
    for pulse in &pulses {
        match runtimes::store::pulse(&mut tx, host, pulse, now).await? {
            Some(is_unmetered) => {
                activity::store::add(&mut tx, pulse.workspace, now, &done(pulse)).await?;
                if is_unmetered {
                    unmetered.push(pulse);
                }
            }
            None => hosts::ops::refused(app, host, scope, "host.heartbeat_refused", NOT_ON_HOST),
        }
    }
    let was_short = hosts::store::seen(&mut tx, host, host_generation, trouble, now).await?;
    if let Some(memory) = memory {
        let is_short = memory.is_short(was_short);
        if is_short != was_short {
            hosts::store::set_memory_short(&mut tx, host, is_short.then(|| memory.words()).as_deref()).await?;
        }
    }
    tx.commit().await?;
    for pulse in unmetered {
        runtimes::jobs::reopen(app, scope, pulse.workspace, pulse.generation).await?;
    }
    Ok(())
}

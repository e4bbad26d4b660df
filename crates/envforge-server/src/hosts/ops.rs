//! Registration, and writing commands.

use super::store;
use crate::app::App;
use crate::ledger::{self, Entry, Refused};
use crate::platform::bus::{Listener, Nudge};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use envforge_api::ambient::opaque_token;
use envforge_api::host::{HostCommand, Order, Outcome, Registered, Trouble};
use envforge_api::http::accounts::{CreateHostToken, CreatedHostToken, Hosts};
use envforge_api::trace;
use envforge_core::id::{CommandId, HostId, WorkspaceId};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::token::digest;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long whoever asked for a command waits for its answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Without a heartbeat for this long, a host counts as lost.
pub const LOST_AFTER: SignedDuration = SignedDuration::from_secs(20);

/// Prefix of one-time registration tokens.
const TOKEN_PREFIX: &str = "efht_";
/// Prefix of host keys.
const KEY_PREFIX: &str = "efhk_";

/// A server starts: whatever stream the one before it held is gone.
pub async fn begin(app: &App) -> Answer<()> {
    store::system_forget_streams(&app.db).await
}

/// Whether nothing was heard for so long, since `heard`, that nothing will be. A server that was not there itself
/// first gives everyone the time to come back.
pub fn is_silent(app: &App, heard: Timestamp) -> bool {
    app.now().duration_since(heard.max(app.started_at)) > LOST_AFTER
}

/// What parts on a host that is not connected say.
pub fn lost() -> Trouble {
    Trouble {
        code: "host.lost".to_owned(),
        cause: "the workspace's host is not connected; what was asked of it waits until it is back".to_owned(),
        fix: "`envforge doctor` on the host's machine tells why".to_owned(),
    }
}

/// Hosts of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Hosts> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Hosts { hosts: store::list(&mut tx).await? })
}

/// A one-time token for a host to be.
pub async fn create_token(app: &App, permit: &Permit, request: &CreateHostToken) -> Answer<CreatedHostToken> {
    let mut tx = app.db.begin(permit.scope).await?;
    if store::list(&mut tx).await?.iter().any(|host| host.name == request.name.as_str()) {
        return Err(Refusal::conflict("host.name_taken", format!("there is a host `{}` already", request.name)).into());
    }
    let created = add(app, &mut tx, request.name.as_str(), false, &permit.actor()).await?;
    tx.commit().await?;
    Ok(created)
}

/// Adds a host that may register with the token returned.
pub async fn add(app: &App, tx: &mut Tx, name: &str, is_local: bool, actor: &str) -> Answer<CreatedHostToken> {
    let host: HostId = app.mint();
    let token = opaque_token(TOKEN_PREFIX, &*app.entropy);
    store::insert(tx, host, name, is_local, &digest(&token), app.now()).await?;
    ledger::record(app, tx, Entry::new(actor, "host.added", host, name)).await?;
    Ok(CreatedHostToken { host, token })
}

/// Exchanges a one-time token for the host's own key. A host that lost the answer may ask again with the same token
/// until its first control stream, and gets a fresh key each time.
pub async fn register(app: &App, token: &str) -> Answer<Registered> {
    let Some((host, scope)) = store::system_find_host_token(&app.db, &digest(token)).await? else {
        refused_stranger(app, "host.token_invalid");
        return Err(Refusal::new(
            RefusalKind::Unauthenticated,
            "host.token_invalid",
            "this registration token is not valid or was used",
        )
        .hint("make a new one for the host, and hand it to `envforged host --token-file`")
        .into());
    };
    let key = opaque_token(KEY_PREFIX, &*app.entropy);
    let mut tx = app.db.begin(scope).await?;
    store::set_key(&mut tx, host, &digest(&key)).await?;
    let actor = format!("host:{host}");
    ledger::record(app, &mut tx, Entry::new(&actor, "host.registered", host, "one-time token")).await?;
    tx.commit().await?;
    Ok(Registered { host, org: scope.org(), key })
}

/// Writes a command in the transaction that decided it.
pub async fn command(
    app: &App,
    tx: &mut Tx,
    host: HostId,
    workspace: WorkspaceId,
    generation: u64,
    order: Order,
) -> Answer<CommandId> {
    let org = tx.org().ok_or_else(|| anyhow::anyhow!("a command belongs to an org"))?;
    let command = HostCommand { id: app.mint(), org, workspace, generation, order, traceparent: trace::current() };
    store::insert_command(tx, host, &command, app.now()).await?;
    tx.nudge(Nudge::Commands { host });
    Ok(command.id)
}

/// Waits for the answer to a command, for a while; `nudges` are at least as old as the command.
pub async fn answer(
    app: &App,
    scope: OrgScope,
    workspace: WorkspaceId,
    command: CommandId,
    nudges: Listener,
) -> Answer<Option<Outcome>> {
    answer_within(app, scope, workspace, command, nudges, ANSWERED_WITHIN).await
}

/// The same for so long.
pub async fn answer_within(
    app: &App,
    scope: OrgScope,
    workspace: WorkspaceId,
    command: CommandId,
    mut nudges: Listener,
    limit: Duration,
) -> Answer<Option<Outcome>> {
    let end = tokio::time::sleep(limit);
    tokio::pin!(end);
    loop {
        let mut tx = app.db.begin(scope).await?;
        let outcome = store::outcome(&mut tx, command).await?;
        drop(tx);
        if outcome.is_some() {
            return Ok(outcome);
        }
        loop {
            tokio::select! {
                () = &mut end => return Ok(None),
                nudge = nudges.next() => match nudge {
                    Nudge::Workspace { workspace: changed, .. } if changed != workspace => {}
                    Nudge::Workspace { .. } | Nudge::Resync => break,
                    _ => {}
                },
            }
        }
    }
}

/// Refuses root where the host opens no root terminals, and where little but namespaces would keep it from the control
/// plane on the same machine.
pub async fn may_elevate(tx: &mut Tx, host: HostId) -> Answer<()> {
    let store::Elevating { allows, is_local, reductions } = store::elevating(tx, host).await?;
    if !allows {
        let message = "the workspace's host opens no root terminals";
        return Err(Refusal::new(RefusalKind::Forbidden, "elevation.host_refuses", message)
            .hint("its operator allows them with `--allow-elevation`; its daemon has to be root")
            .into());
    }
    match reductions.first().filter(|_| is_local) {
        None => Ok(()),
        Some(reduction) => {
            let message =
                format!("the host's machine also runs the control plane, and its isolation is reduced: {reduction}");
            Err(Refusal::new(RefusalKind::Forbidden, "elevation.control_plane_machine", message)
                .hint("`envforged doctor` says how to get full isolation; or use a host of its own")
                .into())
        }
    }
}

/// Why a host is refused what it asks of a workspace that is not on it.
pub const NOT_ON_HOST: &str = "the workspace is not on this host";

/// Notes that a host was refused something, or refused it. What exactly it asked for is its own word, so however much it names, that is
/// one event a minute.
pub fn refused(app: &App, host: HostId, scope: OrgScope, verb: &'static str, cause: &str) {
    let (actor, subject) = (format!("host:{host}"), host.to_string());
    ledger::refused(app, Refused { org: Some(scope.org()), actor, verb, subject, cause: cause.to_owned() });
}

/// Notes that a program on the internal socket showed what lets it in nowhere.
pub fn refused_stranger(app: &App, cause: &str) {
    let (actor, subject) = ("stranger".to_owned(), "installation".to_owned());
    ledger::refused(app, Refused { org: None, actor, verb: "access.denied", subject, cause: cause.to_owned() });
}

/// Whose key this is.
pub async fn authenticate(app: &App, key: &str) -> Answer<Option<(HostId, OrgScope)>> {
    if !key.starts_with(KEY_PREFIX) || key.len() > 200 {
        return Ok(None);
    }
    store::system_find_host(&app.db, &digest(key)).await
}

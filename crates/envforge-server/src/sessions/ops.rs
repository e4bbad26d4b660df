//! Opening, using and ending sessions.

use super::Method;
use super::store::{self, Ended, NewSession};
use crate::accounts::{CredentialId, Identity};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::providers::identity::SignedOut;
use envforge_api::ambient::opaque_token;
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::access::Scopes;
use envforge_core::id::{Id as _, LoginSessionId, UserId};
use envforge_core::login::{ABSOLUTE, later};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use jiff::Timestamp;
use serde_json::json;

/// Prefix of session tokens.
const PREFIX: &str = "efs_";
/// Longest name of a browser kept, in bytes.
const AGENT_MAX: usize = 200;

/// Opens a session that ends at `until` at the latest. The token is the only copy.
pub async fn open(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    method: Method<'_>,
    user_agent: &str,
    until: Option<Timestamp>,
) -> Answer<Secret> {
    let (now, id): (_, LoginSessionId) = (app.now(), app.mint());
    let token = Secret::new(opaque_token(PREFIX, &*app.entropy));
    let expires_at = until.map_or(later(now, ABSOLUTE), |until| until.min(later(now, ABSOLUTE)));
    let user_agent: String = user_agent.chars().filter(|c| !c.is_control()).collect();
    let user_agent = &user_agent[..user_agent.floor_char_boundary(AGENT_MAX.min(user_agent.len()))];
    let new = NewSession { id, user, digest: digest(token.expose()), method, user_agent, now, expires_at };
    store::insert(tx, &new).await?;
    let provider = if let Method::Provider { name, .. } = method { Some(name) } else { None };
    let actor = format!("user:{user}");
    let entry = Entry::new(&actor, "session.opened", id, method.as_str());
    ledger::record(app, tx, entry.details(json!({ "provider": provider.unwrap_or_default() }))).await?;
    Ok(token)
}

/// Who shows this token, if it is a session's that has not ended. Notes the use.
pub async fn authenticate(app: &App, token: &str) -> Answer<Option<Identity>> {
    if !token.starts_with(PREFIX) || token.len() > 200 {
        return Ok(None);
    }
    store::system_authenticate(&app.db, &digest(token), app.now()).await
}

/// Whether what somebody showed still holds.
pub async fn is_live(app: &App, credential: CredentialId) -> Answer<bool> {
    store::is_live(&app.db, credential, app.now()).await
}

/// Resolves once what somebody showed has ended: open streams end with it. The bus tells; the clock is asked every
/// half minute, for expiry.
pub async fn ended(app: App, credential: CredentialId) {
    let mut nudges = app.bus.listen();
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(30));
    loop {
        tokio::select! {
            nudge = nudges.next() => match nudge {
                Nudge::CredentialEnded { id } if id == credential.uuid() => {}
                Nudge::Resync => {}
                _ => continue,
            },
            _ = tick.tick() => {}
        }
        // A database that is away decides nothing: streams outlive a restart of it.
        if matches!(is_live(&app, credential).await, Ok(false)) {
            return;
        }
    }
}

/// One's sessions.
pub async fn list(app: &App, identity: &Identity) -> Answer<LoginSessions> {
    let current = match identity.credential.id() {
        CredentialId::Session(id) => Some(id),
        CredentialId::Key(_) => None,
    };
    Ok(LoginSessions { sessions: store::list(&app.db, identity.user, current, app.now()).await? })
}

/// Ends one of one's own sessions.
pub async fn revoke(app: &App, identity: &Identity, id: LoginSessionId) -> Answer<()> {
    if *identity.credential.scopes() != Scopes::Unlimited {
        return Err(Refusal::new(RefusalKind::Forbidden, "access.scope", "a limited API key can't end sessions").into());
    }
    let mut tx = app.db.begin_installation().await?;
    let Some(ended) = store::revoke(&mut tx, id, identity.user, app.now()).await? else {
        return Err(Refusal::not_found("session.not_found", "you have no such session").into());
    };
    let actor = format!("user:{}", identity.user);
    record_end(app, &mut tx, &ended, &actor, "revoked").await?;
    tx.commit().await
}

/// Signs out. The provider by which the session was opened, to sign out of it too.
pub async fn sign_out(app: &App, token: &str) -> Answer<Option<String>> {
    let mut tx = app.db.begin_installation().await?;
    let Some(ended) = store::revoke_by_digest(&mut tx, &digest(token), app.now()).await? else { return Ok(None) };
    let actor = format!("user:{}", ended.user);
    record_end(app, &mut tx, &ended, &actor, "signed out").await?;
    tx.commit().await?;
    Ok(ended.provider)
}

/// Ends the sessions of somebody whom a provider signed out. May run again.
pub async fn end_by_provider(app: &App, provider: &str, who: &SignedOut) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    let actor = format!("provider:{provider}");
    for ended in store::revoke_by_identity(&mut tx, who, app.now()).await? {
        record_end(app, &mut tx, &ended, &actor, "signed out at the provider").await?;
    }
    tx.commit().await
}

async fn record_end(app: &App, tx: &mut Tx, ended: &Ended, actor: &str, cause: &str) -> Answer<()> {
    tx.nudge(Nudge::CredentialEnded { id: ended.id.uuid() });
    ledger::record(app, tx, Entry::new(actor, "session.ended", ended.id, cause)).await
}

//! Opening, using and ending sessions.

use super::Method;
use super::store::{self, Due, Ended, NewSession};
use crate::accounts::{CredentialId, Identity};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::providers::identity::{IdentityError, SignedOut, Standing};
use crate::vault;
use envforge_api::ambient::opaque_token;
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::access::Scopes;
use envforge_core::id::{Id as _, LoginSessionId, UserId};
use envforge_core::login::{ABSOLUTE, ASKED_EVERY, UNVOUCHED_MAX, later};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Prefix of session tokens.
const PREFIX: &str = "efs_";
/// Longest name of a browser kept, in bytes.
const AGENT_MAX: usize = 200;
/// When a provider that did not answer is asked again; longer than it may take, so that nobody else asks meanwhile.
const RETRY: SignedDuration = SignedDuration::from_mins(2);
/// Sessions that are asked about in one round.
const DUE_MAX: i64 = 200;
/// Of them, at the same time.
const AT_ONCE: usize = 8;

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
    let (provider, standing) = match method {
        Method::Provider { name, standing, .. } => (Some(name), standing),
        Method::Mail | Method::Key(_) => (None, None),
    };
    if let Some(standing) = standing {
        keep_standing(app, tx, id, standing).await?;
    }
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

/// What a provider is asked with, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    refresh_token: String,
    nonce: String,
}

fn place(session: LoginSessionId) -> String {
    format!("session/{session}/standing")
}

async fn keep_standing(app: &App, tx: &mut Tx, session: LoginSessionId, standing: &Standing) -> Answer<()> {
    let kept =
        Kept { refresh_token: standing.refresh_token.expose().to_owned(), nonce: standing.nonce.expose().to_owned() };
    let sealed = vault::ops::seal(app, tx, &place(session), &Secret::new(serde_json::to_string(&kept)?)).await?;
    store::set_standing(tx, session, &sealed, app.now(), later(app.now(), ASKED_EVERY)).await
}

/// Asks providers about sessions that are due, and ends those they do not vouch for any more. May run again, and on several
/// servers at once.
pub async fn ask_again(app: &App) -> Answer<()> {
    let due = store::take_due(&app.db, app.now(), later(app.now(), RETRY), DUE_MAX).await?;
    let asked = due.into_iter().map(async |due| {
        if let Err(fault) = ask_about(app, &due).await {
            tracing::warn!(session = %due.session, %fault, "a session's provider could not be asked, it will be again");
        }
    });
    futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
    Ok(())
}

async fn ask_about(app: &App, due: &Due) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    let kept = vault::ops::open(app, &mut tx, &place(due.session), &due.sealed).await?;
    drop(tx);
    let Kept { refresh_token, nonce } = serde_json::from_str(kept.expose())?;
    let standing = Standing { refresh_token: Secret::new(refresh_token), nonce: Secret::new(nonce) };
    let answer = match app.identity.named(&due.provider).filter(|provider| provider.config().issuer == due.issuer) {
        Some(provider) => provider.renew(app.now(), &due.subject, &standing).await,
        None => Err(IdentityError::Unreachable("it is not configured any more".to_owned())),
    };
    let mut tx = app.db.begin_installation().await?;
    let cause = match answer {
        Ok(next) => {
            keep_standing(app, &mut tx, due.session, &next).await?;
            return tx.commit().await;
        }
        Err(IdentityError::Withdrawn) => "the provider does not vouch for them any more",
        Err(_) if app.now().duration_since(due.answered_at) > UNVOUCHED_MAX => "the provider did not answer for a day",
        Err(error) => {
            tracing::warn!(provider = due.provider, session = %due.session, %error, "it will be asked again");
            return Ok(());
        }
    };
    if let Some(ended) = store::revoke(&mut tx, due.session, due.user, app.now()).await? {
        record_end(app, &mut tx, &ended, &format!("provider:{}", due.provider), cause).await?;
    }
    tx.commit().await
}

async fn record_end(app: &App, tx: &mut Tx, ended: &Ended, actor: &str, cause: &str) -> Answer<()> {
    store::forget_standing(tx, ended.id).await?;
    tx.nudge(Nudge::CredentialEnded { id: ended.id.uuid() });
    ledger::record(app, tx, Entry::new(actor, "session.ended", ended.id, cause)).await
}

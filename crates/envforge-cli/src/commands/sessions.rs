//! `envforge whoami`, `envforge logout` and `envforge sessions`: who is signed in, where, and the end of it.

use crate::args::SessionsVerb;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::{config, render};
use envforge_api::http::accounts::{ApiKeys, Me};
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::{Value, json};

/// Shows who is signed in.
pub(crate) async fn whoami(ctx: &Context<'_>) -> Result<ExitCode, Refusal> {
    let me: Me = ctx.get("/v1/me").await?;
    ctx.printer.answer(&me, || {
        let orgs: Vec<_> = me.orgs.iter().map(|it| format!("{} ({})", it.slug, it.role.as_str())).collect();
        let orgs = if orgs.is_empty() { "no org".to_owned() } else { orgs.join(", ") };
        format!("{} at {}, {orgs}, with {}", printable(&me.name), ctx.server, me.credential)
    });
    Ok(ExitCode::Ok)
}

/// Revokes the key in use and forgets it. One that is of no use any more is forgotten too.
pub(crate) async fn logout(ctx: &Context<'_>) -> Result<ExitCode, Refusal> {
    if !ctx.is_key_remembered() {
        return Err(Refusal::conflict("logout.not_ours", format!("no sign-in to {} is remembered here", ctx.server))
            .hint(
                "a key of the environment or of the one box is ended where it comes from: `envforge sessions revoke`",
            ));
    }
    let revoked = match ctx.get::<Me>("/v1/me").await {
        Ok(me) => {
            let path = format!("/v1/api-keys/{}", segment(&me.credential));
            let _: Value = ctx.delete(&path).await?;
            true
        }
        Err(refusal) if refusal.kind == RefusalKind::Unauthenticated => false,
        Err(refusal) => return Err(refusal),
    };
    config::update(|config| {
        if let Some(account) = config.servers.get_mut(&ctx.server) {
            account.forget_key();
        }
    })?;
    ctx.printer.answer(&json!({ "server": ctx.server, "revoked": revoked }), || {
        if revoked {
            format!("signed out of {}", ctx.server)
        } else {
            "the key had ended already; it is forgotten".to_owned()
        }
    });
    Ok(ExitCode::Ok)
}

/// Lists and ends sessions and keys.
pub(crate) async fn sessions(ctx: &Context<'_>, verb: SessionsVerb) -> Result<ExitCode, Refusal> {
    match verb {
        SessionsVerb::List => {
            let me: Me = ctx.get("/v1/me").await?;
            let sessions: LoginSessions = ctx.get("/v1/sessions").await?;
            let keys: ApiKeys = ctx.get("/v1/api-keys").await?;
            let answer = json!({ "current": me.credential, "sessions": sessions.sessions, "api_keys": keys.api_keys });
            ctx.printer.answer(&answer, || list(&me.credential, &sessions, &keys));
        }
        SessionsVerb::Revoke { id } => {
            let kind = if id.starts_with("key_") { "api-keys" } else { "sessions" };
            let _: Value = ctx.delete(&format!("/v1/{kind}/{}", segment(&id))).await?;
            ctx.printer.answer(&json!({ "revoked": id }), || format!("{id} is ended"));
        }
    }
    Ok(ExitCode::Ok)
}

fn list(current: &str, sessions: &LoginSessions, keys: &ApiKeys) -> String {
    let name = |id: String| if id == current { format!("{id} *") } else { id };
    let browsers = sessions.sessions.iter().map(|it| {
        let how = it.provider.as_deref().unwrap_or(&it.method);
        let what = format!("browser by {}: {}", printable(how), printable(&it.user_agent));
        vec![name(it.id.to_string()), render::time(it.last_seen_at), render::time(it.ends_at), what]
    });
    let keys = keys.api_keys.iter().map(|it| {
        let time = |at: Option<jiff::Timestamp>| at.map_or_else(|| "never".to_owned(), render::time);
        vec![
            name(it.id.to_string()),
            time(it.last_used_at),
            time(it.expires_at),
            format!("key: {}", printable(&it.name)),
        ]
    });
    let rows: Vec<_> = browsers.chain(keys).collect();
    render::table(&["ID", "LAST USED", "ENDS", "WHAT"], &rows)
}

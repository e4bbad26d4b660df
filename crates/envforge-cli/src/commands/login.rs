//! `envforge login`: an API key, typed, read, or made for this machine by signing in ([`super::sign_in`]); checked before
//! it is kept.
//!
//! The key comes from a file, stdin or a hidden prompt, never from the command line, where every user of the
//! machine could read it.

use crate::args::Login;
use crate::commands::sign_in;
use crate::context::{Context, ServerSource};
use crate::exit::ExitCode;
use crate::{ask, config};
use envforge_api::http::accounts::Me;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use serde_json::json;

/// Signs in, and makes a server that was chosen the one used from now on.
pub(crate) async fn login(ctx: &mut Context<'_>, login: Login) -> Result<ExitCode, Refusal> {
    let key = if let Some(path) = &login.key_file {
        ask::secret_in(path)?
    } else if login.key || !(login.device || login.browser || ctx.printer.is_interactive()) {
        type_key(ctx)?
    } else {
        sign_in::key(ctx, &login).await?
    };
    let key = Secret::new(key.expose().trim().to_owned());
    check_shape(&key)?;
    let me = sign_in(ctx, key).await?;
    let orgs: Vec<_> = me.orgs.iter().map(|membership| membership.slug.to_string()).collect();
    let answer = json!({ "server": ctx.server, "user": me.user, "name": me.name, "orgs": orgs });
    ctx.printer.answer(&answer, || format!("signed in to {} as {}, org {}", ctx.server, me.name, orgs.join(", ")));
    Ok(ExitCode::Ok)
}

/// Asks a person for a key when there is none, as `up` does.
pub(crate) async fn ensure(ctx: &mut Context<'_>) -> Result<(), Refusal> {
    match ctx.require_key() {
        Ok(_) => Ok(()),
        Err(refusal) if !ctx.printer.is_interactive() => Err(refusal),
        Err(_) => {
            ctx.printer.note(&format!("not signed in to {}", ctx.server));
            let key = type_key(ctx)?;
            let key = Secret::new(key.expose().trim().to_owned());
            check_shape(&key)?;
            sign_in(ctx, key).await.map(drop)
        }
    }
}

/// Asks for a key.
fn type_key(ctx: &Context<'_>) -> Result<Secret, Refusal> {
    if ctx.printer.is_interactive() {
        return ask::secret("API key (efk_…):");
    }
    Err(Refusal::invalid("login.no_key", "nobody can be asked for a key here")
        .hint("`envforge login --key-file FILE`, or `--key-file -` to read it from stdin; `--device` needs a browser elsewhere"))
}

/// Checks a key and keeps it.
pub(crate) async fn sign_in(ctx: &mut Context<'_>, key: Secret) -> Result<Me, Refusal> {
    ctx.use_key(key.clone());
    let me: Me = ctx.get("/v1/me").await?;
    let known = ctx.known_org().cloned();
    config::update(|config| {
        if ctx.server_source == ServerSource::Chosen {
            config.server = Some(ctx.server.clone());
        }
        let account = config.servers.entry(ctx.server.clone()).or_default();
        account.set_key(&key);
        account.org = match me.orgs.as_slice() {
            [only] => Some(only.slug.clone()),
            several => known.filter(|org| several.iter().any(|membership| membership.slug == *org)),
        };
    })?;
    Ok(me)
}

/// A key goes into a header: whatever could not is refused here, without being repeated.
fn check_shape(key: &Secret) -> Result<(), Refusal> {
    let text = key.expose();
    if text.starts_with("efk_") && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Refusal::invalid("login.bad_key", "that is not an API key: one starts with `efk_` and is a single word"))
}

//! `envforge secret`: secrets go in, and only their names come out.
//!
//! A value comes from stdin or a hidden prompt, never from the command line, where every user of the machine could read
//! it. A workspace must be named by its flag: inside a workspace the environment names one too, and a secret of the org that
//! ends up in one workspace helps nobody else.

use crate::args::{SecretPlace, SecretVerb};
use crate::ask;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::secrets::{
    RestoreSecret, SecretInfo, SecretScope, SecretVersion, SecretVersions, Secrets, SetSecret,
};
use envforge_api::sensitive::Sensitive;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::secret::{Secret, VALUE_MAX};
use serde_json::{Value, json};
use std::io::Read as _;

/// Sets, lists, restores and removes secrets.
pub(crate) async fn secret(ctx: &mut Context<'_>, verb: SecretVerb) -> Result<ExitCode, Refusal> {
    match verb {
        SecretVerb::Set(set) => {
            let (place, rule) = (set.place, set.egress.rule());
            let path = match scope(ctx, &place) {
                SecretScope::Org => ctx.org_path("/secrets").await?,
                SecretScope::Project { project } => ctx.org_path(&format!("/projects/{project}/secrets")).await?,
                SecretScope::Workspace { workspace } => ctx.workspace_path(&workspace, "/secrets").await?,
            };
            let body = SetSecret { name: place.name, value: Sensitive(value(ctx)?), egress: rule };
            let info: SecretInfo = ctx.post(&path, &body).await?;
            ctx.printer.answer(&info, || format!("{} is set, version {}", named(&info), info.version));
            ctx.printer.note(&match &info.egress {
                Some(rule) => {
                    format!("added to requests for $ENVFORGE_EGRESS_URL/{}; no service can read it", rule.host)
                }
                None => "services get it when they start next".to_owned(),
            });
        }
        SecretVerb::List => {
            let secrets: Secrets = ctx.get(&ctx.org_path("/secrets").await?).await?;
            ctx.printer.answer(&secrets, || list(&secrets.secrets));
        }
        SecretVerb::Versions(place) => {
            let path = format!("{}/versions", path_of(ctx, &find(ctx, &place).await?).await?);
            let versions: SecretVersions = ctx.get(&path).await?;
            ctx.printer.answer(&versions, || list_versions(&versions.versions));
        }
        SecretVerb::Restore(restore) => {
            let path = format!("{}/restore", path_of(ctx, &find(ctx, &restore.secret).await?).await?);
            let info: SecretInfo = ctx.post(&path, &RestoreSecret { version: restore.version }).await?;
            ctx.printer.answer(&info, || {
                format!(
                    "{} has the value of version {} again, as version {}",
                    named(&info),
                    restore.version,
                    info.version
                )
            });
        }
        SecretVerb::Remove(remove) => {
            let info = find(ctx, &remove.secret).await?;
            if !remove.yes {
                if !ctx.printer.is_interactive() {
                    return Err(Refusal::invalid("asked.no_answer", "nobody can be asked here").hint("add `--yes`"));
                }
                if !ask::confirm(&format!("Remove {} with all its versions?", named(&info)))? {
                    return Err(Refusal::conflict("asked.cancelled", "cancelled"));
                }
            }
            let info: SecretInfo = ctx.delete(&path_of(ctx, &info).await?).await?;
            ctx.printer.answer(&info, || format!("{} is removed", named(&info)));
        }
        SecretVerb::RotateKey => {
            let _: Value = ctx.post(&ctx.org_path("/data-key/rotate").await?, &json!({})).await?;
            ctx.printer.answer(&json!({ "rotated": true }), || {
                "a new data key is in use; older values are encrypted anew in the background".to_owned()
            });
        }
    }
    Ok(ExitCode::Ok)
}

fn scope(ctx: &Context<'_>, place: &SecretPlace) -> SecretScope {
    match (&place.project, &ctx.workspace_flag) {
        (Some(project), _) => SecretScope::Project { project: project.clone() },
        (None, Some(workspace)) => SecretScope::Workspace { workspace: Slug::from_text(workspace) },
        (None, None) => SecretScope::Org,
    }
}

/// The secret of exactly this name and scope.
async fn find(ctx: &Context<'_>, place: &SecretPlace) -> Result<SecretInfo, Refusal> {
    let secrets: Secrets = ctx.get(&ctx.org_path("/secrets").await?).await?;
    let scope = scope(ctx, place);
    let found = secrets.secrets.into_iter().find(|secret| secret.name == place.name && secret.scope == scope);
    found.ok_or_else(|| {
        Refusal::not_found("secret.not_found", format!("there is no secret {} {}", place.name, of(&scope)))
            .hint("`envforge secret list` shows them; `--project` and `--workspace` say of which")
    })
}

async fn path_of(ctx: &Context<'_>, info: &SecretInfo) -> Result<String, Refusal> {
    ctx.org_path(&format!("/secrets/{}", info.id)).await
}

fn value(ctx: &Context<'_>) -> Result<Secret, Refusal> {
    if ctx.printer.is_interactive() {
        return ask::secret("Value:");
    }
    let mut text = String::new();
    // One more than allowed: the server says how much that is.
    let read = std::io::stdin().lock().take(VALUE_MAX as u64 + 3).read_to_string(&mut text);
    let text = Secret::new(text);
    if let Err(error) = read {
        return Err(Refusal::invalid("secret.no_value", format!("the value can't be read from stdin: {error}")));
    }
    // The line end that `echo` adds is not meant.
    let one_line = text.expose().strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(match one_line {
        Some(line) if !line.contains('\n') => Secret::new(line.to_owned()),
        _ => text,
    })
}

fn of(scope: &SecretScope) -> String {
    match scope {
        SecretScope::Org => "of the org".to_owned(),
        SecretScope::Project { project } => format!("of project {project}"),
        SecretScope::Workspace { workspace } => format!("of workspace {workspace}"),
    }
}

fn named(info: &SecretInfo) -> String {
    format!("{} {}", info.name, of(&info.scope))
}

fn list(secrets: &[SecretInfo]) -> String {
    if secrets.is_empty() {
        return "no secrets; `envforge secret set NAME` sets one".to_owned();
    }
    let row = |secret: &SecretInfo| {
        vec![
            secret.name.to_string(),
            of(&secret.scope).trim_start_matches("of ").to_owned(),
            secret.egress.as_ref().map_or_else(|| "services".to_owned(), |rule| rule.host.clone()),
            secret.version.to_string(),
            render::time(secret.set_at),
            secret.set_by.clone(),
            secret.last_used_at.map_or_else(|| "never".to_owned(), render::time),
        ]
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    render::table(&["SECRET", "KNOWN IN", "GIVEN TO", "VERSION", "SET", "BY", "LAST USED"], &rows)
}

fn list_versions(versions: &[SecretVersion]) -> String {
    let row = |version: &SecretVersion| {
        vec![
            version.version.to_string(),
            render::time(version.set_at),
            version.set_by.clone(),
            version.restored_from.map_or_else(String::new, |from| format!("restored from {from}")),
        ]
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    render::table(&["VERSION", "SET", "BY", ""], &rows)
}

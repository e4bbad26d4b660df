//! `envforge setting`: what is edited at run time, the org's or the installation's.
//!
//! Secrets come from a file, stdin or a hidden prompt, never from the command line.

use crate::args::{SettingChangeArguments, SettingScope, SettingVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::{ask, render};
use envforge_api::http::settings::{
    ChangeSetting, RestoreSetting, Setting, SettingField, SettingVersion, SettingVersions, Settings,
};
use envforge_core::refusal::Refusal;
use envforge_core::setting::TEXT_MAX;
use serde_json::{Map, Value};
use std::io::Read as _;

/// Lists, shows, changes and restores settings.
pub(crate) async fn setting(ctx: &mut Context<'_>, verb: SettingVerb) -> Result<ExitCode, Refusal> {
    match verb {
        SettingVerb::List(scope) => {
            let settings: Settings = ctx.get(&path(ctx, scope, "").await?).await?;
            ctx.printer.answer(&settings, || list(&settings));
        }
        SettingVerb::Show { name, scope } => {
            let setting: Setting = ctx.get(&path(ctx, scope, &name).await?).await?;
            ctx.printer.answer(&setting, || show(&setting));
        }
        SettingVerb::Set(arguments) => set(ctx, arguments).await?,
        SettingVerb::History { name, scope } => {
            let path = format!("{}/versions", path(ctx, scope, &name).await?);
            let history: SettingVersions = ctx.get(&path).await?;
            ctx.printer.answer(&history, || history.versions.iter().map(version).collect::<Vec<_>>().join("\n"));
        }
        SettingVerb::Restore { name, version, reason, scope } => {
            let path = format!("{}/restore", path(ctx, scope, &name).await?);
            let setting: Setting = ctx.post(&path, &RestoreSetting { version, reason }).await?;
            ctx.printer.answer(&setting, || told(&setting));
        }
        SettingVerb::Clear { name, scope } => {
            let setting: Setting = ctx.delete(&path(ctx, scope, &name).await?).await?;
            ctx.printer.answer(&setting, || format!("{name} is not set any more; its history stays"));
        }
    }
    Ok(ExitCode::Ok)
}

async fn path(ctx: &Context<'_>, scope: SettingScope, name: &str) -> Result<String, Refusal> {
    let name = if name.is_empty() { String::new() } else { format!("/{}", segment(name)) };
    if scope.installation {
        return Ok(format!("/v1/operator/settings{name}"));
    }
    ctx.org_path(&format!("/settings{name}")).await
}

async fn set(ctx: &mut Context<'_>, arguments: SettingChangeArguments) -> Result<(), Refusal> {
    let path = path(ctx, arguments.scope, &arguments.name).await?;
    // What it accepts, and the version this change is made from.
    let before: Setting = ctx.get(&path).await?;
    let mut values = Map::new();
    for (name, text) in arguments.fields {
        let value = value(before.fields.iter().find(|field| field.name == name), &text)?;
        values.insert(name, value);
    }
    for name in arguments.secrets {
        let secret = match name.split_once('=') {
            Some((name, file)) => (name.to_owned(), read(file)?),
            None if ctx.printer.is_interactive() => {
                let answer = ask::secret(&format!("{name}:"))?;
                (name, answer.expose().to_owned())
            }
            None => (name, read("-")?),
        };
        values.insert(secret.0, Value::from(secret.1));
    }
    values.extend(arguments.unset.into_iter().map(|name| (name, Value::Null)));
    let change = ChangeSetting { values, from_version: Some(before.summary.version), reason: arguments.reason };
    let setting: Setting = ctx.put(&path, &change).await?;
    ctx.printer.answer(&setting, || told(&setting));
    Ok(())
}

/// A text from the command line as the field takes it. One that does not fit goes as it is: the server says what does.
fn value(field: Option<&SettingField>, text: &str) -> Result<Value, Refusal> {
    let kind = field.map_or("text", |field| field.kind.as_str());
    if kind == "secret" {
        let message = "a secret on the command line can be read by every user of the machine";
        return Err(Refusal::invalid("setting.secret_in_arguments", message)
            .hint("`--secret FIELD` asks for it, `--secret FIELD=FILE` reads it"));
    }
    Ok(match kind {
        "number" => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        "flag" => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    })
}

fn read(file: &str) -> Result<String, Refusal> {
    let mut text = String::new();
    let limit = TEXT_MAX as u64 + 2;
    let done = if file == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        fs_err::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    done.map_err(|error| Refusal::invalid("setting.secret_file", format!("the secret can't be read: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn told(setting: &Setting) -> String {
    format!("{} is at version {}", setting.summary.name, setting.summary.version)
}

fn list(settings: &Settings) -> String {
    let rows: Vec<_> = settings
        .settings
        .iter()
        .map(|setting| {
            let state = if setting.is_set { "set" } else { "-" };
            let changed = setting.changed_at.map_or_else(|| "-".to_owned(), render::time);
            vec![setting.name.clone(), state.to_owned(), changed, setting.about.clone()]
        })
        .collect();
    render::table(&["SETTING", "STATE", "CHANGED", "WHAT IT IS FOR"], &rows)
}

fn show(setting: &Setting) -> String {
    let rows: Vec<_> = setting
        .fields
        .iter()
        .map(|field| {
            let value = match &field.value {
                Some(value) => plain(value),
                None if field.is_set => "(secret)".to_owned(),
                None if field.is_required => "- (required)".to_owned(),
                None => "-".to_owned(),
            };
            vec![field.name.clone(), value, field.about.clone()]
        })
        .collect();
    format!("{}\n{}", told(setting), render::table(&["FIELD", "VALUE", "WHAT IT IS"], &rows))
}

fn version(version: &SettingVersion) -> String {
    let restored = version.restored.map_or_else(String::new, |number| format!(", restores {number}"));
    let mut lines = vec![format!(
        "{}  {}  {}{restored}: {}",
        version.version,
        render::time(version.changed_at),
        version.changed_by,
        version.reason
    )];
    for change in &version.changes {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(secret)".to_owned(), plain);
        let what = match change.change.as_str() {
            "added" => format!("+ {} = {}", change.field, shown(&change.after)),
            "removed" => format!("- {} = {}", change.field, shown(&change.before)),
            _ => format!("~ {}: {} -> {}", change.field, shown(&change.before), shown(&change.after)),
        };
        lines.push(format!("    {what}"));
    }
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

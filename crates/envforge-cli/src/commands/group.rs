//! `envforge group`: who sees restricted projects together.

use crate::args::GroupVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::orgs::{Groups, NameGroup};
use envforge_core::refusal::Refusal;
use serde_json::{Value, json};

/// The verbs of `envforge group`.
pub(crate) async fn group(ctx: &mut Context<'_>, verb: GroupVerb) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path("/groups").await?;
    match verb {
        GroupVerb::List => show(ctx, &ctx.get(&path).await?),
        GroupVerb::Create { group } => {
            let groups = ctx.post(&path, &NameGroup { name: group }).await?;
            show(ctx, &groups);
        }
        GroupVerb::Rename { group, name } => {
            let groups = ctx.put(&format!("{path}/{group}"), &NameGroup { name }).await?;
            show(ctx, &groups);
        }
        GroupVerb::Delete { group } => {
            let _: Value = ctx.delete(&format!("{path}/{group}")).await?;
            ctx.printer.answer(&json!({ "deleted": group }), || format!("{group} is deleted"));
        }
        GroupVerb::Add { group, user } => {
            let _: Value = ctx.put(&format!("{path}/{group}/members/{user}"), &json!({})).await?;
            ctx.printer.answer(&json!({ "group": group, "added": user }), || format!("{user} is in {group}"));
        }
        GroupVerb::Remove { group, user } => {
            let _: Value = ctx.delete(&format!("{path}/{group}/members/{user}")).await?;
            ctx.printer.answer(&json!({ "group": group, "removed": user }), || format!("{user} is not in {group}"));
        }
    }
    Ok(ExitCode::Ok)
}

fn show(ctx: &Context<'_>, groups: &Groups) {
    ctx.printer.answer(groups, || {
        if groups.groups.is_empty() {
            return "no groups; `envforge group create <name>` makes one".to_owned();
        }
        let rows: Vec<_> =
            groups.groups.iter().map(|group| vec![group.name.to_string(), group.members.len().to_string()]).collect();
        render::table(&["GROUP", "MEMBERS"], &rows)
    });
}

//! `envforge member`: who is in the org, and as what.

use crate::args::MemberVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::orgs::{Member, Members, UpdateMember};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use serde_json::{Value, json};

/// The verbs of `envforge member`.
pub(crate) async fn member(ctx: &mut Context<'_>, verb: MemberVerb) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path("/members").await?;
    match verb {
        MemberVerb::List => {
            let members: Members = ctx.get(&path).await?;
            let rows: Vec<_> = members.members.iter().map(row).collect();
            ctx.printer.answer(&members, || render::table(&["USER", "NAME", "ROLE", "GROUPS"], &rows));
        }
        MemberVerb::Role { user, role } => {
            let _: Value = ctx.put(&format!("{path}/{user}"), &UpdateMember { role }).await?;
            ctx.printer.answer(&json!({ "user": user, "role": role }), || format!("{user} is {role} from now on"));
        }
        MemberVerb::Remove { user } => {
            let _: Value = ctx.delete(&format!("{path}/{user}")).await?;
            ctx.printer.answer(&json!({ "removed": user }), || format!("{user} is no member any more"));
        }
    }
    Ok(ExitCode::Ok)
}

fn row(member: &Member) -> Vec<String> {
    let groups: Vec<_> = member.groups.iter().map(Slug::as_str).collect();
    vec![member.user.to_string(), printable(&member.name), member.role.to_string(), groups.join(" ")]
}

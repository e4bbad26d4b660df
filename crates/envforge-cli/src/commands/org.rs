//! `envforge org`: the orgs one is in, and which one is meant.

use crate::args::OrgVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::accounts::Me;
use envforge_api::http::activity::IdleLimit;
use envforge_api::http::orgs::{CreateOrg, Org, UpdateOrg};
use envforge_core::refusal::Refusal;
use serde_json::json;

/// The verbs of `envforge org`.
pub(crate) async fn org(ctx: &mut Context<'_>, verb: OrgVerb) -> Result<ExitCode, Refusal> {
    match verb {
        OrgVerb::List => {
            let me: Me = ctx.get("/v1/me").await?;
            let rows: Vec<_> = me.orgs.iter().map(|org| vec![org.slug.to_string(), org.role.to_string()]).collect();
            ctx.printer.answer(&json!({ "orgs": me.orgs }), || {
                if rows.is_empty() {
                    return "no orgs; ask to be invited into one: `envforge invite accept`".to_owned();
                }
                render::table(&["ORG", "ROLE"], &rows)
            });
        }
        OrgVerb::Create { slug, name } => {
            let made: Org = ctx.post("/v1/orgs", &CreateOrg { slug, name }).await?;
            ctx.printer
                .answer(&made, || format!("{} is there and yours; `envforge org use {0}` chooses it", made.slug));
        }
        OrgVerb::Rename { name } => {
            let path = ctx.org_path("").await?;
            let org: Org = ctx.put(&path, &UpdateOrg { name }).await?;
            ctx.printer.answer(&org, || format!("{} is now called {}", org.slug, printable(&org.name)));
        }
        OrgVerb::Use { slug } => {
            let org: Org = ctx.get(&format!("/v1/orgs/{slug}")).await?;
            ctx.use_org(&org.slug)?;
            ctx.printer.answer(&json!({ "org": org.slug }), || format!("{} is used from now on", org.slug));
        }
        OrgVerb::IdleLimit { limit } => {
            let path = ctx.org_path("/idle-limit").await?;
            idle_limit(ctx, &path, limit).await?;
        }
    }
    Ok(ExitCode::Ok)
}

/// Shows or sets the idle limit of an org or a project.
pub(crate) async fn idle_limit(ctx: &Context<'_>, path: &str, limit: Option<IdleLimit>) -> Result<(), Refusal> {
    let now: IdleLimit = match limit {
        Some(limit) => ctx.put(path, &limit).await?,
        None => ctx.get(path).await?,
    };
    ctx.printer.answer(&now, || match now.seconds {
        Some(seconds) => format!("runtimes sleep after {} without work, or sooner", render::duration(seconds.into())),
        None => "no limit: runtimes sleep when envforge.yml says".to_owned(),
    });
    Ok(())
}

//! `envforge link`: share a service by a signed link.

use crate::args::{LinkCreate, LinkVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::links::{CreateLink, CreatedLink, Link, LinkState, Links, Visits};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::usage::format_money;
use serde_json::{Value, json};

/// Makes, lists and revokes links.
pub(crate) async fn link(ctx: &mut Context<'_>, verb: LinkVerb) -> Result<ExitCode, Refusal> {
    match verb {
        LinkVerb::Create(arguments) => {
            let slug = ctx.workspace(None)?;
            let created = create(ctx, &slug, arguments).await?;
            ctx.printer.answer(&created, || created.url.clone());
            ctx.printer.note(&about(&created.link));
        }
        LinkVerb::List => {
            let slug = ctx.workspace(None)?;
            let path = ctx.workspace_path(&slug, "/links").await?;
            let links: Links = ctx.get(&path).await?;
            ctx.printer.answer(&links, || list(&links.links));
        }
        LinkVerb::Visits(arguments) => {
            let mut path = format!("/links/{}/visits?limit={}", segment(&arguments.link), arguments.limit);
            if let Some(before) = arguments.before {
                path = format!("{path}&before={}", segment(&before));
            }
            let page: Visits = ctx.get(&ctx.org_path(&path).await?).await?;
            ctx.printer.answer(&page, || visits(&page));
            if let Some(next) = page.next {
                ctx.printer.note(&format!("there are more: `--before {next}`"));
            }
        }
        LinkVerb::Revoke { link } => {
            let path = ctx.org_path(&format!("/links/{}", segment(&link))).await?;
            let _: Value = ctx.delete(&path).await?;
            ctx.printer
                .answer(&json!({ "revoked": link }), || format!("{link} is revoked: it stops opening within a second"));
        }
    }
    Ok(ExitCode::Ok)
}

/// Asks for a link; the server says what is missing when the service can't be shared yet.
pub(crate) async fn create(ctx: &Context<'_>, slug: &Slug, arguments: LinkCreate) -> Result<CreatedLink, Refusal> {
    let path = ctx.workspace_path(slug, "/links").await?;
    let body = CreateLink {
        service: arguments.service,
        expires_in_minutes: Some(arguments.expires),
        visit_budget: if arguments.once { Some(1) } else { arguments.visits },
        wake_budget: arguments.wakes,
        minute_budget: arguments.minutes,
        routes: arguments.routes,
    };
    ctx.post(&path, &body).await
}

/// What the person who shares it should know.
pub(crate) fn about(link: &Link) -> String {
    let visits = link.visit_budget.map_or_else(String::new, |visits| format!(", at most {visits} visits"));
    let routes = if link.routes.is_empty() { String::new() } else { format!(" {}", link.routes.join(" and ")) };
    format!(
        "opens{routes} until {}{visits}, at most {} wakes and {} awake minutes; `envforge link revoke {}` closes it",
        render::time(link.expires_at),
        link.wake_budget,
        link.minute_budget,
        link.id
    )
}

/// Longest user agent in a table, in characters; `--json` has it whole.
const AGENT_SHOWN: usize = 40;

fn visits(page: &Visits) -> String {
    if page.visits.is_empty() {
        return "nobody came through this link yet".to_owned();
    }
    let rows = page.visits.iter().map(|visit| {
        let woke = match visit.windows.as_slice() {
            [] => "nothing".to_owned(),
            [window] => render::time(window.opened_at),
            [first, ..] => format!("{} times from {}", visit.windows.len(), render::time(first.opened_at)),
        };
        let is_open = visit.windows.iter().any(|window| window.closed_at.is_none());
        let awake = render::duration(visit.awake_seconds);
        let agent = visit.user_agent.as_deref().unwrap_or_default().chars().take(AGENT_SHOWN).collect();
        let cost = format_money(visit.cost_micros, &page.currency);
        let awake = if is_open { format!("{awake} so far") } else { awake };
        vec![visit.session.to_string(), render::time(visit.at), agent, woke, awake, cost]
    });
    render::table(&["VISIT", "AT", "USER AGENT", "WOKE", "AWAKE", "COST"], &rows.collect::<Vec<_>>())
}

fn list(links: &[Link]) -> String {
    if links.is_empty() {
        return "no links; `envforge link create <service>` makes one".to_owned();
    }
    let rows: Vec<_> = links
        .iter()
        .map(|link| {
            let state = match link.state {
                LinkState::Active => "active",
                LinkState::Expired => "expired",
                LinkState::Revoked => "revoked",
            };
            let visits =
                link.visit_budget.map_or_else(|| link.visits.to_string(), |budget| format!("{}/{budget}", link.visits));
            vec![
                link.id.to_string(),
                link.service.clone(),
                state.to_owned(),
                render::time(link.expires_at),
                visits,
                format!("{}/{}", link.wakes, link.wake_budget),
                format!("{}/{}", link.minutes, link.minute_budget),
            ]
        })
        .collect();
    render::table(&["LINK", "SERVICE", "STATE", "EXPIRES", "VISITS", "WAKES", "MINUTES"], &rows)
}

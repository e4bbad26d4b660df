//! `envforge usage`: what the org used in a month.

use crate::args::Usage;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::usage::OrgUsage;
use envforge_core::refusal::Refusal;
use envforge_core::usage::format_money;
use std::fmt::Write as _;

/// Shows it, in the form wanted.
pub(crate) async fn usage(ctx: &Context<'_>, arguments: &Usage) -> Result<ExitCode, Refusal> {
    let query = arguments.month.map(|month| format!("?month={month}")).unwrap_or_default();
    let path = ctx.org_path(&format!("/usage{query}")).await?;
    let usage: OrgUsage = ctx.get(&path).await?;
    if arguments.csv {
        ctx.printer.text(&csv(&usage));
    } else {
        ctx.printer.answer(&usage, || table(&usage));
    }
    Ok(ExitCode::Ok)
}

fn table(usage: &OrgUsage) -> String {
    let mut rows: Vec<Vec<String>> = usage
        .workspaces
        .iter()
        .map(|used| {
            let name = if used.is_deleted { format!("{} (deleted)", used.slug) } else { used.slug.to_string() };
            vec![
                used.project.to_string(),
                name,
                render::duration(used.awake_seconds),
                format_money(used.cost_micros, &usage.currency),
                render::cap(used.cap, used.cap_posture, &usage.currency),
            ]
        })
        .collect();
    let cap =
        usage.cap_posture.map_or_else(|| "-".to_owned(), |posture| render::cap(usage.cap, posture, &usage.currency));
    let money = format_money(usage.cost_micros, &usage.currency);
    rows.push(vec!["all".to_owned(), String::new(), render::duration(usage.awake_seconds), money, cap]);
    let so_far = if usage.is_over { "" } else { " so far" };
    let table = render::table(&["PROJECT", "WORKSPACE", "AWAKE", "COST", "CAP"], &rows);
    let caps: Vec<_> = usage.caps.iter().map(render::standing).collect();
    format!("{}{so_far}\n{table}{}", usage.month, caps.join("\n"))
}

/// Slugs and numbers only: nothing needs quotes.
fn csv(usage: &OrgUsage) -> String {
    let mut text =
        "month,project,workspace,deleted,small_seconds,medium_seconds,large_seconds,cost_micros,currency".to_owned();
    for used in &usage.workspaces {
        let seconds = used.seconds;
        let _ = write!(
            text,
            "\n{},{},{},{},{},{},{},{},{}",
            usage.month,
            used.project,
            used.slug,
            used.is_deleted,
            seconds.small,
            seconds.medium,
            seconds.large,
            used.cost_micros,
            usage.currency
        );
    }
    text
}

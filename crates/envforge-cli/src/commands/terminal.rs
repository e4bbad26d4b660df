//! `envforge terminal`: the terminals of a workspace's shell.

use crate::args::TerminalVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::terminal::Terminals;
use envforge_core::refusal::Refusal;

/// Lists terminals and ends them.
pub(crate) async fn terminal(ctx: &Context<'_>, verb: TerminalVerb) -> Result<ExitCode, Refusal> {
    match verb {
        TerminalVerb::List(named) => {
            let slug = ctx.workspace(named.name.as_deref())?;
            let all: Terminals = ctx.get(&ctx.workspace_path(&slug, "/terminals").await?).await?;
            ctx.printer.answer(&all, || list(&all));
        }
        TerminalVerb::End { terminal } => {
            let slug = ctx.workspace(None)?;
            let left: Terminals =
                ctx.delete(&ctx.workspace_path(&slug, &format!("/terminals/{terminal}")).await?).await?;
            ctx.printer.answer(&left, || format!("terminal {terminal} of {slug} is ended"));
        }
    }
    Ok(ExitCode::Ok)
}

fn list(all: &Terminals) -> String {
    if all.terminals.is_empty() {
        return "no terminal is open; `envforge attach` opens one".to_owned();
    }
    let rows: Vec<_> = all
        .terminals
        .iter()
        .map(|terminal| {
            vec![
                terminal.name.to_string(),
                render::time(terminal.since),
                terminal.clients.to_string(),
                format!("{}x{}", terminal.cols, terminal.rows),
                printable(&terminal.command),
            ]
        })
        .collect();
    render::table(&["TERMINAL", "SINCE", "CLIENTS", "SIZE", "PROGRAM"], &rows)
}

//! `envforge attach`: the shell, at once.
//!
//! The fast path: with org and workspace known from flags, environment, configuration or the checkout, the first
//! thing that leaves this machine is the terminal's own connection.

use crate::args::Attach;
use crate::attach::{self, Shell};
use crate::context::Context;
use crate::exit::ExitCode;
use envforge_core::refusal::Refusal;

/// Attaches to a terminal of a workspace's shell.
pub(crate) async fn attach(ctx: &mut Context<'_>, arguments: Attach) -> Result<ExitCode, Refusal> {
    needs_terminal(ctx)?;
    let workspace = ctx.workspace(arguments.name.as_deref())?;
    let org = ctx.org().await?;
    ctx.remember_org(&org);
    Box::pin(attach::attach(ctx, &Shell::new(ctx, org, workspace)?.terminal(arguments.terminal))).await
}

/// Refuses what is not a person at a terminal.
pub(crate) fn needs_terminal(ctx: &Context<'_>) -> Result<(), Refusal> {
    if ctx.printer.is_json() {
        return Err(Refusal::invalid("attach.no_json", "a shell has no JSON form")
            .hint("`envforge run --json -- command` runs a command and answers with its lines and its end"));
    }
    if !ctx.printer.has_terminal() {
        return Err(Refusal::invalid("attach.no_terminal", "attaching needs a terminal on stdin and stdout")
            .hint("without one: `envforge run -- command`, `envforge status`, `envforge logs <service>`"));
    }
    Ok(())
}

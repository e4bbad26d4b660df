//! `envforge sleep`: billing stops, the shell stays.
//!
//! The five answers it owes are facts, not promises: it waits until the host has reported the sleep, and reads
//! the receipt, before it says that billing stopped. What is not so is said as it is.

use crate::args::Sleep;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::readiness;
use crate::render;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::{self, Workspace};
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{RuntimeState, SleepTier};
use envforge_core::usage::{Receipt, format_money};
use serde::Serialize;
use std::time::Duration;

/// How long a sleep may take before it is only said to be under way.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// What `sleep` answers.
#[derive(Serialize)]
struct Slept {
    workspace: Workspace,
    billing_stopped: bool,
    shell_available: bool,
    data_persisted: bool,
    links_can_wake: bool,
    recorded: bool,
    receipt: Option<Receipt>,
}

/// Puts a runtime to sleep.
pub(crate) async fn sleep(ctx: &mut Context<'_>, sleep: Sleep) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(sleep.name.as_deref())?;
    let tier = if sleep.stop { SleepTier::Stopped } else { SleepTier::Frozen };
    let path = ctx.workspace_path(&slug, "/sleep").await?;
    let mut workspace: Workspace = ctx.post(&path, &workspaces::Sleep { tier }).await?;
    if !sleep.no_wait && !is_asleep(&workspace, tier) {
        let asleep = |workspace: &Workspace| is_asleep(workspace, tier).then_some(());
        let waiting = readiness::wait(ctx, &slug, None, "falling asleep", asleep);
        if let Ok(slept) = tokio::time::timeout(SLEEP_MAX, waiting).await {
            (workspace, ()) = slept?;
        }
    }
    let path = ctx.workspace_path(&slug, "/usage").await?;
    let usage: WorkspaceUsage = ctx.get(&path).await?;
    let billing_stopped = is_asleep(&workspace, SleepTier::Frozen) && usage.awake_since.is_none();
    let answer = Slept {
        billing_stopped,
        shell_available: workspace.shell.state != ReadinessState::Blocked,
        // Sleep touches no storage, and links and ledger live in the control plane: these hold by construction.
        data_persisted: true,
        links_can_wake: true,
        recorded: true,
        receipt: usage.receipts.into_iter().next(),
        workspace,
    };
    ctx.printer.answer(&answer, || text(&answer));
    Ok(if billing_stopped || sleep.no_wait { ExitCode::Ok } else { ExitCode::Failed })
}

/// Whether it sleeps at least as deep as asked.
fn is_asleep(workspace: &Workspace, tier: SleepTier) -> bool {
    match workspace.runtime.state {
        RuntimeState::Asleep => true,
        RuntimeState::Frozen => tier == SleepTier::Frozen,
        _ => false,
    }
}

fn text(slept: &Slept) -> String {
    use std::fmt::Write as _;
    let workspace = &slept.workspace;
    let slug = &workspace.slug;
    let state = match workspace.runtime.state {
        RuntimeState::Frozen => "is asleep (paused: connections stay open, a wake takes milliseconds)",
        RuntimeState::Asleep => "is asleep (stopped)",
        _ => "is going to sleep",
    };
    let mut text = format!("{slug} {state}\n");
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:25}{value}");
    };
    let used = slept.receipt.as_ref().map_or_else(
        || "nothing was used".to_owned(),
        |receipt| {
            format!(
                "{} awake, {}",
                render::duration(receipt.awake_seconds),
                format_money(receipt.cost_micros, &receipt.currency)
            )
        },
    );
    if slept.billing_stopped {
        row("billing stopped", &used);
    } else {
        row("billing not stopped yet", "it ends when the host reports the sleep; `envforge status` shows it");
    }
    if slept.shell_available {
        row("shell still available", &format!("envforge attach {slug}"));
    } else {
        row("shell blocked", workspace.shell.cause.as_deref().unwrap_or("see `envforge status`"));
    }
    row("data persisted", "checkout, databases, logs");
    row("links can wake it later", "within their wake budgets; so can `envforge wake` and `envforge run`");
    let receipt = slept
        .receipt
        .as_ref()
        .map_or_else(|| "in the ledger".to_owned(), |receipt| format!("in the ledger, receipt {}", receipt.session));
    row("wake and sleep recorded", &receipt);
    text
}

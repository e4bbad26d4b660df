//! `envforge receipt` and `envforge receipts`: what sessions did and cost, and whether the ledger says the same.

use crate::args::{ReceiptArgs, ReceiptsArgs};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::ledger::{LEDGER_LIMIT_MAX, LedgerEvents, ListedEvent};
use envforge_api::http::receipts::{KeptReceipt, MonthReceipts, Receipts};
use envforge_core::id::UsageSessionId;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::usage::receipt::{Deed, FINAL_VERB, canonical_text, hash};
use envforge_core::usage::{Month, SessionReceipt, format_money, receipts_csv};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Shows, or checks, the receipt of a session.
pub(crate) async fn receipt(ctx: &Context<'_>, arguments: &ReceiptArgs) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let session = if let Some(session) = arguments.session { session } else { newest(ctx, &slug).await? };
    let kept: KeptReceipt = ctx.get(&ctx.workspace_path(&slug, &format!("/receipts/{session}")).await?).await?;
    let receipt = read(&kept.receipt)?;
    if arguments.verify {
        return verify(ctx, &kept, &receipt).await;
    }
    if arguments.csv {
        ctx.printer.text(receipts_csv([(&receipt, kept.sha256.map(|hash| hash.to_string()))]).trim_end());
    } else {
        ctx.printer.answer(&kept, || text(&receipt, &kept));
    }
    Ok(if kept.is_intact == Some(false) { ExitCode::Failed } else { ExitCode::Ok })
}

/// The workspace's last session, which may still be open.
async fn newest(ctx: &Context<'_>, slug: &Slug) -> Result<UsageSessionId, Refusal> {
    let newest: Receipts = ctx.get(&ctx.workspace_path(slug, "/receipts?limit=1").await?).await?;
    let newest = newest.receipts.first().map(|receipt| receipt.session);
    newest.ok_or_else(|| {
        Refusal::not_found("receipt.none", format!("workspace `{slug}` has no receipt yet"))
            .hint("one is kept after every full sleep: `envforge sleep --stop`")
    })
}

fn read(receipt: &Value) -> Result<SessionReceipt, Refusal> {
    serde_json::from_value(receipt.clone()).map_err(|error| {
        Refusal::invalid("receipt.unreadable", format!("this is no receipt: {error}"))
            .hint("`--json` shows it as it is; a newer envforge may read it")
    })
}

/// Computes the hash anew, and looks it up in the ledger itself.
async fn verify(ctx: &Context<'_>, kept: &KeptReceipt, receipt: &SessionReceipt) -> Result<ExitCode, Refusal> {
    if !receipt.is_final {
        let message = format!("the session {} is still open: its receipt is not final", receipt.session);
        return Err(Refusal::conflict("receipt.not_final", message).hint("after a full sleep: `envforge sleep --stop`"));
    }
    let found = hash(&canonical_text(&kept.receipt)).to_string();
    let event = event_of(ctx, receipt).await?;
    let recorded = event.as_ref().and_then(|listed| listed.event.details["sha256"].as_str()).map(str::to_owned);
    let holds = recorded.as_ref() == Some(&found);
    let position = event.as_ref().and_then(|listed| listed.seal).map(|seal| seal.position);
    let answer = json!({ "session": receipt.session, "holds": holds, "sha256": found, "recorded": recorded, "position": position });
    ctx.printer.answer(&answer, || match (&recorded, holds) {
        (Some(_), true) => {
            let place = position.map_or_else(|| "not sealed yet".to_owned(), |position| format!("position {position}"));
            format!("{} holds: the ledger has its hash ({place})\n  sha256  {found}", receipt.session)
        }
        (Some(recorded), false) => {
            format!("{} was CHANGED\n  sha256  {found}\n  ledger  {recorded}", receipt.session)
        }
        (None, _) => format!("{} is not in the ledger\n  sha256  {found}", receipt.session),
    });
    if holds {
        ctx.printer.note("`envforge ledger export` and `envforge ledger verify` check the chain that it is in");
    }
    Ok(if holds { ExitCode::Ok } else { ExitCode::Failed })
}

/// The ledger's event of a receipt.
async fn event_of(ctx: &Context<'_>, receipt: &SessionReceipt) -> Result<Option<ListedEvent>, Refusal> {
    let (workspace, session) = (receipt.workspace, receipt.session.to_string());
    let mut cursor = String::new();
    loop {
        let query =
            format!("/ledger?verb={FINAL_VERB}&subject={workspace}&order=oldest&limit={LEDGER_LIMIT_MAX}{cursor}");
        let page: LedgerEvents = ctx.get(&ctx.org_path(&query).await?).await?;
        let is_it = |listed: &ListedEvent| listed.event.details["session"].as_str() == Some(&session);
        if let Some(found) = page.events.into_iter().find(is_it) {
            return Ok(Some(found));
        }
        let Some(next) = page.next else { return Ok(None) };
        cursor = format!("&cursor={}", segment(&next));
    }
}

/// Lists receipts: a workspace's, or the organization's of a month.
pub(crate) async fn receipts(ctx: &Context<'_>, arguments: &ReceiptsArgs) -> Result<ExitCode, Refusal> {
    if let Some(month) = arguments.month {
        return of_month(ctx, month, arguments.csv).await;
    }
    let slug = ctx.workspace(None)?;
    let cursor = arguments.cursor.as_ref().map(|cursor| format!("&cursor={}", segment(cursor))).unwrap_or_default();
    let path = ctx.workspace_path(&slug, &format!("/receipts?limit={}{cursor}", arguments.limit)).await?;
    let found: Receipts = ctx.get(&path).await?;
    if arguments.csv {
        ctx.printer.text(&in_csv(ctx, &slug, &found).await?);
        return Ok(ExitCode::Ok);
    }
    ctx.printer.answer(&found, || {
        if found.receipts.is_empty() {
            return "no receipts yet; one is kept after every full sleep".to_owned();
        }
        let rows: Vec<Vec<String>> = found
            .receipts
            .iter()
            .map(|receipt| {
                vec![
                    receipt.session.to_string(),
                    receipt.opened_at.map_or_else(|| "-".to_owned(), render::time),
                    receipt.ended_at.map_or_else(|| "still open".to_owned(), render::time),
                    render::duration(receipt.awake_seconds),
                    format_money(receipt.cost_micros, &receipt.currency),
                    receipt.wake_cause.as_deref().map_or_else(|| "-".to_owned(), printable),
                ]
            })
            .collect();
        render::table(&["SESSION", "FROM", "ENDED", "AWAKE", "COST", "WOKEN BY"], &rows)
    });
    if let Some(next) = &found.next {
        ctx.printer.note(&format!("there are more: --cursor {next}"));
    }
    Ok(ExitCode::Ok)
}

async fn in_csv(ctx: &Context<'_>, slug: &Slug, found: &Receipts) -> Result<String, Refusal> {
    let mut whole = Vec::new();
    for summary in &found.receipts {
        let path = ctx.workspace_path(slug, &format!("/receipts/{}", summary.session)).await?;
        let kept: KeptReceipt = ctx.get(&path).await?;
        whole.push((read(&kept.receipt)?, kept.sha256.map(|hash| hash.to_string())));
    }
    Ok(receipts_csv(whole.iter().map(|(receipt, hash)| (receipt, hash.clone()))).trim_end().to_owned())
}

async fn of_month(ctx: &Context<'_>, month: Month, is_csv: bool) -> Result<ExitCode, Refusal> {
    let (mut receipts, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = ctx.org_path(&format!("/receipts?format=json&month={month}{cursor}")).await?;
        let page: MonthReceipts = ctx.get(&path).await?;
        receipts.extend(page.receipts);
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={}", segment(&next));
    }
    if is_csv {
        let hashes = receipts.iter().map(|receipt| hash(&canonical_text(receipt)).to_string());
        let read = receipts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        ctx.printer.text(receipts_csv(read.iter().zip(hashes.map(Some))).trim_end());
        return Ok(ExitCode::Ok);
    }
    let all = MonthReceipts { month, receipts, next: None };
    let read = all.receipts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    ctx.printer.answer(&all, || {
        let rows: Vec<Vec<String>> = read
            .iter()
            .map(|receipt| {
                vec![
                    receipt.session.to_string(),
                    receipt.project.to_string(),
                    receipt.workspace_slug.to_string(),
                    receipt.ended.as_ref().map_or_else(|| "-".to_owned(), |ended| render::time(ended.at)),
                    render::duration(receipt.awake_seconds),
                    format_money(receipt.cost_micros, &receipt.currency),
                ]
            })
            .collect();
        format!("{month}\n{}", render::table(&["SESSION", "PROJECT", "WORKSPACE", "ENDED", "AWAKE", "COST"], &rows))
    });
    Ok(ExitCode::Ok)
}

/// The receipt for people.
fn text(receipt: &SessionReceipt, kept: &KeptReceipt) -> String {
    let say = |text: &str| printable(&named(text, &kept.names));
    let mut out = format!("{} / {} ({})\n", receipt.project, receipt.workspace_slug, printable(&receipt.branch));
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(out, "  {label:18}  {value}");
    };
    row("session", &receipt.session.to_string());
    row("final", if receipt.is_final { "yes" } else { "no: the session is still open, figures grow" });
    if let Some(opened) = &receipt.opened {
        row("opened by", &format!("{}, {}: {}", say(&opened.by), render::time(opened.at), say(&opened.cause)));
    }
    if let Some(ended) = &receipt.ended {
        row("ended", &format!("{}: {}", render::time(ended.at), say(&ended.cause)));
    }
    row("awake", &render::duration(receipt.awake_seconds));
    row("cost", &format_money(receipt.cost_micros, &receipt.currency));
    for uncertain in &receipt.uncertain {
        row("uncertain", &printable(uncertain));
    }
    if !receipt.provider_billed.is_empty() {
        row("billed elsewhere", &printable(&receipt.provider_billed.join(", ")));
    }
    if let Some(hash) = kept.sha256 {
        row("sha256", &hash.to_string());
    }
    if kept.is_intact == Some(false) {
        row("CHANGED", "it is not the one whose hash the ledger has; `--verify` tells more");
    }
    out.push_str("windows\n");
    for window in &receipt.windows {
        let end = window.closed_at.map_or_else(|| "still open".to_owned(), render::time);
        let (duration, cost) = (render::duration(window.seconds), format_money(window.cost_micros, &receipt.currency));
        let _ = write!(out, "  {} to {end}  {}  {duration}  {cost}", render::time(window.opened_at), window.size);
        let _ = write!(out, "  woken by {}", say(&window.wake_cause));
        let ended = window.end_cause.as_deref().map(|cause| format!(", ended: {}", say(cause))).unwrap_or_default();
        let _ = writeln!(out, "{ended}");
    }
    list(
        &mut out,
        "ran",
        receipt.ran.iter().map(|ran| {
            let exit =
                ran.exit_code.map_or_else(|| "exit code not known".to_owned(), |code| format!("exit code {code}"));
            format!("{}  {} {}  by {}, {exit}", render::time(ran.at), ran.what, printable(&ran.name), say(&ran.by))
        }),
    );
    list(
        &mut out,
        "commits",
        receipt.commits.iter().map(|commits| {
            format!("{} to {}, {} made", printable(&commits.from), printable(&commits.to), commits.made.len())
        }),
    );
    list(
        &mut out,
        "link visits",
        receipt.visits.iter().map(|visits| format!("{}: {}", printable(&visits.link), visits.count)),
    );
    list(&mut out, "members and root", receipt.entries.iter().map(|deed| told(deed, &kept.names)));
    list(
        &mut out,
        "secrets",
        receipt
            .secrets
            .iter()
            .map(|used| format!("{} by {}: {}", printable(&used.name), printable(&used.used_by), used.count)),
    );
    list(&mut out, "events", receipt.events.iter().map(|deed| told(deed, &kept.names)));
    if receipt.left_out > 0 {
        let _ = writeln!(out, "{} more entries are left out", receipt.left_out);
    }
    out.trim_end().to_owned()
}

fn told(deed: &Deed, names: &BTreeMap<String, String>) -> String {
    let say = |text: &str| printable(&named(text, names));
    format!("{}  {} by {}: {}", render::time(deed.at), printable(&deed.verb), say(&deed.by), say(&deed.cause))
}

fn list(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(out, "{title}\n{}", lines.concat());
    }
}

/// What somebody is called, for an id in a text.
fn named(text: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
}

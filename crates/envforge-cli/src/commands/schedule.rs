//! `envforge schedule`: when a workspace wakes and sleeps by itself.

use crate::args::{ScheduleQuiet, ScheduleSet, ScheduleVerb};
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::schedules::{DueOutcome, LastDue, OrgQuietHours, SetSchedule, WorkspaceSchedule};
use envforge_core::refusal::Refusal;
use envforge_core::timetable::{DueAction, QuietHours, Skip, Timetable, TimetableEntry, parse_days, say_days};
use std::fmt::Write as _;

/// Show, set, clear; the org's quiet hours.
pub(crate) async fn schedule(ctx: &mut Context<'_>, verb: ScheduleVerb) -> Result<ExitCode, Refusal> {
    match verb {
        ScheduleVerb::Show => {
            let slug = ctx.workspace(None)?;
            let now: WorkspaceSchedule = ctx.get(&ctx.workspace_path(&slug, "/schedule").await?).await?;
            ctx.printer.answer(&now, || told(&now));
            Ok(ExitCode::Ok)
        }
        ScheduleVerb::Set(arguments) => set(ctx, Some(timetable(arguments)?)).await,
        ScheduleVerb::Clear => set(ctx, None).await,
        ScheduleVerb::Quiet(arguments) => quiet(ctx, arguments).await,
    }
}

fn timetable(arguments: ScheduleSet) -> Result<Timetable, Refusal> {
    let wakes = arguments.wake.iter().map(|text| TimetableEntry::parse(DueAction::Wake, text));
    let sleeps = arguments.sleep.iter().map(|text| TimetableEntry::parse(DueAction::Sleep, text));
    let timetable = Timetable { zone: arguments.zone, entries: wakes.chain(sleeps).collect::<Result<_, _>>()? };
    timetable.check()?;
    Ok(timetable)
}

async fn set(ctx: &Context<'_>, schedule: Option<Timetable>) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, "/schedule").await?;
    let now: WorkspaceSchedule = ctx.put(&path, &SetSchedule { schedule }).await?;
    ctx.printer.answer(&now, || told(&now));
    Ok(ExitCode::Ok)
}

fn word(action: DueAction) -> &'static str {
    match action {
        DueAction::Wake => "wakes",
        DueAction::Sleep => "sleeps",
    }
}

fn told(now: &WorkspaceSchedule) -> String {
    let Some(schedule) = &now.schedule else {
        return "no schedule: it wakes when it is needed and sleeps when it idles".to_owned();
    };
    let mut text = String::new();
    for entry in &schedule.entries {
        let (days, at, zone) = (say_days(&entry.days), printable(&entry.at), printable(&schedule.zone));
        let _ = writeln!(text, "{:6}  {days} {at} {zone}", word(entry.action));
    }
    if let Some(next) = now.next {
        let _ = writeln!(text, "next    {} at {}", word(next.action), render::time(next.at));
    }
    if let Some(last) = &now.last {
        let _ = writeln!(text, "last    {} at {}: {}", last.action.as_str(), render::time(last.at), outcome(last));
    }
    text
}

fn outcome(last: &LastDue) -> String {
    match &last.outcome {
        DueOutcome::Done => "done".to_owned(),
        DueOutcome::Skipped { reason } => match reason {
            Skip::Late => "left out, the server came to it too late",
            Skip::Quiet => "left out, it was in the organization's quiet hours",
            Skip::Asleep => "it slept already",
            Skip::WokenSince => "left out, somebody had woken it since",
        }
        .to_owned(),
        DueOutcome::Refused { code, message } => {
            format!("refused, {} ({})", printable(message), printable(code))
        }
    }
}

async fn quiet(ctx: &Context<'_>, arguments: ScheduleQuiet) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path("/quiet-hours").await?;
    let wanted = match (arguments.from, arguments.to, arguments.zone) {
        (Some(from), Some(to), Some(zone)) => {
            let days = parse_days(&arguments.days)?;
            let hours = QuietHours { zone, days, from, to, quiet_idle: arguments.idle };
            hours.check()?;
            Some(Some(hours))
        }
        _ if arguments.off => Some(None),
        _ => None,
    };
    let now: OrgQuietHours = match wanted {
        Some(quiet_hours) => ctx.put(&path, &OrgQuietHours { quiet_hours }).await?,
        None => ctx.get(&path).await?,
    };
    ctx.printer.answer(&now, || match &now.quiet_hours {
        None => "none: schedules wake at every hour".to_owned(),
        Some(hours) => format!(
            "{} {} to {} {}: no schedule wakes anything, and what idles for {} sleeps; visits wake as ever",
            say_days(&hours.days),
            printable(&hours.from),
            printable(&hours.to),
            printable(&hours.zone),
            render::duration(hours.quiet_idle.into())
        ),
    });
    Ok(ExitCode::Ok)
}

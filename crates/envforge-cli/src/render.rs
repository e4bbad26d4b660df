//! Workspaces, parts and usage as people read them. Pure: what is now is a parameter.

use crate::printer::printable;
use crate::readiness::HOST_LOST;
use envforge_api::http::caps::CapStanding;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::{RuntimeView, Workspace};
use envforge_core::idle::IdleVerdict;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::RuntimeState;
use envforge_core::usage::{Cap, CapLevel, CapMode, CapPosture, Receipt, format_money};
use jiff::Timestamp;
use std::fmt::Write as _;

/// The word for a readiness.
pub(crate) fn readiness(state: ReadinessState) -> &'static str {
    match state {
        ReadinessState::Ready => "ready",
        ReadinessState::Waking => "waking",
        ReadinessState::Blocked => "blocked",
        ReadinessState::Asleep => "asleep",
    }
}

/// The word for a part. What was ready before its host went away is on its way back with that.
fn word(part: &Part) -> &'static str {
    if part.state == ReadinessState::Ready && part.code.as_deref() == Some(HOST_LOST) {
        return readiness(ReadinessState::Waking);
    }
    readiness(part.state)
}

/// The public word for a runtime's state: frozen counts as asleep, stopping is on its way there.
pub(crate) fn runtime_word(state: RuntimeState) -> &'static str {
    match state {
        RuntimeState::Asleep | RuntimeState::Frozen | RuntimeState::Stopping => "asleep",
        RuntimeState::Waking => "waking",
        RuntimeState::Awake => "awake",
        RuntimeState::Blocked => "blocked",
    }
}

/// A length of time in its two largest units: `2 h 5 min`, `41 s`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let two = |a: u64, unit: &str, b: u64, smaller: &str| {
        if b == 0 { format!("{a} {unit}") } else { format!("{a} {unit} {b} {smaller}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => two(minutes, "min", rest, "s"),
        (0, _, _) => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

/// Time from `now` until `then`; nothing once it has passed.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(then.duration_since(now).as_secs()).unwrap_or(0)
}

/// A point in time, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Columns beside one another, each as wide as its widest cell; nothing trails.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([header[column].len()])
            .max()
    };
    let widths: Vec<_> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    let head: Vec<_> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Why it is awake, or when it sleeps, in words.
pub(crate) fn idle(verdict: &IdleVerdict, now: Timestamp) -> String {
    match verdict {
        IdleVerdict::Busy { reason, earliest: None, .. } => format!("stays awake: {}", printable(reason)),
        IdleVerdict::Busy { reason, earliest: Some(at), .. } => {
            format!("sleeps in {} at the earliest; it is held by {}", duration(until(*at, now)), printable(reason))
        }
        IdleVerdict::Idle { sleeps_at } => {
            format!("sleeps in {} unless something starts", duration(until(*sleeps_at, now)))
        }
        IdleVerdict::Sleep { reason } => format!("goes to sleep now: {reason}"),
    }
}

/// What is said of the runtime beside its state.
fn runtime_details(runtime: &RuntimeView, now: Timestamp) -> String {
    let mut details = vec![runtime.size.to_string()];
    if runtime.state == RuntimeState::Frozen {
        details.push("paused, wakes in milliseconds".to_owned());
    }
    if let Some(since) = runtime.awake_since {
        details.push(format!("awake for {}", duration(until(now, since))));
    }
    if let Some(cause) = &runtime.wake_cause {
        details.push(format!("woken by {}", printable(cause)));
    }
    details.join(", ")
}

/// The lines after the first stand beneath it: after a line break, and as far from the margin as follows in `margin`.
fn beneath(text: &str, margin: &str) -> String {
    let mut lines = text.lines().map(str::trim_end);
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push_str(if line.is_empty() { "\n" } else { margin });
        out.push_str(line);
    }
    out
}

/// A part's line: name, state, what else is known; and its fix below.
fn part_line(text: &mut String, name: &str, width: usize, state: &str, details: &str, fix: Option<&str>) {
    let margin = format!("\n  {:width$}  {:7}  ", "", "");
    let line = format!("  {name:width$}  {state:7}  {}", beneath(details, &margin));
    text.push_str(line.trim_end());
    if let Some(fix) = fix {
        let _ = write!(text, "{margin}fix: {}", beneath(&printable(fix), &margin));
    }
    text.push('\n');
}

/// What is known of a part beyond its state.
fn part_details(part: &Part, workspace: &Workspace) -> String {
    let mut details = Vec::new();
    let is_ready = part.state == ReadinessState::Ready;
    if part.kind == PartKind::Service
        // One that is ready without a port, a worker, answers nobody.
        && if is_ready { part.port.is_some() } else { part.cause.is_none() }
        && let Some(host) = workspace.dev_hosts.iter().find(|host| host.service == part.name)
    {
        details.push(host.url.clone());
    }
    if let Some(port) = part.port {
        details.push(format!("port {port}"));
    }
    if part.restarts > 0 {
        details.push(if part.restarts == 1 {
            "restarted once".to_owned()
        } else {
            format!("restarted {} times", part.restarts)
        });
    }
    let cause = part.cause.as_deref().map(printable).unwrap_or_default();
    // What follows its first line, as lines of a log, comes after everything else.
    let (cause, rest) = cause.split_once('\n').map_or((cause.as_str(), None), |(cause, rest)| (cause, Some(rest)));
    if !cause.is_empty() {
        // What is ready goes on in spite of it.
        details.insert(if is_ready { details.len() } else { 0 }, cause.to_owned());
    }
    let details = details.join(", ");
    rest.map_or_else(|| details.clone(), |rest| format!("{details}\n{rest}"))
}

/// `envforge status`.
pub(crate) fn status(workspace: &Workspace, now: Timestamp) -> String {
    let mut text = format!(
        "{} (project {}, branch {}, org {})\n",
        workspace.slug,
        workspace.project,
        printable(&workspace.branch),
        workspace.org_slug
    );
    let width =
        workspace.parts.iter().map(|part| part.name.chars().count()).chain(["runtime".len()]).max().unwrap_or(0);
    let shell = &workspace.shell;
    part_line(&mut text, "shell", width, word(shell), &part_details(shell, workspace), shell.fix.as_deref());
    let runtime = &workspace.runtime;
    let details = match &runtime.blocked_cause {
        Some(cause) => printable(cause),
        None => runtime_details(runtime, now),
    };
    part_line(&mut text, "runtime", width, runtime_word(runtime.state), &details, runtime.blocked_fix.as_deref());
    if let Some(elevation) = &workspace.elevation {
        let terminal = if elevation.opened { "" } else { ", no terminal yet" };
        let _ = writeln!(
            text,
            "  {:width$}  {:7}  {} until {}{terminal}; `envforge root revoke {}` ends it",
            "root",
            "granted",
            printable(&elevation.by),
            time(elevation.until),
            elevation.id
        );
    }
    if let Some(verdict) = &runtime.idle {
        let _ = writeln!(text, "  {:width$}  {:7}  {}", "", "", idle(verdict, now));
    }
    for (kind, title) in [
        (PartKind::Runtime, "runtime"),
        (PartKind::Service, "services"),
        (PartKind::Resource, "resources"),
        (PartKind::Check, "checks"),
    ] {
        let mut parts = workspace.parts.iter().filter(|part| part.kind == kind).peekable();
        if parts.peek().is_some() {
            let _ = writeln!(text, "{title}");
        }
        for part in parts {
            part_line(&mut text, &part.name, width, word(part), &part_details(part, workspace), part.fix.as_deref());
        }
    }
    if !workspace.diagnostics.is_empty() {
        text.push_str(match runtime.state {
            RuntimeState::Asleep => "envforge.yml can't be used as it is: nothing is woken until it is corrected\n",
            _ => "envforge.yml can't be used as it is: what runs goes on, and nothing is started anew until it is corrected\n",
        });
        for line in workspace.diagnostics.iter().flat_map(|diagnostic| diagnostic.lines()) {
            let _ = writeln!(text, "  {}", printable(line));
        }
    }
    text
}

/// Before what belongs to a line and stands beneath it.
const MARGIN: &str = "\n  ";

/// One line about a part that changed; a cause with lines of a log has those beneath it.
pub(crate) fn part_change(part: &Part, workspace: &Workspace) -> String {
    let kind = match part.kind {
        PartKind::Shell | PartKind::Runtime => String::new(),
        PartKind::Service => "service ".to_owned(),
        PartKind::Resource => "resource ".to_owned(),
        PartKind::Check => "check ".to_owned(),
    };
    let mut line = format!("{kind}{}: {}", part.name, word(part));
    // Where it answers is news only once it does.
    let details = part_details(part, workspace);
    if !details.is_empty() && (part.state == ReadinessState::Ready || part.cause.is_some()) {
        let _ = write!(line, ": {}", beneath(&details, MARGIN));
    }
    if let Some(fix) = &part.fix {
        let _ = write!(line, "{MARGIN}fix: {}", beneath(&printable(fix), MARGIN));
    }
    line
}

/// Where usage stands against the cap.
pub(crate) fn cap(cap: Cap, posture: CapPosture, currency: &str) -> String {
    let amount = match cap.micros {
        Some(micros) => format_money(micros, currency),
        None => format!("{} min", cap.minutes),
    };
    let limit = match cap.mode {
        CapMode::None => return "none".to_owned(),
        CapMode::Warn => format!("warn at {amount} a month"),
        CapMode::Stop => format!("stop at {amount} a month"),
    };
    match posture {
        CapPosture::None => limit,
        CapPosture::Within { percent } => format!("{limit}, {percent} % used"),
        CapPosture::Warning { percent } => format!("{limit}, {percent} % used: warning"),
        CapPosture::Stopped { percent } => format!("{limit}, {percent} % used: stopped"),
    }
}

/// A cap with where usage stands, whoever's it is: `82 % of the month's 600 minutes (workspace main, stops)`.
pub(crate) fn standing(standing: &CapStanding) -> String {
    let whose = format!("{} {}", standing.level, printable(&standing.name));
    let what = match standing.cap.mode {
        CapMode::None => return format!("no cap ({whose})"),
        CapMode::Warn => "warns",
        CapMode::Stop => "stops",
    };
    let Some(words) = standing.words() else {
        return format!("{} a month ({whose}, {what})", standing.cap.limit_words(&standing.currency));
    };
    let mut text = format!("{words} ({whose}, {what})");
    if matches!(standing.posture, Some(CapPosture::Stopped { .. })) {
        text.push_str(": stopped");
    }
    if let Some(given) = &standing.overridden {
        let _ = write!(text, ": overridden by {} until {}", printable(&given.by), time(given.until));
        if let Some(seconds) = given.up_to_seconds {
            let _ = write!(text, " or {} min", seconds / 60);
        }
        if let Some(micros) = given.up_to_micros {
            let _ = write!(text, " or {}", format_money(micros, &standing.currency));
        }
        let _ = write!(text, ", for: {}", printable(&given.reason));
    }
    text
}

/// A receipt in one line.
pub(crate) fn receipt(receipt: &Receipt) -> String {
    let first = receipt.windows.first();
    let mut text = format!(
        "{}  {}",
        receipt.session,
        first.map_or_else(|| "no window".to_owned(), |window| time(window.opened_at))
    );
    let _ =
        write!(text, "  {}  {}", duration(receipt.awake_seconds), format_money(receipt.cost_micros, &receipt.currency));
    if let Some(window) = first {
        let _ = write!(text, "  {}, woken by {}", window.size, printable(&window.wake_cause));
    }
    if let Some(cause) = receipt.windows.last().and_then(|window| window.end_cause.as_ref()) {
        let _ = write!(text, ", ended: {}", printable(cause));
    }
    if receipt.unproven_seconds > 0 {
        let _ = write!(text, ", {} unproven and not billed", duration(receipt.unproven_seconds));
    }
    if !receipt.is_final {
        text.push_str(", still open");
    }
    text
}

/// `envforge workspace usage`: the panel.
pub(crate) fn usage(name: &str, usage: &WorkspaceUsage) -> String {
    let mut text = format!("{name}\n");
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:18}  {value}");
    };
    row("state", runtime_word(usage.state));
    row("size", &format!("{} ({})", usage.size, usage.size.purpose()));
    row(
        "awake this month",
        &format!("{} min ({})", usage.awake_seconds_this_month / 60, duration(usage.awake_seconds_this_month)),
    );
    if let Some(since) = usage.awake_since {
        row("awake since", &time(since));
    }
    row("woken by", usage.wake_cause.as_deref().map_or("nothing: it sleeps".to_owned(), printable).as_str());
    row("cap", &cap(usage.cap, usage.cap_posture, &usage.currency));
    for standing in usage.caps.iter().filter(|cap| cap.level != CapLevel::Workspace || cap.overridden.is_some()) {
        row("", &self::standing(standing));
    }
    row("estimate", &format!("{} this month", format_money(usage.estimate_micros, &usage.currency)));
    let separately =
        if usage.billed_separately.is_empty() { "nothing".to_owned() } else { usage.billed_separately.join(", ") };
    row("billed separately", &separately);
    let kept = match usage.receipts.len() {
        0 => "none yet; one is kept after every sleep".to_owned(),
        n => format!("{n} kept"),
    };
    row("receipts", &kept);
    for one in &usage.receipts {
        let _ = writeln!(text, "    {}", receipt(one));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 41, 60, 125, 3_600, 7_500, 90_000].map(duration);
        assert_eq!(texts, ["0 s", "41 s", "1 min", "2 min 5 s", "1 h", "2 h 5 min", "1 d 1 h"]);
    }

    #[test]
    fn the_idle_verdict_is_printed_as_it_is() {
        let now = Timestamp::UNIX_EPOCH;
        let sleeps_at = Timestamp::from_second(540).expect("in range");
        assert_eq!(idle(&IdleVerdict::Idle { sleeps_at }, now), "sleeps in 9 min unless something starts");
        let busy = |earliest| IdleVerdict::Busy { reason: "1 job running".to_owned(), holders: Vec::new(), earliest };
        assert_eq!(idle(&busy(None), now), "stays awake: 1 job running");
        assert_eq!(idle(&busy(Some(sleeps_at)), now), "sleeps in 9 min at the earliest; it is held by 1 job running");
    }

    // proves RUN-8
    #[test]
    fn what_a_log_says_stands_beneath_its_part_and_after_all_else() {
        let part = Part {
            restarts: 4,
            ..Part::blocked(
                PartKind::Service,
                "web",
                "service.crash_loop",
                "it exited with code 1\nlast lines of its log:\none\n\n  two",
                "see its log",
            )
        };
        let workspace = Workspace { parts: vec![part.clone()], ..crate::readiness::tests::workspace("ready", 1, &[]) };
        let told = status(&workspace, Timestamp::UNIX_EPOCH);
        let told = told.split_once("services\n").map(|(_, services)| services);
        let expected = [
            "  web      blocked  it exited with code 1, restarted 4 times",
            "                    last lines of its log:",
            "                    one",
            "",
            "                      two",
            "                    fix: see its log",
            "",
        ];
        assert_eq!(told, Some(expected.join("\n").as_str()));
        let expected = [
            "service web: blocked: it exited with code 1, restarted 4 times",
            "  last lines of its log:",
            "  one",
            "",
            "    two",
            "  fix: see its log",
        ];
        assert_eq!(part_change(&part, &workspace), expected.join("\n"));
    }

    #[test]
    fn a_shell_whose_host_is_away_is_not_called_ready() {
        let away = |state| Part { state, ..Part::blocked(PartKind::Shell, "shell", HOST_LOST, "it is away", "wait") };
        let workspace = crate::readiness::tests::workspace("ready", 1, &[]);
        let told = [ReadinessState::Ready, ReadinessState::Blocked].map(|state| part_change(&away(state), &workspace));
        assert_eq!(told, ["shell: waking: it is away\n  fix: wait", "shell: blocked: it is away\n  fix: wait"]);
    }

    #[test]
    fn what_a_broken_file_keeps_from_happening_is_said() {
        let told = |readiness| {
            let workspace = crate::readiness::tests::workspace(readiness, 1, &[]);
            let workspace = Workspace { diagnostics: vec!["envforge.yml:1:1: x".to_owned()], ..workspace };
            status(&workspace, Timestamp::UNIX_EPOCH)
        };
        assert!(told("asleep").contains("as it is: nothing is woken until it is corrected\n  envforge.yml:1:1: x"));
        assert!(told("ready").contains("as it is: what runs goes on, and nothing is started anew until it is"));
    }

    #[test]
    fn a_table_has_no_trailing_blanks() {
        let rows = vec![vec!["a".to_owned(), String::new()], vec!["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "B"], &rows), "NAME    B\na\nlonger  x\n");
    }
}

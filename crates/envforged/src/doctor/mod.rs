//! Looks at this machine for what is missing or broken, and says what helps.
//!
//! Each check answers with what it found; one that is not content also with the cause, in terms of what would not work,
//! and a fix that can be typed. A warning is something the product lives without, and says how; a failure is not. The
//! exit code is 1 when something fails. Looking changes nothing.

mod kernel;
mod machine;
mod running;

use crate::args::DoctorArguments;
use crate::roles::all::layout::Layout;
use serde::Serialize;
use std::io::Write as _;
use std::process::ExitCode;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// A check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    /// What was found, or why it is not enough.
    found: String,
    /// What helps.
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), fix: None }
    }

    fn warning(name: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, found: cause.into(), fix: Some(fix.into()) }
    }

    fn failed(name: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Failed, found: cause.into(), fix: Some(fix.into()) }
    }

    /// From an error that may carry its advice.
    fn of_error(name: &'static str, error: &anyhow::Error) -> Self {
        let advised = error.chain().find_map(|cause| cause.downcast_ref::<crate::advice::Advised>());
        let fix = advised.map_or_else(|| "see above".to_owned(), |advised| advised.fix.clone());
        Self::failed(name, format!("{error:#}"), fix)
    }
}

/// What `--json` answers.
#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

/// Looks, and tells.
pub(crate) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let mut checks = machine::checks(arguments);
    checks.extend(kernel::checks());
    match Layout::of(&arguments.place) {
        Ok(layout) => checks.extend(running::checks(arguments, &layout)?),
        Err(error) => checks.push(Check::of_error("data directory", &error)),
    }
    let report = Report { healthy: checks.iter().all(|check| check.status != Status::Failed), checks };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", render(&report))?;
    }
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for check in &report.checks {
        let mark = match check.status {
            Status::Ok => "✓",
            Status::Warning => "!",
            Status::Failed => "✗",
        };
        let _ = writeln!(text, "{mark} {:<16} {}", check.name, check.found);
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "  {:<16} fix: {fix}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Check, Report, render};

    #[test]
    fn what_is_not_content_says_what_helps() {
        let checks =
            vec![Check::ok("git", "2.39"), Check::failed("tmux", "shells would not survive", "apt-get install tmux")];
        expect_test::expect![[r"
            ✓ git              2.39
            ✗ tmux             shells would not survive
                               fix: apt-get install tmux
        "]]
        .assert_eq(&render(&Report { healthy: false, checks }));
    }
}

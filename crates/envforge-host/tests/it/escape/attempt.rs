//! What is tried, from where, and what shows that it could have succeeded.

use super::scene::{Scene, Standpoint};
use crate::support::Ran;
use envforge_host::sys::sandbox::{Protection, landlock_version};
use std::fmt::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// A line that must be refused.
pub(super) struct Attempt {
    name: String,
    line: String,
    from: &'static [Standpoint],
    control: Control,
    needs: Option<&'static str>,
    landlock: i32,
}

/// Where the same line succeeds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    /// As root of the machine, in mounts and a host name that are nobody else's.
    Host,
    /// As this user of the machine.
    As(Who),
    /// In the victim's own runtime.
    Neighbour,
    /// At the root terminal of the same workspace.
    RootTerminal,
    /// In a sandbox of the same workspace without a protection.
    Without(Protection),
}

/// Users of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// The workspace's own.
    Own,
    /// The one the databases run as.
    Postgres,
}

/// Shell, runtime and root terminal.
const EVERYWHERE: &[Standpoint] = &[Standpoint::Shell, Standpoint::Runtime, Standpoint::RootTerminal];

/// One line, from everywhere.
pub(super) fn attempt(name: impl Into<String>, line: impl Into<String>, control: Control) -> Attempt {
    Attempt { name: name.into(), line: line.into(), from: EVERYWHERE, control, needs: None, landlock: 0 }
}

impl Attempt {
    /// From these only.
    pub(super) fn from(mut self, from: &'static [Standpoint]) -> Self {
        self.from = from;
        self
    }

    /// Only on a machine whose root reaches this file: without it there is nothing to try.
    pub(super) fn needs(mut self, path: &'static str) -> Self {
        self.needs = Some(path);
        self
    }

    /// Only on a kernel with this version of Landlock, which refuses it.
    pub(super) fn landlock(mut self, version: i32) -> Self {
        self.landlock = version;
        self
    }
}

/// Tries all of them and tells of all that did not go as they should.
#[expect(clippy::print_stderr, reason = "the harness shows it with --nocapture")]
pub(super) async fn try_all(scene: &Scene, attempts: &[Attempt]) {
    let mut findings = String::new();
    for attempt in attempts {
        if attempt.needs.is_some_and(|path| !can_be_reached(Path::new(path))) {
            eprintln!("left out, nothing to reach: {}", attempt.name);
            continue;
        }
        if landlock_version() < attempt.landlock {
            eprintln!("left out, no such Landlock: {}", attempt.name);
            continue;
        }
        let mut refusals = Vec::new();
        for standpoint in attempt.from {
            let ran = scene.run(*standpoint, &attempt.line).await;
            if let Err(finding) = judge_refusal(&ran) {
                let _ = writeln!(findings, "{} from the {standpoint:?}: {finding}: {ran:?}", attempt.name);
            }
            refusals.push(format!("{standpoint:?}: {}", ran.text.trim().lines().last().unwrap_or_default()));
        }
        // After the attempts: what succeeds may change something.
        let ran = scene.control(attempt.control, &attempt.line).await;
        if ran.text.contains(super::probes::UNKNOWN_HERE) {
            eprintln!("refused, and this kernel knows it neither: {}", attempt.name);
        } else if ran.code == Some(0) {
            eprintln!("refused: {} [{}]; succeeds: {:?}", attempt.name, refusals.join("; "), attempt.control);
        } else {
            let _ = writeln!(findings, "{}: proves nothing, {:?} fails too: {ran:?}", attempt.name, attempt.control);
        }
    }
    assert!(findings.is_empty(), "\n{findings}");
}

/// Whether root of the machine reaches it; in some machines that are themselves guests it has devices that it can't open.
fn can_be_reached(path: &Path) -> bool {
    let is_device =
        |metadata: &std::fs::Metadata| metadata.file_type().is_block_device() || metadata.file_type().is_char_device();
    std::fs::metadata(path).is_ok_and(|metadata| !is_device(&metadata) || std::fs::File::open(path).is_ok())
}

/// Refused, and by what was to refuse it: a line that could not be run at all says nothing.
fn judge_refusal(ran: &Ran) -> Result<(), &'static str> {
    match ran.code {
        Some(0) => Err("SUCCEEDED"),
        Some(127) => Err("could not be tried"),
        _ if ["not found", "unknown probe", "panicked", "Syntax error"].iter().any(|word| ran.text.contains(word)) => {
            Err("could not be tried")
        }
        _ => Ok(()),
    }
}

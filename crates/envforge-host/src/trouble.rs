//! What keeps a part from working: a stable code, the cause, and what helps.
//!
//! The same three things go into a command's answer, a report and a part's readiness; this is the one form they have on
//! the way there.

use envforge_api::host::Trouble;
use envforge_core::readiness::{Part, PartKind};

/// Something that can't be done, told so that a person or an agent can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Blocked {
    pub(crate) code: String,
    pub(crate) cause: String,
    pub(crate) fix: String,
}

/// Something that goes on in spite of what is said, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) cause: String,
    pub(crate) fix: String,
}

/// Names what is wrong.
pub(crate) fn blocked(code: &str, cause: impl Into<String>, fix: impl Into<String>) -> Blocked {
    Blocked { code: code.to_owned(), cause: cause.into(), fix: fix.into() }
}

impl Blocked {
    /// As a part.
    pub(crate) fn part(&self, kind: PartKind, name: &str) -> Part {
        Part::blocked(kind, name, &self.code, self.cause.clone(), self.fix.clone())
    }
}

impl Note {
    /// The part it is said of.
    pub(crate) fn on(&self, part: Part) -> Part {
        Part { cause: Some(self.cause.clone()), fix: Some(self.fix.clone()), ..part }
    }
}

impl From<Blocked> for Trouble {
    fn from(blocked: Blocked) -> Self {
        Self { code: blocked.code, cause: blocked.cause, fix: blocked.fix }
    }
}

/// Whether there was no room for it.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// The journal could not be written, so nothing was done.
pub(crate) fn unwritable(error: &std::io::Error) -> Blocked {
    if is_full(error) {
        blocked(
            "host.disk_full",
            "the host's disk is full, so the command can't be remembered",
            "free space on the host, then try again",
        )
    } else {
        blocked(
            "host.journal_unwritable",
            format!("the host can't remember the command: {error}"),
            "see the host daemon's data directory and its log",
        )
    }
}

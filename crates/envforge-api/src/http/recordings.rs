//! Whether terminals are recorded, and what was.

use envforge_core::id::RecordingId;
use envforge_core::terminal::TerminalName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most recordings a list has.
pub const RECORDINGS_LISTED: usize = 200;

/// What an org wants of its terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgTerminalPolicy {
    /// Record what is shown in every terminal that is opened from now on. Root's are recorded in any case; what a single command
    /// prints (`envforge exec`) is not, its program is in the ledger.
    pub record: bool,
}

/// What one client of a terminal was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalRecording {
    /// The recording.
    pub id: RecordingId,
    /// The terminal's name.
    pub terminal: TerminalName,
    /// Who was attached.
    pub person: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Timestamp,
    /// Its size so far, in bytes.
    pub bytes: u64,
}

/// The recordings of a workspace's terminals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalRecordings {
    /// The newest first, at most 200.
    pub recordings: Vec<TerminalRecording>,
}

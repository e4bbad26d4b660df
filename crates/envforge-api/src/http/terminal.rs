//! Terminals: what there is, and the WebSocket that one is. Binary frames are bytes of the terminal in both directions,
//! text frames are [`TerminalControl`] and [`TerminalNotice`]; a side passes over those it does not know.
//!
//! With `resumable=true` a terminal of a shell outlives its connection for about a minute. The server's first frame is
//! [`TerminalNotice::Session`] then. Both sides count the bytes of binary frames from there, tell each other how many they took
//! for good (`Received`), and keep what they were not told of ([`envforge_core::resume`]); a client sends no more than
//! [`envforge_core::resume::INPUT_MAX`] bytes untold. With `resume=TOKEN&received=N` the terminal goes on over another connection:
//! the first frame is [`TerminalNotice::Resumed`], output goes on with byte N, and the client's next byte is the one named in it.

use crate::sensitive::Sensitive;
use envforge_core::terminal::TerminalName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A terminal of a workspace's shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Terminal {
    /// Its name.
    pub name: TerminalName,
    /// Since when it is there.
    pub since: Timestamp,
    /// How many clients are attached.
    pub clients: u32,
    /// Columns: those of the client that typed last.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The program in its foreground, as the workspace's user named it.
    pub command: String,
}

/// The terminals of a workspace, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Terminals {
    /// All of them.
    pub terminals: Vec<Terminal>,
}

/// From the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalControl {
    /// The window has a new size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// So many bytes of output were taken, since the terminal's beginning; only where it can be resumed.
    Received {
        /// How many.
        bytes: u64,
    },
    /// Something else was written over the screen: it is to be drawn again.
    Redraw,
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalNotice {
    /// The terminal ended: the client detached, or the shell exited.
    Ended {
        /// Why, in words.
        reason: String,
    },
    /// The terminal can be resumed over another connection.
    Session {
        /// What to ask for it with. It is good for who opened the terminal alone, with the same credential.
        token: Sensitive,
    },
    /// It goes on.
    Resumed {
        /// So many bytes of input were taken since its beginning.
        received: u64,
    },
    /// So many bytes of input were taken since its beginning.
    Received {
        /// How many.
        bytes: u64,
    },
}

/// The code of the refusal for a terminal that can't be resumed: its time is over, its server was another or was started
/// again, or it is not the caller's. A client attaches anew.
pub const SESSION_UNKNOWN: &str = "terminal.session_unknown";
/// The code of the refusal to go on where nothing is kept any more; a client attaches anew.
pub const SESSION_OFFSET: &str = "terminal.session_offset";

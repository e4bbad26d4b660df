//! The terminal WebSocket: binary frames are bytes of the terminal in both directions, text frames are these.

use serde::{Deserialize, Serialize};

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
}

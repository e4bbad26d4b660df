//! Terminals: what there is, and the WebSocket that one is. Binary frames are bytes of the terminal in both directions,
//! text frames are [`TerminalControl`] and [`TerminalNotice`].

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

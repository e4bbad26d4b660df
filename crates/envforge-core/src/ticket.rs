//! Uplink tickets: what opens a stream on a host.
//!
//! Every stream on the data uplink opens with a ticket the server signed and the host verifies: org, host
//! generation, workspace, kind, subject, expiry, nonce. A gateway can only be given `service` tickets, so a
//! taken gateway is not a shell.

use crate::id::{HostId, OrgId, RecordingId, WorkspaceId};
use crate::token::Claims;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a stream reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketKind {
    /// A service's port: dev-host traffic.
    Service,
    /// Terminals of the shell layer: one to attach to, the list of them, the end of one, and a command without one.
    Terminal,
    /// Captured logs of a service or job.
    Logs,
    /// A root terminal, of one elevation.
    Elevation,
    /// What terminals printed: one recording, or the list of them.
    Recording,
    /// One question about what resources hold.
    Console,
    /// A dump of the workspace's database, or one to restore.
    Database,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The org.
    pub org: OrgId,
    /// The host that may honour it.
    pub host: HostId,
    /// The host's registration generation; an older one is refused.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The workspace.
    #[serde(rename = "ws")]
    pub workspace: WorkspaceId,
    /// What it opens.
    pub kind: TicketKind,
    /// The service's name; the job's or service's name for logs; the elevation's or recording's id; the digest of a console's question;
    /// the terminal's name, empty for the main one.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Expiry, seconds since 1970 UTC.
    #[serde(rename = "exp")]
    pub expires: i64,
    /// Makes each ticket its own; all but service tickets are good once.
    pub nonce: u64,
    /// Who a terminal is for: commits made in the workspace carry this identity from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// When what it opens must be over, seconds since 1970 UTC: the end of an elevation's time box, which its host
    /// keeps by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// That what a terminal prints is recorded, under this id. A host from before there was such a thing does
    /// not record.
    #[serde(default, rename = "rec", skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingId>,
}

/// A person, as Git names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// What is wrong with a ticket that no delay and no restart explains: whoever showed it is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TicketFault {
    /// No ticket at all, or a changed one.
    Invalid,
    /// Signed by a key of somebody else.
    UnknownKey,
    /// For another host or org.
    OtherHost,
    /// For another kind of stream.
    OtherKind,
    /// Used before.
    Spent,
}

impl TicketFault {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "ticket.invalid",
            Self::UnknownKey => "ticket.unknown_key",
            Self::OtherHost => "ticket.other_host",
            Self::OtherKind => "ticket.other_kind",
            Self::Spent => "ticket.spent",
        }
    }
}

impl Claims for TicketClaims {
    const PREFIX: &'static str = "eft1";
    fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.expires).unwrap_or(Timestamp::MIN)
    }
}

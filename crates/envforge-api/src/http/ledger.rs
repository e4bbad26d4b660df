//! The ledger: searching it, and how it stands.
//!
//! An export is no JSON document but lines, whose shape is `envforge_core::ledger`'s.

use envforge_core::ledger::{Anchor, Checkpoint, Event, Seal};
use envforge_core::token::PublicKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Most events of one answer.
pub const LEDGER_LIMIT_MAX: u16 = 500;

/// What to look for; everything given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// Who, exactly: `user:user_…`, `link:link_…`, `system:idle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What happened: a verb such as `runtime.woken`, or the part before its dot with the dot, such as `runtime.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// What it happened to, as an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub until: Option<Timestamp>,
    /// Which come first; the newest by default.
    #[serde(default)]
    #[param(inline)]
    pub order: LedgerOrder,
    /// How many at most, 1 to 500; 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// Goes on where an earlier answer ended: its `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The order of events by their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Events that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEvents {
    /// The events, in the order asked for.
    pub events: Vec<ListedEvent>,
    /// The cursor of the next page; absent when this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An event that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedEvent {
    /// The event.
    pub event: Event,
    /// Its place in the chain; absent within a second of its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// How a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerState {
    /// Position and hash of the last sealed event.
    pub head: Seal,
    /// The last signed checkpoint; of the head, once anything is sealed.
    pub checkpoint: Option<Checkpoint>,
    /// Where the chain goes on, if its beginning was pruned.
    pub anchor: Option<Anchor>,
    /// The server's public key: note it down, exports are verified against it.
    pub key: PublicKey,
    /// Up to which position the server has verified the chain.
    pub verified_position: u64,
    /// When it last did.
    #[schema(value_type = Option<String>)]
    pub verified_at: Option<Timestamp>,
    /// When it last verified the whole chain from its beginning.
    #[schema(value_type = Option<String>)]
    pub whole_at: Option<Timestamp>,
    /// What does not hold, if something does not.
    pub broken: Option<LedgerBreak>,
    /// When the oldest event was written that has no seal yet; a second is usual.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub oldest_unsealed_at: Option<Timestamp>,
}

/// What does not hold in a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerBreak {
    /// Where.
    pub position: u64,
    /// What, for a person.
    pub reason: String,
    /// When it was found.
    #[schema(value_type = String)]
    pub at: Timestamp,
}

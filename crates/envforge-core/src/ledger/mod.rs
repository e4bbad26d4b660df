//! The ledger: append-only, hash-chained, verifiable offline.
//!
//! An event is written in the transaction that makes the change. A sealer links events into their chain within a
//! second: position, hash of the previous seal and the event in [canonical form](write_canonical), SHA-256. Sealing is
//! apart from writing so that transactions never queue on a hash. A [`Checkpoint`] signs the head of a chain.
//!
//! Where old events were pruned, an [`Anchor`] signs where the chain goes on, and the head of the *kept chain*: the
//! meter's events below the anchor, linked among themselves. An [export](Verifier) carries anchor, events and
//! checkpoint as lines, and is verified without the product.

mod canonical;
mod export;

pub use canonical::{Hash, NotAHash, write_canonical, write_canonical_json};
pub use export::{
    ExportError, Header, LINE_MAX, Trust, Verified, Verifier, checkpoint_line, event_line, header_line, kept_line,
};

use crate::id::{EventId, OrgId};
use crate::token::{Keyring, Signer, TokenError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Domain under which checkpoints are signed.
pub const CHECKPOINT_DOMAIN: &str = "envforge-ledger-checkpoint-1";
/// Domain under which anchors are signed.
pub const ANCHOR_DOMAIN: &str = "envforge-ledger-anchor-1";

/// Verbs of the meter: receipts are folded from the first two and proven by the third, so pruning keeps them.
pub const METER_VERBS: [&str; 3] = ["window.opened", "window.closed", "receipt.final"];

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The event.
    pub id: EventId,
    /// The org's chain, or the installation's when absent.
    pub org: Option<OrgId>,
    /// When the change was made.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who: a user, link session, host or part of the product, as `kind:id`.
    pub actor: String,
    /// What happened, past tense: `runtime.woken`.
    pub verb: String,
    /// What it happened to, as an id.
    pub subject: String,
    /// Why, in words.
    pub cause: String,
    /// What else is known; integers, texts and booleans only, never a secret.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl Event {
    /// Whether receipts are folded from it.
    pub fn is_meter(&self) -> bool {
        METER_VERBS.contains(&self.verb.as_str())
    }
}

/// An event's place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seal {
    /// 1 for the first event of the chain.
    pub position: u64,
    /// SHA-256 over the previous hash and the canonical event, hexadecimal.
    #[schema(value_type = String)]
    pub hash: Hash,
}

/// A sealed event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealedEvent {
    /// The event.
    pub event: Event,
    /// Its place.
    pub seal: Seal,
}

/// A signed statement about the head of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The chain; absent for the installation's.
    pub org: Option<OrgId>,
    /// Position of the head.
    pub position: u64,
    /// Hash of the head.
    #[schema(value_type = String)]
    pub hash: Hash,
    /// When it was signed, in whole milliseconds.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The key that signed it.
    pub key: String,
    /// The signature over the other fields.
    pub signature: String,
}

impl Checkpoint {
    /// Signs the head of a chain.
    pub fn sign(signer: &Signer, org: Option<OrgId>, head: Seal, at: Timestamp) -> Self {
        let Seal { position, hash } = head;
        let (at, key) = (whole_milliseconds(at), signer.public_key().id);
        let mut checkpoint = Self { org, position, hash, at, key, signature: String::new() };
        checkpoint.signature = signer.sign_bytes(CHECKPOINT_DOMAIN, &checkpoint.signed_bytes());
        checkpoint
    }

    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let org = chain_name(self.org);
        format!("{org}\n{}\n{}\n{}", self.position, self.hash, self.at.as_millisecond()).into_bytes()
    }

    /// Whether one of these keys signed it.
    pub fn check(&self, keys: &Keyring) -> Result<(), LedgerError> {
        keys.verify_bytes(&self.key, CHECKPOINT_DOMAIN, &self.signed_bytes(), &self.signature)
            .map_err(|error| LedgerError::Signature { position: self.position, error })
    }
}

/// A signed statement that everything up to a position was pruned, but the meter's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Anchor {
    /// The chain; absent for the installation's.
    pub org: Option<OrgId>,
    /// The last position that was pruned.
    pub position: u64,
    /// Its hash: what comes after is linked to it.
    #[schema(value_type = String)]
    pub hash: Hash,
    /// Whatever was pruned is older than this, which is in whole milliseconds.
    #[schema(value_type = String)]
    pub before: Timestamp,
    /// How many events of the meter are left of the pruned ones.
    pub kept: u64,
    /// Head of the chain of those alone.
    #[schema(value_type = String)]
    pub kept_hash: Hash,
    /// The key that signed it.
    pub key: String,
    /// The signature over the other fields.
    pub signature: String,
}

impl Anchor {
    /// Signs an anchor: `end` is the last seal that goes, `kept` the head of the kept chain.
    pub fn sign(signer: &Signer, org: Option<OrgId>, end: Seal, kept: Seal, before: Timestamp) -> Self {
        let mut anchor = Self {
            org,
            position: end.position,
            hash: end.hash,
            before: whole_milliseconds(before),
            kept: kept.position,
            kept_hash: kept.hash,
            key: signer.public_key().id,
            signature: String::new(),
        };
        anchor.signature = signer.sign_bytes(ANCHOR_DOMAIN, &anchor.signed_bytes());
        anchor
    }

    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let (org, before) = (chain_name(self.org), self.before.as_millisecond());
        format!("{org}\n{}\n{}\n{before}\n{}\n{}", self.position, self.hash, self.kept, self.kept_hash).into_bytes()
    }

    /// Whether one of these keys signed it.
    pub fn check(&self, keys: &Keyring) -> Result<(), LedgerError> {
        keys.verify_bytes(&self.key, ANCHOR_DOMAIN, &self.signed_bytes(), &self.signature)
            .map_err(|error| LedgerError::Signature { position: self.position, error })
    }

    /// Where the chain goes on.
    pub fn end(&self) -> Seal {
        Seal { position: self.position, hash: self.hash }
    }
}

fn chain_name(org: Option<OrgId>) -> String {
    org.map_or_else(|| "installation".to_owned(), |org| org.to_string())
}

/// Signatures know milliseconds; what they don't know must not be there to be changed.
pub fn whole_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("a timestamp is in range")
}

/// What does not hold in a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A position is missing or repeated.
    #[error("expected position {expected}, found {found}: events are missing, repeated or reordered")]
    Gap {
        /// Wanted.
        expected: u64,
        /// Seen.
        found: u64,
    },
    /// A hash does not follow from the event and the hash before it.
    #[error("the hash at position {position} does not fit its event: it or one before it was changed")]
    Broken {
        /// Where.
        position: u64,
    },
    /// A signed checkpoint speaks of another hash.
    #[error("the signed checkpoint of position {position} is of another hash: the chain was rewritten")]
    Rewritten {
        /// Where.
        position: u64,
    },
    /// The chain ends before a position it once had, or has another hash there.
    #[error("the chain had position {position}, and has not any more: its end was cut off or rewritten")]
    Cut {
        /// Where it was.
        position: u64,
    },
    /// The head has no checkpoint.
    #[error("the head at position {position} has no signed checkpoint: the chain or its checkpoints were cut")]
    Unsigned {
        /// Of the head.
        position: u64,
    },
    /// The kept chain does not end as the anchor says.
    #[error("the meter's events up to position {position} are not those that the anchor signs")]
    Kept {
        /// Of the anchor.
        position: u64,
    },
    /// A signature does not hold.
    #[error("the signature of position {position} does not hold: {error}")]
    Signature {
        /// Of the checkpoint or anchor.
        position: u64,
        /// Why.
        error: TokenError,
    },
}

impl LedgerError {
    /// Where it was found.
    pub fn position(&self) -> u64 {
        match self {
            Self::Gap { expected, .. } => *expected,
            Self::Broken { position }
            | Self::Rewritten { position }
            | Self::Cut { position }
            | Self::Unsigned { position }
            | Self::Kept { position }
            | Self::Signature { position, .. } => *position,
        }
    }
}

/// A place in a chain from which it is continued or checked; the buffer is reused from event to event.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The last seal.
    pub head: Seal,
    buffer: Vec<u8>,
}

impl Chain {
    /// Goes on after a seal.
    pub fn after(head: Seal) -> Self {
        Self { head, buffer: Vec::with_capacity(1024) }
    }

    /// From the very first event.
    pub fn genesis() -> Self {
        Self::after(Seal { position: 0, hash: Hash::GENESIS })
    }

    /// Links an event to the end.
    pub fn append(&mut self, event: &Event) -> Seal {
        self.buffer.clear();
        write_canonical(event, &mut self.buffer);
        self.head = Seal { position: self.head.position + 1, hash: self.head.hash.link(&self.buffer) };
        self.head
    }

    /// Checks that a sealed event is the next one.
    pub fn check(&mut self, sealed: &SealedEvent) -> Result<(), LedgerError> {
        let expected = self.head.position + 1;
        if sealed.seal.position != expected {
            return Err(LedgerError::Gap { expected, found: sealed.seal.position });
        }
        if self.append(&sealed.event) != sealed.seal {
            return Err(LedgerError::Broken { position: expected });
        }
        Ok(())
    }
}

//! The ledger: append-only, hash-chained, verifiable offline.
//!
//! An event is written in the transaction that makes the change. A sealer links events into their chain within a
//! second: position, hash of the previous seal and the event in canonical form, SHA-256. Sealing is apart from
//! writing so that transactions never queue on a hash. A checkpoint signs the head of a chain; an export carries
//! events, seals and checkpoint, and [`verify`] recomputes everything without the product.
//!
//! Canonical form is JSON with keys sorted and no white space; numbers in `details` are integers, so one value has
//! one text.

use crate::id::{EventId, OrgId};
use crate::token::{Keyring, TokenError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Domain under which checkpoints are signed.
pub const CHECKPOINT_DOMAIN: &str = "envforge-ledger-checkpoint-1";

/// The hash before the first seal.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

/// An event's place in its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seal {
    /// 1 for the first event of the chain.
    pub position: u64,
    /// SHA-256 over the previous hash and the canonical event, hexadecimal.
    pub hash: String,
}

/// A sealed event, as exports carry it.
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
    pub hash: String,
    /// When it was signed.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The key that signed it.
    pub key: String,
    /// The signature over the other fields.
    pub signature: String,
}

impl Checkpoint {
    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let org = self.org.map_or_else(|| "installation".to_owned(), |org| org.to_string());
        format!("{org}\n{}\n{}\n{}", self.position, self.hash, self.at.as_millisecond()).into_bytes()
    }
}

/// What an export says that does not hold.
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
    #[error("the hash at position {position} does not fit its event: event {event} or one before it was changed")]
    Broken {
        /// Where.
        position: u64,
        /// Which.
        event: EventId,
    },
    /// An event of another chain.
    #[error("event {0} belongs to another chain")]
    Stranger(EventId),
    /// The checkpoint speaks of a head the events don't have.
    #[error(
        "the checkpoint is of position {checkpoint}, but the events don't show that hash there: the export was cut or changed"
    )]
    Head {
        /// Position in the checkpoint.
        checkpoint: u64,
    },
    /// The checkpoint's signature does not hold.
    #[error("the checkpoint's signature does not hold: {0}")]
    Signature(TokenError),
}

/// The canonical text of an event: sorted keys, no white space, time in whole microseconds as PostgreSQL keeps it.
pub fn canonical(event: &Event) -> String {
    let micros = event.at.as_microsecond();
    let mut value = serde_json::to_value(event).expect("an event is plain data");
    value["at"] = Value::from(micros);
    sorted(&value)
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            let fields: Vec<_> =
                keys.into_iter().map(|key| format!("{}:{}", Value::from(key.as_str()), sorted(&map[key]))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The hash that links `event` after `previous`.
pub fn link(previous: &str, event: &Event) -> String {
    crate::token::digest(&format!("{previous}\n{}", canonical(event)))
}

/// Recomputes a chain from its first event and checks the checkpoint against it; returns the number of events.
pub fn verify(events: &[SealedEvent], checkpoint: &Checkpoint, keys: &Keyring) -> Result<u64, LedgerError> {
    keys.verify_bytes(&checkpoint.key, CHECKPOINT_DOMAIN, &checkpoint.signed_bytes(), &checkpoint.signature)
        .map_err(LedgerError::Signature)?;
    let mut previous = GENESIS.to_owned();
    let mut at_checkpoint = (checkpoint.position == 0).then(|| GENESIS.to_owned());
    for (index, sealed) in events.iter().enumerate() {
        let expected = index as u64 + 1;
        if sealed.seal.position != expected {
            return Err(LedgerError::Gap { expected, found: sealed.seal.position });
        }
        if sealed.event.org != checkpoint.org {
            return Err(LedgerError::Stranger(sealed.event.id));
        }
        previous = link(&previous, &sealed.event);
        if previous != sealed.seal.hash {
            return Err(LedgerError::Broken { position: expected, event: sealed.event.id });
        }
        if expected == checkpoint.position {
            at_checkpoint = Some(previous.clone());
        }
    }
    if at_checkpoint.as_deref() != Some(checkpoint.hash.as_str()) {
        return Err(LedgerError::Head { checkpoint: checkpoint.position });
    }
    Ok(events.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id as _;
    use crate::token::Signer;
    use proptest::prelude::*;
    use serde_json::json;

    fn chain(length: u64) -> (Vec<SealedEvent>, Checkpoint, Keyring) {
        let signer = Signer::from_seed(&[3; 32]);
        let mut previous = GENESIS.to_owned();
        let events: Vec<_> = (1..=length)
            .map(|n| {
                let event = Event {
                    id: EventId::from_uuid(uuid::Uuid::from_u128(u128::from(n))),
                    org: None,
                    at: Timestamp::from_second(n as i64).expect("in range"),
                    actor: "user:1".to_owned(),
                    verb: "runtime.woken".to_owned(),
                    subject: "ws_1".to_owned(),
                    cause: "test".to_owned(),
                    details: json!({"b": n, "a": ["x", true]}),
                };
                previous = link(&previous, &event);
                SealedEvent { event, seal: Seal { position: n, hash: previous.clone() } }
            })
            .collect();
        let mut checkpoint = Checkpoint {
            org: None,
            position: length,
            hash: previous,
            at: Timestamp::UNIX_EPOCH,
            key: signer.public_key().id,
            signature: String::new(),
        };
        checkpoint.signature = signer.sign_bytes(CHECKPOINT_DOMAIN, &checkpoint.signed_bytes());
        (events, checkpoint, Keyring::new(&[signer.public_key()]))
    }

    // proves ORG-6
    #[test]
    fn a_whole_chain_verifies_and_a_cut_one_does_not() {
        let (mut events, checkpoint, keys) = chain(5);
        assert_eq!(verify(&events, &checkpoint, &keys), Ok(5));
        events.pop();
        assert_eq!(verify(&events, &checkpoint, &keys), Err(LedgerError::Head { checkpoint: 5 }));
    }

    proptest! {
        // proves ORG-6
        #[test]
        fn any_changed_event_is_found(which in 0_usize..6, field in 0_usize..4) {
            let (mut events, checkpoint, keys) = chain(6);
            let event = &mut events[which].event;
            match field {
                0 => event.actor.push('x'),
                1 => event.details["b"] = json!(99),
                2 => event.at = Timestamp::from_second(77).expect("in range"),
                _ => event.cause.push('x'),
            }
            prop_assert!(verify(&events, &checkpoint, &keys).is_err());
        }

        #[test]
        fn any_two_swapped_events_are_found(a in 0_usize..6, b in 0_usize..6) {
            prop_assume!(a != b);
            let (mut events, checkpoint, keys) = chain(6);
            events.swap(a, b);
            prop_assert!(verify(&events, &checkpoint, &keys).is_err());
        }
    }
}

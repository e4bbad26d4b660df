//! Key-encryption keys: what wraps data keys, and lives outside the database.
//!
//! The trait is here so that whoever implements it for an outside party (a KMS) needs nothing of the server, and the server
//! nothing of that party; `envforged` joins them.

use envforge_core::clock::Entropy;
use envforge_core::envelope::{DataKey, EnvelopeError};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// Why a data key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key can't be used now: out of reach, or not allowed. Trying again can help once somebody looked.
    #[error("{0}")]
    Unavailable(String),
    /// What was wrapped does not open in this place.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// Wraps data keys.
pub trait KeyWrapper: Send + Sync {
    /// The stable name of the key, as stored beside what it wrapped.
    fn name(&self) -> &str;
    /// Wraps a data key for one place.
    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a str,
        entropy: &'a dyn Entropy,
    ) -> BoxFuture<'a, Result<Vec<u8>, KeyError>>;
    /// Unwraps what [`wrap`](Self::wrap) made for this place.
    fn unwrap<'a>(&'a self, id: Uuid, wrapped: &'a [u8], context: &'a str) -> BoxFuture<'a, Result<DataKey, KeyError>>;
}

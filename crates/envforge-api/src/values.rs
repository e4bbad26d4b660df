//! A store of secrets' values outside the database.
//!
//! The trait is here for the reason [`crate::keys`] has one: whoever implements it for an outside party needs nothing of the
//! server, and the server nothing of that party; `envforged` joins them. What the database seals itself is no such store:
//! it is part of the transaction, and this is not.

use envforge_core::id::{OrgId, SecretId};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;

/// Why a store did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// It can't be used now: out of reach, or not allowed. Trying again can help once somebody looked.
    #[error("{0}")]
    Unavailable(String),
    /// It takes no value with this text in it.
    #[error("the store takes no value with `{0}` in it")]
    Unfit(&'static str),
    /// It does not hold this version, or nothing at all in this place.
    #[error("the store holds no such value")]
    Missing,
}

/// Where the values of one secret lie. It follows from whose it is, so that nothing stored can point elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValuePlace {
    /// Whose it is.
    pub org: OrgId,
    /// The secret; its id is never used again.
    pub secret: SecretId,
}

/// Keeps values of secrets, with their versions.
pub trait SecretValues: Send + Sync {
    /// The stable name of the store, as noted beside each version that lies in it.
    fn name(&self) -> &str;
    /// The longest value it takes, in bytes.
    fn value_max(&self) -> usize;
    /// Puts a value in a place and answers the version it has there. What was there before is kept, as older versions.
    fn put<'a>(&'a self, place: ValuePlace, value: &'a Secret) -> BoxFuture<'a, Result<i64, ValueError>>;
    /// A version of the value in a place.
    fn get(&self, place: ValuePlace, version: i64) -> BoxFuture<'_, Result<Secret, ValueError>>;
    /// Deletes all versions in a place; that there are none is fine.
    fn delete(&self, place: ValuePlace) -> BoxFuture<'_, Result<(), ValueError>>;
}

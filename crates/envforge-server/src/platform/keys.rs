//! Key-encryption keys: what wraps the data keys of [`crate::vault`], and lives outside the database.
//!
//! The first is in use, the others still open what they wrapped once; so a key is changed by putting a new one before
//! it, wrapping anew, and taking the old one away.

use anyhow::Context as _;
use envforge_core::clock::Entropy;
use envforge_core::envelope::{DataKey, EnvelopeError};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

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
    ) -> BoxFuture<'a, anyhow::Result<Vec<u8>>>;
    /// Unwraps what [`wrap`](Self::wrap) made for this place.
    fn unwrap<'a>(&'a self, id: Uuid, wrapped: &'a [u8], context: &'a str) -> BoxFuture<'a, anyhow::Result<DataKey>>;
}

/// The key-encryption keys of the installation, the one in use first.
#[derive(Clone)]
pub struct KeyWrappers(Arc<[Box<dyn KeyWrapper>]>);

impl std::fmt::Debug for KeyWrappers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|wrapper| wrapper.name())).finish()
    }
}

impl KeyWrappers {
    /// From the configured ones, the one in use first.
    pub fn new(wrappers: Vec<Box<dyn KeyWrapper>>) -> anyhow::Result<Self> {
        anyhow::ensure!(!wrappers.is_empty(), "no key-encryption key was configured");
        Ok(Self(wrappers.into()))
    }

    /// The one that wraps new keys.
    pub fn in_use(&self) -> &dyn KeyWrapper {
        &*self.0[0]
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> anyhow::Result<&dyn KeyWrapper> {
        let found = self.0.iter().find(|wrapper| wrapper.name() == name);
        found.map(|wrapper| &**wrapper).with_context(|| {
            format!(
                "the key-encryption key `{name}` is not configured any more, and values sealed under it can't be opened"
            )
        })
    }
}

/// A key from a file or the environment.
pub struct LocalKey {
    name: String,
    key: DataKey,
}

impl LocalKey {
    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &Secret) -> anyhow::Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text.expose().trim(), &mut *bytes)
            .context("a key-encryption key must be 64 hexadecimal digits")?;
        let key = DataKey::named_by_digest(*bytes);
        Ok(Self { name: format!("local:{}", key.id().simple()), key })
    }
}

impl KeyWrapper for LocalKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a str,
        entropy: &'a dyn Entropy,
    ) -> BoxFuture<'a, anyhow::Result<Vec<u8>>> {
        Box::pin(async move { Ok(self.key.seal(context, key.expose(), entropy)) })
    }

    fn unwrap<'a>(&'a self, id: Uuid, wrapped: &'a [u8], context: &'a str) -> BoxFuture<'a, anyhow::Result<DataKey>> {
        Box::pin(async move {
            let bytes = self.key.open(context, wrapped)?;
            let bytes = bytes.as_slice().try_into().map_err(|_| EnvelopeError::Malformed)?;
            Ok(DataKey::new(id, bytes))
        })
    }
}

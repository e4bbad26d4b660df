//! Key-encryption keys: what wraps the data keys of [`crate::vault`], and lives outside the database.
//!
//! The first is in use, the others still open what they wrapped once; so a key is changed by putting a new one before
//! it, letting the server wrap anew ([`crate::vault::jobs`]), and taking the old one away.

use anyhow::Context as _;
use envforge_api::keys::{KeyError, KeyWrapper};
use envforge_core::clock::Entropy;
use envforge_core::envelope::{DataKey, EnvelopeError};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

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

    /// From keys of 64 hexadecimal digits each, the one in use first.
    pub fn local(keys: &[Secret]) -> anyhow::Result<Self> {
        let wrappers = keys.iter().map(|key| Ok(Box::new(LocalKey::from_hex(key)?) as Box<dyn KeyWrapper>));
        Self::new(wrappers.collect::<anyhow::Result<_>>()?)
    }

    /// Their names, the one in use first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|wrapper| wrapper.name())
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
    ) -> BoxFuture<'a, Result<Vec<u8>, KeyError>> {
        Box::pin(async move { Ok(self.key.seal(context, key.expose(), entropy)) })
    }

    fn unwrap<'a>(&'a self, id: Uuid, wrapped: &'a [u8], context: &'a str) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        Box::pin(async move {
            let bytes = self.key.open(context, wrapped)?;
            let bytes = bytes.as_slice().try_into().map_err(|_| EnvelopeError::Malformed)?;
            Ok(DataKey::new(id, bytes))
        })
    }
}

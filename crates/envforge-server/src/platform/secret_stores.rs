//! Where secrets' values lie: sealed in the database, or in a store outside it.
//!
//! Each version notes where its value is, so that the installation may change to a store and back while what was put before
//! still opens, as long as the store stays configured.

use super::fault::{Answer, Fault};
use anyhow::Context as _;
use envforge_api::values::{SecretValues, ValueError};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use std::sync::Arc;

/// The store outside the database, if there is one, and whether new values go there. Without one all are sealed here.
#[derive(Clone, Default)]
pub struct SecretStores {
    outside: Option<Arc<dyn SecretValues>>,
    takes_new: bool,
}

impl std::fmt::Debug for SecretStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretStores").field(&self.outside.as_ref().map(|store| store.name())).finish()
    }
}

impl SecretStores {
    /// New values go to this store.
    pub fn outside(store: Arc<dyn SecretValues>) -> Self {
        Self { outside: Some(store), takes_new: true }
    }

    /// New values are sealed in the database; what was put into this store still opens.
    pub fn opened(store: Arc<dyn SecretValues>) -> Self {
        Self { outside: Some(store), takes_new: false }
    }

    /// The store that new values go to; `None` when they are sealed in the database.
    pub(crate) fn for_new(&self) -> Option<&dyn SecretValues> {
        self.known().filter(|_| self.takes_new)
    }

    /// The store that is configured.
    pub(crate) fn known(&self) -> Option<&dyn SecretValues> {
        self.outside.as_deref()
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> anyhow::Result<&dyn SecretValues> {
        let found = self.known().filter(|store| store.name() == name);
        found.with_context(|| {
            format!("the secret store `{name}` is not configured any more, and values in it can't be opened")
        })
    }
}

/// That a value is not longer than a store takes.
pub(crate) fn check_length(store: &dyn SecretValues, value: &Secret) -> Answer<()> {
    let most = store.value_max();
    if value.expose().len() <= most {
        return Ok(());
    }
    let message = format!("the installation's secret store takes values of at most {most} bytes");
    Err(Refusal::invalid("secret.too_long_for_store", message)
        .hint("keep only the key itself in the secret, and what is public about it in the repository")
        .into())
}

/// What is answered when a store did not do as it was asked.
pub(crate) fn unusable(store: &dyn SecretValues, error: ValueError) -> Fault {
    match error {
        ValueError::Unavailable(cause) => {
            let store = store.name();
            tracing::error!(%cause, store, "the secret store can't be used; values in it can't be read or set until it can");
            Refusal::unavailable("secret.store_unavailable", "the secret store can't be used now, nothing was changed")
                .hint("the server's log says why; the operator looks at the store, its network and its credentials")
                .retry_after(5)
                .into()
        }
        ValueError::Unfit(text) => {
            let message = format!("the installation's secret store takes no value with `{text}` in it");
            Refusal::invalid("secret.unfit_for_store", message)
                .hint("encode the value, with base64 for example, and decode it where it is used")
                .into()
        }
        ValueError::Missing => {
            Refusal::conflict("secret.value_missing", "the secret store does not hold this value any more")
                .hint("somebody deleted it there: set the secret again")
                .into()
        }
    }
}

//! Sealing and opening.

use super::store::{self, StoredKey};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use anyhow::Context as _;
use envforge_api::http::vault::{KeyEncryptionKey, KeyEncryptionKeys};
use envforge_api::keys::KeyError;
use envforge_core::envelope::{DataKey, key_of};
use envforge_core::id::{DataKeyId, OrgId};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// How long an unwrapped data key is kept in memory.
pub const KEPT: SignedDuration = SignedDuration::from_mins(5);
/// Most unwrapped data keys in memory.
const KEPT_MAX: usize = 10_000;

/// Unwrapped data keys.
#[derive(Debug, Default)]
pub struct Unwrapped(Mutex<HashMap<Uuid, (Arc<DataKey>, Timestamp)>>);

impl Unwrapped {
    fn get(&self, id: Uuid, now: Timestamp) -> Option<Arc<DataKey>> {
        let keys = self.0.lock().expect("no panic while the keys are held");
        keys.get(&id).filter(|(_, until)| *until > now).map(|(key, _)| Arc::clone(key))
    }

    fn keep(&self, key: &Arc<DataKey>, now: Timestamp) {
        let mut keys = self.0.lock().expect("no panic while the keys are held");
        keys.retain(|_, (_, until)| *until > now);
        if keys.len() < KEPT_MAX {
            keys.insert(key.id(), (Arc::clone(key), now.saturating_add(KEPT).unwrap_or(Timestamp::MAX)));
        }
    }
}

/// Seals a value for one place of this transaction's org, or of the installation. `context` names the place for ever,
/// such as `secret/sec_…/3`: the value opens under the same one only.
pub async fn seal(app: &App, tx: &mut Tx, context: &str, value: &Secret) -> Answer<Vec<u8>> {
    let key = key_in_use(app, tx).await?;
    Ok(key.seal(&place(tx.org(), context), value.expose().as_bytes(), &*app.entropy))
}

/// Opens a value sealed in this transaction's org under the same context.
pub async fn open(app: &App, tx: &mut Tx, context: &str, sealed: &[u8]) -> Answer<Secret> {
    let id = key_of(sealed).context("opening a sealed value")?;
    let key = if let Some(key) = app.unwrapped.get(id, app.now()) {
        key
    } else {
        let stored = store::find(tx, id).await?.with_context(|| format!("the data key {id} is not there"))?;
        unwrap(app, tx, stored).await?
    };
    let value = key.open(&place(tx.org(), context), sealed).with_context(|| format!("opening {context}"))?;
    let value = String::from_utf8(value.to_vec()).context("a sealed value is not text")?;
    Ok(Secret::new(value))
}

/// The data key for new values, made the first time.
async fn key_in_use(app: &App, tx: &mut Tx) -> Answer<Arc<DataKey>> {
    if let Some(stored) = store::in_use(tx).await? {
        return match app.unwrapped.get(stored.id, app.now()) {
            Some(key) => Ok(key),
            None => unwrap(app, tx, stored).await,
        };
    }
    store::lock(tx).await?;
    match store::in_use(tx).await? {
        Some(stored) => unwrap(app, tx, stored).await,
        None => make(app, tx, "system:vault", "first value to seal").await,
    }
}

async fn make(app: &App, tx: &mut Tx, actor: &str, cause: &str) -> Answer<Arc<DataKey>> {
    let id: DataKeyId = app.mint();
    let key = DataKey::generate(envforge_core::id::Id::uuid(id), &*app.entropy);
    let wrapper = app.config.key_wrappers.in_use();
    let wrapped = wrapper.wrap(&key, &wrapping(tx.org(), key.id()), &*app.entropy).await.map_err(unusable)?;
    let stored = StoredKey { id: key.id(), wrapped_by: wrapper.name().to_owned(), wrapped };
    store::insert(tx, &stored, app.now()).await?;
    let entry = Entry::new(actor, "data_key.created", id, cause).details(json!({ "wrapped_by": wrapper.name() }));
    ledger::record(app, tx, entry).await?;
    // Not kept in memory yet: the transaction may still be rolled back.
    Ok(Arc::new(key))
}

async fn unwrap(app: &App, tx: &Tx, stored: StoredKey) -> Answer<Arc<DataKey>> {
    let key = Arc::new(unwrap_fresh(app, tx, &stored).await?);
    app.unwrapped.keep(&key, app.now());
    Ok(key)
}

async fn unwrap_fresh(app: &App, tx: &Tx, stored: &StoredKey) -> Answer<DataKey> {
    let wrapper = app.config.key_wrappers.named(&stored.wrapped_by)?;
    wrapper.unwrap(stored.id, &stored.wrapped, &wrapping(tx.org(), stored.id)).await.map_err(unusable)
}

fn unusable(error: KeyError) -> Fault {
    match error {
        KeyError::Unavailable(cause) => {
            tracing::error!(%cause, "a key-encryption key can't be used; secrets can't be opened or set until it can");
            Refusal::unavailable("vault.key_unavailable", "secrets can't be opened or set now, nothing was changed")
                .hint("the server's log says why its key-encryption key can't be used")
                .retry_after(5)
                .into()
        }
        error @ KeyError::Envelope(_) => Fault::Broken(anyhow::Error::new(error).context("unwrapping a data key")),
    }
}

/// Puts a new data key in use in this transaction's org. What lies under the old one still opens, and is sealed anew by
/// the slices it belongs to.
pub async fn rotate(app: &App, tx: &mut Tx, actor: &str) -> Answer<()> {
    store::lock(tx).await?;
    if let Some(old) = store::retire(tx, app.now()).await? {
        let old = <DataKeyId as envforge_core::id::Id>::from_uuid(old);
        ledger::record(app, tx, Entry::new(actor, "data_key.retired", old, "rotation")).await?;
    }
    make(app, tx, actor, "rotation").await?;
    tx.nudge(Nudge::DataKeys);
    Ok(())
}

/// Whose data keys were rotated once: orgs, and with `None` the installation. What lies under the retired ones is to be
/// sealed anew.
pub async fn rotated(app: &App) -> Answer<Vec<Option<OrgScope>>> {
    store::system_rotated(&app.db).await
}

/// Wraps some data keys of this transaction's org anew that one of the `old` key-encryption keys wraps; how many there
/// were.
pub(super) async fn rewrap(app: &App, tx: &mut Tx, old: &[String], most: i64) -> Answer<usize> {
    let wrapper = app.config.key_wrappers.in_use();
    let found = store::to_rewrap(tx, old, most).await?;
    for stored in &found {
        let key = unwrap_fresh(app, tx, stored).await?;
        let wrapped = wrapper.wrap(&key, &wrapping(tx.org(), key.id()), &*app.entropy).await.map_err(unusable)?;
        store::rewrap(tx, stored.id, wrapper.name(), &wrapped).await?;
        let id = <DataKeyId as envforge_core::id::Id>::from_uuid(stored.id);
        let details = json!({ "wrapped_by": wrapper.name(), "before": stored.wrapped_by });
        let entry = Entry::new("system:vault", "data_key.rewrapped", id, "another key-encryption key is in use");
        ledger::record(app, tx, entry.details(details)).await?;
    }
    Ok(found.len())
}

/// The key-encryption keys, those configured and those that are missed, and what each wraps.
pub async fn key_encryption_keys(app: &App) -> Answer<KeyEncryptionKeys> {
    let mut wrapped = store::system_wrappers(&app.db).await?;
    let in_use = app.config.key_wrappers.in_use().name();
    let mut keys: Vec<KeyEncryptionKey> = Vec::new();
    for name in app.config.key_wrappers.names() {
        let data_keys = wrapped.remove(name).unwrap_or_default();
        keys.push(KeyEncryptionKey { name: name.to_owned(), configured: true, in_use: name == in_use, data_keys });
    }
    let missed = wrapped.into_iter();
    keys.extend(missed.map(|(name, data_keys)| KeyEncryptionKey { name, configured: false, in_use: false, data_keys }));
    Ok(KeyEncryptionKeys { keys })
}

/// What a sealed value is bound to.
fn place(org: Option<OrgId>, context: &str) -> String {
    org.map_or_else(|| format!("installation/{context}"), |org| format!("{org}/{context}"))
}

/// What a wrapped data key is bound to.
fn wrapping(org: Option<OrgId>, id: Uuid) -> String {
    place(org, &format!("data-key/{}", id.simple()))
}

//! Signing, verifying, and changing the keys for it.

use super::store::{self, Row};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::vault;
use anyhow::Context as _;
use envforge_api::http::vault::{RotateSigningKey, SigningKey, SigningKeys as Shown};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::signing::{LONGEST_LIFE, RotationRefused, SigningKeys, SigningState};
use envforge_core::token::{Claims, Keyring, PublicKey, Signer, TokenError};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// By key id.
type Signers = BTreeMap<String, Arc<Signer>>;

/// How long the opening of a private half may take before the keys are told of without it.
const OPENED_WITHIN: Duration = Duration::from_secs(2);

/// The keys as this server last read them.
#[derive(Debug, Default)]
pub struct Ring {
    known: watch::Sender<Arc<Known>>,
    /// Held by whoever reads them.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: SigningKeys,
    /// By key id; those whose private half could be opened.
    signers: Signers,
    trusted: Vec<PublicKey>,
    keyring: Keyring,
}

impl Known {
    fn is_same(&self, other: &Self) -> bool {
        self.keys == other.keys && self.trusted == other.trusted && self.signers.keys().eq(other.signers.keys())
    }
}

impl Ring {
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Signs claims with the key in use; refused while this server can open none.
    pub fn sign<T: Claims>(&self, claims: &T, now: Timestamp) -> Answer<String> {
        debug_assert!(
            claims.expires_at() <= now.saturating_add(LONGEST_LIFE).unwrap_or(Timestamp::MAX),
            "a key is dropped so long after it signed last"
        );
        let known = self.known();
        let key = known.keys.signer(now, |id| known.signers.contains_key(id));
        let signer = key.and_then(|key| known.signers.get(&key.public.id)).ok_or_else(|| {
            Refusal::unavailable("signing_key.unavailable", "nothing can be signed now, what was signed before holds")
                .hint("the server's log says why its signing keys can't be opened")
                .retry_after(5)
        })?;
        Ok(signer.sign(claims))
    }

    /// Verifies a token of kind `T`, whichever of the keys signed it.
    pub fn verify<T: Claims>(&self, token: &str, now: Timestamp) -> Result<T, TokenError> {
        self.known().keyring.verify(token, now)
    }

    /// The keys that verify.
    pub fn keyring(&self) -> Keyring {
        self.known().keyring.clone()
    }

    /// Their public halves, for gateways and hosts.
    pub fn trusted(&self) -> Vec<PublicKey> {
        self.known().trusted.clone()
    }

    /// What was signed before that does not hold any more.
    pub fn since(&self) -> Timestamp {
        self.known().keys.since()
    }

    /// Resolves each time the keys have changed.
    pub fn watch(&self) -> Changes {
        Changes(self.known.subscribe())
    }
}

/// See [`Ring::watch`].
#[derive(Debug)]
pub struct Changes(watch::Receiver<Arc<Known>>);

impl Changes {
    /// Whether they have.
    pub fn has_changed(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// Resolves when the keys have changed since the last time.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The ring lives as long as the app; if it is gone, so is everyone who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// A server starts: it reads the keys, and makes the first from its seed where there is none.
pub async fn begin(app: &App) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    store::lock(&mut tx).await?;
    if store::all(&mut tx).await?.is_empty() {
        let seed = app.config.signing_seed.expose().trim();
        let public = app.ledger_signer.public_key();
        let keys = SigningKeys::first(public, app.now());
        insert(app, &mut tx, &keys, seed).await?;
        announced(app, &mut tx, &keys, "system:signing", "first start").await?;
        tx.commit().await?;
    }
    refresh(app).await
}

/// Reads the keys again, opens the private halves that are new, and tells those who watch if anything changed.
pub async fn refresh(app: &App) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    let (rows, before) = (store::all(&mut tx).await?, app.signing_keys.known());
    let mut opened = Signers::new();
    for Row { key, sealed } in &rows {
        let id = &key.public.id;
        // The first key needs no data key for as long as the server is given the same seed.
        if *id == app.ledger_signer.public_key().id {
            opened.insert(id.clone(), Arc::clone(&app.ledger_signer));
        } else if let Some(sealed) = sealed.as_ref().filter(|_| !before.signers.contains_key(id)) {
            match timeout(OPENED_WITHIN, open(app, &mut tx, id, sealed)).await {
                Ok(Ok(signer)) => drop(opened.insert(id.clone(), Arc::new(signer))),
                // The key before goes on, for as long as it verifies.
                Ok(Err(fault)) => {
                    tracing::error!(key = id, %fault, "a signing key can't be opened, it will be tried again");
                }
                Err(_) => tracing::error!(key = id, "a signing key is not opened in time, it will be tried again"),
            }
        }
    }
    drop(tx);
    publish(app, &opened).await
}

/// Reads the keys and tells those who watch if they changed, opening nothing: what gateways and hosts trust waits for no
/// key store.
pub async fn read(app: &App) -> Answer<()> {
    publish(app, &Signers::new()).await
}

async fn publish(app: &App, opened: &Signers) -> Answer<()> {
    // One after the other: a slow reader must not put back a key that was revoked after it read.
    let _reading = app.signing_keys.reading.lock().await;
    let mut tx = app.db.begin_installation().await?;
    let keys = SigningKeys::new(store::all(&mut tx).await?.into_iter().map(|row| row.key).collect());
    drop(tx);
    let mut signers = app.signing_keys.known().signers.clone();
    signers.extend(opened.iter().map(|(id, signer)| (id.clone(), Arc::clone(signer))));
    signers.retain(|id, _| keys.all().iter().any(|key| key.public.id == *id));
    let trusted = keys.trusted(app.now());
    let fresh = Known { keyring: Keyring::new(&trusted), keys, signers, trusted };
    app.signing_keys.known.send_if_modified(|known| {
        let is_new = !known.is_same(&fresh);
        if is_new {
            *known = Arc::new(fresh);
        }
        is_new
    });
    Ok(())
}

async fn open(app: &App, tx: &mut Tx, id: &str, sealed: &[u8]) -> Answer<Signer> {
    let text = vault::ops::open(app, tx, &place(id), sealed).await?;
    let mut seed = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(text.expose(), seed.as_mut_slice()).context("a stored signing key is no seed")?;
    let signer = Signer::from_seed(&seed);
    if signer.public_key().id == id { Ok(signer) } else { Err(anyhow::anyhow!("its seed is of another key").into()) }
}

fn place(id: &str) -> String {
    format!("signing-key/{id}")
}

/// Stores the newest of these keys, whose private half is made from `seed`, in hexadecimal.
async fn insert(app: &App, tx: &mut Tx, keys: &SigningKeys, seed: &str) -> Answer<()> {
    let key = keys.all().last().context("there is a newest key")?;
    let sealed = vault::ops::seal(app, tx, &place(&key.public.id), &Secret::new(seed.to_owned())).await?;
    store::insert(tx, &Row { key: key.clone(), sealed: Some(sealed) }).await
}

async fn announced(app: &App, tx: &mut Tx, keys: &SigningKeys, actor: &str, cause: &str) -> Answer<()> {
    let key = keys.all().last().context("there is a newest key")?;
    let details = json!({ "public_key": key.public.key, "signs_from": key.signs_from.to_string() });
    ledger::record(app, tx, Entry::new(actor, "signing_key.announced", &key.public.id, cause).details(details)).await
}

/// The keys, and what each is for.
pub fn list(app: &App) -> Shown {
    let (known, now) = (app.signing_keys.known(), app.now());
    let shown = known.keys.all().iter().map(|key| SigningKey {
        id: key.public.id.clone(),
        public_key: key.public.key.clone(),
        state: known.keys.state(key, now),
        announced_at: key.announced_at,
        signs_from: key.signs_from,
        verifies_until: key.verifies_until,
    });
    Shown { keys: shown.filter(|key| key.state != SigningState::Dropped).collect() }
}

/// Announces a new key, which soon takes over; or puts it in the place of the others at once.
pub async fn rotate(app: &App, actor: &str, request: &RotateSigningKey) -> Answer<Shown> {
    let now = app.now();
    let mut seed = Zeroizing::new([0_u8; 32]);
    app.entropy.fill(seed.as_mut_slice());
    let public = Signer::from_seed(&seed).public_key();
    let mut tx = app.db.begin_installation().await?;
    store::lock(&mut tx).await?;
    let before = SigningKeys::new(store::all(&mut tx).await?.into_iter().map(|row| row.key).collect());
    let mut keys = before.clone();
    if request.revoke {
        keys.revoke(public, now);
        for key in before.all() {
            store::delete(&mut tx, &key.public.id).await?;
            let entry = Entry::new(actor, "signing_key.revoked", &key.public.id, "asked by the operator");
            ledger::record(app, &mut tx, entry).await?;
        }
    } else {
        keys.forget_dropped(now);
        keys.rotate(public, now).map_err(|reason| refused(&reason))?;
        for key in keys.all() {
            store::set_end(&mut tx, key).await?;
        }
    }
    let seed = Zeroizing::new(hex::encode(seed.as_slice()));
    insert(app, &mut tx, &keys, &seed).await?;
    announced(app, &mut tx, &keys, actor, if request.revoke { "revocation" } else { "rotation" }).await?;
    tx.nudge(Nudge::SigningKeys);
    tx.commit().await?;
    refresh(app).await?;
    Ok(list(app))
}

fn refused(reason: &RotationRefused) -> Fault {
    let (code, hint) = match reason {
        RotationRefused::UnderWay { .. } => ("signing_key.under_way", "wait until it signs"),
        RotationRefused::TooMany { .. } => ("signing_key.too_many", "wait, or revoke them all"),
    };
    Refusal::conflict(code, reason.to_string()).hint(hint).into()
}

/// Destroys private halves that nobody signs with any more, and deletes what is dropped; how many keys that were.
pub async fn tidy(app: &App) -> Answer<usize> {
    let now = app.now();
    let mut tx = app.db.begin_installation().await?;
    store::lock(&mut tx).await?;
    let rows = store::all(&mut tx).await?;
    let sealed: Vec<_> = rows.iter().filter(|row| row.sealed.is_some()).map(|row| row.key.public.id.clone()).collect();
    let mut keys = SigningKeys::new(rows.into_iter().map(|row| row.key).collect());
    let mut done = 0;
    for key in keys.spent(now).filter(|key| sealed.contains(&key.public.id)) {
        store::set_sealed(&mut tx, &key.public.id, None).await?;
        let entry = Entry::new("system:signing", "signing_key.retired", &key.public.id, "another signs");
        ledger::record(app, &mut tx, entry).await?;
        done += 1;
    }
    for key in keys.forget_dropped(now) {
        store::delete(&mut tx, &key.public.id).await?;
        let cause = "all that it signed has expired";
        ledger::record(app, &mut tx, Entry::new("system:signing", "signing_key.dropped", &key.public.id, cause))
            .await?;
        done += 1;
    }
    if done > 0 {
        tx.nudge(Nudge::SigningKeys);
        tx.commit().await?;
    }
    Ok(done)
}

/// Seals private halves anew that lie under a retired data key of the installation; how many there were.
pub async fn reseal(app: &App, tx: &mut Tx) -> Answer<usize> {
    let found = store::to_reseal(tx).await?;
    for (id, sealed) in &found {
        let seed = vault::ops::open(app, tx, &place(id), sealed).await?;
        let sealed = vault::ops::seal(app, tx, &place(id), &seed).await?;
        store::set_sealed(tx, id, Some(&sealed)).await?;
    }
    Ok(found.len())
}

//! Writing to the ledger, and exporting it.

use super::store;
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use envforge_api::http::usage::LedgerExport;
use envforge_core::ledger::{Checkpoint, Event, GENESIS};
use serde_json::{Value, json};

/// What to write.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Who, as `kind:id`.
    pub actor: &'a str,
    /// What, past tense.
    pub verb: &'static str,
    /// To what, as an id.
    pub subject: String,
    /// Why.
    pub cause: &'a str,
    /// What else: integers, texts and booleans only.
    pub details: Value,
}

impl<'a> Entry<'a> {
    /// An entry without further details.
    pub fn new(actor: &'a str, verb: &'static str, subject: impl std::fmt::Display, cause: &'a str) -> Self {
        Self { actor, verb, subject: subject.to_string(), cause, details: json!({}) }
    }

    /// Adds details.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

/// Writes an event in the transaction that makes the change.
pub async fn record(app: &App, tx: &mut Tx, entry: Entry<'_>) -> Answer<()> {
    let event = Event {
        id: app.mint(),
        org: tx.org(),
        at: app.now(),
        actor: entry.actor.to_owned(),
        verb: entry.verb.to_owned(),
        subject: entry.subject,
        cause: entry.cause.to_owned(),
        details: entry.details,
    };
    store::insert(tx, &event).await?;
    let org = tx.org();
    tx.nudge(Nudge::Ledger { org });
    Ok(())
}

/// Everything sealed so far, with a checkpoint of exactly that head.
pub async fn export(app: &App, permit: &Permit) -> Answer<LedgerExport> {
    let mut tx = app.db.begin(permit.scope).await?;
    let events = store::sealed(&mut tx).await?;
    drop(tx);
    let (position, hash) =
        events.last().map_or((0, GENESIS.to_owned()), |last| (last.seal.position, last.seal.hash.clone()));
    let checkpoint = sign(app, Some(permit.scope.org()), position, hash);
    Ok(LedgerExport { events, checkpoint, keys: vec![app.signer.public_key()] })
}

/// A signed checkpoint of a head.
pub(super) fn sign(app: &App, org: Option<envforge_core::id::OrgId>, position: u64, hash: String) -> Checkpoint {
    let key = app.signer.public_key().id;
    let mut checkpoint = Checkpoint { org, position, hash, at: app.now(), key, signature: String::new() };
    checkpoint.signature = app.signer.sign_bytes(envforge_core::ledger::CHECKPOINT_DOMAIN, &checkpoint.signed_bytes());
    checkpoint
}

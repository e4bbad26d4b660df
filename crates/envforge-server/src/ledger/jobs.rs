//! The sealer: gives every event its place and hash, within a second of its commit.

use super::{ops, store};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use envforge_core::id::OrgId;
use envforge_core::ledger::{Seal, link};
use std::collections::BTreeSet;
use std::time::Duration;

/// Events sealed in one transaction.
const BATCH: i64 = 500;
/// How long the sealer lets events gather; a chain is sealed at most this often.
const GATHER: Duration = Duration::from_millis(250);
/// How often all chains are looked at, nudged or not.
const SWEEP: Duration = Duration::from_secs(30);

/// Seals for ever.
pub async fn run(app: App) {
    let mut nudges = app.bus.listen();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let mut chains: BTreeSet<Option<OrgId>> = BTreeSet::new();
        let mut all = false;
        tokio::select! {
            _ = sweep.tick() => all = true,
            nudge = nudges.next() => match nudge {
                Nudge::Ledger { org } => { chains.insert(org); }
                Nudge::Resync => all = true,
                _ => continue,
            },
        }
        let gathered = tokio::time::timeout(GATHER, async {
            loop {
                if let Nudge::Ledger { org } = nudges.next().await {
                    chains.insert(org);
                }
            }
        });
        let Err(_) = gathered.await;
        if all {
            match store::system_unsealed_chains(&app.db).await {
                Ok(found) => chains.extend(found),
                Err(fault) => tracing::warn!(%fault, "the sealer could not look for chains"),
            }
        }
        for chain in chains {
            if let Err(fault) = seal(&app, chain).await {
                tracing::warn!(%fault, "a chain could not be sealed now, it will be tried again");
            }
        }
    }
}

/// Seals what a chain has unsealed. May run twice, and may die half-way: a batch is one transaction.
pub async fn seal(app: &App, chain: Option<OrgId>) -> Answer<u64> {
    let mut total = 0;
    loop {
        let mut tx = match chain {
            Some(org) => app.db.begin(OrgScope::established(org)).await?,
            None => app.db.begin_installation().await?,
        };
        if !store::lock_chain(&mut tx).await? {
            return Ok(total);
        }
        let (mut position, mut hash) = store::head(&mut tx).await?;
        let events = store::unsealed(&mut tx, BATCH).await?;
        if events.is_empty() {
            return Ok(total);
        }
        let mut seals = Vec::with_capacity(events.len());
        for event in &events {
            position += 1;
            hash = link(&hash, event);
            seals.push((event.id, Seal { position, hash: hash.clone() }));
        }
        store::insert_seals(&mut tx, &seals).await?;
        store::insert_checkpoint(&mut tx, &ops::sign(app, chain, position, hash)).await?;
        tx.commit().await?;
        total += events.len() as u64;
    }
}

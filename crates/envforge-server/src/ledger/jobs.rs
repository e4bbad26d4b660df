//! What keeps chains whole: the sealer gives every event its place and hash within a second of its commit, the verifier
//! proves again and again that nobody changed them since, pruning lets old ones go behind a signed anchor.
//!
//! All three may run in several replicas and may die anywhere: each step is one transaction that holds its chain.

use super::Entry;
use super::ops::{self, begin};
use super::store::{self, Round, State};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use envforge_api::http::ledger::LedgerBreak;
use envforge_core::id::OrgId;
use envforge_core::ledger::{Anchor, Chain, Checkpoint, LedgerError, Seal, SealedEvent};
use envforge_core::token::{Keyring, TokenError};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Events sealed in one transaction.
const BATCH: i64 = 2_000;
/// How long the sealer lets events gather; a chain is sealed at most this often.
const GATHER: Duration = Duration::from_millis(250);
/// How often all chains are looked at, nudged or not.
const SWEEP: Duration = Duration::from_secs(1);
/// After how many sweeps a chain that could not be sealed is tried again.
const SWEEPS_OF_REST: u32 = 30;

/// Events verified of one chain in one transaction, at its end and in its round.
const SLICE: i64 = 2_000;
/// How often the verifier goes on.
const VERIFY: Duration = Duration::from_secs(5);
/// Chains it looks at each time: first those that grew, then the next ones in turn.
const CHAINS: usize = 16;
/// The next ones in turn.
const IN_TURN: usize = 4;
/// How long a chain rests that was verified whole.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// How often old events are looked for.
const PRUNE: Duration = Duration::from_hours(1);
/// Positions pruned in one transaction.
const PRUNE_STEP: i64 = 10_000;
/// Fewest days events are kept; the database holds to it too.
pub const RETENTION_DAYS_MIN: u32 = 30;

/// A chain: an org's, or the installation's.
type ChainOf = Option<OrgId>;

/// Seals for ever.
pub async fn run(app: App) {
    let mut nudges = app.bus.listen();
    let mut sweep = tokio::time::interval(SWEEP);
    let (mut failed, mut sweeps) = (BTreeSet::new(), 0_u32);
    loop {
        let mut chains: BTreeSet<ChainOf> = BTreeSet::new();
        tokio::select! {
            _ = sweep.tick() => {
                sweeps = sweeps.wrapping_add(1);
                match store::system_unsealed_chains(&app.db).await {
                    Ok(found) => chains.extend(found),
                    Err(fault) => tracing::warn!(%fault, "the sealer could not look for chains"),
                }
                if sweeps % SWEEPS_OF_REST == 0 {
                    failed.clear();
                }
            }
            nudge = nudges.next() => match nudge {
                Nudge::Ledger { org } => {
                    chains.insert(org);
                    let gathered = tokio::time::timeout(GATHER, async {
                        loop {
                            if let Nudge::Ledger { org } = nudges.next().await {
                                chains.insert(org);
                            }
                        }
                    });
                    let Err(_) = gathered.await;
                }
                _ => continue,
            },
        }
        for chain in chains.difference(&failed.clone()) {
            if let Err(fault) = seal(&app, *chain).await {
                failed.insert(*chain);
                if fault.is_transient() {
                    tracing::warn!(%fault, chain = name(*chain), "a chain could not be sealed now, it will be tried again");
                } else {
                    tracing::error!(%fault, chain = name(*chain), "a chain is not sealed any more, its events wait");
                }
            }
        }
    }
}

fn name(chain: ChainOf) -> String {
    chain.map_or_else(|| "installation".to_owned(), |org| org.to_string())
}

/// Seals what a chain has unsealed. May run twice, and may die half-way: a batch is one transaction.
pub async fn seal(app: &App, chain: ChainOf) -> Answer<u64> {
    let mut total = 0;
    loop {
        let mut tx = begin(&app.db, chain).await?;
        if !store::lock_chain(&mut tx).await? {
            return Ok(total);
        }
        let (numbers, events) = store::unsealed(&mut tx, BATCH).await?;
        if events.is_empty() {
            return Ok(total);
        }
        let (head, checkpoint) = store::head(&mut tx).await?;
        match signed(head, checkpoint.as_ref(), &app.ledger_keyring) {
            // The key was replaced: the verifier says so, and what happens from now on is signed with the new one.
            Ok(()) | Err(LedgerError::Signature { error: TokenError::UnknownKey, .. }) => {}
            Err(error) => return Err(Fault::Broken(error.into())),
        }
        let mut linked = Chain::after(head);
        let seals: Vec<_> = events.iter().map(|event| (event.id, linked.append(event))).collect();
        store::insert_seals(&mut tx, &seals, &numbers).await?;
        let checkpoint = Checkpoint::sign(&app.ledger_signer, chain, linked.head, app.now());
        store::insert_checkpoint(&mut tx, &checkpoint).await?;
        tx.commit().await?;
        let now = app.now();
        for event in &events {
            app.metrics.sealed(Duration::try_from(now.duration_since(event.at)).unwrap_or_default());
        }
        total += events.len() as u64;
    }
}

/// Whether the head of a chain is the one that was signed.
fn signed(head: Seal, checkpoint: Option<&Checkpoint>, keys: &Keyring) -> Result<(), LedgerError> {
    match checkpoint {
        None if head.position == 0 => Ok(()),
        None => Err(LedgerError::Unsigned { position: head.position }),
        Some(checkpoint) if checkpoint.hash != head.hash => Err(LedgerError::Rewritten { position: head.position }),
        Some(checkpoint) => checkpoint.check(keys),
    }
}

/// Verifies for ever.
pub async fn run_verifier(app: App) {
    let mut nudges = app.bus.listen();
    let mut tick = tokio::time::interval(VERIFY);
    let (mut grown, mut turn) = (BTreeSet::new(), VecDeque::new());
    loop {
        tokio::select! {
            nudge = nudges.next() => {
                if let Nudge::Ledger { org } = nudge {
                    grown.insert(org);
                }
                continue;
            }
            _ = tick.tick() => {}
        }
        if turn.is_empty() {
            match store::system_chains(&app.db).await {
                Ok(chains) => turn.extend(chains),
                Err(fault) => tracing::warn!(%fault, "the verifier could not look for chains"),
            }
        }
        let mut chains: BTreeSet<ChainOf> = turn.drain(..turn.len().min(IN_TURN)).collect();
        while let Some(chain) = grown.pop_first() {
            chains.insert(chain);
            if chains.len() >= CHAINS {
                break;
            }
        }
        for chain in chains {
            if let Err(fault) = verify(&app, chain).await {
                tracing::warn!(%fault, chain = name(chain), "a chain could not be verified now, it will be tried again");
            }
        }
    }
}

/// Verifies the next slice of what was added to a chain, and the next one of the round over all of it.
pub async fn verify(app: &App, chain: ChainOf) -> Answer<()> {
    let mut tx = begin(&app.db, chain).await?;
    let now = app.now();
    let Some(mut state) = store::lock_state(&mut tx, now).await? else { return Ok(()) };
    let known = state.broken.take();
    let mut found = verify_end(app, &mut tx, &mut state, now).await?.err();
    let is_due = known.is_some() || state.whole_at.is_none_or(|at| now.duration_since(at) >= REST);
    let mut is_whole = false;
    if state.round.is_some() || is_due {
        match verify_round(app, &mut tx, &mut state).await? {
            Ok(ended) => is_whole = ended && found.is_none(),
            Err(error) => {
                state.round = None;
                found = Some(error);
            }
        }
    }
    if is_whole {
        state.whole_at = Some(now);
    }
    state.broken = match (found, known) {
        (Some(error), Some(known)) if known.reason == error.to_string() => Some(known),
        (Some(error), _) => {
            tracing::error!(chain = name(chain), position = error.position(), reason = %error, "the ledger is broken: somebody changed it past the product; keep the database as it is, and compare with earlier exports");
            Some(LedgerBreak { position: error.position(), reason: error.to_string(), at: now })
        }
        // It is whole again once a round says so.
        (None, Some(known)) if !is_whole => Some(known),
        (None, Some(_)) => {
            tracing::warn!(chain = name(chain), "the ledger was broken and is whole again");
            None
        }
        (None, None) => None,
    };
    store::put_state(&mut tx, &state).await?;
    tx.commit().await
}

/// The chain has not become shorter, its head is signed, and what was added follows.
async fn verify_end(app: &App, tx: &mut Tx, state: &mut State, now: Timestamp) -> Answer<Result<(), LedgerError>> {
    let (head, checkpoint) = store::head(tx).await?;
    if let Err(error) = signed(head, checkpoint.as_ref(), &app.ledger_keyring) {
        return Ok(Err(error));
    }
    let pruned = store::anchor(tx).await?.map_or(0, |anchor| anchor.position);
    let seen = app.ledger.heads.lock().expect("no panic while held").get(&tx.org()).copied();
    for Seal { position, hash } in seen.into_iter().chain([state.verified]) {
        if position > pruned && store::hash_at(tx, position).await? != Some(hash) {
            return Ok(Err(LedgerError::Cut { position }));
        }
    }
    app.ledger.heads.lock().expect("no panic while held").insert(tx.org(), head);
    let verified = match slice(app, tx, state.verified).await? {
        Ok((verified, _)) => verified,
        Err(error) => return Ok(Err(error)),
    };
    (state.verified, state.verified_at) = (verified, now);
    Ok(Ok(()))
}

/// Goes on with the round over the whole chain, or begins one; `true` when it ended.
async fn verify_round(app: &App, tx: &mut Tx, state: &mut State) -> Answer<Result<bool, LedgerError>> {
    let anchor = store::anchor(tx).await?;
    let start = anchor.as_ref().map_or(Chain::genesis().head, Anchor::end);
    let round = match (state.round, &anchor) {
        (Some(round), _) => round,
        (None, None) => Round { position: 0, hash: start.hash, kept: None },
        (None, Some(anchor)) => {
            if let Err(error) = anchor.check(&app.ledger_keyring) {
                return Ok(Err(error));
            }
            Round { position: 0, hash: Chain::genesis().head.hash, kept: Some(0) }
        }
    };
    if let (Some(kept), Some(anchor)) = (round.kept, anchor) {
        let events = store::sealed(tx, round.position, anchor.position, SLICE).await?;
        let mut linked = Chain::after(Seal { position: kept, hash: round.hash });
        for sealed in &events {
            linked.append(&sealed.event);
        }
        let Seal { position: kept, hash } = linked.head;
        state.round = match events.last() {
            Some(last) => Some(Round { position: last.seal.position, hash, kept: Some(kept) }),
            None if (kept, hash) != (anchor.kept, anchor.kept_hash) => {
                return Ok(Err(LedgerError::Kept { position: anchor.position }));
            }
            None => Some(Round { position: start.position, hash: start.hash, kept: None }),
        };
        return Ok(Ok(false));
    }
    match slice(app, tx, Seal { position: round.position, hash: round.hash }).await? {
        Ok((verified, is_end)) => {
            let Seal { position, hash } = verified;
            state.round = (!is_end).then_some(Round { position, hash, kept: None });
            Ok(Ok(is_end))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Checks the events after a seal and the checkpoints among them; how far it came, and whether that is the end.
async fn slice(app: &App, tx: &mut Tx, after: Seal) -> Answer<Result<(Seal, bool), LedgerError>> {
    let events = store::sealed(tx, after.position, u64::MAX, SLICE).await?;
    let upto = events.last().map_or(after.position, |last| last.seal.position);
    let checkpoints = store::checkpoints(tx, after.position, upto).await?;
    let (keys, is_end) = (app.ledger_keyring.clone(), (events.len() as i64) < SLICE);
    let checked = tokio::task::spawn_blocking(move || check(after, &events, &checkpoints, &keys));
    Ok(checked.await.map_err(anyhow::Error::new)?.map(|verified| (verified, is_end)))
}

fn check(after: Seal, events: &[SealedEvent], checkpoints: &[Checkpoint], keys: &Keyring) -> Result<Seal, LedgerError> {
    let mut chain = Chain::after(after);
    let mut checkpoints = checkpoints.iter().peekable();
    for sealed in events {
        chain.check(sealed)?;
        let position = chain.head.position;
        while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.position <= position) {
            signed(chain.head, Some(checkpoint), keys)?;
        }
    }
    Ok(chain.head)
}

/// Records refusals that were counted, every minute, and a last time when the server stops.
pub async fn run_refusals(app: App) {
    let mut minute = tokio::time::interval(Duration::from_mins(1));
    loop {
        let stops = tokio::select! {
            () = app.cancel.cancelled() => true,
            _ = minute.tick() => false,
        };
        ops::write_refusals(&app, stops).await;
        if stops {
            return;
        }
    }
}

/// Prunes for ever what is older than the installation keeps.
pub async fn run_pruning(app: App, days: u32) {
    let mut tick = tokio::time::interval(PRUNE);
    loop {
        tick.tick().await;
        let chains = match store::system_chains(&app.db).await {
            Ok(chains) => chains,
            Err(fault) => {
                tracing::warn!(%fault, "the ledger could not be pruned now, it will be tried again");
                continue;
            }
        };
        for chain in chains {
            match prune(&app, chain, days).await {
                Ok(0) => {}
                Ok(pruned) => tracing::info!(chain = name(chain), pruned, days, "old ledger events were pruned"),
                Err(fault) => {
                    tracing::warn!(%fault, chain = name(chain), "a chain could not be pruned now, it will be tried again");
                }
            }
        }
    }
}

/// Prunes what a chain has that is older; how many events that were. A step is one transaction: verified once more,
/// anchored, deleted, recorded. A broken chain is left as it is.
pub async fn prune(app: &App, chain: ChainOf, days: u32) -> Answer<u64> {
    let days = days.max(RETENTION_DAYS_MIN);
    let before = app.now() - SignedDuration::from_hours(24 * i64::from(days));
    let mut total = 0;
    while let Some(pruned) = prune_step(app, chain, before, days).await? {
        total += pruned;
    }
    Ok(total)
}

async fn prune_step(app: &App, chain: ChainOf, before: Timestamp, days: u32) -> Answer<Option<u64>> {
    let mut tx = begin(&app.db, chain).await?;
    if !store::lock_chain(&mut tx).await? {
        return Ok(None);
    }
    let Some(mut state) = store::lock_state(&mut tx, app.now()).await?.filter(|state| state.broken.is_none()) else {
        return Ok(None);
    };
    let (head, _) = store::head(&mut tx).await?;
    let anchor = store::anchor(&mut tx).await?;
    let start = anchor.as_ref().map_or(Chain::genesis().head, Anchor::end);
    let upto = head.position.saturating_sub(1).min(state.verified.position);
    let mut events = store::sealed(&mut tx, start.position, upto, PRUNE_STEP).await?;
    events.truncate(events.iter().take_while(|sealed| sealed.event.at < before).count());
    let Some(last) = events.last() else { return Ok(None) };
    let checkpoints = store::checkpoints(&mut tx, start.position, last.seal.position).await?;
    let Some(end) = checkpoints.last().map(|checkpoint| checkpoint.position) else { return Ok(None) };
    events.retain(|sealed| sealed.seal.position <= end);
    let verified = match check(start, &events, &checkpoints, &app.ledger_keyring) {
        Ok(verified) => verified,
        Err(error) => return Err(Fault::Broken(error.into())),
    };
    let mut kept = Chain::after(
        anchor.map_or(Chain::genesis().head, |anchor| Seal { position: anchor.kept, hash: anchor.kept_hash }),
    );
    for sealed in events.iter().filter(|sealed| sealed.event.is_meter()) {
        kept.append(&sealed.event);
    }
    let anchor = Anchor::sign(&app.ledger_signer, chain, verified, kept.head, before);
    let pruned = store::prune(&mut tx, &anchor).await?;
    state.round = None;
    store::put_state(&mut tx, &state).await?;
    let cause = format!("older than {days} days");
    let details = json!({ "upto": end, "events": pruned, "kept": anchor.kept });
    super::record(app, &mut tx, Entry::new("system:ledger", "ledger.pruned", name(chain), &cause).details(details))
        .await?;
    tx.commit().await?;
    Ok(Some(pruned))
}

//! Writing to the ledger, searching it, and exporting it.

use super::store::{self, Filter};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use bytes::Bytes;
use envforge_api::http::ledger::{LEDGER_LIMIT_MAX, LedgerEvents, LedgerQuery, LedgerState, ListedEvent};
use envforge_core::id::{EventId, OrgId};
use envforge_core::ledger::{Checkpoint, Event, Header, Seal, checkpoint_line, event_line, header_line, kept_line};
use envforge_core::refusal::Refusal;
use futures_util::{Stream, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

/// Events read at once while exporting.
const PAGE: i64 = 1_000;
/// Longest text to search for.
const TEXT_MAX: usize = 200;
/// Refusals counted apart at one time; what is beyond is counted together by verb.
const REFUSALS_MAX: usize = 1_000;
/// A refusal is recorded at most this often, in seconds.
const REFUSAL_PAUSE: i64 = 60;

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
    app.metrics.ledger_appends.inc();
    let org = tx.org();
    tx.nudge(Nudge::Ledger { org });
    Ok(())
}

/// The same, unless one of the same actor, verb and subject was written within this time: for what may happen at any
/// rate and is of interest once.
pub async fn record_once_in(app: &App, tx: &mut Tx, entry: Entry<'_>, time: SignedDuration) -> Answer<()> {
    let since = app.now().checked_sub(time).unwrap_or(Timestamp::MIN);
    if store::was_written(tx, entry.actor, entry.verb, &entry.subject, since).await? {
        return Ok(());
    }
    record(app, tx, entry).await
}

/// Begins a transaction in a chain: an org's, or the installation's.
pub(super) async fn begin(db: &Db, chain: Option<OrgId>) -> Answer<Tx> {
    match chain {
        Some(org) => db.begin(OrgScope::established(org)).await,
        None => db.begin_installation().await,
    }
}

/// What this process remembers of the ledger.
#[derive(Debug, Default)]
pub struct Memory {
    refusals: Mutex<BTreeMap<Refused, Counted>>,
    /// Heads seen: not even whoever owns the database can make a chain shorter unnoticed.
    pub(super) heads: Mutex<BTreeMap<Option<OrgId>, Seal>>,
}

/// Something that was refused and matters for security. No field holds a secret or a personal value; `cause` and
/// `subject` come from a small set of texts and ids of ours, never from what a stranger sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The org in whose chain it belongs; the installation's when absent.
    pub org: Option<OrgId>,
    /// Who was refused, as `kind:id`; `stranger` when nobody is signed in.
    pub actor: String,
    /// What was refused: `access.denied`.
    pub verb: &'static str,
    /// Where, as an id.
    pub subject: String,
    /// Why, as a code or a sentence of ours.
    pub cause: String,
}

#[derive(Debug)]
struct Counted {
    /// When it was last recorded.
    since: Timestamp,
    /// How often it happened since then.
    count: u64,
}

/// Counts a refusal and records it in a transaction of its own, the first one at once and then one event a minute with
/// a count; nobody waits for it, and a flood of any kind costs one event a minute.
pub fn refused(app: &App, mut refused: Refused) {
    let now = app.now();
    let due = {
        let mut refusals = app.ledger.refusals.lock().expect("no panic while held");
        if refusals.len() >= REFUSALS_MAX && !refusals.contains_key(&refused) {
            refused =
                Refused { actor: "many".to_owned(), subject: "many".to_owned(), cause: "many".to_owned(), ..refused };
        }
        let counted = refusals.entry(refused.clone()).or_insert(Counted { since: Timestamp::UNIX_EPOCH, count: 0 });
        counted.count = counted.count.saturating_add(1);
        counted.take_due(now)
    };
    if let Some(count) = due {
        let task = app.clone();
        app.spawn("refusal", async move { write_refused(&task, refused, count).await });
    }
}

impl Counted {
    /// How many are to be recorded now.
    fn take_due(&mut self, now: Timestamp) -> Option<u64> {
        if self.count == 0 || now.duration_since(self.since).as_secs() < REFUSAL_PAUSE {
            return None;
        }
        self.since = now;
        Some(std::mem::take(&mut self.count))
    }
}

/// Records what was counted and whose minute is over, or all of it because the server stops.
pub async fn write_refusals(app: &App, is_last: bool) {
    let now = app.now();
    let due: Vec<(Refused, u64)> = {
        let mut refusals = app.ledger.refusals.lock().expect("no panic while held");
        let taken = refusals.iter_mut().filter_map(|(refused, counted)| {
            let due = if is_last { (counted.count > 0).then_some(counted.count) } else { counted.take_due(now) };
            Some((refused.clone(), due?))
        });
        let taken = taken.collect();
        refusals.retain(|_, counted| now.duration_since(counted.since).as_secs() < REFUSAL_PAUSE);
        taken
    };
    for (refused, count) in due {
        write_refused(app, refused, count).await;
    }
}

async fn write_refused(app: &App, refused: Refused, count: u64) {
    let written = async {
        let mut tx = begin(&app.db, refused.org).await?;
        let entry = Entry::new(&refused.actor, refused.verb, &refused.subject, &refused.cause);
        record(app, &mut tx, entry.details(json!({ "count": count }))).await?;
        tx.commit().await
    };
    if let Err(fault) = written.await {
        tracing::warn!(%fault, actor = refused.actor, verb = refused.verb, count, "a refusal could not be recorded, it counts in the next");
        let mut refusals = app.ledger.refusals.lock().expect("no panic while held");
        let counted = refusals.entry(refused).or_insert(Counted { since: app.now(), count: 0 });
        counted.count = counted.count.saturating_add(count);
    }
}

/// Events of the org that fit.
pub async fn search(app: &App, permit: &Permit, query: &LedgerQuery) -> Answer<LedgerEvents> {
    for text in [&query.actor, &query.verb, &query.subject].into_iter().flatten() {
        if text.is_empty() || text.len() > TEXT_MAX {
            return Err(Refusal::invalid("ledger.filter", format!("a filter has 1 to {TEXT_MAX} characters")).into());
        }
    }
    let limit = query.limit.unwrap_or(100);
    if !(1..=LEDGER_LIMIT_MAX).contains(&limit) {
        return Err(Refusal::invalid("ledger.limit", format!("an answer has 1 to {LEDGER_LIMIT_MAX} events")).into());
    }
    let area = query.verb.as_deref().and_then(|verb| verb.strip_suffix('.'));
    let filter = Filter {
        actor: query.actor.as_deref(),
        verb: query.verb.as_deref().filter(|_| area.is_none()),
        area,
        subject: query.subject.as_deref(),
        since: query.since,
        until: query.until,
        cursor: query.cursor.as_deref().map(read_cursor).transpose()?,
        order: query.order,
    };
    let mut tx = app.db.begin(permit.scope).await?;
    let mut events = store::search(&mut tx, &filter, i64::from(limit) + 1).await?;
    let more = events.len() > usize::from(limit);
    events.truncate(usize::from(limit));
    let next = events.last().filter(|_| more).map(cursor);
    Ok(LedgerEvents { events, next })
}

fn cursor(last: &ListedEvent) -> String {
    format!("{}.{}", last.event.at.as_microsecond(), last.event.id)
}

fn read_cursor(text: &str) -> Result<(Timestamp, EventId), Refusal> {
    let read = || {
        let (at, id) = text.split_once('.')?;
        Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| {
        Refusal::invalid("ledger.cursor", "this is no cursor of the ledger")
            .hint("send the `next` of an earlier answer")
    })
}

/// How a chain stands.
pub async fn state(app: &App, chain: Option<OrgId>) -> Answer<LedgerState> {
    let mut tx = begin(&app.db, chain).await?;
    let (head, checkpoint) = store::head(&mut tx).await?;
    let anchor = store::anchor(&mut tx).await?;
    let state = store::state(&mut tx).await?;
    Ok(LedgerState {
        head,
        checkpoint,
        anchor,
        key: app.ledger_signer.public_key(),
        verified_position: state.as_ref().map_or(0, |state| state.verified.position),
        verified_at: state.as_ref().map(|state| state.verified_at),
        whole_at: state.as_ref().and_then(|state| state.whole_at),
        broken: state.and_then(|state| state.broken),
        oldest_unsealed_at: store::oldest_unsealed(&mut tx).await?,
    })
}

/// An export under way: up to the head of its beginning, page by page, each in a transaction of its own, so that a slow
/// reader holds no connection. It ends with the checkpoint made when that head was sealed: exporting signs nothing.
#[derive(Debug)]
pub struct Export {
    db: Db,
    chain: Option<OrgId>,
    header: Header,
    checkpoint: Checkpoint,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Header,
    Kept(u64),
    Events(u64),
    Done,
}

/// Begins the export of a chain.
pub async fn export(app: &App, chain: Option<OrgId>) -> Answer<Export> {
    let mut tx = begin(&app.db, chain).await?;
    let (head, checkpoint) = store::head(&mut tx).await?;
    let Some(checkpoint) = checkpoint else {
        let refusal = match head.position {
            0 => Refusal::unavailable("ledger.not_sealed", "nothing of this ledger is sealed yet"),
            _ => Refusal::conflict("ledger.broken", "the head of this ledger has no signed checkpoint")
                .hint("`envforge ledger state` says what is broken; the server's log says since when"),
        };
        return Err(refusal.into());
    };
    let header = Header::new(chain, vec![app.ledger_signer.public_key()], store::anchor(&mut tx).await?);
    Ok(Export { db: app.db.clone(), chain, header, checkpoint, step: Step::Header })
}

impl Export {
    /// The export as bytes of whole lines. If it fails it breaks off, without the line that would make it whole.
    pub fn bytes(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut export| async move {
            match export.next().await {
                Ok(page) => Ok(page.map(|page| (page, export))),
                Err(fault) => {
                    tracing::warn!(%fault, "an export of the ledger broke off");
                    Err(io::Error::other(fault))
                }
            }
        })
    }

    async fn next(&mut self) -> Answer<Option<Bytes>> {
        let mut out = Vec::with_capacity(PAGE as usize * 512);
        let anchor = self.header.anchor.as_ref().map_or(0, |anchor| anchor.position);
        self.step = match self.step {
            Step::Header => {
                header_line(&self.header, &mut out);
                Step::Kept(0)
            }
            Step::Kept(after) => {
                let mut tx = begin(&self.db, self.chain).await?;
                let events = store::sealed(&mut tx, after, anchor, PAGE).await?;
                for sealed in &events {
                    kept_line(&sealed.event, &mut out);
                }
                events.last().map_or(Step::Events(anchor), |last| Step::Kept(last.seal.position))
            }
            Step::Events(after) if after == self.checkpoint.position => {
                checkpoint_line(&self.checkpoint, &mut out);
                Step::Done
            }
            Step::Events(after) => {
                let mut tx = begin(&self.db, self.chain).await?;
                let events = store::sealed(&mut tx, after, self.checkpoint.position, PAGE).await?;
                if events.first().is_none_or(|first| first.seal.position != after + 1) {
                    return Err(pruned_meanwhile());
                }
                for sealed in &events {
                    event_line(sealed, &mut out);
                }
                events.last().map_or(Step::Done, |last| Step::Events(last.seal.position))
            }
            Step::Done => return Ok(None),
        };
        Ok(Some(out.into()))
    }
}

fn pruned_meanwhile() -> Fault {
    Refusal::unavailable("ledger.pruned", "events were pruned while they were exported").into()
}

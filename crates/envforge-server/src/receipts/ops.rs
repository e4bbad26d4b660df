//! Making receipts, reading them, and reporting them for billing.

use super::jobs::{MakeReceipt, Report};
use super::store::{self, Cursor, Kept, Place, Reported};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::platform::jobs::{Options, enqueue};
use crate::providers::billing::{self, BillingError, UsageEvent};
use crate::{accounts, settings, usage, workspaces};
use envforge_api::http::receipts::{
    KeptReceipt, MonthReceipts, RECEIPTS_LIMIT_MAX, ReceiptSummary, Receipts, ReceiptsQuery, RecordedHash,
};
use envforge_core::id::{UsageSessionId, UserId, WorkspaceId};
use envforge_core::ledger::Hash;
use envforge_core::manifest::ResourceMode;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::setting::Setting;
use envforge_core::usage::receipt::{FINAL_VERB, ReceiptFacts, SecretUse, canonical_text, hash};
use envforge_core::usage::{Month, SessionReceipt, receipts_csv};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Who writes receipts.
const ACTOR: &str = "system:receipts";
/// Receipts read at once.
const PAGE: i64 = 200;
/// Sessions caught up with at once.
const CATCH_UP: i64 = 200;
/// How long the provider is sure to know an identifier again, with an hour to spare.
const KNOWN_AGAIN: SignedDuration = SignedDuration::from_hours(23);

/// A session has ended, in this transaction: its receipt will be made.
pub(crate) async fn ended(app: &App, tx: &mut Tx, workspace: WorkspaceId, session: UsageSessionId) -> Answer<()> {
    let options = Options::default().unique(session.to_string());
    enqueue(app, tx, &MakeReceipt { workspace, session }, options).await?;
    Ok(())
}

/// Makes and keeps the receipt of a session that has ended, unless there is one; whether this call did.
pub async fn make(app: &App, org: OrgScope, workspace: WorkspaceId, session: UsageSessionId) -> Answer<bool> {
    let mut tx = app.db.begin(org).await?;
    if store::find(&mut tx, session).await?.is_some() {
        return Ok(false);
    }
    let Some(ended_at) = ledger::store::session_ended(&mut tx, workspace, session).await? else { return Ok(false) };
    let Some(place) = store::place(&mut tx, workspace).await? else { return Ok(false) };
    let receipt = receipt(app, &mut tx, workspace, place, session, Some(ended_at)).await?;
    let document = receipt.to_text();
    let sha256 = hash(&document).to_string();
    let kept = Kept { session, workspace, ended_at, document, sha256 };
    if !store::insert(&mut tx, &kept).await? {
        return Ok(false);
    }
    let details = json!({
        "session": session,
        "sha256": kept.sha256,
        "awake_seconds": receipt.awake_seconds,
        "cost_micros": receipt.cost_micros,
        "currency": receipt.currency,
    });
    ledger::record(app, &mut tx, Entry::new(ACTOR, FINAL_VERB, workspace, "the session has ended").details(details))
        .await?;
    enqueue(app, &mut tx, &Report { session }, Options::default().unique(session.to_string())).await?;
    tx.commit().await?;
    Ok(true)
}

/// The receipt of a session as it is now.
async fn receipt(
    app: &App,
    tx: &mut Tx,
    workspace: WorkspaceId,
    place: Place,
    session: UsageSessionId,
    ended_at: Option<Timestamp>,
) -> Answer<SessionReceipt> {
    let now = app.now();
    let mut windows = usage::store::windows(tx, workspace).await?;
    windows.retain(|window| window.session == session);
    let began = ledger::store::session_began(tx, workspace, session).await?;
    let since = began.or_else(|| windows.first().map(|window| window.opened_at)).unwrap_or(now);
    let until = ended_at.unwrap_or(now);
    let mut events = ledger::store::of_workspace(tx, workspace, since, until).await?;
    // Who came by a link woke it after the visit.
    let wakers: BTreeSet<String> = events
        .iter()
        .filter(|event| event.verb == "runtime.wake_asked" && event.actor.starts_with("link_session:"))
        .map(|event| event.actor.clone())
        .collect();
    let mut earlier = ledger::store::visits_of(tx, &wakers.into_iter().collect::<Vec<_>>(), since).await?;
    earlier.append(&mut events);
    let secrets = ledger::store::secrets_used(tx, workspace, since, until).await?;
    let secrets = secrets.into_iter().map(|(name, used_by, count)| SecretUse { name, used_by, count });
    let provider_billed = place.manifest.iter().flat_map(|manifest| {
        let resources = manifest.resources.iter();
        resources
            .filter(|(_, mode)| matches!(mode, ResourceMode::CustomerCloud { .. }))
            .map(|(kind, _)| kind.to_string())
    });
    let org = tx.org().ok_or_else(|| anyhow::anyhow!("a receipt is an org's"))?;
    let facts = ReceiptFacts {
        org,
        workspace,
        provider_billed: provider_billed.collect(),
        workspace_slug: place.slug,
        project: place.project,
        branch: place.branch,
        session,
        is_final: ended_at.is_some(),
        windows: &windows,
        events: &earlier,
        prices: &settings::ops::price_list(app, tx).await?,
        secrets: secrets.collect(),
    };
    Ok(SessionReceipt::new(facts, now))
}

/// Makes what an org's sessions that have ended have no receipt of yet; how many that were.
pub async fn catch_up(app: &App, org: OrgScope) -> Answer<usize> {
    let mut tx = app.db.begin(org).await?;
    let missing = store::missing(&mut tx, CATCH_UP).await?;
    drop(tx);
    let mut made = 0;
    for (workspace, session) in missing {
        made += usize::from(make(app, org, workspace, session).await?);
    }
    Ok(made)
}

fn not_found() -> Fault {
    Refusal::not_found("receipt.not_found", "there is no such receipt of this workspace")
        .hint("`envforge receipts` lists them")
        .into()
}

fn broken(session: UsageSessionId) -> Fault {
    let message = format!("the receipt {session} is no receipt any more: it was changed in the database");
    Refusal::conflict("receipt.broken", message)
        .hint("`envforge ledger list --verb receipt.final` has its hash; a backup has it")
        .into()
}

/// A receipt as it was kept.
fn read(kept: &Kept) -> Answer<SessionReceipt> {
    serde_json::from_str(&kept.document).map_err(|_| broken(kept.session))
}

/// Receipts of a workspace, newest first.
pub async fn list(app: &App, permit: &Permit, slug: &Slug, query: &ReceiptsQuery) -> Answer<Receipts> {
    let limit = query.limit.unwrap_or(20);
    if !(1..=RECEIPTS_LIMIT_MAX).contains(&limit) {
        return Err(
            Refusal::invalid("receipt.limit", format!("an answer has 1 to {RECEIPTS_LIMIT_MAX} receipts")).into()
        );
    }
    let before = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let (found, next) = page(store::of_workspace(&mut tx, row.id, before, i64::from(limit) + 1).await?, limit.into());
    let mut receipts = Vec::new();
    if before.is_none()
        && let Some(session) = row.session
        && let Some(place) = store::place(&mut tx, row.id).await?
    {
        receipts.push(ReceiptSummary::of(&receipt(app, &mut tx, row.id, place, session, None).await?));
    }
    for kept in &found {
        receipts.push(ReceiptSummary::of(&read(kept)?));
    }
    let causes = receipts.iter_mut().filter_map(|receipt| receipt.wake_cause.as_mut()).collect();
    accounts::ops::say_names(&mut tx, causes).await?;
    Ok(Receipts { receipts, next })
}

/// What of one too many is shown, and where the next page begins.
fn page(mut found: Vec<Kept>, limit: usize) -> (Vec<Kept>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|kept| format!("{}.{}", kept.ended_at.as_microsecond(), kept.session));
    (found, next)
}

fn read_cursor(text: &str) -> Result<Cursor, Refusal> {
    let read = || {
        let (at, session) = text.split_once('.')?;
        Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, session.parse().ok()?))
    };
    read().ok_or_else(|| {
        Refusal::invalid("receipt.cursor", "this is no cursor of receipts").hint("send the `next` of an earlier answer")
    })
}

/// A session's receipt: as it is kept, or so far.
pub async fn show(app: &App, permit: &Permit, slug: &Slug, session: UsageSessionId) -> Answer<KeptReceipt> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    if row.session != Some(session) && store::find(&mut tx, session).await?.is_none() {
        drop(tx);
        // Its job has not come to it yet.
        make(app, OrgScope::established(permit.scope.org()), row.id, session).await?;
        tx = app.db.begin(permit.scope).await?;
    }
    let Some(kept) = store::find(&mut tx, session).await?.filter(|kept| kept.workspace == row.id) else {
        if row.session != Some(session) {
            return Err(not_found());
        }
        let place = store::place(&mut tx, row.id).await?.ok_or_else(not_found)?;
        let receipt = serde_json::to_value(receipt(app, &mut tx, row.id, place, session, None).await?)?;
        let names = names(&mut tx, &receipt.to_string()).await?;
        return Ok(KeptReceipt { receipt, sha256: None, recorded: None, is_intact: None, names });
    };
    let receipt: Value = serde_json::from_str(&kept.document).map_err(|_| broken(session))?;
    let recorded = ledger::store::receipt_event(&mut tx, row.id, session).await?;
    let recorded = recorded.map(|event| RecordedHash {
        event: event.id,
        at: event.at,
        sha256: event.details["sha256"].as_str().unwrap_or_default().to_owned(),
    });
    let now = hash(&canonical_text(&receipt));
    let says = recorded.as_ref().is_some_and(|recorded| recorded.sha256 == now.to_string());
    Ok(KeptReceipt {
        names: names(&mut tx, &kept.document).await?,
        is_intact: Some(says && kept.sha256 == now.to_string()),
        sha256: Hash::from_hex(kept.sha256.as_bytes()),
        recorded,
        receipt,
    })
}

/// What people whom a text names by id are called.
async fn names(tx: &mut Tx, text: &str) -> Answer<BTreeMap<String, String>> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let users: BTreeSet<UserId> =
        words.filter(|word| word.starts_with("user_")).filter_map(|word| word.parse().ok()).collect();
    let found = accounts::store::names(tx, &users.into_iter().collect::<Vec<_>>()).await?;
    Ok(found.into_iter().map(|(user, name)| (format!("user:{user}"), name)).collect())
}

/// A page of the receipts of sessions that ended in a month.
pub async fn month(app: &App, permit: &Permit, month: Option<Month>, cursor: Option<&str>) -> Answer<MonthReceipts> {
    let month = month.unwrap_or_else(|| Month::of(app.now()));
    let before = cursor.map(read_cursor).transpose()?;
    let mut tx = app.db.begin(permit.scope).await?;
    let found = store::of_time(&mut tx, month.start(), month.end(), before, PAGE + 1).await?;
    let (found, next) = page(found, PAGE as usize);
    let receipts = found.iter().map(|kept| serde_json::from_str(&kept.document).map_err(|_| broken(kept.session)));
    Ok(MonthReceipts { month, receipts: receipts.collect::<Answer<_>>()?, next })
}

/// All of them as comma-separated values.
pub async fn month_csv(app: &App, permit: &Permit, month: Option<Month>) -> Answer<String> {
    let month = month.unwrap_or_else(|| Month::of(app.now()));
    let (mut text, mut before) = (receipts_csv([]), None);
    loop {
        let mut tx = app.db.begin(permit.scope).await?;
        let found = store::of_time(&mut tx, month.start(), month.end(), before, PAGE).await?;
        drop(tx);
        let Some(last) = found.last() else { return Ok(text) };
        before = Some((last.ended_at, last.session));
        let receipts = found.iter().map(read).collect::<Answer<Vec<_>>>()?;
        let page = receipts_csv(receipts.iter().zip(found.iter().map(|kept| Some(kept.sha256.clone()))));
        text.extend(page.split_once("\r\n").map(|(_, lines)| lines));
    }
}

/// Why a report was not made now.
#[derive(Debug, thiserror::Error)]
pub enum NotReported {
    /// It may be tried again.
    #[error("{cause}")]
    Later {
        /// What went wrong.
        cause: String,
        /// When, if the provider said so.
        after: Option<SignedDuration>,
    },
    /// It waits for a person.
    #[error("{0}")]
    Parked(String),
    /// Something of ours broke.
    #[error(transparent)]
    Broken(#[from] Fault),
}

/// Reports a receipt to the provider of metered billing, if there is one, at most once.
pub async fn report(app: &App, org: OrgScope, session: UsageSessionId) -> Result<(), NotReported> {
    let mut tx = app.db.begin(org).await?;
    let slug = store::org_slug(&mut tx).await?;
    let Some(kept) = store::find(&mut tx, session).await? else { return Ok(()) };
    drop(tx);
    let mut tx = app.db.begin_installation().await?;
    let setting = |name: &str| Setting::find(name, false).map_err(Fault::from);
    let Some(form) = settings::ops::in_force(app, &mut tx, &setting("billing")?).await? else { return Ok(()) };
    let customer = settings::ops::in_force(app, &mut tx, &setting(&format!("billing_customer.{slug}"))?).await?;
    drop(tx);
    let provider = billing::of_setting(&form).map_err(|refusal| NotReported::Parked(refusal.message))?;
    let receipt = read(&kept)?;
    let value = if form.text("value") == Some("seconds") { receipt.awake_seconds } else { receipt.cost_micros };
    if value == 0 {
        return Ok(());
    }
    let customer = customer.as_ref().and_then(|values| values.text("customer")).ok_or_else(|| {
        NotReported::Parked(format!(
            "organization `{slug}` has no customer at the provider: set `billing_customer.{slug}`, then retry"
        ))
    })?;
    let event = UsageEvent {
        identifier: format!("envforge-{session}"),
        customer: customer.to_owned(),
        value,
        at: kept.ended_at,
    };
    let mut tx = app.db.begin(org).await?;
    let reported = store::lock_report(&mut tx, session).await?;
    if reported.sent_at.is_some() {
        return Ok(());
    }
    let now = app.now();
    if let Some(since) = reported.tried_at.filter(|since| now.duration_since(*since) > KNOWN_AGAIN) {
        return Err(NotReported::Parked(format!(
            "it may have arrived at {since}, and the provider may not know `{}` again: look there",
            event.identifier
        )));
    }
    store::put_report(&mut tx, session, Reported { tried_at: reported.tried_at.or(Some(now)), sent_at: None }).await?;
    tx.commit().await?;
    let answer = provider.report(&event).await;
    let mut tx = app.db.begin(org).await?;
    let held = store::lock_report(&mut tx, session).await?;
    match answer {
        Ok(()) => {
            store::put_report(&mut tx, session, Reported { sent_at: Some(app.now()), ..held }).await?;
            let details = json!({ "session": session, "identifier": event.identifier, "value": value });
            let entry = Entry::new(ACTOR, "billing.reported", kept.workspace, "the receipt is final").details(details);
            ledger::record(app, &mut tx, entry).await?;
            tx.commit().await?;
            Ok(())
        }
        Err(BillingError::Unknown(cause)) => Err(NotReported::Later { cause, after: None }),
        Err(BillingError::Refused { cause, again }) => {
            // This one did not arrive; one before it may have.
            store::put_report(&mut tx, session, Reported { tried_at: reported.tried_at, ..held }).await?;
            tx.commit().await?;
            Err(match again {
                Some(after) => NotReported::Later { cause, after },
                None => NotReported::Parked(cause),
            })
        }
    }
}

//! What is kept of a usage session: who opened it, what ran, what it cost.
//!
//! A [`SessionReceipt`] is made of the session's windows and of what the ledger says of its time. Its canonical JSON (keys sorted
//! by their bytes, no white space, no number that is not whole) is what is kept and hashed; the hash goes into the ledger as
//! `receipt.final`. It names people, links and jobs by their ids and secrets by their names, never a value.

use super::price::{self, PriceVersion, PricedPart};
use super::{AwakeWindow, PriceList};
use crate::id::{EventId, OrgId, UsageSessionId, WindowId, WorkspaceId};
use crate::ledger::{Event, Hash, write_canonical_json};
use crate::name::Slug;
use crate::size::Size;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The verb with which the hash of a receipt is written into the ledger.
pub const FINAL_VERB: &str = "receipt.final";
/// Entries of a list at most; the rest is counted.
const ENTRIES_MAX: usize = 500;

/// What a usage session did and cost, in short; kept after sleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The session.
    pub session: UsageSessionId,
    /// Its windows, oldest first.
    pub windows: Vec<AwakeWindow>,
    /// Metered seconds.
    pub awake_seconds: u64,
    /// Cost in micro-units of the currency.
    pub cost_micros: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// Whether the session has ended; until then figures grow.
    pub is_final: bool,
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
}

/// Receipts of the sessions in `windows`, newest first.
pub fn receipts(
    windows: &[AwakeWindow],
    open_session: Option<UsageSessionId>,
    prices: &PriceList,
    now: Timestamp,
) -> Vec<Receipt> {
    let mut sessions: Vec<Receipt> = Vec::new();
    for window in windows {
        let index = sessions.iter().position(|receipt| receipt.session == window.session).unwrap_or_else(|| {
            sessions.push(Receipt {
                session: window.session,
                windows: Vec::new(),
                awake_seconds: 0,
                cost_micros: 0,
                currency: prices.at(window.opened_at).prices.currency.clone(),
                is_final: open_session != Some(window.session),
                unproven_seconds: 0,
            });
            sessions.len() - 1
        });
        let receipt = &mut sessions[index];
        receipt.awake_seconds += window.seconds(now);
        receipt.cost_micros += prices.cost(window.size, window.opened_at, window.closed_at.unwrap_or(now));
        receipt.unproven_seconds += window.unproven_seconds;
        receipt.is_final &= window.closed_at.is_some();
        receipt.windows.push(window.clone());
    }
    sessions.reverse();
    sessions
}

/// Everything about a usage session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionReceipt {
    /// The form of this document; 1.
    pub format: u32,
    /// The session.
    pub session: UsageSessionId,
    /// Whether it has ended; until then this is the receipt so far, and not kept.
    pub is_final: bool,
    /// When this was written down.
    #[schema(value_type = String)]
    pub made_at: Timestamp,
    /// The organization.
    pub org: OrgId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    #[schema(value_type = String)]
    pub workspace_slug: Slug,
    /// Its project.
    #[schema(value_type = String)]
    pub project: Slug,
    /// Its branch.
    pub branch: String,
    /// Who or what opened the session.
    pub opened: Option<Deed>,
    /// What ended it.
    pub ended: Option<Deed>,
    /// Its awake windows, oldest first.
    pub windows: Vec<ReceiptWindow>,
    /// Metered seconds.
    pub awake_seconds: u64,
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
    /// What is uncertain about it, in words.
    pub uncertain: Vec<String>,
    /// Cost in micro-units of the currency: the sum of the windows'.
    pub cost_micros: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// The prices it was made with.
    pub prices: Vec<PriceVersion>,
    /// What ran: runs, commands, services that were started or stopped by hand.
    pub ran: Vec<Ran>,
    /// Commits made, as far as the host told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<Commits>,
    /// Visits by links.
    pub visits: Vec<LinkVisits>,
    /// Visits by members, and steps of elevations.
    pub entries: Vec<Deed>,
    /// Secrets used, by name.
    pub secrets: Vec<SecretUse>,
    /// Wakes, sleeps and caps in order.
    pub events: Vec<Deed>,
    /// Resources that their provider bills; they are not in the cost.
    pub provider_billed: Vec<String>,
    /// How much more there was of what is listed above.
    pub left_out: u64,
}

/// Something that the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deed {
    /// The event.
    pub event: EventId,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What.
    pub verb: String,
    /// Who, as `kind:id`.
    pub by: String,
    /// Why.
    pub cause: String,
    /// To what, where it is not the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// An awake window with what it cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptWindow {
    /// The window.
    pub window: WindowId,
    /// When it opened.
    #[schema(value_type = String)]
    pub opened_at: Timestamp,
    /// When it closed; absent while it is open.
    #[schema(value_type = Option<String>)]
    pub closed_at: Option<Timestamp>,
    /// The size billed.
    pub size: Size,
    /// What woke it.
    pub wake_cause: String,
    /// Why it ended.
    pub end_cause: Option<String>,
    /// Metered seconds.
    pub seconds: u64,
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
    /// The events that say so.
    pub evidence: Vec<EventId>,
    /// The seconds by the version of the prices.
    pub parts: Vec<PricedPart>,
    /// Cost in micro-units.
    pub cost_micros: u64,
}

/// Something that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ran {
    /// `run`, `exec`, or `service`.
    pub what: String,
    /// When it was asked for.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who asked.
    pub by: String,
    /// Its program, without arguments; or the service and what was done to it.
    pub name: String,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// With which exit code, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// What became of the checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Commits {
    /// The commit checked out as it woke.
    pub from: String,
    /// And when that was last looked at.
    pub to: String,
    /// Commits made in it meanwhile, oldest first, as its own log tells.
    #[serde(default)]
    pub made: Vec<String>,
}

/// Visits by one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkVisits {
    /// The link.
    pub link: String,
    /// How many.
    pub count: u64,
    /// The visitors' sessions.
    pub visitors: Vec<String>,
}

/// Uses of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    /// Its name.
    pub name: String,
    /// The service it was given to, or the destination it was lent for.
    pub used_by: String,
    /// How often.
    pub count: u64,
}

/// What a receipt is made of.
#[derive(Debug)]
pub struct ReceiptFacts<'a> {
    /// The organization.
    pub org: OrgId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub workspace_slug: Slug,
    /// Its project.
    pub project: Slug,
    /// Its branch.
    pub branch: String,
    /// The session.
    pub session: UsageSessionId,
    /// Whether it has ended.
    pub is_final: bool,
    /// The session's windows, oldest first.
    pub windows: &'a [AwakeWindow],
    /// What the ledger says of the workspace in the session's time, in order.
    pub events: &'a [Event],
    /// The prices.
    pub prices: &'a PriceList,
    /// Uses of secrets.
    pub secrets: Vec<SecretUse>,
    /// Resources that their provider bills.
    pub provider_billed: Vec<String>,
}

impl SessionReceipt {
    /// Makes it.
    pub fn new(facts: ReceiptFacts<'_>, now: Timestamp) -> Self {
        let windows: Vec<_> =
            facts.windows.iter().map(|window| priced(window, facts.prices, facts.events, now)).collect();
        let sum = |of: fn(&ReceiptWindow) -> u64| windows.iter().map(of).fold(0, u64::saturating_add);
        let (awake_seconds, cost_micros) = (sum(|one| one.seconds), sum(|one| one.cost_micros));
        let unproven_seconds = sum(|one| one.unproven_seconds);
        let mut used: Vec<u64> = windows.iter().flat_map(|one| &one.parts).map(|part| part.price_version).collect();
        used.sort_unstable();
        used.dedup();
        let prices: Vec<_> = used.into_iter().filter_map(|version| facts.prices.version(version)).cloned().collect();
        let began = facts.windows.first().map_or(now, |window| window.opened_at);
        let currency = prices.last().unwrap_or_else(|| facts.prices.at(began)).prices.currency.clone();
        let mut receipt = Self {
            format: 1,
            session: facts.session,
            is_final: facts.is_final,
            made_at: now,
            org: facts.org,
            workspace: facts.workspace,
            workspace_slug: facts.workspace_slug,
            project: facts.project,
            branch: facts.branch,
            opened: None,
            ended: None,
            uncertain: windows.iter().filter_map(uncertainty).collect(),
            windows,
            awake_seconds,
            unproven_seconds,
            cost_micros,
            currency,
            prices,
            ran: Vec::new(),
            commits: None,
            visits: Vec::new(),
            entries: Vec::new(),
            secrets: facts.secrets,
            events: Vec::new(),
            provider_billed: facts.provider_billed,
            left_out: 0,
        };
        for event in facts.events {
            receipt.take(event);
        }
        receipt.bound();
        receipt
    }

    /// What one event says.
    fn take(&mut self, event: &Event) {
        let text = |name: &str| event.details[name].as_str().unwrap_or_default().to_owned();
        let is_ours = event.details["session"].as_str().is_none_or(|session| session == self.session.to_string());
        match event.verb.as_str() {
            "runtime.wake_asked" if is_ours => {
                self.opened.get_or_insert_with(|| deed(event, None));
                self.events.push(deed(event, None));
            }
            "session.ended" if is_ours => {
                self.ended = Some(deed(event, None));
                self.events.push(deed(event, None));
            }
            "runtime.wake_asked" | "session.ended" | "window.opened" | "window.closed" | FINAL_VERB => {}
            "run.asked" => self.ran.push(ran("run", event, text("program"), Some(text("job")))),
            "run.ended" => {
                let job = text("job");
                if let Some(run) = self.ran.iter_mut().find(|run| run.job.as_deref() == Some(&job)) {
                    (run.ended_at, run.exit_code) = (Some(event.at), event.details["exit_code"].as_i64());
                }
            }
            "exec.started" => self.ran.push(ran("exec", event, text("program"), None)),
            "service.change_asked" => {
                self.ran.push(ran("service", event, format!("{} {}", text("action"), text("service")), None));
            }
            "checkout.seen" => {
                let to = text("head");
                let (from, mut made) =
                    self.commits.take().map_or((to.clone(), Vec::new()), |seen| (seen.from, seen.made));
                let told = event.details["commits"].as_array().into_iter().flatten().filter_map(Value::as_str);
                for id in told {
                    if !made.iter().any(|known| known == id) {
                        made.push(id.to_owned());
                    }
                }
                self.commits = Some(Commits { from, to, made });
            }
            "link.visited" => self.visited(event),
            "dev_host.entered" => self.entries.push(deed(event, None)),
            verb if verb.starts_with("elevation.") => self.entries.push(deed(event, Some(&event.subject))),
            verb if verb.starts_with("runtime.") || verb.starts_with("cap.") => self.events.push(deed(event, None)),
            _ => {}
        }
    }

    fn visited(&mut self, event: &Event) {
        let known = self.visits.iter().position(|visits| visits.link == event.subject);
        let index = known.unwrap_or_else(|| {
            self.visits.push(LinkVisits { link: event.subject.clone(), count: 0, visitors: Vec::new() });
            self.visits.len() - 1
        });
        let visits = &mut self.visits[index];
        visits.count += 1;
        if visits.visitors.len() < ENTRIES_MAX {
            visits.visitors.push(event.actor.clone());
        }
    }

    /// Keeps lists at a length that can be kept and read.
    fn bound(&mut self) {
        let lengths = [self.ran.len(), self.visits.len(), self.entries.len(), self.secrets.len(), self.events.len()];
        self.left_out = lengths.into_iter().map(|length| length.saturating_sub(ENTRIES_MAX) as u64).sum();
        if let Some(commits) = &mut self.commits {
            self.left_out += commits.made.len().saturating_sub(ENTRIES_MAX) as u64;
            commits.made.truncate(ENTRIES_MAX);
        }
        self.ran.truncate(ENTRIES_MAX);
        self.visits.truncate(ENTRIES_MAX);
        self.entries.truncate(ENTRIES_MAX);
        self.secrets.truncate(ENTRIES_MAX);
        self.events.truncate(ENTRIES_MAX);
    }

    /// The canonical text, which is kept and hashed.
    pub fn to_text(&self) -> String {
        canonical_text(&serde_json::to_value(self).expect("a receipt is plain data"))
    }
}

/// The canonical text of a document.
pub fn canonical_text(document: &Value) -> String {
    let mut text = Vec::new();
    write_canonical_json(document, &mut text);
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// SHA-256 of a receipt's canonical text.
pub fn hash(text: &str) -> Hash {
    Hash::of(text.as_bytes())
}

fn priced(window: &AwakeWindow, prices: &PriceList, events: &[Event], now: Timestamp) -> ReceiptWindow {
    let id = window.window.to_string();
    let says = |event: &&Event| event.is_meter() && event.details["window"].as_str() == Some(&id);
    let parts = prices.parts(window.size, window.opened_at, window.closed_at.unwrap_or(now));
    ReceiptWindow {
        window: window.window,
        opened_at: window.opened_at,
        closed_at: window.closed_at,
        size: window.size,
        wake_cause: window.wake_cause.clone(),
        end_cause: window.end_cause.clone(),
        seconds: window.seconds(now),
        unproven_seconds: window.unproven_seconds,
        evidence: events.iter().filter(says).map(|event| event.id).collect(),
        cost_micros: price::cost(&parts),
        parts,
    }
}

fn uncertainty(window: &ReceiptWindow) -> Option<String> {
    let seconds = window.unproven_seconds;
    (seconds > 0).then(|| {
        format!(
            "the end of {} was not seen: it is billed up to the last proof that it ran, and the {seconds} seconds after that are not",
            window.window
        )
    })
}

fn deed(event: &Event, subject: Option<&str>) -> Deed {
    Deed {
        event: event.id,
        at: event.at,
        verb: event.verb.clone(),
        by: event.actor.clone(),
        cause: event.cause.clone(),
        subject: subject.map(str::to_owned),
    }
}

fn ran(what: &str, event: &Event, name: String, job: Option<String>) -> Ran {
    let (what, by) = (what.to_owned(), event.actor.clone());
    Ran { what, at: event.at, by, name, job, ended_at: None, exit_code: None }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;

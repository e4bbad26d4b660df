//! The meter, caps, money and receipts, folded from ledger events.
//!
//! The ledger is the truth: windows are what [`fold`] makes of its `window.opened` and `window.closed` events, in any
//! order and with duplicates; what is kept for reading must say the same. Windows never overlap, never have negative
//! length and an unproven second is never billed: an end that was not seen is put at the last proof, and the receipt says
//! so. [`meter`] decides when they open and close.
//!
//! Money, its prices and its rounding are in [`price`], what is kept of a session in [`receipt`].

pub mod cap;
mod csv;
pub mod meter;
mod month;
pub mod price;
pub mod receipt;
mod visits;

pub use cap::{Cap, CapLevel, CapMode, CapPosture, Used};
pub use csv::receipts_csv;
pub use month::{Month, MonthError, SizeSeconds};
pub use price::{PriceList, PriceVersion, Prices, format_bill, format_money};
pub use receipt::{Receipt, SessionReceipt, receipts};
pub use visits::{WakeFact, WokenWindow, woken_by_visits};

use crate::id::{UsageSessionId, WindowId};
use crate::size::Size;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A ledger event about a window, as the meter sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum WindowFact {
    /// A runtime process ran, or was thawed.
    Opened {
        /// The window.
        window: WindowId,
        /// The usage session around it.
        session: UsageSessionId,
        /// When the host saw it.
        at: Timestamp,
        /// The size billed.
        size: Size,
        /// What woke it: who or what, in words.
        cause: String,
    },
    /// It froze, ended, or every service was blocked.
    Closed {
        /// The window.
        window: WindowId,
        /// When the host saw it, or the last proof that it ran.
        at: Timestamp,
        /// Why it ended, in words.
        cause: String,
        /// Seconds that could not be proven and are not billed.
        unproven_seconds: u64,
    },
}

/// One metered interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AwakeWindow {
    /// The window.
    pub window: WindowId,
    /// The usage session around it.
    pub session: UsageSessionId,
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
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
}

impl AwakeWindow {
    /// Whole seconds metered up to `now`, rounded down: an unproven second is never billed.
    pub fn seconds(&self, now: Timestamp) -> u64 {
        let end = self.closed_at.unwrap_or(now);
        u64::try_from(end.duration_since(self.opened_at).as_secs()).unwrap_or(0)
    }
}

/// Whole seconds of windows in each month, those that are open up to `now`.
pub fn months(windows: &[AwakeWindow], now: Timestamp) -> BTreeMap<Month, SizeSeconds> {
    let mut months: BTreeMap<Month, SizeSeconds> = BTreeMap::new();
    for window in windows {
        let end = window.closed_at.unwrap_or(now);
        for month in Month::of(window.opened_at).until(Month::of(end)) {
            let from = window.opened_at.max(month.start());
            let seconds = u64::try_from(end.min(month.end()).duration_since(from).as_secs()).unwrap_or(0);
            months.entry(month).or_default().add(window.size, seconds);
        }
    }
    months
}

/// Folds facts, in the order of the ledger, into windows in the order of their opening.
pub fn fold(facts: &[WindowFact]) -> Vec<AwakeWindow> {
    let mut windows: BTreeMap<WindowId, AwakeWindow> = BTreeMap::new();
    for fact in facts {
        if let WindowFact::Opened { window, session, at, size, cause } = fact {
            windows.entry(*window).or_insert_with(|| AwakeWindow {
                window: *window,
                session: *session,
                opened_at: *at,
                closed_at: None,
                size: *size,
                wake_cause: cause.clone(),
                end_cause: None,
                unproven_seconds: 0,
            });
        }
    }
    for fact in facts {
        if let WindowFact::Closed { window, at, cause, unproven_seconds } = fact
            && let Some(open) = windows.get_mut(window)
            && open.closed_at.is_none()
        {
            open.closed_at = Some((*at).max(open.opened_at));
            open.end_cause = Some(cause.clone());
            open.unproven_seconds = *unproven_seconds;
        }
    }
    let mut windows: Vec<_> = windows.into_values().collect();
    windows.sort_by_key(in_order);
    // A clock that went back, or a late report, must never bill a second twice.
    for i in 1..windows.len() {
        let next_open = windows[i].opened_at;
        let previous = &mut windows[i - 1];
        if previous.closed_at.is_none_or(|closed| closed > next_open) {
            if previous.closed_at.is_none() {
                previous.end_cause = Some("superseded by the next window".to_owned());
            }
            previous.closed_at = Some(next_open.max(previous.opened_at));
        }
    }
    windows.sort_by_key(in_order);
    windows
}

/// Of windows that opened at the same instant, the one that ended first comes first: the next one's opening must not end what
/// went on. The database keeps them in the same order.
fn in_order(window: &AwakeWindow) -> (Timestamp, bool, Option<Timestamp>, WindowId) {
    (window.opened_at, window.closed_at.is_none(), window.closed_at, window.window)
}

#[cfg(test)]
mod tests;

//! Gateways that ended are forgotten. Unverified traffic is counted, one summary per label and minute, never an event a
//! request; what is counted and not written yet is written when the server stops.

use super::ops;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use crate::workspaces;
use envforge_api::gateway::UnverifiedCount;
use envforge_core::id::{OrgId, WorkspaceId};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Labels counted apart in one minute; what is beyond is counted together.
const LABELS_MAX: usize = 1_000;

/// Counts since the last summary, by label and reason.
#[derive(Debug, Clone, Default)]
pub struct Unverified(Arc<Mutex<Sums>>);

/// Whose label it is; nobody's when it does not exist.
type Target = Option<(OrgId, WorkspaceId)>;
type Sums = BTreeMap<(String, String), u64>;

impl Unverified {
    /// Adds what a gateway counted.
    pub fn add(&self, counts: &[UnverifiedCount]) {
        let mut sums = self.0.lock().expect("no panic while held");
        for count in counts {
            let label = count.label.chars().take(63).collect();
            add(&mut sums, (label, count.reason.chars().take(32).collect()), count.count);
        }
    }

    fn take(&self) -> Sums {
        std::mem::take(&mut *self.0.lock().expect("no panic while held"))
    }
}

/// A label counted already goes on being counted, however many others are made up.
fn add(sums: &mut Sums, key: (String, String), count: u64) {
    let key = if sums.len() < LABELS_MAX || sums.contains_key(&key) { key } else { (String::new(), key.1) };
    let sum = sums.entry(key).or_default();
    *sum = sum.saturating_add(count);
}

/// Forgets gateways that ended, for ever.
pub async fn forget(app: App) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        if let Err(fault) = ops::forget(&app).await {
            tracing::warn!(%fault, "gateways that ended could not be forgotten, they will be");
        }
    }
}

/// Writes a summary every minute, and a last one when the server stops.
pub async fn run(app: App, unverified: Unverified) {
    let mut minute = tokio::time::interval(Duration::from_mins(1));
    loop {
        let stops = tokio::select! {
            () = app.cancel.cancelled() => true,
            _ = minute.tick() => false,
        };
        summarize(&app, &unverified).await;
        if stops {
            return;
        }
    }
}

/// Writes what was counted; what can't be written counts in the next summary.
pub async fn summarize(app: &App, unverified: &Unverified) {
    let mut targets: BTreeMap<(Target, String, String), u64> = BTreeMap::new();
    let mut left = Sums::new();
    for ((label, reason), count) in unverified.take() {
        match workspaces::store::system_resolve_label(&app.db, &label).await {
            Ok(Some((org, workspace, _))) => {
                targets.insert((Some((org, workspace)), label, reason), count);
            }
            // Labels that don't exist are a stranger's words: they are counted together.
            Ok(None) => *targets.entry((None, String::new(), reason)).or_default() += count,
            Err(_) => add(&mut left, (label, reason), count),
        }
    }
    for ((target, label, reason), count) in targets {
        if let Err(fault) = write(app, target, &label, &reason, count).await {
            tracing::warn!(%fault, label, count, "a summary of unverified traffic could not be written, it is kept");
            add(&mut left, (label, reason), count);
        }
    }
    let mut sums = unverified.0.lock().expect("no panic while held");
    for (key, count) in left {
        add(&mut sums, key, count);
    }
}

async fn write(app: &App, target: Target, label: &str, reason: &str, count: u64) -> Answer<()> {
    let (mut tx, subject) = match target {
        Some((org, workspace)) => (app.db.begin(OrgScope::established(org)).await?, workspace.to_string()),
        None => (app.db.begin_installation().await?, "unknown".to_owned()),
    };
    let details = json!({ "label": label, "reason": reason, "count": count });
    ledger::record(app, &mut tx, Entry::new("system:gateway", "traffic.unverified", subject, reason).details(details))
        .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_labels_dont_push_a_known_one_out() {
        let unverified = Unverified::default();
        let count = |label: String| UnverifiedCount { label, reason: "no_session".to_owned(), count: 1 };
        unverified.add(&[count("web--main--acme".to_owned())]);
        let flood: Vec<_> = (0..2 * LABELS_MAX).map(|n| count(format!("x{n}"))).collect();
        unverified.add(&flood);
        unverified.add(&[count("web--main--acme".to_owned())]);
        let sums = unverified.take();
        assert_eq!(sums[&("web--main--acme".to_owned(), "no_session".to_owned())], 2);
        assert_eq!(sums.values().sum::<u64>(), 2 + 2 * LABELS_MAX as u64, "none is lost");
        assert!(sums.len() <= LABELS_MAX + 1);
    }
}

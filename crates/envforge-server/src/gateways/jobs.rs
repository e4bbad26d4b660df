//! Unverified traffic is counted, one summary per label and minute, never an event a request.

use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use crate::workspaces;
use envforge_api::gateway::UnverifiedCount;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Labels counted apart in one minute; what is beyond is counted together.
const LABELS_MAX: usize = 1_000;

/// Counts since the last summary, by label and reason.
#[derive(Debug, Clone, Default)]
pub struct Unverified(Arc<Mutex<BTreeMap<(String, String), u64>>>);

impl Unverified {
    /// Adds what a gateway counted.
    pub fn add(&self, counts: &[UnverifiedCount]) {
        let mut sums = self.0.lock().expect("no panic while held");
        for count in counts {
            let label = if sums.len() < LABELS_MAX { count.label.chars().take(63).collect() } else { String::new() };
            let reason = count.reason.chars().take(32).collect();
            *sums.entry((label, reason)).or_default() += count.count;
        }
    }
}

/// Writes a summary every minute, and a last one when the server stops.
pub async fn run(app: App, unverified: Unverified) {
    let mut minute = tokio::time::interval(Duration::from_mins(1));
    loop {
        minute.tick().await;
        let sums = std::mem::take(&mut *unverified.0.lock().expect("no panic while held"));
        for ((label, reason), count) in sums {
            if let Err(fault) = write(&app, &label, &reason, count).await {
                tracing::warn!(%fault, label, count, "a summary of unverified traffic could not be written");
            }
        }
    }
}

async fn write(app: &App, label: &str, reason: &str, count: u64) -> Answer<()> {
    let target = workspaces::store::system_resolve_label(&app.db, label).await?;
    let (mut tx, subject) = match target {
        Some((org, workspace, _)) => (app.db.begin(OrgScope::established(org)).await?, workspace.to_string()),
        None => (app.db.begin_installation().await?, "unknown".to_owned()),
    };
    let details = json!({ "label": label, "reason": reason, "count": count });
    ledger::record(app, &mut tx, Entry::new("system:gateway", "traffic.unverified", subject, reason).details(details))
        .await?;
    tx.commit().await
}

//! The policy, and who reads what was recorded.

use super::store;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::workspaces::store::Row;
use envforge_api::http::recordings::OrgTerminalPolicy;
use envforge_core::id::{Id as _, RecordingId};
use serde_json::json;

/// What the org wants.
pub async fn policy(app: &App, permit: &Permit) -> Answer<OrgTerminalPolicy> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(OrgTerminalPolicy { record: store::wanted(&mut tx).await? })
}

/// Sets it, for terminals that are opened from now on.
pub async fn set_policy(app: &App, permit: &Permit, policy: OrgTerminalPolicy) -> Answer<OrgTerminalPolicy> {
    let mut tx = app.db.begin(permit.scope).await?;
    if store::set(&mut tx, policy.record).await? {
        let details = json!({ "record": policy.record });
        let actor = permit.actor();
        let entry = Entry::new(&actor, "terminal_policy.changed", permit.scope.org(), "asked").details(details);
        ledger::record(app, &mut tx, entry).await?;
        tx.commit().await?;
    }
    Ok(policy)
}

/// The recording of a terminal that is being opened, if the org wants one.
pub(crate) async fn begun(app: &App, tx: &mut Tx) -> Answer<Option<RecordingId>> {
    Ok(store::wanted(tx).await?.then(|| RecordingId::mint(&*app.clock, &*app.entropy)))
}

/// Notes that a recording is being read.
pub(crate) async fn read(app: &App, tx: &mut Tx, permit: &Permit, row: &Row, id: RecordingId) -> Answer<()> {
    let actor = permit.actor();
    let entry =
        Entry::new(&actor, "terminal.recording_read", row.id, row.slug.as_str()).details(json!({ "recording": id }));
    ledger::record(app, tx, entry).await
}

//! Caps of a workspace; everything else about usage is in the ledger.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_core::id::{Id as _, WorkspaceId};

pub(crate) async fn set_cap(tx: &mut Tx, workspace: WorkspaceId, mode: &str, minutes: u64) -> Answer<()> {
    sqlx::query("UPDATE runtimes SET cap_mode = $2, cap_minutes = $3 WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .bind(mode)
        .bind(minutes.cast_signed())
        .execute(tx.conn())
        .await?;
    Ok(())
}

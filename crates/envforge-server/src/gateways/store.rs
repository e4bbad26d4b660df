//! The one look-up of its own: which org a workspace a gateway speaks of belongs to.

use crate::platform::db::Db;
use crate::platform::fault::Answer;
use envforge_core::id::{Id as _, OrgId, WorkspaceId};
use uuid::Uuid;

pub(crate) async fn system_workspace_org(db: &Db, workspace: WorkspaceId) -> Answer<Option<OrgId>> {
    let org: Option<Uuid> =
        sqlx::query_scalar("SELECT system_workspace_org($1)").bind(workspace.uuid()).fetch_one(db.pool()).await?;
    Ok(org.map(OrgId::from_uuid))
}

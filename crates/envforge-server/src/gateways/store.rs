//! Rows of gateways and of the requests open at each; and which org a workspace a gateway speaks of belongs to.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_api::gateway::Presence;
use envforge_core::id::{GatewayId, Id as _, OrgId, WorkspaceId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

pub(crate) async fn system_workspace_org(db: &Db, workspace: WorkspaceId) -> Answer<Option<OrgId>> {
    let org: Option<Uuid> =
        sqlx::query_scalar("SELECT system_workspace_org($1)").bind(workspace.uuid()).fetch_one(db.pool()).await?;
    Ok(org.map(OrgId::from_uuid))
}

/// A gateway begins to listen to the feed.
pub(crate) async fn came(db: &Db, presence: &Presence, now: Timestamp) -> Answer<()> {
    sqlx::query(
        "INSERT INTO gateways (id, address, heard_at) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET address = excluded.address, heard_at = greatest(gateways.heard_at, excluded.heard_at)",
    )
    .bind(presence.gateway.uuid())
    .bind(presence.address.to_string())
    .bind(now.to_sqlx())
    .execute(db.pool())
    .await?;
    Ok(())
}

/// It still listens; `false` when it was forgotten meanwhile.
pub(crate) async fn stays(db: &Db, gateway: GatewayId, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query("UPDATE gateways SET heard_at = greatest(heard_at, $2) WHERE id = $1")
        .bind(gateway.uuid())
        .bind(now.to_sqlx())
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets gateways not heard of since `before`, with the requests open at them; the addresses they had.
pub(crate) async fn forget(db: &Db, before: Timestamp) -> Answer<Vec<String>> {
    let forgotten = sqlx::query_scalar("DELETE FROM gateways WHERE heard_at < $1 RETURNING address");
    Ok(forgotten.bind(before.to_sqlx()).fetch_all(db.pool()).await?)
}

/// The addresses of those that are there.
pub(crate) async fn addresses(db: &Db) -> Answer<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT address FROM gateways ORDER BY address, id").fetch_all(db.pool()).await?)
}

/// So many requests of a workspace are open at a gateway. One that does not listen to the feed has none: whatever it had
/// ended with its lease, and it tells again once it listens.
pub(crate) async fn requests(tx: &mut Tx, gateway: GatewayId, workspace: WorkspaceId, in_flight: u32) -> Answer<()> {
    let statement = if in_flight == 0 {
        sqlx::query("DELETE FROM gateway_requests WHERE workspace_id = $1 AND gateway_id = $2")
            .bind(workspace.uuid())
            .bind(gateway.uuid())
    } else {
        sqlx::query(
            "INSERT INTO gateway_requests (workspace_id, gateway_id, org_id, in_flight) \
             SELECT $1, id, current_org(), $3 FROM gateways WHERE id = $2 \
             ON CONFLICT (workspace_id, gateway_id) DO UPDATE SET in_flight = excluded.in_flight",
        )
        .bind(workspace.uuid())
        .bind(gateway.uuid())
        .bind(i32::try_from(in_flight).unwrap_or(i32::MAX))
    };
    statement.execute(tx.conn()).await?;
    Ok(())
}

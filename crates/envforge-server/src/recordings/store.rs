//! The policy, a column of the org.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;

/// Whether terminals are recorded.
pub(crate) async fn wanted(tx: &mut Tx) -> Answer<bool> {
    Ok(sqlx::query_scalar("SELECT record_terminals FROM orgs WHERE org_id = current_org()")
        .fetch_one(tx.conn())
        .await?)
}

/// Stores it; `false` when it is so already.
pub(crate) async fn set(tx: &mut Tx, record: bool) -> Answer<bool> {
    let done =
        sqlx::query("UPDATE orgs SET record_terminals = $1 WHERE org_id = current_org() AND record_terminals <> $1")
            .bind(record)
            .execute(tx.conn())
            .await?;
    Ok(done.rows_affected() == 1)
}

//! Figures of the whole installation: numbers, of no org.

use crate::platform::db::Db;
use crate::platform::fault::Answer;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::Row as _;

/// See `system_figures` in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) unsealed: i64,
    pub(crate) oldest_unsealed: Option<Timestamp>,
    pub(crate) commands_open: i64,
    pub(crate) runtimes_awake: i64,
    pub(crate) hosts: i64,
    pub(crate) hosts_online: i64,
}

/// The figures now.
pub(crate) async fn system_figures(db: &Db) -> Answer<Figures> {
    let row = sqlx::query("SELECT * FROM system_figures()").fetch_one(db.pool()).await?;
    Ok(Figures {
        unsealed: row.try_get("unsealed")?,
        oldest_unsealed: row.try_get::<Option<SqlTimestamp>, _>("oldest_unsealed")?.map(SqlTimestamp::to_jiff),
        commands_open: row.try_get("commands_open")?,
        runtimes_awake: row.try_get("runtimes_awake")?,
        hosts: row.try_get("hosts")?,
        hosts_online: row.try_get("hosts_online")?,
    })
}

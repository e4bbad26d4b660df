//! Figures of the whole installation; and what its operator is told of hosts and ledgers of all orgs.

use crate::platform::db::Db;
use crate::platform::fault::Answer;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
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

/// A registered host that was not heard of for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SilentHost {
    pub(crate) name: String,
    pub(crate) org: String,
    pub(crate) heard_at: Timestamp,
}

/// Hosts not heard of since a time, some of them: the longest silent first.
pub(crate) async fn system_silent_hosts(db: &Db, since: Timestamp) -> Answer<Vec<SilentHost>> {
    let rows = sqlx::query("SELECT * FROM system_silent_hosts($1)").bind(since.to_sqlx()).fetch_all(db.pool()).await?;
    let mut hosts = Vec::with_capacity(rows.len());
    for row in rows {
        hosts.push(SilentHost {
            name: row.try_get("name")?,
            org: row.try_get("org_slug")?,
            heard_at: row.try_get::<SqlTimestamp, _>("heard_at")?.to_jiff(),
        });
    }
    Ok(hosts)
}

/// How all chains of the ledger stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerHealth {
    pub(crate) chains: i64,
    /// When the chain was verified whose turn was longest ago.
    pub(crate) oldest_verified_at: Option<Timestamp>,
    pub(crate) unsealed: i64,
    pub(crate) oldest_unsealed_at: Option<Timestamp>,
    pub(crate) broken: i64,
    /// The chain that was found broken first, its position, why, and since when.
    pub(crate) first_broken: Option<(String, i64, String, Timestamp)>,
}

/// See `system_ledger_health` in the schema.
pub(crate) async fn system_ledger_health(db: &Db) -> Answer<LedgerHealth> {
    let row = sqlx::query("SELECT * FROM system_ledger_health()").fetch_one(db.pool()).await?;
    let time = |column: &str| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff))
    };
    let first_broken = match time("broken_at")? {
        Some(at) => {
            Some((row.try_get("broken_chain")?, row.try_get("broken_position")?, row.try_get("broken_reason")?, at))
        }
        None => None,
    };
    Ok(LedgerHealth {
        chains: row.try_get("chains")?,
        oldest_verified_at: time("oldest_verified_at")?,
        unsealed: row.try_get("unsealed")?,
        oldest_unsealed_at: time("oldest_unsealed_at")?,
        broken: row.try_get("broken")?,
        first_broken,
    })
}

/// What time it is for the database, and how much of its disk its data take, in bytes.
pub(crate) async fn clock_and_size(db: &Db) -> Answer<(Timestamp, u64)> {
    let row = sqlx::query("SELECT clock_timestamp() AS clock, pg_database_size(current_database()) AS size")
        .fetch_one(db.pool())
        .await?;
    Ok((row.try_get::<SqlTimestamp, _>("clock")?.to_jiff(), row.try_get::<i64, _>("size")?.cast_unsigned()))
}

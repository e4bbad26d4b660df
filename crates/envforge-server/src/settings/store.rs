//! Rows of settings' versions.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_core::id::{Id, SettingVersionId, UserId};
use envforge_core::usage::Prices;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// A version as it lies in the database.
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) reason: String,
    pub(crate) restored: Option<u64>,
    pub(crate) created_by: UserId,
    pub(crate) created_at: Timestamp,
}

fn read(row: &PgRow) -> Result<Version, sqlx::Error> {
    Ok(Version {
        name: row.try_get("name")?,
        number: row.try_get::<i64, _>("version")?.cast_unsigned(),
        sealed: row.try_get("sealed")?,
        reason: row.try_get("reason")?,
        restored: row.try_get::<Option<i64>, _>("restored")?.map(i64::cast_unsigned),
        created_by: UserId::from_uuid(row.try_get("created_by")?),
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
    })
}

/// The newest version of a setting.
pub(crate) async fn newest(tx: &mut Tx, name: &str) -> Answer<Option<Version>> {
    Ok(versions(tx, name, 1).await?.pop())
}

/// The newest versions, newest first.
pub(crate) async fn versions(tx: &mut Tx, name: &str, limit: i64) -> Answer<Vec<Version>> {
    let rows = sqlx::query(
        "SELECT * FROM setting_versions WHERE org_id IS NOT DISTINCT FROM current_org() AND name = $1 ORDER BY version DESC LIMIT $2",
    )
    .bind(name)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A version.
pub(crate) async fn version(tx: &mut Tx, name: &str, version: u64) -> Answer<Option<Version>> {
    let row = sqlx::query(
        "SELECT * FROM setting_versions WHERE org_id IS NOT DISTINCT FROM current_org() AND name = $1 AND version = $2",
    )
    .bind(name)
    .bind(i64::try_from(version).unwrap_or(i64::MAX))
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// The newest version of every setting.
pub(crate) async fn newest_of_all(tx: &mut Tx) -> Answer<Vec<Version>> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (name) * FROM setting_versions WHERE org_id IS NOT DISTINCT FROM current_org() ORDER BY name, version DESC",
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Adds a version; `false` when somebody else has just added the same.
pub(crate) async fn insert(tx: &mut Tx, id: SettingVersionId, version: &Version) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO setting_versions (id, org_id, name, version, sealed, reason, restored, created_by, created_at) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(id.uuid())
    .bind(&version.name)
    .bind(version.number.cast_signed())
    .bind(&version.sealed)
    .bind(&version.reason)
    .bind(version.restored.map(u64::cast_signed))
    .bind(version.created_by.uuid())
    .bind(version.created_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Some versions sealed under a retired data key, locked; what somebody else is at is left out. A sealed value carries its
/// key's id behind its first byte.
pub(crate) async fn to_reseal(tx: &mut Tx, most: i64) -> Answer<Vec<Version>> {
    let rows = sqlx::query(
        "SELECT v.* FROM setting_versions v JOIN data_keys k ON k.org_id IS NOT DISTINCT FROM v.org_id AND k.retired_at IS NULL \
         WHERE v.org_id IS NOT DISTINCT FROM current_org() AND substring(v.sealed FROM 2 FOR 16) <> uuid_send(k.id) \
         ORDER BY v.id LIMIT $1 FOR UPDATE OF v SKIP LOCKED",
    )
    .bind(most)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Puts the same value under another key.
pub(crate) async fn reseal(tx: &mut Tx, version: &Version, sealed: &[u8]) -> Answer<()> {
    sqlx::query(
        "UPDATE setting_versions SET sealed = $3 WHERE org_id IS NOT DISTINCT FROM current_org() AND name = $1 AND version = $2",
    )
    .bind(&version.name)
    .bind(version.number.cast_signed())
    .bind(sealed)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes down from when a version of the prices holds; none of its own are the configuration's.
pub(crate) async fn insert_prices(tx: &mut Tx, version: u64, from: Timestamp, prices: Option<&Prices>) -> Answer<()> {
    let amount = |of: fn(&Prices) -> u64| prices.map_or(0, |prices| of(prices).cast_signed());
    sqlx::query("INSERT INTO price_versions VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(version.cast_signed())
        .bind(from.to_sqlx())
        .bind(prices.map(|prices| &prices.currency))
        .bind(amount(|prices| prices.small))
        .bind(amount(|prices| prices.medium))
        .bind(amount(|prices| prices.large))
        .bind(amount(|prices| prices.included_credit))
        .bind(amount(|prices| prices.month_minimum))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Versions of the prices in the order in which they were made, each with the instant from which it holds.
pub(crate) async fn price_versions(tx: &mut Tx) -> Answer<Vec<(u64, Timestamp, Option<Prices>)>> {
    let rows = sqlx::query("SELECT * FROM price_versions ORDER BY version").fetch_all(tx.conn()).await?;
    let read = |row: &PgRow| {
        let amount = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.cast_unsigned());
        let prices = match row.try_get::<Option<String>, _>("currency")? {
            Some(currency) => Some(Prices {
                currency,
                small: amount("small")?,
                medium: amount("medium")?,
                large: amount("large")?,
                included_credit: amount("included_credit")?,
                month_minimum: amount("month_minimum")?,
            }),
            None => None,
        };
        Ok((amount("version")?, row.try_get::<SqlTimestamp, _>("holds_from")?.to_jiff(), prices))
    };
    rows.iter().map(read).collect()
}

//! Rows of orgs and memberships.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::orgs::{Member, Org};
use envforge_core::access::Role;
use envforge_core::hostname::ORG_PART_MAX;
use envforge_core::id::{Id as _, OrgId, UserId};
use envforge_core::name::Slug;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::Row as _;

pub(crate) async fn show(tx: &mut Tx) -> Answer<Org> {
    let row = sqlx::query("SELECT org_id, slug, name, created_at FROM orgs WHERE org_id = current_org()")
        .fetch_one(tx.conn())
        .await?;
    Ok(Org {
        id: OrgId::from_uuid(row.try_get("org_id")?),
        slug: row.try_get::<String, _>("slug")?.parse().context("stored org slug")?,
        name: row.try_get("name")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
    })
}

pub(crate) async fn rename(tx: &mut Tx, name: &str) -> Answer<()> {
    sqlx::query("UPDATE orgs SET name = $1 WHERE org_id = current_org()").bind(name).execute(tx.conn()).await?;
    Ok(())
}

/// How many orgs somebody owns.
pub(crate) async fn system_owned(tx: &mut Tx, user: UserId) -> Answer<i64> {
    Ok(sqlx::query_scalar("SELECT system_owned_orgs($1)").bind(user.uuid()).fetch_one(tx.conn()).await?)
}

pub(crate) async fn members(tx: &mut Tx) -> Answer<Vec<Member>> {
    let rows = sqlx::query(
        "SELECT m.user_id, u.name, m.role, array_remove(array_agg(g.name ORDER BY g.name), NULL) AS groups \
         FROM memberships m JOIN users u ON u.id = m.user_id \
         LEFT JOIN group_members i ON i.user_id = m.user_id LEFT JOIN groups g ON g.id = i.group_id \
         GROUP BY m.user_id, u.name, m.role ORDER BY u.name, m.user_id",
    )
    .fetch_all(tx.conn())
    .await?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        let groups: Vec<String> = row.try_get("groups")?;
        members.push(Member {
            user: UserId::from_uuid(row.try_get("user_id")?),
            name: row.try_get("name")?,
            role: row.try_get::<String, _>("role")?.parse().map_err(|error: String| anyhow::anyhow!(error))?,
            groups: groups.iter().map(|name| name.parse()).collect::<Result<_, _>>().context("stored group")?,
        });
    }
    Ok(members)
}

pub(crate) async fn count_members(tx: &mut Tx) -> Answer<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM memberships").fetch_one(tx.conn()).await?)
}

pub(crate) async fn owners(tx: &mut Tx) -> Answer<u64> {
    let owners: i64 =
        sqlx::query_scalar("SELECT count(*) FROM memberships WHERE role = 'owner'").fetch_one(tx.conn()).await?;
    Ok(owners.cast_unsigned())
}

pub(crate) async fn set_role(tx: &mut Tx, user: UserId, role: Role) -> Answer<()> {
    sqlx::query("UPDATE memberships SET role = $2 WHERE user_id = $1")
        .bind(user.uuid())
        .bind(role.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn remove(tx: &mut Tx, user: UserId) -> Answer<()> {
    sqlx::query("DELETE FROM memberships WHERE user_id = $1").bind(user.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Whether another org's whole slug is this one's abbreviation in labels, or the other way round; two who ask wait for each
/// other's end.
pub(crate) async fn system_is_abbreviated(tx: &mut Tx, slug: &Slug, short: &str) -> Answer<bool> {
    let width = i32::try_from(ORG_PART_MAX).expect("a label has 63 characters");
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('org-labels/' || $1, 0))")
        .bind(short)
        .execute(tx.conn())
        .await?;
    Ok(sqlx::query_scalar("SELECT system_org_is_abbreviated($1, $2, $3)")
        .bind(slug.as_str())
        .bind(short)
        .bind(width)
        .fetch_one(tx.conn())
        .await?)
}

//! Rows of groups and who is in them.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::orgs::Group;
use envforge_core::id::{GroupId, Id as _, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::Row as _;
use uuid::Uuid;

pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Group>> {
    let rows = sqlx::query(
        "SELECT id, name, ARRAY(SELECT user_id FROM group_members WHERE group_id = groups.id ORDER BY user_id) AS members \
         FROM groups ORDER BY name",
    )
    .fetch_all(tx.conn())
    .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        groups.push(Group {
            id: GroupId::from_uuid(row.try_get("id")?),
            name: row.try_get::<String, _>("name")?.parse().context("stored group")?,
            members: row.try_get::<Vec<Uuid>, _>("members")?.into_iter().map(UserId::from_uuid).collect(),
        });
    }
    Ok(groups)
}

pub(crate) async fn count(tx: &mut Tx) -> Answer<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM groups").fetch_one(tx.conn()).await?)
}

pub(crate) async fn find(tx: &mut Tx, name: &Slug) -> Answer<Option<GroupId>> {
    let id: Option<Uuid> = sqlx::query_scalar("SELECT id FROM groups WHERE org_id = current_org() AND name = $1")
        .bind(name.as_str())
        .fetch_optional(tx.conn())
        .await?;
    Ok(id.map(GroupId::from_uuid))
}

pub(crate) async fn insert(tx: &mut Tx, id: GroupId, name: &Slug, now: Timestamp) -> Answer<()> {
    sqlx::query("INSERT INTO groups (id, org_id, name, created_at) VALUES ($1, current_org(), $2, $3)")
        .bind(id.uuid())
        .bind(name.as_str())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn rename(tx: &mut Tx, id: GroupId, name: &Slug) -> Answer<()> {
    sqlx::query("UPDATE groups SET name = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(name.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, id: GroupId) -> Answer<()> {
    sqlx::query("DELETE FROM groups WHERE id = $1").bind(id.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Puts a member into groups; those that no longer exist are left out. Answers how many are new to them.
pub(crate) async fn add_member(tx: &mut Tx, groups: &[GroupId], user: UserId) -> Answer<u64> {
    let done = sqlx::query(
        "INSERT INTO group_members (org_id, group_id, user_id) \
         SELECT current_org(), id, $2 FROM groups WHERE id = ANY ($1) ON CONFLICT DO NOTHING",
    )
    .bind(groups.iter().map(|group| group.uuid()).collect::<Vec<_>>())
    .bind(user.uuid())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Takes a member out of a group; `false` when they were not in it.
pub(crate) async fn remove_member(tx: &mut Tx, group: GroupId, user: UserId) -> Answer<bool> {
    let done = sqlx::query("DELETE FROM group_members WHERE group_id = $1 AND user_id = $2")
        .bind(group.uuid())
        .bind(user.uuid())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}

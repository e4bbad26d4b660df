//! Rows of invitations.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_core::access::Role;
use envforge_core::email::EmailAddress;
use envforge_core::id::{GroupId, Id as _, InvitationId, OrgId, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// An invitation.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: InvitationId,
    pub(crate) role: Role,
    pub(crate) groups: Vec<GroupId>,
    /// Names of those that still exist.
    pub(crate) group_names: Vec<Slug>,
    pub(crate) address: Option<String>,
    pub(crate) created_by: UserId,
    /// The inviter's role now, while they are a member.
    pub(crate) inviter: Option<Role>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) is_used: bool,
    pub(crate) is_revoked: bool,
}

const SELECT: &str = "SELECT i.*, m.role AS inviter, \
    ARRAY(SELECT g.name FROM groups g WHERE g.id = ANY (i.group_ids) ORDER BY g.name) AS group_names \
    FROM invitations i LEFT JOIN memberships m ON m.org_id = i.org_id AND m.user_id = i.created_by";

fn role(text: &str) -> Answer<Role> {
    Ok(text.parse().map_err(|error: String| anyhow::anyhow!(error))?)
}

fn read(row: &PgRow) -> Answer<Row> {
    let names: Vec<String> = row.try_get("group_names")?;
    let inviter: Option<String> = row.try_get("inviter")?;
    Ok(Row {
        id: InvitationId::from_uuid(row.try_get("id")?),
        role: role(row.try_get("role")?)?,
        groups: row.try_get::<Vec<Uuid>, _>("group_ids")?.into_iter().map(GroupId::from_uuid).collect(),
        group_names: names.iter().map(|name| name.parse()).collect::<Result<_, _>>().context("stored group")?,
        address: row.try_get("address")?,
        created_by: UserId::from_uuid(row.try_get("created_by")?),
        inviter: inviter.as_deref().map(role).transpose()?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
        is_used: row.try_get::<Option<SqlTimestamp>, _>("used_at")?.is_some(),
        is_revoked: row.try_get::<Option<SqlTimestamp>, _>("revoked_at")?.is_some(),
    })
}

pub(crate) async fn insert(tx: &mut Tx, row: &Row, digest: &str) -> Answer<()> {
    sqlx::query(
        "INSERT INTO invitations (id, org_id, role, group_ids, address, digest, created_by, created_at, expires_at) \
         VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(row.id.uuid())
    .bind(row.role.as_str())
    .bind(row.groups.iter().map(|group| group.uuid()).collect::<Vec<_>>())
    .bind(&row.address)
    .bind(digest)
    .bind(row.created_by.uuid())
    .bind(row.created_at.to_sqlx())
    .bind(row.expires_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Row>> {
    let statement = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY i.id DESC LIMIT 1000"));
    sqlx::query(statement).fetch_all(tx.conn()).await?.iter().map(read).collect()
}

/// How many can be accepted now.
pub(crate) async fn count_open(tx: &mut Tx, now: Timestamp) -> Answer<i64> {
    let statement = "SELECT count(*) FROM invitations WHERE used_at IS NULL AND revoked_at IS NULL AND expires_at > $1";
    Ok(sqlx::query_scalar(statement).bind(now.to_sqlx()).fetch_one(tx.conn()).await?)
}

pub(crate) async fn find(tx: &mut Tx, id: InvitationId) -> Answer<Option<Row>> {
    let statement = sqlx::AssertSqlSafe(format!("{SELECT} WHERE i.id = $1"));
    let row = sqlx::query(statement).bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// The org of an invitation by the digest of its token, and the invitation.
pub(crate) async fn system_find(tx: &mut Tx, digest: &str) -> Answer<Option<(OrgId, InvitationId)>> {
    let row: Option<(Uuid, Uuid)> = sqlx::query_as("SELECT org_id, invitation_id FROM system_find_invitation($1)")
        .bind(digest)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.map(|(org, id)| (OrgId::from_uuid(org), InvitationId::from_uuid(id))))
}

/// An invitation for an address, seen from outside of its org.
pub(crate) struct Addressed {
    pub(crate) org: OrgId,
    pub(crate) id: InvitationId,
    pub(crate) role: Role,
    /// The inviter's role now.
    pub(crate) inviter: Role,
    pub(crate) expires_at: Timestamp,
}

/// Invitations for this address that were neither accepted nor revoked.
pub(crate) async fn system_find_addressed(tx: &mut Tx, address: &EmailAddress) -> Answer<Vec<Addressed>> {
    let rows =
        sqlx::query("SELECT * FROM system_invitations_for($1)").bind(address.as_str()).fetch_all(tx.conn()).await?;
    let read = |row: &PgRow| {
        Ok(Addressed {
            org: OrgId::from_uuid(row.try_get("org_id")?),
            id: InvitationId::from_uuid(row.try_get("invitation_id")?),
            role: role(row.try_get("role")?)?,
            inviter: role(row.try_get("inviter")?)?,
            expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
        })
    };
    rows.iter().map(read).collect()
}

/// The sealed token of an invitation that is to be sent.
pub(crate) async fn sealed_token(tx: &mut Tx, id: InvitationId) -> Answer<Option<Vec<u8>>> {
    let statement = "SELECT sealed_token FROM invitations WHERE id = $1";
    let found: Option<Option<Vec<u8>>> =
        sqlx::query_scalar(statement).bind(id.uuid()).fetch_optional(tx.conn()).await?;
    Ok(found.flatten())
}

/// Keeps the sealed token until it is sent, or forgets it.
pub(crate) async fn set_sealed_token(tx: &mut Tx, id: InvitationId, sealed: Option<&[u8]>) -> Answer<()> {
    sqlx::query("UPDATE invitations SET sealed_token = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(sealed)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn revoke(tx: &mut Tx, id: InvitationId, now: Timestamp) -> Answer<()> {
    sqlx::query("UPDATE invitations SET revoked_at = $2, sealed_token = NULL WHERE id = $1")
        .bind(id.uuid())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn accept(tx: &mut Tx, id: InvitationId, user: UserId, now: Timestamp) -> Answer<()> {
    sqlx::query("UPDATE invitations SET used_at = $2, used_by = $3, sealed_token = NULL WHERE id = $1")
        .bind(id.uuid())
        .bind(now.to_sqlx())
        .bind(user.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

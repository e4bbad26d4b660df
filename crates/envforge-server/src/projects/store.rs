//! Rows of projects.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::orgs::ProjectAccess;
use envforge_api::http::projects::Project;
use envforge_core::id::{GroupId, Id as _, ProjectId};
use envforge_core::name::Slug;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

fn project(row: &PgRow) -> Answer<Project> {
    Ok(Project {
        id: ProjectId::from_uuid(row.try_get("id")?),
        slug: row.try_get::<String, _>("slug")?.parse().context("stored slug")?,
        repository: row.try_get("repository")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
    })
}

pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Project>> {
    sqlx::query("SELECT * FROM projects ORDER BY slug").fetch_all(tx.conn()).await?.iter().map(project).collect()
}

pub(crate) async fn find(tx: &mut Tx, slug: &Slug) -> Answer<Option<Project>> {
    let row =
        sqlx::query("SELECT * FROM projects WHERE slug = $1").bind(slug.as_str()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(project).transpose()
}

/// Who sees a project: whether it is restricted, and the names of its groups.
pub(crate) async fn access(tx: &mut Tx, project: ProjectId) -> Answer<ProjectAccess> {
    let row = sqlx::query(
        "SELECT is_restricted, ARRAY( \
           SELECT g.name FROM project_groups p JOIN groups g ON g.id = p.group_id WHERE p.project_id = projects.id ORDER BY g.name \
         ) AS groups FROM projects WHERE id = $1",
    )
    .bind(project.uuid())
    .fetch_one(tx.conn())
    .await?;
    let groups: Vec<String> = row.try_get("groups")?;
    Ok(ProjectAccess {
        is_restricted: row.try_get("is_restricted")?,
        groups: groups.iter().map(|name| name.parse()).collect::<Result<_, _>>().context("stored group")?,
    })
}

/// Changes who sees a project.
pub(crate) async fn set_access(tx: &mut Tx, project: ProjectId, is_restricted: bool, groups: &[GroupId]) -> Answer<()> {
    sqlx::query("UPDATE projects SET is_restricted = $2 WHERE id = $1")
        .bind(project.uuid())
        .bind(is_restricted)
        .execute(tx.conn())
        .await?;
    sqlx::query("DELETE FROM project_groups WHERE project_id = $1").bind(project.uuid()).execute(tx.conn()).await?;
    sqlx::query(
        "INSERT INTO project_groups (org_id, project_id, group_id) SELECT current_org(), $1, unnest($2::uuid[])",
    )
    .bind(project.uuid())
    .bind(groups.iter().map(|group| group.uuid()).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Adds a project; `false` when somebody else has just taken its slug.
pub(crate) async fn insert(tx: &mut Tx, project: &Project) -> Answer<bool> {
    let inserted = sqlx::query(
        "INSERT INTO projects (id, org_id, slug, repository, created_at) VALUES ($1, current_org(), $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(project.id.uuid())
    .bind(project.slug.as_str())
    .bind(&project.repository)
    .bind(project.created_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

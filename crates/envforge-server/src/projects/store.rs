//! Rows of projects.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::projects::Project;
use envforge_core::id::{Id as _, ProjectId};
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

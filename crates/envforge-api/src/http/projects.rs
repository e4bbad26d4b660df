//! Projects: one repository with one `envforge.yml`.

use envforge_core::id::ProjectId;
use envforge_core::name::Slug;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its slug, unique in the org.
    pub slug: Slug,
    /// Where the repository is: a Git URL, or on the one box an absolute path.
    pub repository: String,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// The project.
    pub id: ProjectId,
    /// Its slug.
    pub slug: Slug,
    /// Where the repository is.
    pub repository: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// Projects of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Projects {
    /// By slug.
    pub projects: Vec<Project>,
}

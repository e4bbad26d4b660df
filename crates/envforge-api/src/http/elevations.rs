//! Root in workspaces: the org's policy, and elevations.

use envforge_core::elevation::{ElevationState, EndReason, RootPolicy};
use envforge_core::id::{ElevationId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The org's root policy, read and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgRootPolicy {
    /// The policy.
    pub policy: RootPolicy,
}

/// Asks for root in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateElevation {
    /// What it is needed for, 1 to 500 characters; kept in the ledger.
    pub reason: String,
    /// The time box in minutes; 30, or less where the policy allows less, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// The account.
    pub user: UserId,
    /// What people call them.
    pub name: String,
}

/// An elevation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Elevation {
    /// The elevation.
    pub id: ElevationId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its slug.
    pub slug: Slug,
    /// Where it stands.
    pub state: ElevationState,
    /// Why it is over, once ended.
    pub ended: Option<EndReason>,
    /// What it is for.
    pub reason: String,
    /// The time box in minutes; it begins with the approval.
    pub minutes: u32,
    /// Who asked, and whose terminals they are.
    pub requested_by: Person,
    /// When.
    #[schema(value_type = String)]
    pub requested_at: Timestamp,
    /// Who approved or refused; absent when the policy did.
    pub decided_by: Option<Person>,
    /// When it was approved or refused.
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Timestamp>,
    /// End of the time box; before the approval, end of the wait for one.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// When it was over.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
}

/// Elevations of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Elevations {
    /// The newest first, at most 200.
    pub elevations: Vec<Elevation>,
}

/// Root that somebody has in a workspace now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActiveElevation {
    /// The elevation.
    pub id: ElevationId,
    /// Whose it is.
    pub by: String,
    /// Whether a root terminal was opened.
    pub opened: bool,
    /// End of the time box.
    #[schema(value_type = String)]
    pub until: Timestamp,
}

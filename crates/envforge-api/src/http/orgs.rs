//! Orgs, their members, invitations and groups, and who sees a project.

use envforge_core::access::Role;
use envforge_core::id::{ApiKeyId, GroupId, InvitationId, OrgId, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrg {
    /// Its slug: part of every dev host, so it never changes.
    pub slug: Slug,
    /// Its display name; the slug when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Changes an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOrg {
    /// Its display name.
    pub name: String,
}

/// An org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Org {
    /// The org.
    pub id: OrgId,
    /// Its slug.
    pub slug: Slug,
    /// Its display name.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// What people call them.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Their groups, by name.
    pub groups: Vec<Slug>,
}

/// Members of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// By name.
    pub members: Vec<Member>,
}

/// Changes a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMember {
    /// Their role from now on.
    pub role: Role,
}

/// Invites somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvitation {
    /// What they will be.
    pub role: Role,
    /// Groups they join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Slug>,
    /// Their mail address: only who has it may accept, and it is sent to them where there is a mail server. When absent,
    /// whoever holds the token may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// State of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    /// It can be accepted.
    Open,
    /// It was accepted.
    Accepted,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

/// An invitation, without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// The invitation.
    pub id: InvitationId,
    /// Its state.
    pub state: InvitationState,
    /// What whoever accepts becomes.
    pub role: Role,
    /// Groups they join, by name.
    pub groups: Vec<Slug>,
    /// Whom it is for.
    pub address: Option<String>,
    /// Who invited.
    pub created_by: UserId,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}

/// A new invitation; the only time its token is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedInvitation {
    /// The invitation.
    pub invitation: Invitation,
    /// What to hand over; it is good once.
    pub token: String,
    /// Whether a mail with it is under way to the address.
    #[serde(default)]
    pub mailed: bool,
}

/// Invitations of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitations {
    /// Newest first, the last thousand.
    pub invitations: Vec<Invitation>,
}

/// Accepts an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// Its token.
    pub token: String,
    /// Not signed in: what people will call the user that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What accepting made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedInvitation {
    /// The org.
    pub org: OrgId,
    /// Its slug.
    pub slug: Slug,
    /// Who one is.
    pub user: UserId,
    /// One's role.
    pub role: Role,
    /// The API key of a user who was just made; the only time it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<FirstKey>,
}

/// The first key of a new user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirstKey {
    /// The key.
    pub id: ApiKeyId,
    /// The value to send as `Authorization: Bearer`.
    pub value: String,
}

/// Asks for a group, or changes its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NameGroup {
    /// Its name, unique in the org.
    pub name: Slug,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The group.
    pub id: GroupId,
    /// Its name.
    pub name: Slug,
    /// Its members.
    pub members: Vec<UserId>,
}

/// Groups of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    /// By name.
    pub groups: Vec<Group>,
}

/// Who sees a project, beside owners and admins, who see all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectAccess {
    /// Whether only its groups see it; all members do otherwise.
    pub is_restricted: bool,
    /// Its groups, by name; a project that is not restricted has none.
    #[serde(default)]
    pub groups: Vec<Slug>,
}

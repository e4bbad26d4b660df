//! Who may do what: one table, roles × actions.
//!
//! The API's checks, the access test and the generated page `docs/reference/permissions.md` are all made from
//! [`allows`]. Existence is a secret too: what a caller may not see answers like what does not exist.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A member's role in an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, and the only one who may hand the org over.
    Owner,
    /// Everything but the org's end.
    Admin,
    /// Works in workspaces.
    Developer,
    /// Looks at running branches and their state.
    Reviewer,
    /// Sees usage and receipts.
    Billing,
}

impl Role {
    /// All roles, most powerful first.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Developer, Self::Reviewer, Self::Billing];

    /// The name in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Reviewer => "reviewer",
            Self::Billing => "billing",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("`{text}` is not a role"))
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal : $($role:ident)*;)*) => {
        /// Something a member can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// All actions, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in pages and refusals.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        /// Whether a role may do an action: the permission table.
        pub const fn allows(role: Role, action: Action) -> bool {
            match action { $(Action::$name => matches!(role, Role::Owner $(| Role::$role)*),)* }
        }
    };
}

// An owner may do everything; each line names the others.
actions! {
    /// See the org, its projects and workspaces with their readiness.
    View = "view": Admin Developer Reviewer Billing;
    /// Create a project.
    CreateProject = "create a project": Admin Developer;
    /// Create a project of a path on the org's own box: its host reads whatever is there.
    CreateLocalProject = "create a project of a path on the box": ;
    /// Create a workspace.
    CreateWorkspace = "create a workspace": Admin Developer;
    /// Delete a workspace and everything in it.
    DeleteWorkspace = "delete a workspace": Admin Developer;
    /// Open a shell.
    Attach = "open a shell": Admin Developer;
    /// Wake a runtime and run in it.
    Wake = "wake a runtime": Admin Developer;
    /// Put a runtime to sleep.
    Sleep = "put a runtime to sleep": Admin Developer;
    /// Run a test or job.
    Run = "run a test or job": Admin Developer;
    /// Read captured logs.
    ReadLogs = "read logs": Admin Developer;
    /// Create or revoke a signed link.
    IssueLink = "issue or revoke a link": Admin Developer;
    /// See usage and receipts.
    ViewUsage = "see usage": Admin Developer Reviewer Billing;
    /// Change caps.
    SetCaps = "change caps": Admin Billing;
    /// Read and export the ledger.
    ReadLedger = "read the ledger": Admin Billing;
    /// Create and revoke API keys of one's own.
    ManageOwnKeys = "manage one's API keys": Admin Developer Reviewer Billing;
    /// Register and drain hosts.
    ManageHosts = "manage hosts": Admin;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_may_do_everything_and_a_reviewer_changes_nothing() {
        for action in Action::ALL {
            assert!(allows(Role::Owner, *action));
        }
        for action in [Action::Wake, Action::Attach, Action::IssueLink, Action::DeleteWorkspace, Action::SetCaps] {
            assert!(!allows(Role::Reviewer, action), "{}", action.as_str());
        }
    }
}

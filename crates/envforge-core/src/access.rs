//! Who may do what: one table, roles × actions.
//!
//! The API's checks, the access test and the generated page `docs/reference/permissions.md` are all made from
//! [`allows`]; the OpenAPI document names each endpoint's action by its code. Existence is a secret too: what a caller may not see answers like what does not exist.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A member's role in an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = "reviewer")]
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
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal : $($role:ident)*;)*) => {
        /// Something a member can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// All actions, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name in the OpenAPI document and in the scopes of API keys.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The words in pages and refusals: "you can't …".
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
    View = "view", "look at it": Admin Developer Reviewer Billing;
    /// Create a project.
    CreateProject = "project.create", "create a project": Admin Developer;
    /// Create a project of a path on the org's own box: its host reads whatever is there.
    CreateLocalProject = "project.create_local", "create a project of a path on the box": ;
    /// Create a workspace.
    CreateWorkspace = "workspace.create", "create a workspace": Admin Developer;
    /// Delete a workspace and everything in it.
    DeleteWorkspace = "workspace.delete", "delete a workspace": Admin Developer;
    /// Open a shell.
    Attach = "shell.attach", "open a shell": Admin Developer;
    /// Open a dev host with one's account; waking what sleeps behind it is another right.
    OpenDevHost = "dev_host.open", "open a dev host": Admin Developer Reviewer;
    /// Wake a runtime and run in it.
    Wake = "runtime.wake", "wake a runtime": Admin Developer;
    /// Put a runtime to sleep.
    Sleep = "runtime.sleep", "put a runtime to sleep": Admin Developer;
    /// Say when a workspace wakes and sleeps by itself.
    SetSchedule = "schedule.set", "set when a workspace wakes and sleeps": Admin Developer;
    /// Run a test or job.
    Run = "run.create", "run a test or job": Admin Developer;
    /// Read captured logs.
    ReadLogs = "logs.read", "read logs": Admin Developer;
    /// Look into a workspace's mail, stored objects and database; a key that only reads does not, for a message may hold a way to sign in.
    UseConsoles = "console.use", "look into mail, stored objects and databases": Admin Developer;
    /// Create or revoke a signed link.
    IssueLink = "link.issue", "issue or revoke a link": Admin Developer;
    /// See usage and receipts.
    ViewUsage = "usage.view", "see usage": Admin Developer Reviewer Billing;
    /// Change caps.
    SetCaps = "cap.set", "change caps": Admin Billing;
    /// Lift a cap's stop for a while, for a reason.
    OverrideCap = "cap.override", "override a cap": Admin Billing;
    /// Read and export the ledger.
    ReadLedger = "ledger.read", "read the ledger": Admin Billing;
    /// See the org's settings, without their secrets.
    ViewSettings = "setting.view", "see settings": Admin;
    /// Change and restore the org's settings.
    ChangeSettings = "setting.change", "change settings": Admin;
    /// Change the org's display name.
    RenameOrg = "org.rename", "rename the organization": Admin;
    /// Invite, change and remove members, and keep groups.
    ManageMembers = "member.manage", "manage members": Admin;
    /// Choose which groups see a project.
    SetProjectAccess = "project.access", "choose who sees a project": Admin;
    /// Say who may become root in workspaces, and how.
    SetRootPolicy = "root_policy.set", "set the root policy": Admin;
    /// Say whether terminals are recorded.
    SetTerminalPolicy = "terminal_policy.set", "set whether terminals are recorded": Admin;
    /// Say when no schedule of the org wakes anything.
    SetQuietHours = "quiet_hours.set", "set the organization's quiet hours": Admin;
    /// Ask for root in a workspace and, once it is granted, open root terminals.
    RequestElevation = "elevation.request", "ask for root in a workspace": Admin Developer;
    /// Answer other people's requests for root, and take root back.
    ApproveElevation = "elevation.approve", "approve, refuse or revoke root": Admin;
    /// Read what root terminals printed; a key that only reads does not, for it may hold secrets.
    ReadRecording = "recording.read", "read recordings of terminals": Admin;
    /// See the names of secrets, who set them and when they were used; never a value.
    ViewSecrets = "secret.view", "see the names of secrets": Admin Developer;
    /// Set, restore or remove a secret of the org or of a project: every workspace it reaches runs with it.
    ManageSecrets = "secret.manage", "change secrets of the org or a project": Admin;
    /// The same of one workspace, whose code the same people can change anyway.
    ManageWorkspaceSecrets = "secret.manage_workspace", "change secrets of a workspace": Admin Developer;
    /// Register and drain hosts.
    ManageHosts = "host.manage", "manage hosts": Admin;
}

impl Action {
    /// Whether it changes and opens nothing.
    pub const fn only_reads(self) -> bool {
        matches!(
            self,
            Self::View | Self::ReadLogs | Self::ViewUsage | Self::ReadLedger | Self::ViewSettings | Self::ViewSecrets
        )
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.code() == text)
            .ok_or_else(|| format!("`{text}` is not an action"))
    }
}

/// The scope that stands for every action that only reads, also those yet to come.
pub const READ_SCOPE: &str = "read";

/// What an API key is limited to. A key never allows more than its person may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// Whatever its person may do.
    Unlimited,
    /// Only these.
    Limited(BTreeSet<Scope>),
}

/// One scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every action that only reads.
    Read,
    /// One action.
    Only(Action),
}

impl Scope {
    /// The name in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => READ_SCOPE,
            Self::Only(action) => action.code(),
        }
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == READ_SCOPE { Ok(Self::Read) } else { text.parse().map(Self::Only) }
    }
}

impl Scopes {
    /// From names; none at all is no limit. A name that is not known is an error and never a wider key.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Result<Self, String> {
        if names.is_empty() {
            return Ok(Self::Unlimited);
        }
        names.iter().map(|name| name.as_ref().parse()).collect::<Result<_, _>>().map(Self::Limited)
    }

    /// The names; empty is no limit.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Unlimited => Vec::new(),
            Self::Limited(scopes) => scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        }
    }

    /// Whether they leave room for an action.
    pub fn allow(&self, action: Action) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Limited(scopes) => {
                scopes.contains(&Scope::Only(action)) || (action.only_reads() && scopes.contains(&Scope::Read))
            }
        }
    }
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

    #[test]
    fn codes_are_distinct_and_parse_back() {
        for action in Action::ALL {
            assert_eq!(action.code().parse(), Ok(*action));
            assert_ne!(action.code(), READ_SCOPE);
        }
    }

    // proves ORG-2
    #[test]
    fn scopes_limit_and_unknown_ones_widen_nothing() {
        let scopes = Scopes::parse(&["read", "link.issue"]).unwrap();
        for action in Action::ALL {
            assert_eq!(scopes.allow(*action), action.only_reads() || *action == Action::IssueLink, "{}", action.code());
        }
        assert_eq!(Scopes::parse(&scopes.names()), Ok(scopes));
        assert!(Scopes::parse::<&str>(&[]).unwrap().allow(Action::SetCaps));
        assert!(Scopes::parse(&["everything"]).is_err());
    }
}

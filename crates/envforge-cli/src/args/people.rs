//! What orgs, their people and what these sign in with take.

use clap::{Args, Subcommand};
use envforge_api::http::activity::IdleLimit;
use envforge_core::access::Role;
use envforge_core::id::{InvitationId, UserId};
use envforge_core::name::Slug;
use std::path::PathBuf;

/// `envforge org …`.
#[derive(Debug, Subcommand)]
pub enum OrgVerb {
    /// List the orgs you are a member of
    List,
    /// Make an org that you own
    Create {
        /// Its slug; part of every dev host, so it never changes
        slug: Slug,
        /// Its display name; the slug when absent
        #[arg(long)]
        name: Option<String>,
    },
    /// Change its display name
    Rename {
        /// The new name
        name: String,
    },
    /// Use an org from now on when none is named
    Use {
        /// Its slug
        slug: Slug,
    },
    /// Show after how long without work its runtimes sleep at the latest, or change it
    IdleLimit {
        /// `5m`, `90s`, `2h`; `none` is no limit
        #[arg(value_name = "TIME", value_parser = idle_limit)]
        limit: Option<IdleLimit>,
    },
}

/// `envforge member …`.
#[derive(Debug, Subcommand)]
pub enum MemberVerb {
    /// List members with their roles and groups
    List,
    /// Change a member's role
    Role {
        /// The user's id, `user_…`
        user: UserId,
        /// owner, admin, developer, reviewer or billing
        role: Role,
    },
    /// Remove a member; what is open to them ends
    Remove {
        /// The user's id, `user_…`
        user: UserId,
    },
}

/// `envforge invite …`.
#[derive(Debug, Subcommand)]
pub enum InviteVerb {
    /// Invite somebody: prints a code to hand over, good once and for seven days
    Create {
        /// owner, admin, developer, reviewer or billing
        #[arg(long, default_value = "developer")]
        role: Role,
        /// A group they join; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<Slug>,
        /// Their mail address
        #[arg(long, value_name = "MAIL")]
        address: Option<String>,
    },
    /// List invitations
    List,
    /// Revoke an invitation
    Revoke {
        /// The invitation's id, `inv_…`
        invitation: InvitationId,
    },
    /// Accept an invitation; its code is asked for, or read from a file
    Accept {
        /// Read the code from a file; `-` is stdin
        #[arg(long, value_name = "FILE")]
        code_file: Option<PathBuf>,
        /// What people will call you, when you have no account here yet
        #[arg(long)]
        name: Option<String>,
    },
}

/// `envforge group …`.
#[derive(Debug, Subcommand)]
pub enum GroupVerb {
    /// List groups with their members
    List,
    /// Make a group
    Create {
        /// Its name
        group: Slug,
    },
    /// Rename a group
    Rename {
        /// Its name
        group: Slug,
        /// The new one
        name: Slug,
    },
    /// Delete a group; projects restricted to it stay restricted
    Delete {
        /// Its name
        group: Slug,
    },
    /// Put a member into a group
    Add {
        /// Its name
        group: Slug,
        /// The user's id, `user_…`
        user: UserId,
    },
    /// Take a member out of a group
    Remove {
        /// Its name
        group: Slug,
        /// The user's id, `user_…`
        user: UserId,
    },
}

/// `envforge project …`.
#[derive(Debug, Subcommand)]
pub enum ProjectVerb {
    /// Show who sees a project, or change it
    Access {
        /// The project
        project: Slug,
        /// Open it to all members
        #[arg(long)]
        open: bool,
        /// Restrict it to groups, owners and admins; without `--group` to these two alone
        #[arg(long, conflicts_with = "open")]
        restrict: bool,
        /// A group that sees it; may be given several times
        #[arg(long = "group", value_name = "GROUP", requires = "restrict", conflicts_with = "open")]
        groups: Vec<Slug>,
    },
    /// Show after how long without work its runtimes sleep at the latest, or change it
    IdleLimit {
        /// The project
        project: Slug,
        /// `5m`, `90s`, `2h`; `none` is no limit
        #[arg(value_name = "TIME", value_parser = idle_limit)]
        limit: Option<IdleLimit>,
    },
}

/// `envforge git-credential …`.
#[derive(Debug, Subcommand)]
pub enum GitCredentialVerb {
    /// Set your token for a Git host, in place of the one before; it can't be read back
    Set(GitCredentialSet),
    /// Make an SSH key for a Git host and print the line to register there; the private half never leaves the server
    GenerateKey {
        /// The Git host, as in the repository's address: `github.com`, `git.example.org:2222`
        host: String,
    },
    /// Bring an Ed25519 key for a Git host, without a passphrase; it can't be read back
    ImportKey {
        /// The Git host, as in the repository's address
        host: String,
        /// The private key's file; `-` is stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List your tokens and keys, without their secret halves
    List,
    /// Remove your token for a Git host
    Remove {
        /// The Git host
        host: String,
    },
    /// Remove your SSH key for a Git host
    RemoveKey {
        /// The Git host
        host: String,
    },
}

/// `envforge git-credential set`.
#[derive(Debug, Args)]
pub struct GitCredentialSet {
    /// The Git host, as in the repository's URL: `github.com`, `git.example.org:8443`
    pub host: String,
    /// The user name for HTTP; most hosts take any with a token
    #[arg(long)]
    pub username: Option<String>,
    /// Read the token from a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// When the host lets it end: `2027-01-31T00:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub expires_at: Option<jiff::Timestamp>,
}

/// `envforge root …`.
#[derive(Debug, Subcommand)]
pub enum RootVerb {
    /// Show or set who may become root in the org's workspaces
    Policy(RootPolicyArgs),
    /// Ask for root in a workspace
    Request(RootRequest),
    /// Approve another person's request: its time begins
    Approve {
        /// The elevation's id, `elv_…`
        elevation: String,
    },
    /// Refuse another person's request
    Refuse {
        /// The elevation's id, `elv_…`
        elevation: String,
    },
    /// Take root back: one's own, or as an owner or admin anybody's
    Revoke {
        /// The elevation's id, `elv_…`
        elevation: String,
    },
    /// List the org's elevations, newest first
    List,
    /// Open the root terminal of one's own elevation; it ends with the connection
    Shell {
        /// The elevation's id, `elv_…`; the one of this workspace when absent
        elevation: Option<String>,
    },
    /// Print what an elevation's terminals printed, for `asciinema play -`
    Recording {
        /// The elevation's id, `elv_…`
        elevation: String,
    },
}

/// `envforge root policy`.
#[derive(Debug, Args)]
pub struct RootPolicyArgs {
    /// The policy from now on; shows the present one when absent
    pub mode: Option<RootMode>,
    /// Longest time in minutes somebody may be root; at most 480
    #[arg(long, default_value_t = 60, requires = "mode")]
    pub max_minutes: u32,
}

/// Who may become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RootMode {
    /// Nobody
    Disabled,
    /// Who asks with a reason, once another person has approved
    BreakGlass,
    /// Who asks with a reason
    Workspace,
}

/// `envforge root request`.
#[derive(Debug, Args)]
pub struct RootRequest {
    /// What it is needed for; kept in the ledger
    #[arg(long)]
    pub reason: String,
    /// For how many minutes, from the approval on
    #[arg(long)]
    pub minutes: Option<u32>,
}

/// `envforge login`.
#[derive(Debug, Args)]
pub struct Login {
    /// Read the API key from a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Type an API key
    #[arg(long, conflicts_with_all = ["key_file", "device", "browser"])]
    pub key: bool,
    /// Sign in with a browser on another machine: a code is shown, to be compared there
    #[arg(long, conflicts_with_all = ["key_file", "browser"])]
    pub device: bool,
    /// Sign in with a browser on this machine; its program is BROWSER's, else xdg-open
    #[arg(long, conflicts_with = "key_file")]
    pub browser: bool,
    /// What the key is named after; this machine's name when absent
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
}

/// `envforge sessions …`.
#[derive(Debug, Subcommand)]
pub enum SessionsVerb {
    /// List browsers that are signed in, and API keys
    List,
    /// End one of them
    Revoke {
        /// Its id, `sess_…` or `key_…`
        id: String,
    },
}

/// A time, or `none`.
fn idle_limit(text: &str) -> Result<IdleLimit, String> {
    let seconds = (text != "none").then(|| super::seconds(text)).transpose()?;
    Ok(IdleLimit { seconds })
}

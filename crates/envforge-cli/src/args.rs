//! The command line: verbs, flags and their help; no logic.
//!
//! The reference page, the shell completions and the man pages are made from [`Cli`], so a sentence here is a
//! sentence there. Every verb takes `--json`; what a person would be asked has a flag.

use clap::{Args, Parser, Subcommand};
use envforge_core::access::Role;
use envforge_core::egress::EgressRule;
use envforge_core::id::{InvitationId, UserId};
use envforge_core::job::{JobState, Queue};
use envforge_core::name::Slug;
use envforge_core::secret::SecretName;
use envforge_core::size::Size;
use std::path::PathBuf;

/// Branch workspaces: a shell that opens at once, a runtime that wakes on demand, signed links.
#[derive(Debug, Parser)]
#[command(name = "envforge", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const AFTER_HELP: &str = "Environment: ENVFORGE_SERVER, ENVFORGE_KEY, ENVFORGE_ORG, ENVFORGE_WORKSPACE; \
ENVFORGE_DATA_DIR for the one box.\nInside a Git repository the workspace is the one of the branch checked out.";

/// Flags of every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Answer with JSON on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Base URL of the server [env: ENVFORGE_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The org [env: ENVFORGE_ORG]
    #[arg(long, global = true)]
    pub org: Option<Slug>,
    /// The workspace, by slug or branch [env: ENVFORGE_WORKSPACE]
    #[arg(long = "workspace", short = 'w', global = true, value_name = "WORKSPACE")]
    pub workspace_flag: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Open the workspace of this branch: make it if needed, wake it, attach to its shell
    Up(Up),
    /// Attach to the shell of a workspace
    Attach(Named),
    /// Show readiness of shell, runtime, services, resources and checks
    Status(Named),
    /// List, create and delete workspaces, and see what they used
    #[command(subcommand)]
    Workspace(WorkspaceVerb),
    /// Run a test or job in the runtime, and end with its exit code
    Run(Run),
    /// Show captured log lines of a service
    Logs(Logs),
    /// Wake the runtime
    Wake(Wake),
    /// Put the runtime to sleep: billing stops, the shell stays
    Sleep(Sleep),
    /// Share a service by a signed link
    #[command(subcommand)]
    Link(LinkVerb),
    /// Set, list and remove secrets; a value is never shown again
    #[command(subcommand)]
    Secret(SecretVerb),
    /// List your orgs, make one, and choose the one that is meant
    #[command(subcommand)]
    Org(OrgVerb),
    /// List the org's members, change what they may do, remove them
    #[command(subcommand)]
    Member(MemberVerb),
    /// Invite people into the org, or accept an invitation
    #[command(subcommand)]
    Invite(InviteVerb),
    /// Keep groups of members, for restricted projects
    #[command(subcommand)]
    Group(GroupVerb),
    /// Choose who sees a project
    #[command(subcommand)]
    Project(ProjectVerb),
    /// Set, list and remove your tokens for Git hosts: private repositories clone and push
    #[command(subcommand)]
    GitCredential(GitCredentialVerb),
    /// Become root in a workspace, for a reason and for a while; recorded
    #[command(subcommand)]
    Root(RootVerb),
    /// Sign in: in a browser here or elsewhere, or with an API key
    Login(Login),
    /// Sign out: revoke this machine's API key and forget it
    Logout,
    /// Show who is signed in, and with what
    Whoami,
    /// List and end what is signed in: browsers and API keys
    #[command(subcommand)]
    Sessions(SessionsVerb),
    /// Look for what is wrong, and say what helps
    Doctor,
    /// Search and export the ledger, or verify an export offline
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// See, change and restore settings of the org or the installation
    #[command(subcommand)]
    Setting(SettingVerb),
    /// Operate the installation
    #[command(subcommand)]
    Admin(AdminVerb),
    /// Start a program in a session of its own (used by `up` to start the one box)
    #[command(hide = true)]
    Detached(Detached),
}

/// A workspace by name, for the verbs that need nothing else.
#[derive(Debug, Args)]
pub struct Named {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
}

/// `envforge up`.
#[derive(Debug, Args)]
pub struct Up {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
    /// Start the one box without asking when no server is there
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Don't attach: print readiness until the services are ready or blocked, then a link
    #[arg(long)]
    pub no_attach: bool,
    /// Leave the runtime asleep
    #[arg(long)]
    pub no_wake: bool,
    /// Make no link
    #[arg(long)]
    pub no_link: bool,
    /// The service to link; `web`, or the first one, when absent
    #[arg(long)]
    pub service: Option<String>,
    /// Size of the runtime: small, medium or large
    #[arg(long)]
    pub size: Option<Size>,
    /// The project; the one of this repository when absent
    #[arg(long)]
    pub project: Option<Slug>,
    /// Where the server clones the repository from; this checkout on the one box, else its origin
    #[arg(long, value_name = "URL")]
    pub repository: Option<String>,
    /// The branch of a new workspace; the one checked out, or the name given, when absent
    #[arg(long)]
    pub branch: Option<String>,
}

/// `envforge workspace …`.
#[derive(Debug, Subcommand)]
pub enum WorkspaceVerb {
    /// List the org's workspaces
    List,
    /// Make a workspace for a branch of a project
    Create(WorkspaceCreate),
    /// Delete a workspace with its files, databases and links
    Delete(WorkspaceDelete),
    /// Show state, awake minutes, wake cause, cap, estimate and receipts
    Usage(Named),
    /// Cap the awake minutes of a month
    Cap(WorkspaceCap),
}

/// `envforge workspace create`.
#[derive(Debug, Args)]
pub struct WorkspaceCreate {
    /// The branch; made from the default branch when it does not exist
    pub branch: String,
    /// The project; the one of this repository when absent
    #[arg(long)]
    pub project: Option<Slug>,
    /// The workspace's slug; made from the branch when absent
    #[arg(long)]
    pub slug: Option<Slug>,
    /// Size of the runtime: small, medium or large
    #[arg(long)]
    pub size: Option<Size>,
}

/// `envforge workspace delete`.
#[derive(Debug, Args)]
pub struct WorkspaceDelete {
    /// The workspace, by slug or branch
    #[arg(value_name = "WORKSPACE")]
    pub name: String,
    /// Delete without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `envforge workspace cap`.
#[derive(Debug, Args)]
pub struct WorkspaceCap {
    /// What happens at the cap
    pub mode: CapModeArg,
    /// Awake minutes per calendar month (UTC)
    #[arg(required_if_eq_any([("mode", "warn"), ("mode", "stop")]))]
    pub minutes: Option<u64>,
}

/// What happens at a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CapModeArg {
    /// No cap
    None,
    /// Say so, go on
    Warn,
    /// Refuse to wake, and sleep
    Stop,
}

/// `envforge run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Follow a run that was started before instead
    #[arg(long, conflicts_with = "argv")]
    pub job: Option<String>,
    /// Start it, print its id, and don't wait
    #[arg(long, conflicts_with = "job")]
    pub no_wait: bool,
    /// Program and arguments; not interpreted by a shell
    #[arg(last = true, required_unless_present = "job", value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// `envforge logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The service
    pub service: String,
    /// Keep printing what is written from now on
    #[arg(long, short)]
    pub follow: bool,
    /// Lines from the end to begin with
    #[arg(long, short = 'n', default_value_t = 100)]
    pub lines: u32,
}

/// `envforge wake`.
#[derive(Debug, Args)]
pub struct Wake {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
    /// Another size than the workspace's: small, medium or large
    #[arg(long)]
    pub size: Option<Size>,
    /// Don't wait until the services are ready or blocked
    #[arg(long)]
    pub no_wait: bool,
}

/// `envforge sleep`.
#[derive(Debug, Args)]
pub struct Sleep {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
    /// End the processes instead of pausing them: frees all memory, wakes slower
    #[arg(long)]
    pub stop: bool,
    /// Don't wait until it sleeps
    #[arg(long)]
    pub no_wait: bool,
}

/// `envforge link …`.
#[derive(Debug, Subcommand)]
pub enum LinkVerb {
    /// Make a signed link to a service
    Create(LinkCreate),
    /// List the links of a workspace
    List,
    /// Revoke a link: it stops opening within a second
    Revoke {
        /// The link's id, `link_…`
        link: String,
    },
}

/// `envforge link create`.
#[derive(Debug, Args)]
pub struct LinkCreate {
    /// The service
    pub service: String,
    /// How long it opens: `45m`, `8h`, `7d`; at most 30 days
    #[arg(long, default_value = "60m", value_parser = minutes)]
    pub expires: u32,
    /// Most visits
    #[arg(long)]
    pub visits: Option<u32>,
    /// Most wakes it may cause
    #[arg(long)]
    pub wakes: Option<u32>,
    /// Most awake minutes its wakes may cause
    #[arg(long)]
    pub minutes: Option<u32>,
    /// Only paths below this one, such as `/docs`; may be given several times
    #[arg(long = "route", value_name = "PATH")]
    pub routes: Vec<String>,
}

/// Longest life of a link, in minutes.
const LINK_MINUTES_MAX: u32 = 30 * 24 * 60;

fn minutes(text: &str) -> Result<u32, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "m" | "min" => 1,
        "h" => 60,
        "d" => 24 * 60,
        _ => return Err("give minutes, hours or days: `45m`, `8h`, `7d`".to_owned()),
    };
    let number: u32 = number.parse().map_err(|_| "give a number and a unit: `45m`, `8h`, `7d`".to_owned())?;
    match number.checked_mul(factor) {
        Some(0) => Err("a link has to open for at least a minute".to_owned()),
        Some(minutes) if minutes <= LINK_MINUTES_MAX => Ok(minutes),
        _ => Err("a link opens for at most 30 days".to_owned()),
    }
}

/// `envforge secret …`.
#[derive(Debug, Subcommand)]
pub enum SecretVerb {
    /// Set a secret: the value is asked for without showing it, or read from stdin
    Set(SecretSet),
    /// List the secrets of the org, its projects and workspaces
    List,
    /// Show the versions of a secret that are kept
    Versions(SecretPlace),
    /// Make an older version's value the newest version
    Restore(SecretRestore),
    /// Remove a secret with all its versions
    Remove(SecretRemove),
    /// Encrypt the org's secrets anew under a new data key
    RotateKey,
}

/// A secret: of the org, unless a project or a workspace is named.
#[derive(Debug, Args)]
pub struct SecretPlace {
    /// Its name: `STRIPE_KEY` is what the input `stripe_key` of a service takes
    pub name: SecretName,
    /// Of this project; with `--workspace` instead, of that workspace; of the whole org when both are absent
    #[arg(long, value_name = "PROJECT", conflicts_with = "workspace_flag")]
    pub project: Option<Slug>,
}

/// `envforge secret set`.
#[derive(Debug, Args)]
pub struct SecretSet {
    #[command(flatten)]
    pub place: SecretPlace,
    #[command(flatten)]
    pub egress: EgressArguments,
}

/// A secret that no service is given: it is added to requests for one destination.
#[derive(Debug, Args)]
pub struct EgressArguments {
    /// Give it to no service; add it to requests sent through the egress proxy to this host, such as `api.anthropic.com`
    #[arg(long, value_name = "HOST")]
    pub egress_host: Option<String>,
    /// The header it is sent in
    #[arg(long, value_name = "HEADER", default_value = "authorization", requires = "egress_host")]
    pub header: String,
    /// What stands before it in the header, such as `Bearer `
    #[arg(long, value_name = "TEXT", default_value = "", requires = "egress_host")]
    pub prefix: String,
}

impl EgressArguments {
    /// The rule they say, if any.
    pub fn rule(self) -> Option<EgressRule> {
        let header = self.header.to_ascii_lowercase();
        self.egress_host.map(|host| EgressRule { host, header, prefix: self.prefix })
    }
}

/// `envforge secret restore`.
#[derive(Debug, Args)]
pub struct SecretRestore {
    #[command(flatten)]
    pub secret: SecretPlace,
    /// The version
    #[arg(long)]
    pub version: u32,
}

/// `envforge secret remove`.
#[derive(Debug, Args)]
pub struct SecretRemove {
    #[command(flatten)]
    pub secret: SecretPlace,
    /// Remove without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

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
}

/// `envforge git-credential …`.
#[derive(Debug, Subcommand)]
pub enum GitCredentialVerb {
    /// Set your token for a Git host, in place of the one before; it can't be read back
    Set(GitCredentialSet),
    /// List your tokens, without their values
    List,
    /// Remove your token for a Git host
    Remove {
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

/// `envforge ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerVerb {
    /// Show events, newest first
    List(LedgerList),
    /// Show the head of the chain, how far it was verified, and the key that signs it
    State {
        /// The installation's own ledger, for its operator
        #[arg(long)]
        installation: bool,
    },
    /// Export the chain with its signed checkpoint, as JSON lines
    Export {
        /// Where to; `-` is stdout
        file: PathBuf,
        /// The installation's own ledger, for its operator
        #[arg(long)]
        installation: bool,
    },
    /// Recompute an export's chain and check who signed it; asks no server
    Verify(LedgerVerify),
}

/// `envforge ledger list`.
#[derive(Debug, Args)]
pub struct LedgerList {
    /// Only what this one did: `user:user_…`, `link:link_…`
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only this verb, `runtime.woken`, or all verbs of one kind, `runtime.`
    #[arg(long, value_name = "VERB")]
    pub verb: Option<String>,
    /// Only what happened to this one, an id
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,
    /// Not before: a time, `2026-11-21T06:00:00Z`, or as long ago, `45m`, `8h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Before: the same
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Oldest first
    #[arg(long)]
    pub oldest: bool,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
    /// Go on where an earlier answer ended
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

/// `envforge ledger verify`.
#[derive(Debug, Args)]
pub struct LedgerVerify {
    /// The export; `-` is stdin
    pub file: PathBuf,
    /// Accept only this public key, as `envforge ledger state` shows it; may be given again for older ones
    #[arg(long, value_name = "PUBLIC KEY", required_unless_present = "trust_its_key")]
    pub key: Vec<String>,
    /// Accept the key that came with the export: proves that the file is whole, not who made it
    #[arg(long, conflicts_with = "key")]
    pub trust_its_key: bool,
}

/// A point in time, as one types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(jiff::Timestamp),
    /// So long ago.
    Ago(jiff::SignedDuration),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse() {
        return Ok(Moment::At(at));
    }
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let number = number.parse::<u32>().ok().filter(|number| *number <= 1_000_000)?;
        Some(Moment::Ago(jiff::SignedDuration::from_secs(i64::from(number) * seconds)))
    };
    ago().ok_or_else(|| "give a time, `2026-11-21T06:00:00Z`, or as long ago, `45m`, `8h`, `7d`".to_owned())
}

/// `envforge admin …`.
#[derive(Debug, Subcommand)]
pub enum AdminVerb {
    /// See, retry and cancel background jobs
    #[command(subcommand)]
    Jobs(JobsVerb),
}

/// `envforge admin jobs …`.
#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List background jobs, newest first
    List(JobsList),
    /// Run a job again that did not succeed, or one that waits at once
    Retry {
        /// The job's id, `bgjob_…`
        job: String,
    },
    /// Cancel a job; one that runs is told to end
    Cancel {
        /// The job's id, `bgjob_…`
        job: String,
    },
}

/// `envforge admin jobs list`.
#[derive(Debug, Args)]
pub struct JobsList {
    /// Only of this queue: default, ai, sandbox, github or deployments
    #[arg(long)]
    pub queue: Option<Queue>,
    /// Only in this state: waiting, running, done, failed, cancelled or dead
    #[arg(long)]
    pub state: Option<JobState>,
    /// Only of this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only older than this job
    #[arg(long, value_name = "JOB")]
    pub before: Option<String>,
    /// How many, at most 200
    #[arg(long, short = 'n', default_value_t = 50)]
    pub limit: u32,
}

/// `envforge detached`.
#[derive(Debug, Args)]
pub struct Detached {
    /// Program and arguments
    #[arg(last = true, required = true)]
    pub argv: Vec<std::ffi::OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn expiry_is_written_with_a_unit() {
        assert_eq!(minutes("60m"), Ok(60));
        assert_eq!(minutes("8h"), Ok(480));
        assert_eq!(minutes("30d"), Ok(43_200));
        assert!(minutes("31d").is_err() && minutes("0").is_err() && minutes("1y").is_err() && minutes("m").is_err());
        assert!(minutes("99999999999h").is_err());
    }
}

/// `envforge setting …`.
#[derive(Debug, Subcommand)]
pub enum SettingVerb {
    /// List the settings there are
    List(SettingScope),
    /// Show a setting, without its secrets
    Show {
        /// Its name, such as `mail` or `oidc.auth0`
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Change fields of a setting; every change is kept as a version
    Set(SettingChangeArguments),
    /// Show the versions of a setting and how they differ
    History {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Make an earlier version the newest again, with its secrets
    Restore {
        /// Its name
        name: String,
        /// The version
        version: u64,
        /// Why, for the history
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Take a setting out of force; its history stays
    Clear {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
}

/// Whose settings.
#[derive(Debug, Clone, Copy, Args)]
pub struct SettingScope {
    /// The installation's instead of the org's
    #[arg(long)]
    pub installation: bool,
}

/// `envforge setting set`.
#[derive(Debug, Args)]
pub struct SettingChangeArguments {
    /// Its name, such as `mail` or `oidc.auth0`
    pub name: String,
    /// Fields to set
    #[arg(value_name = "FIELD=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    /// A secret field: asked for, or read from stdin or a file
    #[arg(long = "secret", value_name = "FIELD[=FILE]")]
    pub secrets: Vec<String>,
    /// A field to take away
    #[arg(long, value_name = "FIELD")]
    pub unset: Vec<String>,
    /// Why, for the history
    #[arg(long)]
    pub reason: String,
    #[command(flatten)]
    pub scope: SettingScope,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give FIELD=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

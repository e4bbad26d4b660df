//! The command line: verbs, flags and their help; no logic.
//!
//! The reference page, the shell completions and the man pages are made from [`Cli`], so a sentence here is a
//! sentence there. Every verb takes `--json`; what a person would be asked has a flag.

mod caps;
mod consoles;
mod people;
mod records;
mod schedules;
mod secrets;

pub use caps::*;
pub use consoles::*;
pub use people::*;
pub use records::*;
pub use schedules::*;
pub use secrets::*;

use clap::{Args, Parser, Subcommand};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::size::Size;
use envforge_core::terminal::TerminalName;
use envforge_core::usage::Month;

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
    Attach(Attach),
    /// Run a command in the shell, and end with its exit code; wakes nothing
    Exec(Exec),
    /// List the terminals of a workspace's shell, and end one
    #[command(subcommand)]
    Terminal(TerminalVerb),
    /// Show readiness of shell, runtime, services, resources and checks
    Status(Named),
    /// Say why a runtime is awake or asleep, what holds it, and when it will sleep; or try another rule on past weeks
    Why(Why),
    /// List, create and delete workspaces, and see what they used
    #[command(subcommand)]
    Workspace(WorkspaceVerb),
    /// Show what each workspace used in a month, what it cost, and the sums
    Usage(Usage),
    /// Show what a usage session did and cost, or check its receipt against the ledger
    Receipt(ReceiptArgs),
    /// List receipts of a workspace, newest first, or of the organization's month
    Receipts(ReceiptsArgs),
    /// Show, set and override caps on awake minutes or money
    #[command(subcommand)]
    Cap(CapVerb),
    /// Copy a workspace with its files, database and object storage into new ones
    Fork(Fork),
    /// Run a test or job in the runtime, and end with its exit code
    Run(Run),
    /// Show captured log lines of a service
    Logs(Logs),
    /// Start, stop or restart a service
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Make a new password or key of a branch's database or object storage
    #[command(subcommand)]
    Resource(ResourceVerb),
    /// Read the mail that a branch's services sent, of which nothing was delivered; also while it sleeps
    #[command(subcommand)]
    Mail(MailVerb),
    /// List and download what is in a branch's object storage, also while it sleeps
    #[command(subcommand)]
    Objects(ObjectsVerb),
    /// Query a branch's database, dump it to a file, restore it from one; while it is awake
    #[command(subcommand)]
    Database(DatabaseVerb),
    /// Wake the runtime; of one that is awake, start again what is blocked, with envforge.yml as it is now
    Wake(Wake),
    /// Put the runtime to sleep: billing stops, the shell stays
    Sleep(Sleep),
    /// Say when a workspace wakes and sleeps by itself
    #[command(subcommand)]
    Schedule(ScheduleVerb),
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
    /// Choose who sees a project, and how long its runtimes idle
    #[command(subcommand)]
    Project(ProjectVerb),
    /// Set, list and remove your tokens for Git hosts: private repositories clone and push
    #[command(subcommand)]
    GitCredential(GitCredentialVerb),
    /// Become root in a workspace, for a reason and for a while; recorded
    #[command(subcommand)]
    Root(RootVerb),
    /// Say whether terminals are recorded, list and print recordings
    #[command(subcommand)]
    Recording(RecordingVerb),
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

/// `envforge attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
    /// The terminal; one that is not there is made
    #[arg(long, short = 't', value_name = "NAME", default_value = "main", value_parser = terminal)]
    pub terminal: TerminalName,
}

fn terminal(text: &str) -> Result<TerminalName, String> {
    text.parse().map_err(|refusal: Refusal| refusal.hint.unwrap_or(refusal.message))
}

/// `envforge exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// In a terminal: for programs that draw on the screen, or ask whether there is one
    #[arg(long, short = 't')]
    pub tty: bool,
    /// Program and arguments; not interpreted by a shell
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// `envforge terminal …`.
#[derive(Debug, Subcommand)]
pub enum TerminalVerb {
    /// List the terminals, since when they are there, their clients, size and foreground program
    List(Named),
    /// End a terminal with what runs in it, for everybody attached to it
    End {
        /// The terminal
        #[arg(value_parser = terminal)]
        terminal: TerminalName,
    },
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

/// `envforge usage`.
#[derive(Debug, Args)]
pub struct Usage {
    /// A calendar month (UTC) like 2026-11; this one when absent
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<Month>,
    /// A line of comma-separated values for each workspace
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
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
    /// Give it what this service is given: environment, secrets and directory; else every input in capitals
    #[arg(long, conflicts_with = "job", value_name = "SERVICE")]
    pub service: Option<String>,
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
    /// Lines from the end to begin with; 100 when absent, or all that --grep and --since leave
    #[arg(long, short = 'n')]
    pub lines: Option<u32>,
    /// Only lines in which this regular expression is found; `(?i)` before it ignores case
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub grep: Option<String>,
    /// Only lines not written before: a time, `2026-11-21T06:00:00Z`, or as long ago, `45m`, `8h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = records::moment)]
    pub since: Option<Moment>,
}

/// `envforge fork`.
#[derive(Debug, Args)]
pub struct Fork {
    /// The workspace to copy, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub source: Option<String>,
    /// How many copies to make, at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub count: u8,
    /// Their name, with a number behind it if there are several; the source's name and `-fork` when absent
    #[arg(long)]
    pub name: Option<Slug>,
    /// Don't wait until the copies are made
    #[arg(long)]
    pub no_wait: bool,
}

/// `envforge service …`.
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    /// Start a service that ended, was stopped or is blocked
    Start(ServiceNamed),
    /// End a service; it stays so until it is started, or the runtime wakes from stopped
    Stop(ServiceNamed),
    /// End a service and start it again, as envforge.yml is now
    Restart(ServiceNamed),
}

/// A service, for the verbs that need nothing else.
#[derive(Debug, Args)]
pub struct ServiceNamed {
    /// The service, as envforge.yml names it
    pub service: String,
    /// Don't wait until it is ready, or blocked
    #[arg(long)]
    pub no_wait: bool,
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

/// `envforge why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE")]
    pub name: Option<String>,
    /// What it would have been, had it slept after so long without work: `5m`, `90s`, `2h`
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub if_idle: Option<u32>,
    /// How many past days to look at, with --if-idle; 14 when absent
    #[arg(long, value_name = "DAYS", requires = "if_idle")]
    pub days: Option<u32>,
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
    /// Show who came through a link, what each visit woke, and what that cost
    Visits(LinkVisits),
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
    /// Opens for one visit only
    #[arg(long, conflicts_with = "visits")]
    pub once: bool,
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

/// `envforge link visits`.
#[derive(Debug, Args)]
pub struct LinkVisits {
    /// The link's id, `link_…`
    pub link: String,
    /// Only before this visit
    #[arg(long, value_name = "VISIT")]
    pub before: Option<String>,
    /// How many, at most 200
    #[arg(long, short = 'n', default_value_t = 50)]
    pub limit: u32,
}

/// Longest life of a link, in minutes.
const LINK_MINUTES_MAX: u32 = 30 * 24 * 60;

/// `90s`, `5m`, `2h`, as seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let help = || "give seconds, minutes or hours: `90s`, `5m`, `2h`".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(help)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(help()),
    };
    number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(help)
}

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

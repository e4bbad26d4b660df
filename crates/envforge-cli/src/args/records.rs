//! What the ledger and the operator's board take.

use clap::{Args, Subcommand};
use envforge_core::id::UsageSessionId;
use envforge_core::job::{JobState, Queue};
use envforge_core::usage::Month;
use std::path::PathBuf;

/// `envforge recording …`.
#[derive(Debug, Subcommand)]
pub enum RecordingVerb {
    /// Show or set whether terminals are recorded, from the next one on
    Policy {
        /// What it is from now on; shows the present policy when absent
        record: Option<OnOff>,
    },
    /// List the recordings of a workspace's terminals, newest first
    List,
    /// Print a recording, for `asciinema play -`
    Show {
        /// The recording's id, `rec_…`
        recording: String,
    },
}

/// One of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnOff {
    /// Yes
    On,
    /// No
    Off,
}

/// `envforge receipt`.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The usage session, `us_…`; the workspace's last one when absent
    pub session: Option<UsageSessionId>,
    /// The last one
    #[arg(long, conflicts_with = "session")]
    pub last: bool,
    /// A line of comma-separated values for each awake window
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Compute its hash anew and compare it with the ledger's; fails when they differ
    #[arg(long, conflicts_with = "csv")]
    pub verify: bool,
}

/// `envforge receipts`.
#[derive(Debug, Args)]
pub struct ReceiptsArgs {
    /// Final receipts of the whole organization, of sessions that ended in this month (UTC)
    #[arg(long, value_name = "YYYY-MM", conflicts_with_all = ["limit", "cursor"])]
    pub month: Option<Month>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Goes on where an earlier list ended
    #[arg(long)]
    pub cursor: Option<String>,
    /// A line of comma-separated values for each awake window
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
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
    #[arg(long, value_name = "PUBLIC KEY", required_unless_present = "trust_its_key", allow_hyphen_values = true)]
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

impl Moment {
    /// The point in time it is, seen from `now`.
    pub(crate) fn instant(self, now: jiff::Timestamp) -> jiff::Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(jiff::Timestamp::MIN),
        }
    }
}

/// Reads one.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
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
    /// See and rotate the keys that sign links, sessions and tickets
    #[command(subcommand)]
    Keys(KeysVerb),
}

/// `envforge admin keys …`.
#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// List the keys, and what each is for
    List,
    /// Put a new key in use, while what was signed before holds
    Rotate {
        /// The old keys may be known to others: drop them at once, with every link, session and ticket they signed
        #[arg(long)]
        revoke: bool,
        /// Revoke without asking
        #[arg(long, short = 'y', requires = "revoke")]
        yes: bool,
    },
}

/// `envforge admin jobs …`.
#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List background jobs, newest first
    List(JobsList),
    /// Show what each queue holds, and since when its oldest due job waits
    Queues,
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

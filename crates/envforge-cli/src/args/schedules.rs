//! What `envforge schedule` takes.

use clap::{Args, Subcommand};

/// `envforge schedule …`.
#[derive(Debug, Subcommand)]
pub enum ScheduleVerb {
    /// Show when the workspace wakes and sleeps by itself, and what is due next
    Show,
    /// Say when the workspace wakes and sleeps by itself, instead of what was said before
    Set(ScheduleSet),
    /// Remove the workspace's schedule
    Clear,
    /// Show or set the hours in which no schedule of the org wakes anything
    Quiet(ScheduleQuiet),
}

/// `envforge schedule set`.
#[derive(Debug, Args)]
pub struct ScheduleSet {
    /// Wake it then: days and a time, `Mon-Fri 08:30`; may be given several times
    #[arg(long, value_name = "DAYS TIME", required_unless_present = "sleep")]
    pub wake: Vec<String>,
    /// Put it to sleep then, or as soon as it does not work: days and a time; may be given several times
    #[arg(long, value_name = "DAYS TIME")]
    pub sleep: Vec<String>,
    /// The time zone, `Europe/Berlin`
    #[arg(long, value_name = "ZONE")]
    pub zone: String,
}

/// `envforge schedule quiet`.
#[derive(Debug, Args)]
pub struct ScheduleQuiet {
    /// No quiet hours any more
    #[arg(long, conflicts_with_all = ["from", "to", "zone", "days", "idle"])]
    pub off: bool,
    /// When they begin, `20:00`
    #[arg(long, value_name = "TIME", requires_all = ["to", "zone"])]
    pub from: Option<String>,
    /// When they end, of the same day or the next, `07:00`
    #[arg(long, value_name = "TIME", requires = "from")]
    pub to: Option<String>,
    /// The time zone, `Europe/Berlin`
    #[arg(long, value_name = "ZONE", requires = "from")]
    pub zone: Option<String>,
    /// The days on which they begin, `Mon-Fri`
    #[arg(long, default_value = "daily", requires = "from")]
    pub days: String,
    /// Seconds of idleness after which a runtime sleeps in them, 30 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "from")]
    pub idle: u32,
}

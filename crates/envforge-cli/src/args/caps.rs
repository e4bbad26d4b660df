//! What `envforge cap` takes.

use super::{CapModeArg, Moment};
use clap::{Args, Subcommand};
use envforge_core::name::Slug;
use envforge_core::usage::cap::parse_money;

/// `envforge cap …`.
#[derive(Debug, Subcommand)]
pub enum CapVerb {
    /// Show caps, how much of them is used, and what overrides them
    Show(CapOf),
    /// Set a cap on awake minutes or on money, per calendar month (UTC)
    Set(CapSet),
    /// Lift a cap's stop for a while, for a reason that the ledger keeps
    Override(CapLift),
}

/// Whose cap is meant.
#[derive(Debug, Args)]
pub struct CapOf {
    /// The workspace, by slug or branch; the one of this branch when absent
    #[arg(value_name = "WORKSPACE", conflicts_with_all = ["project", "whole_org"])]
    pub name: Option<String>,
    /// The cap of a project: of all its workspaces together
    #[arg(long, conflicts_with = "whole_org")]
    pub project: Option<Slug>,
    /// The organization's cap: of all its workspaces together
    #[arg(long)]
    pub whole_org: bool,
}

/// `envforge cap set`.
#[derive(Debug, Args)]
pub struct CapSet {
    /// Whose.
    #[command(flatten)]
    pub of: CapOf,
    /// What happens at the cap
    #[arg(long)]
    pub mode: CapModeArg,
    /// Awake minutes a month
    #[arg(long, conflicts_with = "money", required_if_eq_any([("mode", "warn"), ("mode", "stop")]))]
    pub minutes: Option<u64>,
    /// Cost a month, in the server's currency: 25 or 25.50
    #[arg(long, value_name = "SUM", value_parser = parse_money)]
    pub money: Option<u64>,
    /// Percent of it from which it warns
    #[arg(long, value_name = "PERCENT", default_value_t = envforge_core::usage::cap::WARN_AT)]
    pub warn_at: u8,
    /// How long tests and jobs that run when it stops may go on: `10m`; `0m` is not at all
    #[arg(long, value_name = "TIME", value_parser = super::records::moment)]
    pub grace: Option<Moment>,
}

/// `envforge cap override`.
#[derive(Debug, Args)]
pub struct CapLift {
    /// Whose.
    #[command(flatten)]
    pub of: CapOf,
    /// Why
    #[arg(long, required_unless_present = "end")]
    pub reason: Option<String>,
    /// Until when: a time, `2026-11-21T06:00:00Z`, or for so long, `45m`, `8h`, `7d`; until the month ends when absent
    #[arg(long, value_name = "TIME", value_parser = super::records::moment)]
    pub until: Option<Moment>,
    /// So many awake minutes more
    #[arg(long, conflicts_with = "money")]
    pub minutes: Option<u64>,
    /// So much money more, in the server's currency
    #[arg(long, value_name = "SUM", value_parser = parse_money)]
    pub money: Option<u64>,
    /// End the override that holds instead
    #[arg(long, conflicts_with_all = ["reason", "until", "minutes", "money"])]
    pub end: bool,
}

//! Who may say after how long a runtime sleeps: of those who say so, the shortest time counts.
//!
//! A manifest is of a branch, and whoever writes to it writes it. A project's and an org's limit is of those who pay.

use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// The shortest and the longest time without work before a sleep, in seconds, as in `envforge.yml`.
const IDLE_LIMITS: RangeInclusive<u32> = 30..=24 * 3600;

/// Whose word it is after how long a runtime sleeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleSource {
    /// The workspace's `envforge.yml`, or the product where it says nothing.
    #[default]
    Manifest,
    /// The project's limit.
    Project,
    /// The org's limit.
    Org,
    /// The org's quiet hours.
    QuietHours,
}

/// Seconds without work before a sleep, of each who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleLimits {
    /// By `envforge.yml`.
    pub manifest: u32,
    /// By the project's limit.
    pub project: Option<u32>,
    /// By the org's limit.
    pub org: Option<u32>,
    /// By the org's quiet hours, while they last.
    pub quiet: Option<u32>,
}

impl IdleLimits {
    /// The shortest, and whose it is; of equal ones the nearest.
    pub fn shortest(&self) -> (u32, IdleSource) {
        let others =
            [(self.project, IdleSource::Project), (self.org, IdleSource::Org), (self.quiet, IdleSource::QuietHours)];
        let said = others.into_iter().filter_map(|(seconds, source)| Some((seconds?, source)));
        said.fold((self.manifest, IdleSource::Manifest), |least, one| if one.0 < least.0 { one } else { least })
    }
}

/// Refuses a time that `envforge.yml` would not take either; `code` names it.
pub fn check_idle(code: &'static str, seconds: u32) -> Result<(), Refusal> {
    if IDLE_LIMITS.contains(&seconds) {
        return Ok(());
    }
    let message = format!("`{seconds}` is not between 30 seconds and 24 hours (86400)");
    Err(Refusal::invalid(code, message).hint("give seconds: 300 are five minutes"))
}

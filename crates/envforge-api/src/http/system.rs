//! What an installation's operator is told of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works; this is worth knowing.
    Note,
    /// It does not work.
    Wrong,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Stable, dotted code of what is not fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was found, in a sentence.
    pub found: String,
    /// What helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn fine(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fine, code: None, found: found.into(), fix: None }
    }

    /// It works; this is worth knowing.
    pub fn note(name: impl Into<String>, code: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        let (code, fix) = (Some(code.to_owned()), Some(fix.into()));
        Self { name: name.into(), verdict: Verdict::Note, code, found: found.into(), fix }
    }

    /// It does not work.
    pub fn wrong(name: impl Into<String>, code: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, ..Self::note(name, code, found, fix) }
    }
}

/// How an installation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// Everything that was looked at.
    pub checks: Vec<Check>,
}

//! Terminals of a workspace's shell: several, each with a name, each shared by whoever attaches to it.
//!
//! A terminal is what goes on while nobody looks; a client is one window on it. `main` is there from the beginning, the
//! others are made by the first who attaches to them.

use crate::refusal::{Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Longest name, in characters.
pub const NAME_MAX: usize = 32;
/// Most terminals a workspace has at once.
pub const TERMINALS_MAX: usize = 16;
/// The one that is there from the beginning.
const MAIN: &str = "main";

/// A terminal's name: letters, digits, `-` and `_`, beginning with a letter or digit. Nothing in it means anything to a
/// multiplexer, which reads `.`, `:`, `=`, `@`, `$`, `%` and a leading `-` as its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "main", max_length = 32, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$")]
pub struct TerminalName(String);

impl TerminalName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the one that is there from the beginning.
    pub fn is_main(&self) -> bool {
        self.0 == MAIN
    }
}

impl Default for TerminalName {
    fn default() -> Self {
        Self(MAIN.to_owned())
    }
}

impl FromStr for TerminalName {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let fits = (1..=NAME_MAX).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal::invalid("terminal.bad_name", "this can't name a terminal").hint(format!(
            "a name is at most {NAME_MAX} letters, digits, `-` and `_`, and begins with a letter or digit"
        )))
    }
}

impl TryFrom<String> for TerminalName {
    type Error = Refusal;
    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<TerminalName> for String {
    fn from(name: TerminalName) -> Self {
        name.0
    }
}

impl fmt::Display for TerminalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses another terminal beside these many.
pub fn may_be_made(beside: usize) -> Result<(), Refusal> {
    if beside < TERMINALS_MAX {
        return Ok(());
    }
    let message = format!("the workspace has {beside} terminals already, and may have {TERMINALS_MAX}");
    Err(Refusal::new(RefusalKind::Limit, "terminal.too_many", message)
        .hint("`envforge terminal list` shows them, `envforge terminal end` ends one"))
}

/// There is no such terminal.
pub fn not_found(name: &TerminalName) -> Refusal {
    Refusal::not_found("terminal.not_found", format!("the workspace has no terminal `{name}`"))
        .hint("`envforge terminal list` shows them")
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves UP-3
    #[test]
    fn a_name_is_nothing_a_multiplexer_reads() {
        for good in ["main", "A", "7", "build-2", "agent_1", &"x".repeat(NAME_MAX)] {
            assert_eq!(good.parse::<TerminalName>().expect("fine").as_str(), good);
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "-d", "_x", "a.b", "a:1", "=a", "a b", "@1", "$1", "é", "a\n", "../x", "a;b", &long] {
            assert_eq!(bad.parse::<TerminalName>().expect_err(bad).code, "terminal.bad_name");
        }
        assert!(TerminalName::default().is_main());
        assert!(may_be_made(TERMINALS_MAX - 1).is_ok());
        assert_eq!(may_be_made(TERMINALS_MAX).expect_err("full").code, "terminal.too_many");
    }
}

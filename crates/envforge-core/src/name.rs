//! Names: slugs of orgs, projects, workspaces and services.
//!
//! A slug becomes part of a DNS label (see [`crate::hostname`]), so its rules are DNS rules and stricter: lower
//! case letters, digits and single inner hyphens. No `--`, because that separates the parts of a label; no
//! `xn`, because `xn--…` would be read as punycode.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Longest slug, in characters.
pub const SLUG_MAX: usize = 40;

/// Why a text is not a slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing there.
    #[error("a name can't be empty")]
    Empty,
    /// Longer than [`SLUG_MAX`].
    #[error("a name has at most {SLUG_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character that is neither a lower case letter, nor a digit, nor a hyphen.
    #[error("`{0}` is not allowed in a name: use lower case letters, digits and hyphens")]
    Character(char),
    /// Starts or ends with a hyphen.
    #[error("a name can't start or end with a hyphen")]
    EdgeHyphen,
    /// Two hyphens in a row.
    #[error("a name can't contain `--`: that separates the parts of a dev host")]
    DoubleHyphen,
    /// Would read as punycode in a host name.
    #[error("`xn` is reserved: `xn--…` would be read as an international domain name")]
    Punycode,
}

/// A checked slug.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, schemars::JsonSchema,
)]
#[schemars(with = "String")]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "fix-login")]
pub struct Slug(String);

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest slug to any text, such as a branch name: `feature/Log_in` becomes `feature-log-in`.
    /// A text without one usable character becomes `x` plus a digest; a long one is cut and keeps a digest of the
    /// whole, so that two long branches stay apart.
    pub fn from_text(text: &str) -> Self {
        let mut slug = String::with_capacity(text.len().min(SLUG_MAX));
        for c in text.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                slug.push(c);
            } else if !slug.ends_with('-') && !slug.is_empty() {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        let digest = short_digest(text);
        if slug.is_empty() || slug == "xn" {
            return Self(format!("x{digest}"));
        }
        if slug.len() > SLUG_MAX {
            let head = slug[..SLUG_MAX - 1 - digest.len()].trim_end_matches('-');
            return Self(format!("{head}-{digest}"));
        }
        Self(slug.to_owned())
    }
}

/// Six hexadecimal digits of SHA-256: enough to keep names apart for people; uniqueness is the database's.
pub(crate) fn short_digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hex::encode(&digest.as_ref()[..3])
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        if text.is_empty() {
            return Err(SlugError::Empty);
        }
        if let Some(c) = text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
            return Err(SlugError::Character(c));
        }
        if text.len() > SLUG_MAX {
            return Err(SlugError::TooLong(text.len()));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(SlugError::EdgeHyphen);
        }
        if text.contains("--") {
            return Err(SlugError::DoubleHyphen);
        }
        if text == "xn" {
            return Err(SlugError::Punycode);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn branches_become_readable_slugs() {
        assert_eq!(Slug::from_text("feature/Log_in").as_str(), "feature-log-in");
        assert_eq!(Slug::from_text("main").as_str(), "main");
        assert_eq!(Slug::from_text("///").as_str().len(), 7);
        assert!("a--b".parse::<Slug>().is_err());
        assert!("xn".parse::<Slug>().is_err());
        assert_eq!("A".parse::<Slug>(), Err(SlugError::Character('A')));
    }

    proptest! {
        // proves LINK-1
        #[test]
        fn any_text_yields_a_valid_slug(text in ".*") {
            let slug = Slug::from_text(&text);
            prop_assert_eq!(slug.as_str().parse::<Slug>(), Ok(slug.clone()));
        }
    }
}

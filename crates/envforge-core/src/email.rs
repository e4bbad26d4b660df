//! Mail addresses, as far as signing in and inviting need them.
//!
//! Compared in lower case as a whole: RFC 5321 lets the part before the `@` differ by case, no mail system in use does,
//! and two accounts that differ by case alone would be a trap. ASCII only: look-alike letters of other scripts would let
//! one address pass for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Longest address, in bytes (RFC 5321, 4.5.3.1.3, without its angle brackets).
pub const EMAIL_MAX: usize = 254;
/// Longest part before the `@` (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;

/// A mail address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "ada@example.org")]
pub struct EmailAddress(String);

/// Why a text is no mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mail address looks like `name@example.org`")]
pub struct EmailError;

impl EmailAddress {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for EmailAddress {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let (local, domain) = text.split_once('@').ok_or(EmailError)?;
        let is_atom = |atom: &str| {
            let is_atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
            !atom.is_empty() && atom.chars().all(is_atext)
        };
        let is_label = |label: &str| {
            let is_ldh = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            is_ldh && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        let is_address = text.len() <= EMAIL_MAX
            && local.len() <= LOCAL_MAX
            && local.split('.').all(is_atom)
            && domain.contains('.')
            && domain.split('.').all(is_label);
        if is_address { Ok(Self(text.to_ascii_lowercase())) } else { Err(EmailError) }
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = EmailError;
    fn try_from(text: String) -> Result<Self, EmailError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::EmailAddress;

    #[test]
    fn addresses_are_one_spelling_and_nothing_else_passes() {
        let parsed: EmailAddress = " Ada.Lovelace+x@Example.ORG ".parse().unwrap();
        assert_eq!((parsed.as_str(), parsed.domain()), ("ada.lovelace+x@example.org", "example.org"));
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@localhost",
            "ada@@example.org",
            "a@b@example.org",
            "ada@-x.org",
            "a..b@example.org",
            "ada@example.org\r\nBcc: all@example.org",
            "ada <ada@example.org>",
            "аda@example.org",
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad}");
        }
        assert!(format!("{}@example.org", "a".repeat(65)).parse::<EmailAddress>().is_err());
    }
}

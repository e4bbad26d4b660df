//! A secret is a type that can't be printed or serialized, from decryption to injection.
//!
//! [`Secret`] has no `Display`, no `Serialize` and a `Debug` that says nothing; its memory is wiped when it
//! is dropped. The only way to the value is [`Secret::expose`], a word that reviews can search for.
//!
//! A secret that an org keeps has a [`SecretName`], as environment variables have them. An input of a service that nothing
//! in the repository provides takes the secret of its own name in capitals: `stripe_key` takes `STRIPE_KEY`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Longest value of a kept secret, in bytes: half of what Linux takes in one environment variable.
pub const VALUE_MAX: usize = 64 * 1024;
/// Versions of a secret that are kept, the one in use among them.
pub const VERSIONS_KEPT: u32 = 10;
/// Longest name of a secret, in characters.
pub const NAME_MAX: usize = 64;

/// Why a text is not the name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretNameError {
    /// A character out of place.
    #[error(
        "a secret's name may hold only capital letters, digits and `_`, and starts with a letter, as in `STRIPE_KEY`"
    )]
    Character,
    /// Longer than [`NAME_MAX`], or empty.
    #[error("a secret's name has 1 to {NAME_MAX} characters")]
    Length,
    /// Starts with `ENVFORGE_`.
    #[error("names that start with `ENVFORGE_` are reserved")]
    Reserved,
}

/// The name of a secret that an org keeps.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, schemars::JsonSchema,
)]
#[schemars(with = "String")]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "STRIPE_KEY")]
pub struct SecretName(String);

impl SecretName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The secret that an input takes when nothing else provides it.
    pub fn of_input(input: &str) -> Result<Self, SecretNameError> {
        input.to_ascii_uppercase().parse()
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        if text.is_empty() || text.len() > NAME_MAX {
            return Err(SecretNameError::Length);
        }
        let fits = |next: u8| next.is_ascii_uppercase() || next.is_ascii_digit() || next == b'_';
        if !text.starts_with(|first: char| first.is_ascii_uppercase()) || !text.bytes().all(fits) {
            return Err(SecretNameError::Character);
        }
        if text.starts_with("ENVFORGE_") {
            return Err(SecretNameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;

    fn try_from(text: String) -> Result<Self, SecretNameError> {
        text.parse()
    }
}

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value in.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretName, SecretNameError};

    #[test]
    fn debug_says_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(…)");
    }

    // proves ORG-5
    #[test]
    fn a_secret_is_named_like_an_environment_variable() {
        assert_eq!(SecretName::of_input("stripe_key").unwrap().as_str(), "STRIPE_KEY");
        for (text, error) in [
            ("", SecretNameError::Length),
            ("stripe_key", SecretNameError::Character),
            ("1KEY", SecretNameError::Character),
            ("A-B", SecretNameError::Character),
            ("ENVFORGE_KEY", SecretNameError::Reserved),
        ] {
            assert_eq!(text.parse::<SecretName>(), Err(error), "{text}");
        }
        assert_eq!("A".repeat(65).parse::<SecretName>(), Err(SecretNameError::Length));
    }
}

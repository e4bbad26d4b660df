//! The answer "no", told to three audiences at once.
//!
//! A [`Refusal`] carries a stable code for programs, a sentence for people, a hint that says what to do
//! about it, a kind from which the transport status follows, and whether trying again can help. Operations
//! have their own refusal enums; this is what all of them become at the edge. Transport is decided last.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose move it is, and hence the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request is wrong as it stands (400).
    Invalid,
    /// Nobody is signed in, or the credential is not valid (401).
    Unauthenticated,
    /// Signed in, but not allowed (403).
    Forbidden,
    /// No such thing, or its existence is not for this caller (404).
    NotFound,
    /// The thing is in a state that does not allow it (409).
    Conflict,
    /// A limit, cap or budget says no (429).
    Limit,
    /// The product can't do it now; try again (503).
    Unavailable,
    /// A fault of ours (500).
    Internal,
}

impl RefusalKind {
    /// The HTTP status that goes with the kind.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Limit => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// A refusal as every surface shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable, documented, dotted: `link.expired`, `workspace.not_found`.
    pub code: String,
    /// What is wrong, for a person.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whose move it is.
    pub kind: RefusalKind,
    /// Seconds after which trying again can help; absent when it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal of the given kind.
    pub fn new(kind: RefusalKind, code: &str, message: impl Into<String>) -> Self {
        let retry_after = matches!(kind, RefusalKind::Unavailable).then_some(1);
        Self { code: code.to_owned(), message: message.into(), hint: None, kind, retry_after }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when trying again can help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The request is wrong as it stands.
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, code, message)
    }

    /// No such thing, or not for this caller.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, code, message)
    }

    /// The state does not allow it.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, code, message)
    }

    /// The product can't do it now.
    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unavailable, code, message)
    }
}

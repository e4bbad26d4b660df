//! Keys of the installation, for its operator.

use envforge_core::signing::SigningState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key-encryption key, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyEncryptionKey {
    /// Its name: `local:…`, made from a digest, or `aws-kms:…`.
    pub name: String,
    /// Whether the server was given it.
    pub configured: bool,
    /// Whether new data keys are wrapped by it.
    pub in_use: bool,
    /// How many data keys it wraps. One that is not in use and wraps none can be taken away; one that is not configured
    /// and wraps some is missing.
    pub data_keys: u64,
}

/// The key-encryption keys of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyEncryptionKeys {
    /// The one in use first.
    pub keys: Vec<KeyEncryptionKey>,
}

/// A key that signs links, sessions and tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// Its id, as in what it signs.
    pub id: String,
    /// Its public half: 32 bytes in unpadded base64url.
    pub public_key: String,
    /// What it is for now.
    pub state: SigningState,
    /// When gateways and hosts were told of it.
    #[schema(value_type = String)]
    pub announced_at: Timestamp,
    /// From when on it signs.
    #[schema(value_type = String)]
    pub signs_from: Timestamp,
    /// Until when what it signed may hold; absent while no other is to follow.
    #[schema(value_type = Option<String>)]
    pub verifies_until: Option<Timestamp>,
}

/// The signing keys of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKeys {
    /// In the order in which they sign.
    pub keys: Vec<SigningKey>,
}

/// Asks for a new signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// Drop all others at once: every link, session and ticket that they signed ends.
    #[serde(default)]
    pub revoke: bool,
}

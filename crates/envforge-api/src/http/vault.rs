//! Keys of the installation, for its operator.

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

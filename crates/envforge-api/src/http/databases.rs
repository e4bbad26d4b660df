//! A workspace's database, as a file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// Bytes of the dump.
    pub bytes: u64,
}

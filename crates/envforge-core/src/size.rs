//! Runtime sizes: what is reserved, and how far a runtime may burst when the host has room.
//!
//! The figures are RUN-2's; the kernel enforces them through cgroups on the host, the wake transaction
//! checks that the reserved part fits before anything starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

const GIB: u64 = 1024 * 1024 * 1024;

/// The size of a runtime.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Light web and API routes.
    #[default]
    Small,
    /// Full-stack branches with workers.
    Medium,
    /// Agent runs, monorepos, integration suites.
    Large,
}

impl Size {
    /// All sizes, smallest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Reserved CPU in thousandths of a core.
    pub const fn reserved_milli_cpu(self) -> u64 {
        match self {
            Self::Small => 1_000,
            Self::Medium => 2_000,
            Self::Large => 4_000,
        }
    }

    /// Burst CPU limit in thousandths of a core.
    pub const fn burst_milli_cpu(self) -> u64 {
        self.reserved_milli_cpu() * 2
    }

    /// Reserved memory in bytes.
    pub const fn reserved_memory(self) -> u64 {
        match self {
            Self::Small => 4 * GIB,
            Self::Medium => 8 * GIB,
            Self::Large => 16 * GIB,
        }
    }

    /// Memory limit in bytes.
    pub const fn burst_memory(self) -> u64 {
        self.reserved_memory() * 2
    }

    /// What the size is for, as the product shows it.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Small => "light web and API routes",
            Self::Medium => "full-stack branches with workers",
            Self::Large => "agent runs, monorepos, integration suites",
        }
    }

    /// The name in files, flags and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|size| size.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a size: small, medium or large"))
    }
}

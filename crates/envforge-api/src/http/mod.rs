//! Request and response bodies of the public API, a file per noun.
//!
//! Every list is an object with one named field, so that paging can be added without breaking anyone. Times are
//! RFC 3339 in UTC. Unknown fields in requests are refused, so a misspelt option is an error and not silence.

pub mod accounts;
pub mod activity;
pub mod caps;
pub mod consoles;
pub mod receipts;
pub mod recordings;
pub mod databases;
pub mod jobs;
pub mod ledger;
pub mod git;
pub mod elevations;
pub mod links;
pub mod orgs;
pub mod projects;
pub mod resources;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod settings;
pub mod sign_in;
pub mod system;
pub mod terminal;
pub mod usage;
pub mod vault;
pub mod workspaces;

use envforge_core::refusal::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What was refused, why, and what helps.
    pub error: Refusal,
}

/// What `GET /v1/health` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`: the process is alive.
    pub status: String,
    /// The server's version.
    pub version: String,
}

/// What `GET /v1/ready` answers when requests should come here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// The server's version.
    pub version: String,
    /// The version of the database's schema.
    pub schema: i64,
}

//! A workspace's resources.

use envforge_core::manifest::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A resource asks for another password or key from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedCredential {
    /// The resource.
    pub resource: ResourceKind,
    /// When its users have the new one.
    pub takes_effect: TakesEffect,
    /// The services that take an input of it. If it takes effect now, those of them that run were started again.
    pub services: Vec<String>,
}

/// When the users of a resource have its new credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakesEffect {
    /// The runtime is awake.
    Now,
    /// It is asleep. One that was paused was stopped: what is paused would go on with the credential from before.
    NextWake,
}

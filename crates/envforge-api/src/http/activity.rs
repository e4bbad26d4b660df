//! Why a runtime is awake or asleep.

use envforge_core::idle::{IdlePolicy, IdleSource, IdleVerdict, Replay};
use envforge_core::runtime::RuntimeState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Why a runtime is awake or asleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The runtime's state.
    pub state: RuntimeState,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// What woke it, while it is awake or waking; else what put it to sleep.
    pub cause: Option<String>,
    /// What the idle rule says, while it is awake.
    pub idle: Option<IdleVerdict>,
    /// When work was last seen, while it is awake or waking.
    #[schema(value_type = Option<String>)]
    pub last_work: Option<Timestamp>,
    /// The policy in force.
    pub policy: IdlePolicy,
    /// Whose word it is after how long it sleeps.
    pub rule_of: IdleSource,
    /// The server's clock, by which all of this is.
    #[schema(value_type = String)]
    pub now: Timestamp,
}

/// Another policy, and how far back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReplayQuery {
    /// Seconds without work before a sleep; as in force when absent.
    pub freeze_after: Option<u32>,
    /// Processor time in a minute, in milliseconds, up to which services do nothing; as in force when absent.
    pub cpu: Option<u32>,
    /// Days, at most 28; 14 when absent.
    pub days: Option<u32>,
}

/// What another policy would have made of the past days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// From when on.
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// The policy it was tried with.
    pub policy: IdlePolicy,
    /// What it would have come to.
    pub replay: Replay,
}

/// After how long without work runtimes sleep at the latest, whatever `envforge.yml` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdleLimit {
    /// Seconds, 30 to 86400; none is no limit.
    pub seconds: Option<u32>,
}

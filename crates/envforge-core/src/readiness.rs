//! Readiness: what a part of a workspace can do now, and if it can't, why and what helps.
//!
//! The four words are the product's vocabulary and the same for shell, runtime, service, resource, check
//! and link. `blocked` always carries cause and fix; a part is never silently absent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What stands in a cause before the log lines it quotes.
pub const LOG_MARKER: &str = "\nlast lines of its log:\n";

/// A cause without the log lines it quotes, for those who may not read logs.
pub fn without_log(cause: &str) -> &str {
    cause.split_once(LOG_MARKER).map_or(cause, |(cause, _)| cause)
}

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessState {
    /// It answers.
    Ready,
    /// It is on its way.
    Waking,
    /// It can't, for the cause given.
    Blocked,
    /// It rests; asking for it wakes it.
    Asleep,
}

/// What kind of part it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// The shell layer.
    Shell,
    /// The runtime layer as a whole.
    Runtime,
    /// A declared service.
    Service,
    /// A branch-scoped resource.
    Resource,
    /// A smoke check.
    Check,
}

/// A part and its readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, ToSchema)]
pub struct Part {
    /// Shell, runtime, service, resource or check.
    pub kind: PartKind,
    /// Its name: the service's, the resource's, the check's; `shell`, `runtime`.
    pub name: String,
    /// Its state.
    pub state: ReadinessState,
    /// Stable code of what blocks it, such as `service.command_not_found`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it is blocked, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Port a service listens on inside the workspace, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Times the service was restarted since the wake.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Part {
    /// A part in a state that needs no explanation.
    pub fn new(kind: PartKind, name: impl Into<String>, state: ReadinessState) -> Self {
        Self { kind, name: name.into(), state, code: None, cause: None, fix: None, port: None, restarts: 0 }
    }

    /// A blocked part.
    pub fn blocked(
        kind: PartKind,
        name: impl Into<String>,
        code: &str,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            code: Some(code.to_owned()),
            cause: Some(cause.into()),
            fix: Some(fix.into()),
            ..Self::new(kind, name, ReadinessState::Blocked)
        }
    }

    /// The same part, without the log lines its cause quotes.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.cause = self.cause.as_deref().map(|cause| without_log(cause).to_owned());
        self
    }

    /// The same part asleep: what it answers once the runtime sleeps.
    #[must_use]
    pub fn asleep(&self) -> Self {
        Self { port: self.port, ..Self::new(self.kind, self.name.clone(), ReadinessState::Asleep) }
    }
}

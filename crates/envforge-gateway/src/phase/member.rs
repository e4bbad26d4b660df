//! What a member is told of a refusal that a link holder is not: causes, fixes and the server's own words.
//!
//! The phases refuse everybody alike; this one place adds to it, and only for a session whose signed claims say that it
//! is a member's.

use crate::phase::refused::{Refused, Why};
use crate::routes::Status;
use crate::sessions::Admitted;
use crate::shared::Shared;
use envforge_api::gateway::RouteRuntime;
use envforge_core::readiness::{PartKind, ReadinessState};
use envforge_core::refusal::RefusalKind;
use envforge_core::runtime::RuntimeState;

/// Most causes told at once.
const CAUSES_MAX: usize = 8;

/// The refusal as whoever holds the session may know it.
pub(crate) fn tell(shared: &Shared, admitted: &Admitted, refused: Refused) -> Refused {
    if !admitted.is_member() {
        return refused;
    }
    match refused {
        Refused::Blocked => {
            let known = shared.routes.workspace(admitted.claims.workspace).map(|workspace| workspace.status());
            match known {
                Some(Status::Known(runtime)) => blocked(&runtime),
                _ => Refused::Blocked,
            }
        }
        Refused::Server(refusal) if refusal.kind != RefusalKind::Internal => Refused::ServerToMember(refusal),
        other => other,
    }
}

fn blocked(runtime: &RouteRuntime) -> Refused {
    let whole = runtime.blocked_cause.as_ref().filter(|_| runtime.state == RuntimeState::Blocked);
    let whole = whole.map(|cause| Why { part: None, cause: cause.clone(), fix: runtime.blocked_fix.clone() });
    let parts = runtime.parts.iter().filter(|part| {
        part.state == ReadinessState::Blocked && matches!(part.kind, PartKind::Service | PartKind::Resource)
    });
    let parts = parts.filter_map(|part| {
        Some(Why { part: Some(part.name.clone()), cause: part.cause.clone()?, fix: part.fix.clone() })
    });
    let causes: Vec<_> = whole.into_iter().chain(parts).take(CAUSES_MAX).collect();
    if causes.is_empty() { Refused::Blocked } else { Refused::BlockedBecause(causes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_core::readiness::Part;

    // proves LINK-5
    #[test]
    fn causes_are_the_runtimes_and_those_of_its_parts() {
        let parts = vec![
            Part::blocked(PartKind::Service, "web", "service.exited", "it exits at once", "read its log"),
            Part::blocked(PartKind::Check, "smoke", "check.failed", "404", "look"),
            Part::new(PartKind::Service, "api", ReadinessState::Ready),
        ];
        let mut runtime = RouteRuntime {
            state: RuntimeState::Awake,
            generation: 1,
            blocked_cause: Some("of before".to_owned()),
            blocked_fix: None,
            parts,
        };
        let causes = |runtime: &RouteRuntime| match blocked(runtime) {
            Refused::BlockedBecause(causes) => causes,
            _ => Vec::new(),
        };
        let of_web = causes(&runtime);
        assert_eq!((of_web.len(), of_web[0].part.as_deref()), (1, Some("web")));
        assert_eq!((of_web[0].cause.as_str(), of_web[0].fix.as_deref()), ("it exits at once", Some("read its log")));
        runtime.state = RuntimeState::Blocked;
        let both = causes(&runtime);
        assert_eq!((both.len(), both[0].part.as_deref(), both[0].cause.as_str()), (2, None, "of before"));
        runtime.blocked_cause = None;
        runtime.parts.clear();
        assert!(matches!(blocked(&runtime), Refused::Blocked));
    }
}

//! Waiting for parts to settle, and saying what changed meanwhile.
//!
//! A wake is settled once the runtime is ready or blocked at the generation of that wake or a later one, and
//! no service is on its way any more. A runtime that sleeps at a later generation was put to sleep by someone
//! else: waiting on would be waiting for nothing.

use crate::context::Context;
use crate::follow::Follow;
use crate::render;
use envforge_api::http::workspaces::Workspace;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use std::collections::HashMap;

/// What was already said, so that only changes are.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    said: HashMap<(PartKind, String), (ReadinessState, Option<String>)>,
}

impl Reporter {
    /// Lines for what changed since the last time; rest is not news until something was awake.
    pub(crate) fn news(&mut self, workspace: &Workspace) -> Vec<String> {
        let mut lines = Vec::new();
        for part in std::iter::once(&workspace.shell).chain([&runtime_part(workspace)]).chain(&workspace.parts) {
            let key = (part.kind, part.name.clone());
            let now = (part.state, part.cause.clone());
            let before = self.said.insert(key, now.clone());
            let is_news = match &before {
                None => part.state != ReadinessState::Asleep,
                Some(before) => *before != now,
            };
            if is_news {
                lines.push(render::part_change(part, workspace));
            }
        }
        lines
    }
}

/// The runtime as a part, so that it is reported like one.
fn runtime_part(workspace: &Workspace) -> Part {
    let runtime = &workspace.runtime;
    let mut part = Part::new(PartKind::Runtime, "runtime", runtime.readiness);
    part.cause.clone_from(&runtime.blocked_cause);
    part.fix.clone_from(&runtime.blocked_fix);
    part.code.clone_from(&runtime.blocked_code);
    part
}

/// How a wake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Every service is ready.
    Ready,
    /// Something can't: its cause and fix were said.
    Blocked,
    /// Someone put it to sleep meanwhile.
    Asleep,
}

/// Whether a wake that made `generation` has settled, and how.
pub(crate) fn settled(workspace: &Workspace, generation: u64) -> Option<Settled> {
    let runtime = &workspace.runtime;
    if runtime.generation < generation {
        return None;
    }
    match runtime.readiness {
        ReadinessState::Blocked => Some(Settled::Blocked),
        ReadinessState::Waking => None,
        ReadinessState::Asleep => (runtime.generation > generation).then_some(Settled::Asleep),
        ReadinessState::Ready => {
            let mut services = workspace.parts.iter().filter(|part| part.kind == PartKind::Service);
            // A service that sleeps while the runtime is awake was stopped on purpose.
            if services.clone().any(|part| part.state == ReadinessState::Waking) {
                None
            } else if services.any(|part| part.state == ReadinessState::Blocked) {
                Some(Settled::Blocked)
            } else {
                Some(Settled::Ready)
            }
        }
    }
}

/// Follows a workspace until `done` says so; what changes meanwhile goes to stderr, if anyone reports it.
pub(crate) async fn wait<T>(
    ctx: &Context<'_>,
    slug: &Slug,
    mut reporter: Option<&mut Reporter>,
    what: &str,
    mut done: impl FnMut(&Workspace) -> Option<T>,
) -> Result<(Workspace, T), Refusal> {
    let mut follow = Follow::new(ctx, slug).await?;
    let waiting = async {
        loop {
            let workspace = follow.next().await?;
            for line in reporter.as_mut().map_or_else(Vec::new, |reporter| reporter.news(&workspace)) {
                ctx.printer.note(&line);
            }
            if let Some(found) = done(&workspace) {
                return Ok((workspace, found));
            }
        }
    };
    ctx.printer.slow(what, waiting).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(readiness: &str, generation: u64, services: &[(&str, &str)]) -> Workspace {
        let state = match readiness {
            "ready" => "awake",
            other => other,
        };
        let parts: Vec<_> =
            services.iter().map(|(name, state)| json!({"kind": "service", "name": name, "state": state})).collect();
        serde_json::from_value(json!({
            "id": "ws_00000000000000000000000000000001", "org": "org_00000000000000000000000000000001", "org_slug": "acme",
            "slug": "main", "project": "planner", "branch": "main",
            "shell": {"kind": "shell", "name": "shell", "state": "ready"},
            "runtime": {"readiness": readiness, "state": state, "generation": generation, "size": "small", "wake_cause": null,
                "awake_since": null, "blocked_code": null, "blocked_cause": null, "blocked_fix": null, "idle": null},
            "parts": parts, "dev_hosts": [], "created_at": "2026-11-21T06:00:00Z",
        }))
        .expect("a workspace")
    }

    // proves UP-2
    #[test]
    fn a_wake_settles_at_its_own_generation_only() {
        assert_eq!(settled(&workspace("ready", 3, &[]), 4), None);
        assert_eq!(settled(&workspace("asleep", 4, &[]), 4), None);
        assert_eq!(settled(&workspace("asleep", 5, &[]), 4), Some(Settled::Asleep));
        assert_eq!(settled(&workspace("blocked", 4, &[]), 4), Some(Settled::Blocked));
        assert_eq!(settled(&workspace("ready", 4, &[("web", "ready"), ("api", "waking")]), 4), None);
        assert_eq!(settled(&workspace("ready", 4, &[("web", "ready"), ("api", "blocked")]), 4), Some(Settled::Blocked));
        assert_eq!(settled(&workspace("ready", 4, &[("web", "ready")]), 4), Some(Settled::Ready));
    }

    #[test]
    fn only_changes_are_said() {
        let mut reporter = Reporter::default();
        assert_eq!(reporter.news(&workspace("asleep", 1, &[("web", "asleep")])), ["shell: ready"]);
        assert_eq!(
            reporter.news(&workspace("waking", 2, &[("web", "waking")])),
            ["runtime: waking", "service web: waking"]
        );
        assert_eq!(reporter.news(&workspace("waking", 2, &[("web", "waking")])), Vec::<String>::new());
    }
}

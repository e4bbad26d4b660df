//! Waiting for parts to settle, and saying what changed meanwhile.
//!
//! A wake is settled once the runtime is ready or blocked at the generation of that wake or a later one, and
//! no service is on its way any more. A runtime that sleeps at a later generation was put to sleep by someone
//! else: waiting on would be waiting for nothing. So would waiting for a host that is gone, or for parts none of which
//! has changed for minutes; every wait ends then.

use crate::context::Context;
use crate::follow::{Backoff, Follow};
use crate::render;
use envforge_api::http::workspaces::Workspace;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;

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

/// How long a wait may go on while nothing changes.
pub(crate) const STUCK_AFTER: Duration = Duration::from_mins(10);
/// Code of what a host that is gone blocks.
pub(crate) const HOST_LOST: &str = "host.lost";
/// Code of a wait in which nothing changes.
const STUCK: &str = "readiness.stuck";

/// How much longer it makes sense to wait.
struct Patience {
    limit: Option<Duration>,
    end: Option<Instant>,
    seen: Vec<(PartKind, String, ReadinessState)>,
}

impl Patience {
    /// For a wait that may go on for `limit` while nothing changes.
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, end: limit.map(|limit| Instant::now() + limit), seen: Vec::new() }
    }

    /// Looks at the workspace as it is now. Once its host is lost nothing will change: that ends the wait. One that is only away,
    /// as for a restart, says so and blocks nothing.
    fn look(&mut self, workspace: &Workspace) -> Result<(), Refusal> {
        let runtime = runtime_part(workspace);
        let layers = [&workspace.shell, &runtime];
        let is_lost = |part: &&Part| part.state == ReadinessState::Blocked && part.code.as_deref() == Some(HOST_LOST);
        if let Some(part) = layers.into_iter().find(is_lost) {
            let cause = part.cause.as_deref().unwrap_or("it is not connected");
            let refusal = Refusal::unavailable(HOST_LOST, format!("the host of {} is lost: {cause}", workspace.slug));
            return Err(match &part.fix {
                Some(fix) => refusal.hint(fix.clone()),
                None => refusal.hint("`envforge doctor` shows which hosts are there"),
            });
        }
        let parts = layers.into_iter().chain(&workspace.parts);
        let now: Vec<_> = parts.map(|part| (part.kind, part.name.clone(), part.state)).collect();
        if now != self.seen {
            self.seen = now;
            self.end = self.limit.map(|limit| Instant::now() + limit);
        }
        Ok(())
    }

    /// Returns once nothing has changed for too long.
    async fn over(&self, slug: &Slug, what: &str) -> Refusal {
        let Some(end) = self.end else { return std::future::pending().await };
        tokio::time::sleep_until(end).await;
        let minutes = self.limit.unwrap_or_default().as_secs() / 60;
        Refusal::unavailable(STUCK, format!("{slug}: nothing has changed for {minutes} min, {what}"))
            .hint(format!("`envforge status {slug}` shows every part, `envforge doctor` the server and its hosts"))
    }
}

/// Follows a workspace until `done` says so; what changes meanwhile goes to stderr, if anyone reports it. Ends with a
/// refusal when its host is gone, or nothing changes for too long.
pub(crate) async fn wait<T>(
    ctx: &Context<'_>,
    slug: &Slug,
    reporter: Option<&mut Reporter>,
    what: &str,
    done: impl FnMut(&Workspace) -> Option<T>,
) -> Result<(Workspace, T), Refusal> {
    ctx.printer.slow(what, follow(ctx, slug, reporter, what, Some(STUCK_AFTER), done)).await
}

/// Returns when waiting in a workspace has become pointless: its host is gone, or nothing changes for `limit`. Whatever
/// else is wrong is for whoever waits to find out.
pub(crate) async fn pointless(ctx: &Context<'_>, slug: &Slug, what: &str, limit: Option<Duration>) -> Refusal {
    let mut backoff = Backoff::default();
    loop {
        match Box::pin(follow(ctx, slug, None, what, limit, |_| None::<Infallible>)).await {
            Ok((_, never)) => match never {},
            Err(refusal) if [HOST_LOST, STUCK].contains(&refusal.code.as_str()) => return refusal,
            Err(_) => tokio::time::sleep(backoff.pause()).await,
        }
    }
}

async fn follow<T>(
    ctx: &Context<'_>,
    slug: &Slug,
    mut reporter: Option<&mut Reporter>,
    what: &str,
    limit: Option<Duration>,
    mut done: impl FnMut(&Workspace) -> Option<T>,
) -> Result<(Workspace, T), Refusal> {
    let mut patience = Patience::new(limit);
    let mut follow = Follow::new(ctx, slug).await?;
    loop {
        let workspace = tokio::select! {
            workspace = follow.next() => workspace?,
            refusal = patience.over(slug, what) => return Err(refusal),
        };
        patience.look(&workspace)?;
        for line in reporter.as_mut().map_or_else(Vec::new, |reporter| reporter.news(&workspace)) {
            ctx.printer.note(&line);
        }
        if let Some(found) = done(&workspace) {
            return Ok((workspace, found));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn workspace(readiness: &str, generation: u64, services: &[(&str, &str)]) -> Workspace {
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

    #[tokio::test(start_paused = true)]
    async fn a_wait_lasts_while_something_changes() {
        let slug: Slug = "main".parse().expect("a slug");
        let begun = Instant::now();
        let mut patience = Patience::new(Some(STUCK_AFTER));
        for state in ["asleep", "waking", "waking"] {
            tokio::time::advance(STUCK_AFTER / 2).await;
            patience.look(&workspace("waking", 2, &[("web", state)])).expect("goes on");
        }
        let refusal = patience.over(&slug, "waking").await;
        assert_eq!(begun.elapsed(), STUCK_AFTER * 2, "ten minutes after the last change");
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            ("readiness.stuck", "main: nothing has changed for 10 min, waking")
        );
    }

    #[test]
    fn no_wait_lasts_without_a_host() {
        let mut lost = workspace("waking", 2, &[("web", "waking")]);
        assert!(Patience::new(None).look(&lost).is_ok());
        // It is away for a moment, as for a restart.
        lost.shell.code = Some(HOST_LOST.to_owned());
        assert!(Patience::new(None).look(&lost).is_ok());
        lost.runtime.readiness = ReadinessState::Blocked;
        lost.runtime.blocked_code = Some(HOST_LOST.to_owned());
        lost.runtime.blocked_cause = Some("not heard of for 2 min".to_owned());
        let refusal = Patience::new(None).look(&lost).expect_err("ends");
        assert_eq!(refusal.message, "the host of main is lost: not heard of for 2 min");
    }
}

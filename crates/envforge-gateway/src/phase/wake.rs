//! Phase 5: what must happen before a service can answer.
//!
//! ```text
//!   awake or waking, service ready ──► forward
//!   waking, or service not yet ready ──► wait for the feed
//!   asleep, stopping ──► wake (once per workspace) ──► wait for the feed; a page's own reconnects: refused
//!   frozen ──► wake, and forward at the same time what has no effect; all else as when asleep
//!   blocked ──► the neutral page
//! ```
//!
//! A frozen server's socket still accepts: what is sent to it is read after the thaw. So a request goes out while the
//! wake is being decided, and its answer is already on the way when the thaw is done; it is passed on only if the
//! wake was allowed. What is sent can't be taken back when the wake is refused, so this is for requests without effect;
//! any other waits for the verdict. Only a verified session gets here, and the server alone decides whether it may wake.
//!
//! Whoever waits is held: a program up to a limit, then it is told to come back; a browser's navigation for a moment,
//! then it gets the page that becomes the app.

use crate::phase::refused::{Refused, Waiting};
use crate::routes::{LabelRoute, Status, Workspace};
use crate::sessions::Admitted;
use crate::shared::Shared;
use envforge_api::client::CallError;
use envforge_api::gateway::{RouteRuntime, WAKE_PATH, WakeAnswer, WakeRequest};
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use envforge_core::runtime::RuntimeState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

/// How long a link or member whose wake was refused is refused without asking.
const NEGATIVE: Duration = Duration::from_secs(1);
/// A waiter asks for the route again when nothing was heard for so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// A wake the server could not be asked for is tried so often, so far apart.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// What to do with a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The service answers.
    Forward,
    /// Paused: wake, and forward at the same time if that is harmless.
    Thaw,
    /// Wake, then wait.
    Wake,
    /// Somebody woke it.
    Wait,
    /// It can't run.
    Blocked,
}

/// What to do with a request for `service` when the runtime is so.
pub(crate) fn decide(runtime: &RouteRuntime, service: &str) -> Step {
    let part = runtime.parts.iter().find(|part| part.kind == PartKind::Service && part.name == service);
    let part = part.map(|part| part.state);
    match runtime.state {
        RuntimeState::Blocked => Step::Blocked,
        RuntimeState::Frozen => Step::Thaw,
        RuntimeState::Asleep | RuntimeState::Stopping => Step::Wake,
        RuntimeState::Waking if part == Some(ReadinessState::Ready) => Step::Forward,
        RuntimeState::Waking => Step::Wait,
        RuntimeState::Awake => match part {
            // When nobody reports on it, the attempt will tell.
            Some(ReadinessState::Ready) | None => Step::Forward,
            Some(ReadinessState::Waking) => Step::Wait,
            // Stopped by hand, or failed, beside services that run.
            Some(ReadinessState::Blocked | ReadinessState::Asleep) => Step::Blocked,
        },
    }
}

/// Wakes a workspace, together with everybody else who wants that now.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    workspace: &Arc<Workspace>,
    admitted: &Arc<Admitted>,
    path: &str,
) -> Result<u64, Refusal> {
    loop {
        {
            let refused = workspace.refused.lock().expect("no panic while held");
            if let Some((holder, refusal, at)) = &*refused
                && *holder == admitted.claims.holder
                && at.elapsed() < NEGATIVE
            {
                return Err(refusal.clone());
            }
        }
        match begin(shared, workspace, admitted, path).await {
            Some(Ok(generation)) => return Ok(generation),
            Some(Err((holder, refusal))) if holder == admitted.claims.holder => return Err(refusal),
            // Somebody else was refused; we may be allowed.
            Some(Err(_)) => {}
            None => return Err(Refused::Fault.refusal()),
        }
    }
}

/// Joins the wake under way, or begins it. It goes on without whoever began it.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    workspace: &Arc<Workspace>,
    admitted: &Arc<Admitted>,
    path: &str,
) -> crate::flights::Flight<crate::routes::WakeVerdict> {
    workspace.wakes.join(&shared.tasks, &(), || {
        let (shared, workspace, admitted) = (Arc::clone(shared), Arc::clone(workspace), Arc::clone(admitted));
        let path = path.to_owned();
        async move {
            let verdict = call(&shared, &workspace, &admitted, path).await;
            verdict.map_err(|refusal| {
                let refused = (admitted.claims.holder, refusal.clone(), Instant::now());
                *workspace.refused.lock().expect("no panic while held") = Some(refused);
                (admitted.claims.holder, refusal)
            })
        }
        .in_current_span()
    })
}

async fn call(shared: &Shared, workspace: &Workspace, admitted: &Admitted, path: String) -> Result<u64, Refusal> {
    let request = WakeRequest { session: admitted.token.clone(), session_id: admitted.claims.session, path };
    let mut tries = 0;
    loop {
        let asked_at = shared.routes.epoch();
        shared.stats.wake_calls.add();
        match shared.server.post::<_, WakeAnswer>(WAKE_PATH, &request).await {
            Ok(answer) => {
                let generation = answer.runtime.generation;
                shared.routes.learn_runtime(workspace, answer.runtime, asked_at);
                return Ok(generation);
            }
            Err(CallError::Refused(refusal)) => return Err(refusal),
            Err(error @ CallError::Transport { .. }) => {
                tries += 1;
                tracing::warn!(workspace = %workspace.id, %error, tries, "wake: the server could not be asked");
                if tries >= TRIES {
                    return Err(Refusal::unavailable("server.unreachable", "the preview can't be woken right now"));
                }
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
        }
    }
}

/// How long one request may wait, and what it is told when that is over.
pub(crate) struct Hold {
    deadline: Instant,
    is_page: bool,
    changes: Option<watch::Receiver<Status>>,
    since: Option<Instant>,
    room: Option<OwnedSemaphorePermit>,
}

impl Hold {
    /// A request begins to hope.
    pub(crate) fn new(shared: &Shared, is_page: bool) -> Self {
        let limits = &shared.config.limits;
        let patience = if is_page { limits.patience } else { limits.hold };
        Self { deadline: Instant::now() + patience, is_page, changes: None, since: None, room: None }
    }

    /// Whether it has waited.
    pub(crate) fn has_waited(&self) -> bool {
        self.changes.is_some()
    }

    /// How long it has waited, if it did.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// Takes its place among those who wait. From the first time on, no change is missed; the first time
    /// therefore says `false`: look again before you wait.
    pub(crate) fn takes_place(&mut self, route: &LabelRoute) -> Result<bool, Refused> {
        if self.changes.is_some() {
            return Ok(true);
        }
        let workspace = &route.workspace;
        let Ok(room) = Arc::clone(&workspace.held).try_acquire_owned() else { return Err(self.over(route)) };
        self.room = Some(room);
        self.since = Some(Instant::now());
        self.changes = Some(workspace.watch());
        Ok(false)
    }

    /// Waits until something changed; `false` when nothing did for long enough to ask.
    pub(crate) async fn wait(&mut self, route: &LabelRoute) -> Result<bool, Refused> {
        let Some(changes) = &mut self.changes else { return Ok(false) };
        let deadline = self.deadline;
        tokio::select! {
            changed = changes.changed() => Ok(changed.is_ok()),
            () = tokio::time::sleep(ASK_AGAIN), if deadline > Instant::now() + ASK_AGAIN => Ok(false),
            () = tokio::time::sleep_until(deadline) => Err(self.over(route)),
        }
    }

    /// Returns once the runtime is awake, and may then take as long as it likes; or refuses, when an answer that is under
    /// way is no longer worth waiting for: the runtime got blocked, or is still not awake at the deadline.
    pub(crate) async fn until_awake(&self, route: &LabelRoute) -> Result<(), Refused> {
        let mut changes = route.workspace.watch();
        loop {
            let state = match &*changes.borrow_and_update() {
                Status::Known(runtime) => Some(runtime.state),
                Status::Deleted => return Err(Refused::NoPreview),
                Status::Unknown => None,
            };
            match state {
                Some(RuntimeState::Blocked) => return Err(Refused::Blocked),
                Some(RuntimeState::Awake) => return Ok(()),
                _ => {}
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(self.deadline) => return Err(self.over(route)),
            }
        }
    }

    /// What it is told when its time is over.
    fn over(&self, route: &LabelRoute) -> Refused {
        if !self.is_page {
            return Refused::Waking;
        }
        let parts = match route.workspace.status() {
            Status::Known(runtime) => visible_parts(&runtime).map(|part| (part.name.clone(), part.state)).collect(),
            _ => Vec::new(),
        };
        Refused::WaitingPage(Box::new(Waiting { slug: route.slug.clone(), service: route.service.clone(), parts }))
    }
}

/// The parts that are shown, of which a link holder sees names and states alone.
pub(crate) fn visible_parts(runtime: &RouteRuntime) -> impl Iterator<Item = &Part> {
    let visible = |kind| matches!(kind, PartKind::Service | PartKind::Resource);
    let mut parts: Vec<_> = runtime.parts.iter().filter(|part| visible(part.kind)).collect();
    parts.sort_by(|a, b| b.kind.cmp(&a.kind).then_with(|| a.name.cmp(&b.name)));
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(state: RuntimeState, part: Option<ReadinessState>) -> RouteRuntime {
        let parts = part.map(|state| Part::new(PartKind::Service, "web", state)).into_iter().collect();
        RouteRuntime { state, generation: 1, blocked_cause: None, blocked_fix: None, parts }
    }

    // proves LINK-5
    #[test]
    fn each_state_has_its_step() {
        use ReadinessState::{Asleep, Blocked, Ready, Waking};
        let cases = [
            (RuntimeState::Awake, Some(Ready), Step::Forward),
            (RuntimeState::Awake, Some(Waking), Step::Wait),
            (RuntimeState::Awake, Some(Blocked), Step::Blocked),
            (RuntimeState::Awake, Some(Asleep), Step::Blocked),
            (RuntimeState::Awake, None, Step::Forward),
            (RuntimeState::Waking, Some(Ready), Step::Forward),
            (RuntimeState::Waking, Some(Waking), Step::Wait),
            (RuntimeState::Waking, None, Step::Wait),
            (RuntimeState::Frozen, Some(Ready), Step::Thaw),
            (RuntimeState::Asleep, Some(Asleep), Step::Wake),
            (RuntimeState::Stopping, Some(Ready), Step::Wake),
            (RuntimeState::Blocked, Some(Ready), Step::Blocked),
        ];
        for (state, part, step) in cases {
            assert_eq!(decide(&runtime(state, part), "web"), step, "{state:?} {part:?}");
        }
    }
}

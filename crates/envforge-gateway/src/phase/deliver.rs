//! Phases 4 to 6 in turn, until the request is answered or its time is over.
//!
//! Every turn looks at the workspace afresh: whatever woke the waiter only says *that* something changed. The route
//! is kept over the turns, because each change makes it stale and its tickets stay good; it is asked for again when
//! it stopped holding, when a service did not answer, and once before a waiter is finally forwarded.

use crate::access_log::Notes;
use crate::activity::Visit;
use crate::alarm::Alarm;
use crate::body::AnswerBody;
use crate::local::Held;
use crate::phase::forward::{self, Failure, Outgoing};
use crate::phase::refused::Refused;
use crate::phase::route;
use crate::phase::span::WaitSpan;
use crate::phase::wake::{self, Hold, Step};
use crate::routes::{LabelRoute, Status};
use crate::serve::Client;
use crate::sessions::Admitted;
use crate::shared::Shared;
use crate::stats::Phase;
use envforge_core::runtime::RuntimeState;
use http::Response;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;
use tracing::Instrument as _;

/// What to do with a request, and why.
struct Decided {
    step: Step,
    state: RuntimeState,
    /// Of the runtime; of no use to what is forwarded.
    generation: u64,
}

/// What a request may do to a runtime besides asking it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// A page asks it again and again: it wakes nothing, and is no work.
    pub(crate) is_poll: bool,
    /// A page connects again by itself: it starts nothing whose processes have ended.
    pub(crate) is_reconnect: bool,
    /// It opens a WebSocket; what moves there is work, its opening is none.
    pub(crate) websocket: bool,
}

impl Manners {
    fn may_start(self) -> bool {
        !self.is_poll && !self.is_reconnect
    }

    fn is_work(self) -> bool {
        self.may_start() && !self.websocket
    }
}

/// A verified request on its way to a service.
pub(crate) struct Delivery<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) client: &'a Client,
    pub(crate) admitted: &'a Held<Admitted>,
    pub(crate) label: &'a str,
    pub(crate) alarm: &'a Arc<Alarm>,
    pub(crate) outgoing: Outgoing,
    pub(crate) hold: Hold,
    pub(crate) wait: WaitSpan,
    pub(crate) manners: Manners,
    /// The generation it woke the runtime to.
    pub(crate) woke: Option<u64>,
}

impl Delivery<'_> {
    /// Delivers it.
    pub(crate) async fn run(&mut self) -> Result<Response<AnswerBody>, Refused> {
        let outcome = self.deliver().await;
        if let Some(waited) = self.hold.waited() {
            self.shared.stats.time(Phase::Wake, waited);
        }
        self.wait.close(&outcome);
        outcome
    }

    /// What the access log tells of the way.
    pub(crate) fn note(&self, notes: &mut Notes) {
        notes.woke = self.woke;
        notes.waited = self.hold.waited();
    }

    async fn deliver(&mut self) -> Result<Response<AnswerBody>, Refused> {
        self.wake_early();
        let mut route = route::find(self.shared, self.client, self.label, self.admitted).await?;
        let place = self.client.memo.place(&route.workspace, &self.shared.clock);
        self.outgoing.visit = Some(Visit::begin(&place, self.manners.is_work()));
        let mut may_refresh = true;
        let mut broken: Option<Failure> = None;
        loop {
            if !route.holds(self.shared.now()) {
                route = route::find(self.shared, self.client, self.label, self.admitted).await?;
            }
            let current = route.clone();
            let rule = current.rule(self.outgoing.path()).ok_or(Refused::NoPath)?;
            let Some(Decided { step, state, generation }) = self.decide(&current, rule) else { continue };
            // What was under way when its runtime was put to sleep, and broke at its stop, does not undo that.
            if let (Some(failure), Step::Thaw | Step::Wake) = (broken, step) {
                return Err(failure.into());
            }
            match step {
                Step::Thaw | Step::Wake if self.manners.is_poll => return Err(Refused::Asleep),
                Step::Forward if self.hold.has_waited() && may_refresh && current.is_stale() => {
                    may_refresh = false;
                    route = route::find(self.shared, self.client, self.label, self.admitted).await?;
                    continue;
                }
                Step::Forward | Step::Thaw => {
                    let is_early = step == Step::Thaw;
                    if is_early {
                        self.hold.takes_place(&current)?;
                    }
                    let sent = Instant::now();
                    let failure = match self.send(&current, rule, is_early).await? {
                        Ok(response) => return Ok(response),
                        Err(failure) if self.outgoing.is_whole() && failure.may_pass() => failure,
                        Err(failure) => return Err(failure.into()),
                    };
                    broken = (sent.elapsed() >= self.shared.config.limits.crossing).then_some(failure);
                    if !is_early && may_refresh {
                        // It is said to answer, or will soon: look again, once.
                        tracing::debug!(label = %self.label, ?failure, "deliver: a service did not answer; asking again");
                        may_refresh = false;
                        self.shared.routes.drop_label(self.label);
                        route = route::find(self.shared, self.client, self.label, self.admitted).await?;
                        continue;
                    }
                    if !is_early && state != RuntimeState::Waking {
                        return Err(failure.into());
                    }
                }
                Step::Wake if !self.manners.may_start() && state != RuntimeState::Frozen => {
                    return Err(Refused::Asleep);
                }
                Step::Wake if self.woke != Some(generation) => {
                    // Taken before the wake, so that nothing it changes is missed.
                    self.hold.takes_place(&current)?;
                    let asked =
                        wake::ask(self.shared, &current.workspace, self.admitted.shared(), self.outgoing.path());
                    self.woke = Some(asked.instrument(self.wait.get()).await.map_err(Refused::Server)?);
                    continue;
                }
                Step::Wake | Step::Wait => {}
                Step::Blocked => return Err(Refused::Blocked),
            }
            self.wait.get();
            if self.hold.takes_place(&current)? && !self.hold.wait(&current).await? {
                route = route::find(self.shared, self.client, self.label, self.admitted).await?;
            }
        }
    }

    /// What to do now; `None` when nothing is known any more. What is seen again and again, a service that is ready, is
    /// looked at once until something changes.
    fn decide(&self, route: &Held<LabelRoute>, rule: usize) -> Option<Decided> {
        let version = route.workspace.version();
        if self.client.memo.is_ready(route, rule, version) {
            return Some(Decided { step: Step::Forward, state: RuntimeState::Awake, generation: 0 });
        }
        let Status::Known(runtime) = route.workspace.status() else { return None };
        let step = match wake::decide(&runtime, &route.rule_at(rule).service) {
            Step::Thaw if !self.outgoing.may_be_early() => Step::Wake,
            step => step,
        };
        if step == Step::Forward && runtime.state == RuntimeState::Awake {
            self.client.memo.set_ready(route, rule, version);
        }
        Some(Decided { step, state: runtime.state, generation: runtime.generation })
    }

    /// When the route must be asked for and the runtime sleeps, the wake need not wait for the route.
    fn wake_early(&mut self) {
        if self.manners.is_poll {
            return;
        }
        let (shared, claims) = (self.shared, &self.admitted.claims);
        let now = shared.now();
        if self.client.memo.route(self.label, now).is_some() || shared.routes.find(self.label, now).is_some() {
            return;
        }
        // As far as is known: what no service answers wakes nothing.
        if shared.routes.last(self.label).is_none_or(|route| route.rule(self.outgoing.path()).is_none()) {
            return;
        }
        let Some(workspace) = shared.routes.workspace(claims.workspace) else { return };
        let Status::Known(runtime) = workspace.status() else { return };
        if runtime.state == RuntimeState::Frozen || (runtime.state == RuntimeState::Asleep && self.manners.may_start())
        {
            let span = self.wait.get();
            drop(span.in_scope(|| wake::begin(shared, &workspace, self.admitted.shared(), self.outgoing.path())));
        }
    }

    /// Sends the request, and sees to it that whoever reads it runs.
    ///
    /// A frozen runtime is woken at the same time, and its answer held back until that is allowed. One that freezes just
    /// after it was sent the request may never have read it: the order crossed the request, and whoever waits for the
    /// answer was let in; it wakes after all. What was under way for longer, a long poll or a download, does not undo an
    /// order to sleep: it is paused with the runtime and goes on with it, as is a poll.
    async fn send(
        &mut self,
        route: &Held<LabelRoute>,
        rule: usize,
        is_early: bool,
    ) -> Result<Result<Response<AnswerBody>, Failure>, Refused> {
        let Self { shared, client, admitted, alarm, outgoing, hold, wait, manners, .. } = self;
        client.memo.watch(alarm, &route.workspace);
        let (workspace, uri) = (&route.workspace, outgoing.uri());
        let crossing = Instant::now() + shared.config.limits.crossing;
        let mut answer = pin!(forward::send(shared, client, admitted, alarm, route, rule, outgoing));
        let mut is_frozen = is_early;
        loop {
            if is_frozen {
                let mut verdict =
                    pin!(wake::ask(shared, workspace, admitted.shared(), uri.path()).instrument(wait.get()));
                let mut early = None;
                while early.is_none() || is_early {
                    tokio::select! {
                        allowed = &mut verdict => {
                            allowed.map_err(Refused::Server)?;
                            break;
                        }
                        result = &mut answer, if early.is_none() => early = Some(result),
                    }
                }
                if let Some(result) = early {
                    return Ok(result);
                }
                tokio::select! {
                    result = &mut answer => return Ok(result),
                    is_up = hold.until_awake(route) => is_up?,
                }
            }
            let answered = poll_fn(|cx| {
                if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(result));
                }
                alarm.set(cx);
                let is_crossed = !manners.is_poll && workspace.is_frozen() && Instant::now() < crossing;
                if is_crossed { Poll::Ready(None) } else { Poll::Pending }
            });
            match answered.await {
                Some(result) => return Ok(result),
                None => is_frozen = true,
            }
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoHost => Self::NoHost,
            Failure::Unreachable => Self::Unreachable,
            Failure::Overdue => Self::Overdue,
            Failure::NoWebSocket => Self::NoWebSocket,
            Failure::ClientBody => Self::BadRequest("the body can't be read"),
        }
    }
}

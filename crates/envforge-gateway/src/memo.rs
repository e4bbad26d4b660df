//! What a connection's last request was about.
//!
//! A browser says the same on a connection again and again: the same host, the same cookie, to the same place. What was
//! found out about that once is kept with the connection, so that it need not be found again in tables that all share. It
//! is looked at afresh for every request: whether the session holds, whether the route does.

use crate::activity::Place;
use crate::alarm::Alarm;
use crate::local::Held;
use crate::routes::{LabelRoute, Workspace};
use crate::sessions::Admitted;
use bytes::Bytes;
use envforge_core::clock::Clock;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Request};
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
struct Known {
    host: Option<(HeaderValue, Arc<str>)>,
    session: Option<(HeaderValue, Arc<str>, Held<Admitted>)>,
    route: Option<Held<LabelRoute>>,
    /// The rule of that route whose service was seen ready, and at which of its workspace's versions.
    ready: Option<(usize, u64)>,
    place: Option<Arc<Place>>,
    way: Option<(HeaderValue, Bytes)>,
    alarm: Option<Arc<Alarm>>,
    /// Where the alarm hangs.
    at: (Option<Arc<Admitted>>, Option<Arc<Workspace>>),
}

/// What a connection's last request was about.
#[derive(Default)]
pub(crate) struct Memo {
    known: Mutex<Known>,
    is_shared: AtomicBool,
}

impl Memo {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while held")
    }

    /// Requests of this connection run beside each other, as tasks of their own: each needs its own alarm.
    pub(crate) fn is_shared(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// The label of a request in origin form to the same host as before.
    pub(crate) fn label<B>(&self, request: &Request<B>) -> Option<Arc<str>> {
        if request.uri().authority().is_some() {
            return None;
        }
        let host = only(request.headers(), &HOST)?;
        let known = self.known();
        let (before, label) = known.host.as_ref()?;
        (before == host).then(|| Arc::clone(label))
    }

    /// Keeps the label of a request that was put into its one form.
    pub(crate) fn keep_label<B>(&self, request: &Request<B>, label: &Arc<str>) {
        if let Some(host) = request.headers().get(HOST) {
            self.known().host = Some((host.clone(), Arc::clone(label)));
        }
    }

    /// The session of a request that shows the same cookies on the same host as before, if it still holds.
    pub(crate) fn session(&self, label: &Arc<str>, headers: &HeaderMap, now: Timestamp) -> Option<Held<Admitted>> {
        let cookies = only(headers, &COOKIE)?;
        let known = self.known();
        let (before, on, admitted) = known.session.as_ref()?;
        (Arc::ptr_eq(on, label) && before == cookies && admitted.check(now).is_ok()).then(|| admitted.clone())
    }

    /// Keeps the session that was found by cookie.
    pub(crate) fn keep_session(
        &self,
        label: &Arc<str>,
        headers: &HeaderMap,
        admitted: Arc<Admitted>,
    ) -> Held<Admitted> {
        let admitted = Held::new(admitted);
        if let Some(cookies) = only(headers, &COOKIE) {
            self.known().session = Some((cookies.clone(), Arc::clone(label), admitted.clone()));
        }
        admitted
    }

    /// The route found before, if it can be used without asking.
    pub(crate) fn route(&self, label: &str, now: Timestamp) -> Option<Held<LabelRoute>> {
        self.known().route.as_ref().filter(|route| route.label == label && route.is_current(now)).cloned()
    }

    /// Keeps a route.
    pub(crate) fn keep_route(&self, route: Arc<LabelRoute>) -> Held<LabelRoute> {
        let route = Held::new(route);
        let mut known = self.known();
        known.route = Some(route.clone());
        known.ready = None;
        route
    }

    /// Whether the service of this rule was seen ready in an awake runtime, and nothing changed since.
    pub(crate) fn is_ready(&self, route: &Held<LabelRoute>, rule: usize, version: u64) -> bool {
        let known = self.known();
        known.ready == Some((rule, version)) && known.route.as_ref().is_some_and(|kept| kept.is(route))
    }

    /// It was.
    pub(crate) fn set_ready(&self, route: &Held<LabelRoute>, rule: usize, version: u64) {
        let mut known = self.known();
        if known.route.as_ref().is_some_and(|kept| kept.is(route)) {
            known.ready = Some((rule, version));
        }
    }

    /// Where the connection's requests go.
    pub(crate) fn place(&self, workspace: &Arc<Workspace>, clock: &Arc<dyn Clock>) -> Arc<Place> {
        let mut known = self.known();
        match &known.place {
            Some(place) if Arc::ptr_eq(&place.workspace, workspace) => Arc::clone(place),
            _ => Arc::clone(known.place.insert(Place::new(workspace, clock))),
        }
    }

    /// What services are told of the way a request to this host came, made once.
    pub(crate) fn way(&self, host: &HeaderValue, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut known = self.known();
        match &known.way {
            Some((before, way)) if before == host => way.clone(),
            _ => {
                let way = make();
                known.way = Some((host.clone(), way.clone()));
                way
            }
        }
    }

    /// The connection's alarm, hung up at a session.
    pub(crate) fn alarm(&self, admitted: &Held<Admitted>) -> Arc<Alarm> {
        if self.is_shared.load(Ordering::Relaxed) {
            let alarm = Arc::default();
            admitted.alarms.add(&alarm);
            return alarm;
        }
        let mut known = self.known();
        let alarm = Arc::clone(known.alarm.get_or_insert_default());
        if !known.at.0.as_ref().is_some_and(|at| Arc::ptr_eq(at, admitted.shared())) {
            admitted.alarms.add(&alarm);
            known.at.0 = Some(Arc::clone(admitted.shared()));
        }
        alarm
    }

    /// Hangs the connection's alarm up at a workspace too.
    pub(crate) fn watch(&self, alarm: &Arc<Alarm>, workspace: &Arc<Workspace>) {
        if self.is_shared.load(Ordering::Relaxed) {
            return workspace.alarms.add(alarm);
        }
        let mut known = self.known();
        if !known.at.1.as_ref().is_some_and(|at| Arc::ptr_eq(at, workspace)) {
            workspace.alarms.add(alarm);
            known.at.1 = Some(Arc::clone(workspace));
        }
    }
}

/// The one header of this name, if there is one only.
fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

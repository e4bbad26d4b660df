//! What traffic does to a workspace, told to the server every second, in the name of this gateway: another's is its own.
//!
//! The idle rule counts requests, realtime bytes and when the last request began or ended; nothing here decides. A
//! [`Visit`] is one open request or realtime connection; dropping it is its end, whichever way it ended. Numbers
//! that only rise (bytes, unverified requests) are taken out when sent and put back when the call failed, so
//! none is lost and none counts twice unless an answer was lost on the way.

use crate::local::Cells;
use crate::routes::Workspace;
use crate::sessions::Unverified;
use crate::shared::Shared;
use envforge_api::gateway::{ACTIVITY_PATH, Activity, UnverifiedCount, WorkspaceActivity};
use envforge_core::clock::Clock;
use envforge_core::id::WorkspaceId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Labels counted apart between two calls; a stranger can make up any number of them.
const UNVERIFIED_LABELS: usize = 1000;

/// The live numbers of one workspace.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    in_flight: Cells,
    realtime: AtomicU32,
    realtime_bytes: AtomicU64,
    last: Cells,
    /// All there ever were.
    requests: Cells,
    /// So many of them were told.
    requests_told: AtomicU64,
    told: Mutex<Option<WorkspaceActivity>>,
}

impl Traffic {
    fn touch(&self, clock: &dyn Clock) {
        self.last.raise(clock.now().as_microsecond());
    }

    /// What changed since it was last told; bytes are taken out.
    fn take(&self, workspace: WorkspaceId) -> Option<WorkspaceActivity> {
        let now = WorkspaceActivity {
            workspace,
            in_flight: u32::try_from(self.in_flight.sum()).unwrap_or(0),
            realtime: self.realtime.load(Ordering::Relaxed),
            realtime_bytes: 0,
            requests: 0,
            last_activity: Timestamp::from_microsecond(self.last.max()).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        let mut told = self.told.lock().expect("no panic while held");
        let bytes = self.realtime_bytes.swap(0, Ordering::Relaxed);
        let all = u64::try_from(self.requests.sum()).unwrap_or(0);
        let requests = all.saturating_sub(self.requests_told.swap(all, Ordering::Relaxed));
        if told.as_ref() == Some(&now) && (bytes, requests) == (0, 0) {
            return None;
        }
        if told.is_none()
            && (now.in_flight, now.realtime, bytes) == (0, 0, 0)
            && now.last_activity == Timestamp::UNIX_EPOCH
        {
            return None;
        }
        *told = Some(now.clone());
        Some(WorkspaceActivity { realtime_bytes: bytes, requests, ..now })
    }

    /// The call that told it failed: tell it again.
    fn put_back(&self, bytes: u64, requests: u64) {
        self.realtime_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.requests_told.fetch_sub(requests, Ordering::Relaxed);
        self.forget();
    }

    /// Realtime connections open now.
    pub(crate) fn realtime(&self) -> u64 {
        self.realtime.load(Ordering::Relaxed).into()
    }

    /// The server may not know any more what it was told.
    pub(crate) fn forget(&self) {
        *self.told.lock().expect("no panic while held") = None;
    }

    /// Whether nothing is open and everything was told.
    pub(crate) fn is_quiet(&self) -> bool {
        let told = self.told.lock().expect("no panic while held");
        let of = |told: &WorkspaceActivity| (told.in_flight, told.realtime, told.last_activity.as_microsecond());
        let told = told.as_ref().map_or((0, 0, 0), of);
        (self.in_flight.sum(), self.realtime.load(Ordering::Relaxed)) == (0, 0)
            && self.realtime_bytes.load(Ordering::Relaxed) == 0
            && told == (0, 0, self.last.max())
    }
}

/// Where the requests of one connection go, and who tells when.
pub(crate) struct Place {
    pub(crate) workspace: Arc<Workspace>,
    clock: Arc<dyn Clock>,
}

impl Place {
    pub(crate) fn new(workspace: &Arc<Workspace>, clock: &Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { workspace: Arc::clone(workspace), clock: Arc::clone(clock) })
    }
}

/// One open request, or realtime connection once [`Visit::becomes_realtime`] was called.
pub(crate) struct Visit {
    place: Arc<Place>,
    realtime: bool,
    /// It counts: somebody waits for it.
    is_work: bool,
}

impl Visit {
    /// A request begins. One that is no work is what a page asks by itself, or what opens a socket.
    pub(crate) fn begin(place: &Arc<Place>, is_work: bool) -> Self {
        if is_work {
            let traffic = &place.workspace.traffic;
            traffic.in_flight.add(1);
            traffic.requests.add(1);
            traffic.touch(&*place.clock);
        }
        Self { place: Arc::clone(place), realtime: false, is_work }
    }

    fn traffic(&self) -> &Traffic {
        &self.place.workspace.traffic
    }

    /// It turns out to be realtime: an idle one keeps nothing awake.
    pub(crate) fn becomes_realtime(&mut self) {
        if !self.realtime {
            self.realtime = true;
            self.traffic().realtime.fetch_add(1, Ordering::Relaxed);
            if self.is_work {
                self.traffic().in_flight.add(-1);
            }
        }
    }

    /// Bytes moved; counts for realtime only. Whether so few are work is for the idle rule to say: pings are not.
    pub(crate) fn moved(&self, bytes: usize) {
        if self.realtime && bytes > 0 {
            self.traffic().realtime_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.realtime {
            self.traffic().realtime.fetch_sub(1, Ordering::Relaxed);
        } else if self.is_work {
            // The end of an idle socket is no activity; the end of a request is.
            self.traffic().touch(&*self.place.clock);
            self.traffic().in_flight.add(-1);
        }
    }
}

/// Requests without a verified session, counted by label and reason.
#[derive(Debug, Default)]
pub(crate) struct UnverifiedCounts(Mutex<HashMap<(String, Unverified), u64>>);

impl UnverifiedCounts {
    /// Counts one. `label` is empty for hosts that are no label, and for all beyond a bound.
    pub(crate) fn count(&self, label: &str, reason: Unverified) {
        let mut counts = self.0.lock().expect("no panic while held");
        if let Some(count) = counts.get_mut(&(label.to_owned(), reason)) {
            *count += 1;
            return;
        }
        add(&mut counts, label.to_owned(), reason, 1);
    }

    fn take(&self) -> Vec<UnverifiedCount> {
        let counts = std::mem::take(&mut *self.0.lock().expect("no panic while held"));
        let count = |((label, reason), count): ((String, Unverified), u64)| UnverifiedCount {
            label,
            reason: reason.as_str().to_owned(),
            count,
        };
        counts.into_iter().map(count).collect()
    }

    fn put_back(&self, unsent: Vec<UnverifiedCount>) {
        let mut counts = self.0.lock().expect("no panic while held");
        for UnverifiedCount { label, reason, count } in unsent {
            if let Some(reason) = Unverified::ALL.into_iter().find(|known| known.as_str() == reason) {
                add(&mut counts, label, reason, count);
            }
        }
    }
}

fn add(counts: &mut HashMap<(String, Unverified), u64>, label: String, reason: Unverified, more: u64) {
    let key = (label, reason);
    let key = if counts.len() < UNVERIFIED_LABELS || counts.contains_key(&key) { key } else { (String::new(), reason) };
    *counts.entry(key).or_default() += more;
}

/// Tells the server every second, until the gateway is told to stop: what goes on then is told once more at its end.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let stopped = tokio::select! {
            () = tokio::time::sleep(shared.config.limits.tell) => false,
            () = shared.stop.cancelled() => true,
        };
        tell(&shared).await;
        if stopped {
            return;
        }
    }
}

/// Tells the server what changed.
pub(crate) async fn tell(shared: &Shared) {
    let live = shared.routes.workspaces();
    let workspaces: Vec<_> = live.iter().filter_map(|workspace| workspace.traffic.take(workspace.id)).collect();
    let unverified = shared.unverified.take();
    if workspaces.is_empty() && unverified.is_empty() {
        return;
    }
    let activity = Activity { gateway: shared.presence.gateway, workspaces, unverified };
    if let Err(error) = shared.server.post::<_, ()>(ACTIVITY_PATH, &activity).await {
        tracing::debug!(%error, "activity: not told, will be told again");
        for unsent in &activity.workspaces {
            if let Some(workspace) = live.iter().find(|workspace| workspace.id == unsent.workspace) {
                workspace.traffic.put_back(unsent.realtime_bytes, unsent.requests);
            }
        }
        shared.unverified.put_back(activity.unverified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_core::clock::FixedClock;
    use envforge_core::id::Id as _;

    fn id() -> WorkspaceId {
        WorkspaceId::from_uuid(uuid::Uuid::from_u128(1))
    }

    fn clock(second: i64) -> Arc<dyn Clock> {
        Arc::new(FixedClock::new(Timestamp::from_second(second).expect("in range")))
    }

    // proves RUN-4
    #[test]
    fn only_changes_are_told_and_nothing_is_lost_when_a_call_fails() {
        let workspace = Arc::new(Workspace::new(id(), 8, 1));
        assert_eq!(workspace.traffic.take(id()), None);
        let mut visit = Visit::begin(&Place::new(&workspace, &clock(5)), true);
        let told = workspace.traffic.take(id()).expect("changed");
        assert_eq!((told.in_flight, told.realtime, told.requests), (1, 0, 1));
        visit.becomes_realtime();
        visit.moved(100);
        let told = workspace.traffic.take(id()).expect("changed");
        assert_eq!((told.in_flight, told.realtime, told.realtime_bytes, told.requests), (0, 1, 100, 0));
        assert_eq!(told.last_activity.as_second(), 5);
        assert_eq!(workspace.traffic.take(id()), None);
        workspace.traffic.put_back(100, 1);
        visit.moved(1);
        let again = workspace.traffic.take(id()).expect("told again");
        assert_eq!((again.realtime_bytes, again.requests), (101, 1));
        assert!(!workspace.traffic.is_quiet());
        drop(visit);
        assert!(!workspace.traffic.is_quiet(), "the server was not told of its end");
        assert_eq!(workspace.traffic.take(id()).expect("changed").realtime, 0);
        assert!(workspace.traffic.is_quiet());
    }

    // proves ORG-6
    #[test]
    fn unverified_requests_are_counted_in_bounded_room() {
        let counts = UnverifiedCounts::default();
        for n in 0..5000 {
            counts.count(&format!("label-{n}"), Unverified::NoSession);
        }
        let taken = counts.take();
        assert!(taken.len() <= UNVERIFIED_LABELS + 1);
        assert_eq!(taken.iter().map(|count| count.count).sum::<u64>(), 5000);
        counts.put_back(taken);
        counts.count("label-1", Unverified::NoSession);
        assert_eq!(counts.take().iter().map(|count| count.count).sum::<u64>(), 5001);
    }

    // proves RUN-4
    #[test]
    fn what_a_page_asks_by_itself_is_no_activity() {
        let workspace = Arc::new(Workspace::new(id(), 8, 1));
        drop(Visit::begin(&Place::new(&workspace, &clock(5)), false));
        assert_eq!(workspace.traffic.take(id()), None);
        let mut socket = Visit::begin(&Place::new(&workspace, &clock(5)), false);
        assert_eq!(workspace.traffic.take(id()), None);
        socket.becomes_realtime();
        let told = workspace.traffic.take(id()).expect("changed");
        assert_eq!((told.in_flight, told.realtime, told.requests), (0, 1, 0));
        assert_eq!(told.last_activity, Timestamp::UNIX_EPOCH);
        socket.moved(9_000);
        drop(socket);
        let told = workspace.traffic.take(id()).expect("changed");
        assert_eq!((told.in_flight, told.realtime, told.realtime_bytes), (0, 0, 9_000));
    }
}

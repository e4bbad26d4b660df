//! What is known of labels and workspaces, and which knowledge is newer.
//!
//! A label leads to rules and tickets ([`LabelRoute`]); the runtime behind them belongs to the workspace and is
//! shared by all its labels ([`Workspace`]). The feed is the one ordered source: each of its items raises the epoch.
//! An answer to a question (a route, a wake) tells what was true at some moment after the question was asked, so
//! it loses against an item that came in since, unless its generation is higher; and a label asked about before an
//! item came in is stale: good for whoever already waits with it, asked again by whoever comes next.
//!
//! ```text
//!   no entry ──ask──► fresh ──item of its workspace──► stale ──ask──► fresh
//!                       └──ticket near its end──────────►─┘
//!   feed lost: every entry goes, every workspace is `Unknown`, waiters ask again
//! ```

use crate::activity::Traffic;
use crate::alarm::Alarms;
use crate::flights::Flights;
use crate::phase::rewrite::Rewriting;
use crate::pool::Upstream;
use envforge_api::gateway::{Route, RouteRuntime};
use envforge_core::id::{HostId, OrgId, WorkspaceId};
use envforge_core::link::Holder;
use envforge_core::manifest::Protocol;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::RuntimeState;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// A route is asked again when a ticket has less than this left.
const TICKET_MARGIN: SignedDuration = SignedDuration::from_secs(10);
/// How long a label without a route is remembered as such.
const NEGATIVE: Duration = Duration::from_secs(2);
/// How long feed items of workspaces are remembered to be compared with answers on their way; longer than any call.
const REMEMBER: Duration = Duration::from_mins(1);

/// What is known of a runtime.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// Nothing, or nothing any more.
    Unknown,
    /// This.
    Known(Arc<RouteRuntime>),
    /// The workspace is gone.
    Deleted,
}

/// How a wake went: the generation it led to, or who was refused and why.
pub(crate) type WakeVerdict = Result<u64, (Holder, Refusal)>;

/// A workspace that somebody visited.
pub(crate) struct Workspace {
    pub(crate) id: WorkspaceId,
    status: watch::Sender<Status>,
    version: AtomicU64,
    is_known: AtomicBool,
    is_frozen: AtomicBool,
    /// Of the requests under way to it.
    pub(crate) alarms: Alarms,
    changed_at: AtomicU64,
    pub(crate) traffic: Traffic,
    upstreams: Mutex<HashMap<String, Arc<Upstream>>>,
    /// The one wake under way.
    pub(crate) wakes: Flights<(), WakeVerdict>,
    /// The last refused wake; the same holder's is not asked for again at once.
    pub(crate) refused: Mutex<Option<(Holder, Refusal, Instant)>>,
    /// Room for held requests.
    pub(crate) held: Arc<Semaphore>,
    workers: usize,
}

impl Workspace {
    pub(crate) fn new(id: WorkspaceId, held: usize, workers: usize) -> Self {
        Self {
            id,
            status: watch::Sender::new(Status::Unknown),
            version: AtomicU64::new(0),
            is_known: AtomicBool::new(false),
            is_frozen: AtomicBool::new(false),
            alarms: Alarms::default(),
            changed_at: AtomicU64::new(0),
            traffic: Traffic::default(),
            upstreams: Mutex::default(),
            wakes: Flights::default(),
            refused: Mutex::default(),
            held: Arc::new(Semaphore::new(held)),
            workers,
        }
    }

    /// What is known of its runtime now.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Rises with every change of the status; what is read of the status afterwards is at least as new.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether its runtime is known to be frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Acquire)
    }

    /// Changes what is known, if `change` says that it did.
    fn becomes(&self, change: impl FnOnce(&mut Status) -> bool) {
        let has_changed = self.status.send_if_modified(|status| {
            let has_changed = change(status);
            self.version.fetch_add(1, Ordering::AcqRel);
            let is_frozen = matches!(status, Status::Known(runtime) if runtime.state == RuntimeState::Frozen);
            self.is_frozen.store(is_frozen, Ordering::Release);
            self.is_known.store(matches!(status, Status::Known(_)), Ordering::Release);
            has_changed
        });
        if has_changed {
            self.alarms.ring();
        }
    }

    /// Tells of changes from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The connections to one of its services.
    fn upstream(&self, service: &str) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock().expect("no panic while held");
        let made = || Arc::new(Upstream::new(self.workers));
        Arc::clone(upstreams.entry(service.to_owned()).or_insert_with(made))
    }

    fn sweep(&self, rest: Duration) {
        for upstream in self.upstreams.lock().expect("no panic while held").values() {
            upstream.sweep(rest);
        }
    }
}

/// Which service answers a path, and what opens a stream to it.
pub(crate) struct Rule {
    prefix: String,
    pub(crate) service: String,
    pub(crate) ticket: String,
    pub(crate) protocol: Protocol,
    pub(crate) rewriting: Option<Rewriting>,
    pub(crate) upstream: Arc<Upstream>,
}

/// Where a label leads.
pub(crate) struct LabelRoute {
    pub(crate) label: String,
    pub(crate) org: OrgId,
    pub(crate) slug: String,
    pub(crate) service: String,
    pub(crate) host: HostId,
    /// Longest prefix first.
    rules: Vec<Rule>,
    pub(crate) workspace: Arc<Workspace>,
    good_until: Timestamp,
    asked_at: u64,
    is_dropped: AtomicBool,
}

impl LabelRoute {
    fn new(route: Route, workspace: Arc<Workspace>, asked_at: u64) -> Self {
        let ends = route.rules.iter().map(|rule| rule.ticket_expires_at).min().unwrap_or(Timestamp::MAX);
        let mut rules: Vec<Rule> = route
            .rules
            .into_iter()
            .map(|rule| Rule {
                prefix: rule.prefix.trim_end_matches('/').to_owned(),
                upstream: workspace.upstream(&rule.service),
                rewriting: Rewriting::new(&rule.rewrite, &rule.service, rule.port),
                protocol: rule.protocol,
                service: rule.service,
                ticket: rule.ticket,
            })
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
        Self {
            label: route.label,
            org: route.org,
            slug: route.workspace_slug,
            service: route.service,
            host: route.host,
            rules,
            workspace,
            good_until: ends.saturating_sub(TICKET_MARGIN).unwrap_or(Timestamp::MIN),
            asked_at,
            is_dropped: AtomicBool::new(false),
        }
    }

    /// Whether it can be used without asking.
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        !self.is_dropped.load(Ordering::Acquire) && self.holds(now) && !self.is_stale()
    }

    /// The number of the rule for a path: the longest prefix of whole segments.
    pub(crate) fn rule(&self, path: &str) -> Option<usize> {
        self.rules.iter().position(|rule| {
            path.strip_prefix(rule.prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The rule of that number.
    pub(crate) fn rule_at(&self, number: usize) -> &Rule {
        &self.rules[number]
    }

    /// Whether something about its workspace changed since it was asked for.
    pub(crate) fn is_stale(&self) -> bool {
        self.workspace.changed_at.load(Ordering::Acquire) > self.asked_at
    }

    /// Whether its tickets still open something.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now < self.good_until && self.workspace.is_known.load(Ordering::Acquire)
    }
}

/// The last item of the feed about a workspace.
struct Item {
    epoch: u64,
    runtime: Option<Arc<RouteRuntime>>,
    at: Instant,
}

#[derive(Default)]
struct Heard {
    epoch: u64,
    items: HashMap<WorkspaceId, Item>,
    workspaces: HashMap<WorkspaceId, Arc<Workspace>>,
}

/// What is known of labels and workspaces.
pub(crate) struct Routes {
    labels: RwLock<HashMap<String, Arc<LabelRoute>>>,
    missing: Mutex<HashMap<String, Instant>>,
    heard: Mutex<Heard>,
    capacity: usize,
    held: usize,
    workers: usize,
}

impl Routes {
    pub(crate) fn new(capacity: usize, held: usize, workers: usize) -> Self {
        Self { labels: RwLock::default(), missing: Mutex::default(), heard: Mutex::default(), capacity, held, workers }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().expect("no panic while held")
    }

    /// The label's route if it can be used without asking.
    pub(crate) fn find(&self, label: &str, now: Timestamp) -> Option<Arc<LabelRoute>> {
        let labels = self.labels.read().expect("no panic while held");
        labels.get(label).filter(|route| route.is_current(now)).cloned()
    }

    /// The label's route as it was told last.
    pub(crate) fn last(&self, label: &str) -> Option<Arc<LabelRoute>> {
        self.labels.read().expect("no panic while held").get(label).cloned()
    }

    /// Whether the server said a moment ago that the label leads nowhere.
    pub(crate) fn is_missing(&self, label: &str) -> bool {
        let missing = self.missing.lock().expect("no panic while held");
        missing.get(label).is_some_and(|at| at.elapsed() < NEGATIVE)
    }

    /// The server says the label leads nowhere.
    pub(crate) fn set_missing(&self, label: &str) {
        let mut missing = self.missing.lock().expect("no panic while held");
        if missing.len() >= self.capacity {
            missing.clear();
        }
        missing.insert(label.to_owned(), Instant::now());
        self.drop_label(label);
    }

    /// Forgets a label, so that it is asked about again.
    pub(crate) fn drop_label(&self, label: &str) {
        if let Some(route) = self.labels.write().expect("no panic while held").remove(label) {
            route.is_dropped.store(true, Ordering::Release);
        }
    }

    /// A workspace, if anybody visited it.
    pub(crate) fn workspace(&self, id: WorkspaceId) -> Option<Arc<Workspace>> {
        self.heard().workspaces.get(&id).cloned()
    }

    /// All workspaces anybody visited.
    pub(crate) fn workspaces(&self) -> Vec<Arc<Workspace>> {
        self.heard().workspaces.values().cloned().collect()
    }

    /// The moment to remember before a question is asked.
    pub(crate) fn epoch(&self) -> u64 {
        self.heard().epoch
    }

    /// Takes in a route that was asked for at `asked_at`.
    pub(crate) fn learn_route(&self, route: Route, asked_at: u64) -> Arc<LabelRoute> {
        let label = route.label.clone();
        let (workspace, runtime) = (route.workspace, route.runtime.clone());
        let entry = {
            let mut heard = self.heard();
            let (held, workers) = (self.held, self.workers);
            let made = Arc::clone(
                heard.workspaces.entry(workspace).or_insert_with(|| Arc::new(Workspace::new(workspace, held, workers))),
            );
            if let Some(item) = heard.items.get(&workspace) {
                made.changed_at.fetch_max(item.epoch, Ordering::AcqRel);
            }
            heard.learn(&made, runtime, asked_at);
            Arc::new(LabelRoute::new(route, made, asked_at))
        };
        let mut labels = self.labels.write().expect("no panic while held");
        if labels.len() >= self.capacity && !labels.contains_key(&label) {
            labels.clear();
        }
        labels.insert(label, Arc::clone(&entry));
        entry
    }

    /// Takes in what a wake asked for at `asked_at` answered.
    pub(crate) fn learn_runtime(&self, workspace: &Workspace, runtime: RouteRuntime, asked_at: u64) {
        self.heard().learn(workspace, runtime, asked_at);
    }

    /// Applies an item of the feed.
    pub(crate) fn apply(&self, id: WorkspaceId, runtime: Option<RouteRuntime>) {
        let mut heard = self.heard();
        heard.epoch += 1;
        let epoch = heard.epoch;
        let runtime = runtime.map(Arc::new);
        heard.items.insert(id, Item { epoch, runtime: runtime.clone(), at: Instant::now() });
        if let Some(workspace) = heard.workspaces.get(&id) {
            workspace.changed_at.store(epoch, Ordering::Release);
            // A wake's answer may have overtaken items that were already on their way.
            workspace.becomes(|known| match (&*known, &runtime) {
                (Status::Known(known), Some(heard)) if known.generation > heard.generation => false,
                _ => {
                    *known = runtime.map_or(Status::Deleted, Status::Known);
                    true
                }
            });
        }
    }

    /// The feed was lost: nothing that was learnt from it counts any more.
    pub(crate) fn forget(&self) {
        self.labels.write().expect("no panic while held").clear();
        self.missing.lock().expect("no panic while held").clear();
        let mut heard = self.heard();
        heard.epoch += 1;
        heard.items.clear();
        for workspace in heard.workspaces.values() {
            workspace.changed_at.store(heard.epoch, Ordering::Release);
            workspace.becomes(|known| {
                *known = Status::Unknown;
                true
            });
            workspace.traffic.forget();
        }
    }

    /// Drops what nobody uses: routes past their tickets, workspaces without routes, connections at rest.
    pub(crate) fn sweep(&self, now: Timestamp, rest: Duration) {
        self.labels.write().expect("no panic while held").retain(|_, route| now < route.good_until);
        self.missing.lock().expect("no panic while held").retain(|_, at| at.elapsed() < NEGATIVE);
        let mut heard = self.heard();
        heard.items.retain(|_, item| item.at.elapsed() < REMEMBER);
        heard.workspaces.retain(|_, workspace| {
            workspace.sweep(rest);
            Arc::strong_count(workspace) > 1 || !workspace.traffic.is_quiet()
        });
    }
}

impl Heard {
    /// Takes in an answer to a question asked at `asked_at`, unless something newer is known.
    fn learn(&self, workspace: &Workspace, runtime: RouteRuntime, asked_at: u64) {
        let newer = self.items.get(&workspace.id).filter(|item| item.epoch > asked_at);
        let runtime = match newer.map(|item| &item.runtime) {
            Some(None) => Status::Deleted,
            Some(Some(heard)) if heard.generation >= runtime.generation => Status::Known(Arc::clone(heard)),
            None | Some(Some(_)) => Status::Known(Arc::new(runtime)),
        };
        workspace.becomes(|known| {
            let same = match (&*known, &runtime) {
                (Status::Known(old), Status::Known(new)) => old == new,
                (Status::Deleted, Status::Deleted) => true,
                _ => false,
            };
            if !same {
                *known = runtime;
            }
            !same
        });
    }
}

#[cfg(test)]
mod tests;

//! A job's type, what its handler is given and may answer, and the registry of all kinds.

use crate::app::App;
use crate::platform::db::OrgScope;
use crate::platform::fault::Fault;
use envforge_core::id::BackgroundJobId;
use envforge_core::job::Queue;
use envforge_core::schedule::Schedule;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One kind of job; its fields are the arguments.
///
/// The fields are stored: later versions must read what earlier ones wrote (new fields take `#[serde(default)]`).
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in storage, `noun.verb`; never renamed.
    const KIND: &'static str;
    /// Where it waits.
    const QUEUE: Queue = Queue::Default;
    /// Most attempts before it is a dead letter.
    const MAX_ATTEMPTS: u32 = 10;
    /// Whether it stays on the board when it succeeded. Not where strangers cause it: their rows end with their cause.
    const IS_KEPT: bool = true;
    /// How long one attempt may take.
    const TIME_LIMIT: Duration = Duration::from_hours(1);

    /// Does it. May run again after any part of it was done, and may be dropped at any `await`.
    fn run(self, app: App, ctx: JobContext) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// What a handler is told of its attempt.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The job.
    pub id: BackgroundJobId,
    /// The right to the rows of the org it works for; none for the installation's own.
    pub org: Option<OrgScope>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Cancelled when a person ends the job or the server stops. Whoever does not end soon after is dropped.
    pub cancel: CancellationToken,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may be tried again.
    #[error("{cause:#}")]
    Later {
        /// What went wrong.
        cause: anyhow::Error,
        /// When to try again; after a back-off when absent.
        after: Option<SignedDuration>,
    },
    /// Trying again can't help.
    #[error("{0:#}")]
    GiveUp(anyhow::Error),
}

impl JobError {
    /// It may be tried again, after a back-off.
    pub fn later(cause: impl Into<anyhow::Error>) -> Self {
        Self::Later { cause: cause.into(), after: None }
    }

    /// It may be tried again, after this long (at most an hour).
    pub fn later_in(after: SignedDuration, cause: impl Into<anyhow::Error>) -> Self {
        Self::Later { cause: cause.into(), after: Some(after) }
    }

    /// Trying again can't help.
    pub fn give_up(cause: impl Into<anyhow::Error>) -> Self {
        Self::GiveUp(cause.into())
    }
}

/// A refusal stays one; whatever broke may be whole next time.
impl From<Fault> for JobError {
    fn from(fault: Fault) -> Self {
        let is_final = matches!(fault, Fault::Refused(_)) && !fault.is_transient();
        if is_final { Self::give_up(fault) } else { Self::later(fault) }
    }
}

type Run = fn(App, JobContext, Value) -> BoxFuture<'static, Result<(), JobError>>;

/// How a worker runs one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handler {
    pub(super) run: Run,
    pub(super) is_kept: bool,
    pub(super) time_limit: Duration,
}

/// A recurring job.
#[derive(Debug, Clone)]
pub(super) struct Recurring {
    pub(super) schedule: Schedule,
    pub(super) job: super::store::NewJob,
}

/// The kinds a server runs, and when it enqueues some of them by itself.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub(super) handlers: BTreeMap<&'static str, Handler>,
    pub(super) recurring: Vec<Recurring>,
}

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with<J: Job>(mut self) -> Self {
        let handler = Handler { run: erased::<J>, is_kept: J::IS_KEPT, time_limit: J::TIME_LIMIT };
        assert!(self.handlers.insert(J::KIND, handler).is_none(), "two jobs are called `{}`", J::KIND);
        self
    }

    /// Adds a kind of the installation that is enqueued at every due time, unless the one before is not finished. A
    /// schedule that is new begins with its next due time; times missed while no server ran are made up for once.
    #[must_use]
    pub fn recurring<J: Job>(mut self, schedule: Schedule, job: &J) -> Self {
        let options = super::Options::default().unique("recurring");
        let job = super::queue::prepare(job, options).expect("a recurring job's arguments are plain data");
        self.recurring.push(Recurring { schedule, job });
        self.with::<J>()
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        self.handlers.keys().map(|kind| (*kind).to_owned()).collect()
    }
}

fn erased<J: Job>(app: App, ctx: JobContext, arguments: Value) -> BoxFuture<'static, Result<(), JobError>> {
    Box::pin(async move {
        let job: J = serde_json::from_value(arguments).map_err(|error| {
            JobError::give_up(anyhow::Error::new(error).context("this version can't read the job's arguments"))
        })?;
        job.run(app, ctx).await
    })
}

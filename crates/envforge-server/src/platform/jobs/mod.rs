//! Background jobs: enqueued in the caller's transaction, run by whichever server has a free place, kept afterwards.
//!
//! A job is one type ([`Job`]): its fields are the arguments, its `run` the work. [`enqueue`] writes a row in the
//! transaction that makes the change, so the job exists exactly if the change does. Each server has one worker
//! ([`run`]) that claims what is due under a lease (`FOR UPDATE SKIP LOCKED`), renews the lease while it works, and
//! writes how it ended only if the lease is still its own. A server that dies is silent, its leases end, and its jobs
//! are run again: **at least once, never twice at the same time while clocks agree within the lease**. A handler
//! therefore acts idempotently.
//!
//! | file | what |
//! |---|---|
//! | `job` | the trait, its context and errors, the registry of kinds and schedules |
//! | `queue` | enqueueing |
//! | `worker` | claiming, running, heartbeats, cancellation, shutdown |
//! | `schedule` | recurring jobs: one enqueue per due time over all servers |
//! | `store` | the SQL |
//!
//! What the states mean, what follows from a failure and how long the back-off is: `envforge_core::job`. Arguments are
//! references (ids, names), never secrets: they are shown on the operator's board.
//!
//! Reconcilers that look every second (runtimes, the sealer) are not jobs: they have no history worth a row.

mod job;
mod queue;
mod schedule;
pub(crate) mod store;
mod worker;

pub use job::{Job, JobContext, JobError, Registry};
pub use queue::{Options, enqueue};
pub use worker::{LEASE, run};

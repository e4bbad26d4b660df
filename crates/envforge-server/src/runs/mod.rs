//! Runs: tests and jobs in the runtime layer (`envforge run`).
//!
//! Asking for one wakes the runtime and writes the run and its `RUN_JOB` command in the same transaction. The output is a
//! captured log on the host, read like any other ([`crate::streams`]); the exit code comes back in a report, which is
//! kept by the host until it is stored, so a run's end is not lost when either side dies.

pub mod http;
pub mod ops;
pub(crate) mod store;

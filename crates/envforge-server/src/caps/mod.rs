//! Caps of workspaces, projects and orgs: what they refuse, what they end, what they tell, and who may lift them.
//!
//! What a cap says of an amount used is decided in `envforge_core::usage::cap`. Here it is asked at two places:
//!
//! - In the transaction of each wake ([`ops::check_wake`]). Where a project's or an org's cap stops, wakes go one after the other:
//!   each holds the project, then the org, until its end, and counts what the others have under way as begun. The order of locks is
//!   workspace, project, org, host.
//! - Every second while a window is open ([`ops::while_awake`]), from the reconciler of runtimes. Jobs that run then may go on for
//!   the cap's grace.
//!
//! Each warning is told once a month (`cap_steps`): to the ledger, to whoever watches, and to the org's webhook by a durable
//! [job](jobs). Setting a cap begins anew.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;

//! Services: what keeps one running, how it is asked whether it works, and what it has said.
//!
//! [`supervisor`] decides, and knows no process; [`health`] asks, and decides nothing; [`log_file`] reads and
//! [`log_filter`] leaves out; [`host_names`] tells
//! development servers what they are called. The workspace's driver brings them together.

pub(crate) mod env_file;
pub(crate) mod health;
pub(crate) mod host_names;
pub(crate) mod log_file;
pub(crate) mod log_filter;
pub(crate) mod supervisor;

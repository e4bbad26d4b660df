//! Services: what keeps one running, how it is asked whether it works, and what it has said.
//!
//! [`supervisor`] decides, and knows no process; [`health`] asks, and decides nothing; [`log_file`] reads. The workspace's driver
//! brings them together.

pub(crate) mod health;
pub(crate) mod log_file;
pub(crate) mod supervisor;

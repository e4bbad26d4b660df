//! A workspace's database as a file: dumped, and restored from one.
//!
//! Whoever may run something in the workspace may do both, since what runs there has the database anyway. Its host does the
//! work, while the runtime is awake; bytes pass through here as they come and are kept nowhere. What was moved by whom
//! is in the ledger.

pub mod http;
pub mod ops;

//! The keys that sign links, sessions, tickets and host passes, and how they rotate while everything goes on.
//!
//! They lie in the database, private halves sealed ([`crate::vault`]), so that all servers sign with the same one. What each
//! is for at an instant, its times decide alone (`envforge_core::signing`): a rotation is one transaction, and nothing has
//! to happen for it to go on. Every server reads the keys again and again ([`jobs`]) into its [`Ring`](ops::Ring), whose
//! watchers tell gateways and hosts.
//!
//! The first key is made from the seed that the server was given, which signs the ledger's checkpoints too. The ledger goes
//! on with it: its key is outside the database on purpose, and people have noted its public half.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;

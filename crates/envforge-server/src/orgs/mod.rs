//! Orgs and their members.
//!
//! Every change of a membership first holds the org's row ([`crate::accounts::ops::lock_members`]), reads the caller's
//! role as it is then, and asks the one rule in [`envforge_core::member`]. It holds from its commit on: the nudge makes
//! open terminals and live views look again ([`crate::workspaces::ops::until_lost`]).

pub mod http;
pub mod ops;
pub(crate) mod store;

//! The meter, caps and receipts: views of the ledger, never second bookkeeping.
//!
//! The runtime row knows only which window is open now; everything about the past is folded from `window.opened` and
//! `window.closed` events by `envforge_core::usage`. The same fold answers the cap check inside the wake's
//! transaction, and the one of the reconciler, which puts to sleep what is awake when its cap is reached.

pub mod http;
pub mod ops;
pub(crate) mod store;

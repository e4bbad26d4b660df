//! Open terminals: a host's descriptor on one side, a client's WebSocket on the other, and what is between two connections of it.
//!
//! ```text
//!   attached ──connection lost──► detached ──a minute, or no right any more──► gone
//!      ▲                             │
//!      └──────────resumed────────────┘    also while the lost connection still looks alive
//! ```
//!
//! A client that asks for it gets a session: its terminal's stream stays here for [`ops::KEPT_FOR`] after the connection is
//! lost, and goes on over another one with no byte missing or twice ([`envforge_core::resume`]). Output is read on
//! meanwhile, as far as there is room. A session is memory of this process and no more: after a restart, or at another server,
//! a client attaches anew and tmux draws its screen. It is bound to who opened it; the right to it is asked for again at
//! each resume, and watched all the time. Root terminals have none: they end with their connection, on purpose.
//!
//! One holder at a time moves a session's bytes ([`ops::Turn`]). Who resumes it takes over from whoever holds it.

pub mod http;
pub mod ops;

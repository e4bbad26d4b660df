//! Terminals of which everything that is printed is kept: root's always, others where their organization wants it.
//!
//! Unlike with other terminals every byte passes through the daemon, which writes it down ([`recording`]) before anybody sees it
//! ([`relay`]). So such a terminal ends with the daemon; the shell in it goes on unless it is root's, and whoever was attached attaches again.

pub(crate) mod recording;
pub(crate) mod relay;

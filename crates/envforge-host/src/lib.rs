//! The host daemon: one organization's machine.

pub mod init;
pub mod sys;

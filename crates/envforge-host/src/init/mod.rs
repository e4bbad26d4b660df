//! PID 1 of a sandbox.
//!
//! Small on purpose: it starts processes, reaps them, keeps how they ended, writes their output to files, opens terminals
//! and forwards ports. It decides nothing: no restarts, no health, no policy. All of that is the daemon's, which may be
//! gone for a while; what happened meanwhile is here when it comes back.
//!
//! It runs as the workspace's user without any privilege and in one thread; whatever it does slowly would hold up
//! every log and every request, so nothing here blocks except a write to a log file. It holds secrets (environments) only while it
//! starts a process, and is itself unreadable to the processes it starts.
//!
//! A program that can be an init calls [`main`] before anything else when [`is_requested`] says so: before threads,
//! before a runtime, before logging.

pub mod client;
pub mod protocol;

mod connection;
mod forward;
mod log;
mod processes;
mod server;
pub(crate) mod wire;

use std::process::ExitCode;

use crate::sys::sandbox::{INIT_ARGUMENT, Report, enter, report};

/// Whether this program was started to be a sandbox's init.
pub fn is_requested() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == INIT_ARGUMENT)
}

/// Is a sandbox's init until the sandbox ends. The specification comes on standard input.
pub fn main() -> ExitCode {
    let entered = match enter() {
        Ok(Some(entered)) => entered,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return failed(error.step, error.reason),
    };
    let _ = rustix::thread::set_name(c"envforge-init");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("runtime".to_owned(), error.to_string()),
    };
    let served = tokio::task::LocalSet::new().block_on(&runtime, server::serve(entered));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed("control server".to_owned(), error.to_string()),
    }
}

fn failed(step: String, reason: String) -> ExitCode {
    report(&Report::Failed { step, reason });
    ExitCode::FAILURE
}

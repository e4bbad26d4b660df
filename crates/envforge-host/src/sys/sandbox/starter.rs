//! The process from which inits are born.
//!
//! Starting the daemon's whole program for each sandbox costs more than making the sandbox: the loader changes some 90,000
//! addresses in it, on pages that each init would have for itself. So that is done once. The starter is the program after that
//! moment and before any other: one thread, nothing open, nothing read. It knows how to do one thing, which is to have a child
//! for each message; the child is what begins a sandbox ([`super::enter`]).
//!
//! It ends when the daemon does, whichever way: its socket breaks. What it started does not depend on it.
#![expect(unsafe_code, reason = "signal has no safe form")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::{SigHandler, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use super::birth::{Born, born};
use super::enter::{Step, StepError};
use super::{Report, report_to};
use crate::init::wire;

/// The one message there is; with it come the specification and where to report.
pub(super) const START: &[u8] = b"start";

/// Has children for whoever is at the other end of standard input. Returns in each of them, with the specification as standard
/// input and the report as output; in the starter itself, `false`, when nobody is there any more.
pub(super) fn serve() -> Result<bool, StepError> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).step("starter")?;
    ignore_children().step("starter")?;
    while let Some(mut given) = next(&socket).step("starter")? {
        let (Some(spec), Some(say)) = (given.pop_front(), given.pop_front()) else { continue };
        match born(None) {
            Ok(Born::Child) => {
                use_as_streams(&spec, &say).step("starter")?;
                return Ok(true);
            }
            Ok(Born::Parent(child)) => {
                // Nobody there any more is seen at the next turn.
                let _ = wire::send_now(socket.as_fd(), START, &[child.as_fd()]);
            }
            Err(error) => {
                report_to(&say, &Report::Failed { step: "fork".to_owned(), reason: error.to_string() });
                let _ = wire::send_now(socket.as_fd(), START, &[]);
            }
        }
    }
    Ok(false)
}

/// The descriptors of the next message.
fn next(socket: &OwnedFd) -> io::Result<Option<VecDeque<OwnedFd>>> {
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match wire::receive_now(socket.as_fd()) {
            Ok((packet, false)) if packet.bytes == START => return Ok(Some(packet.fds.into())),
            Ok(_) | Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// They are held by the daemon; here the kernel forgets them as they end.
fn ignore_children() -> nix::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.map(drop)
}

fn use_as_streams(spec: &OwnedFd, say: &OwnedFd) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(spec)?;
    rustix::stdio::dup2_stdout(say)?;
    rustix::stdio::dup2_stderr(say)
}

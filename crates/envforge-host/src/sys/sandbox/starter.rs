//! The process from which inits are born.
//!
//! Running the daemon's whole program for each sandbox would cost more than making the sandbox: the loader changes some 90,000
//! addresses in it, on pages that each init would have for itself. So that is done once. The starter is the program after that
//! moment and before any other: one thread, nothing open, nothing read. It knows how to do one thing, which is to have a child
//! for each message: the sandbox's first process ([`super::enter`]).
//!
//! It ends when the daemon does, whichever way: its socket breaks. What it started does not depend on it.
#![expect(unsafe_code, reason = "signal has no safe form")]

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::{SigHandler, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use super::birth::{Born, born};
use super::enter::{Step, StepError};
use super::{Report, report_to};
use crate::init::wire;

/// The message that has a child born. With it come the specification, where to report, and the cgroup to be born in, if any. The
/// answer is the child's number, with what holds it; or nothing, if there is none and the report says why.
pub(super) const FULL: &[u8] = b"full";
/// The same for a child with a user namespace of its own, as one without root needs it.
pub(super) const ROOTLESS: &[u8] = b"rootless";

/// Has children for whoever is at the other end of standard input. Returns in each of them, with the specification as standard
/// input and the report as output, and whether it was born in its cgroup; in the starter itself, `None`, when nobody is there
/// any more.
pub(super) fn serve() -> Result<Option<bool>, StepError> {
    let _ = rustix::thread::set_name(c"sandbox-starter");
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).step("starter")?;
    // They are held by the daemon; here the kernel forgets them as they end.
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.step("starter")?;
    while let Some((user_namespace, given)) = next(&socket).step("starter")? {
        let [spec, say, group @ ..] = &given[..] else { continue };
        let mut is_born_there = !group.is_empty();
        let mut birth = born(user_namespace, group.first().map(|group| group.as_fd()));
        if birth.is_err() && is_born_there {
            // An older kernel, a filter that knows no such flag.
            is_born_there = false;
            birth = born(user_namespace, None);
        }
        // Nobody there any more is seen at the next turn.
        let _ = match birth {
            Ok(Born::Child) => {
                use_as_streams(spec, say).step("starter")?;
                return Ok(Some(is_born_there));
            }
            Ok(Born::Parent(pid, child)) => {
                wire::send_now(socket.as_fd(), pid.to_string().as_bytes(), &[child.as_fd()])
            }
            Err(error) => {
                report_to(say, &Report::Failed { step: "clone".to_owned(), reason: error.to_string() });
                wire::send_now(socket.as_fd(), b"none", &[])
            }
        };
    }
    Ok(None)
}

/// The next message: whether there is to be a user namespace, and what came with it.
fn next(socket: &OwnedFd) -> io::Result<Option<(bool, Vec<OwnedFd>)>> {
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match wire::receive_now(socket.as_fd()) {
            Ok((packet, _)) if packet.bytes == FULL => return Ok(Some((false, packet.fds))),
            Ok((packet, _)) if packet.bytes == ROOTLESS => return Ok(Some((true, packet.fds))),
            Ok(_) | Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn use_as_streams(spec: &OwnedFd, say: &OwnedFd) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(spec)?;
    rustix::stdio::dup2_stdout(say)?;
    rustix::stdio::dup2_stderr(say)
}

//! A child of a process of one thread, by clone3(2): held by a descriptor from its first moment, in a cgroup of its own where that
//! is wanted.
#![expect(unsafe_code, reason = "clone3 has no safe form")]

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// `CLONE_INTO_CGROUP` of linux/sched.h: wider than the flags of older calls.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Who goes on.
pub(super) enum Born {
    /// The child, with a copy of everything.
    Child,
    /// Its parent, which holds the child.
    Parent(OwnedFd),
}

/// Has a child, born in `group` if there is one (Linux 5.7). For a process of one thread.
pub(super) fn born(group: Option<BorrowedFd<'_>>) -> io::Result<Born> {
    let mut child = -1;
    // SAFETY: a struct of integers, for which zeroes mean "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut child).addr() as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: without a stack and shared memory this is fork(2). This process has one thread, so the child's copy of the heap and
    // of every lock is consistent; that the C library knows the child by its parent's thread number is over with its next fork.
    // The kernel writes one descriptor to `child`, which is alive for the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        0 => Ok(Born::Child),
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel just opened it for this process, and nobody else knows it.
        _ => Ok(Born::Parent(unsafe { OwnedFd::from_raw_fd(child) })),
    }
}

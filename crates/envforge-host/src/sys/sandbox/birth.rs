//! The first process of a sandbox, by clone3(2): number 1 of its own pid namespace, held by a descriptor from its first moment, in
//! its cgroup from its first moment where that is possible.
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
    /// Its parent, with the child's number and what holds it.
    Parent(i32, OwnedFd),
}

/// Has a child that is the first of a pid namespace, and of a user namespace too if there is to be one. It is born in the cgroup
/// v2 whose directory `group` is, if there is one (Linux 5.7). For a process of one thread.
pub(super) fn born(user_namespace: bool, group: Option<BorrowedFd<'_>>) -> io::Result<Born> {
    let mut child = -1;
    // SAFETY: a struct of integers, for which zeroes mean "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (libc::CLONE_PIDFD | libc::CLONE_NEWPID) as u64;
    if user_namespace {
        arguments.flags |= libc::CLONE_NEWUSER as u64;
    }
    arguments.pidfd = (&raw mut child).addr() as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: without a stack and shared memory this is fork(2). This process has one thread, so the child's copy of the heap and
    // of every lock is consistent; the thread number that the C library remembers is its parent's, and nothing here asks it for
    // one. The kernel writes one descriptor to `child`, which is alive for the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        0 => Ok(Born::Child),
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel just opened it for this process, and nobody else knows it.
        pid => Ok(Born::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(child) })),
    }
}

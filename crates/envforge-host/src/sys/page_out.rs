//! Pushing a process's memory out to swap, mapping by mapping: what is left where no file of a cgroup does it for all.
//!
//! `process_madvise(2)` with `MADV_PAGEOUT`: Linux 5.10 and later, with `CAP_SYS_NICE` and the right to trace the process.
//! Without swap only clean pages of files go.
#![expect(unsafe_code, reason = "process_madvise has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::libc;
use rustix::process::{Pid, PidfdFlags};

/// Pushes out what can be; a process that has ended has nothing.
pub(crate) fn page_out(pid: i32) -> io::Result<()> {
    let Some(process) = Pid::from_raw(pid) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let pidfd = match rustix::process::pidfd_open(process, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    // Names of mapped files are whatever somebody called them; only the addresses before them are read.
    let maps = match std::fs::read(format!("/proc/{pid}/maps")) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        read => read?,
    };
    for mapping in String::from_utf8_lossy(&maps).lines().filter_map(addresses) {
        match advise(&pidfd, mapping) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error() {
                // Locked, of a device, the kernel's own, or gone meanwhile.
                Some(libc::EINVAL | libc::ENOMEM | libc::EFAULT | libc::EBADF) => {}
                Some(libc::ESRCH) => return Ok(()),
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

/// Begin and length of a line of `/proc/PID/maps` (proc_pid_maps(5)).
fn addresses(line: &str) -> Option<(usize, usize)> {
    let (begin, end) = line.split_once(' ')?.0.split_once('-')?;
    let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((begin, end.checked_sub(begin)?))
}

fn advise(pidfd: &OwnedFd, (begin, length): (usize, usize)) -> io::Result<()> {
    let mapping = libc::iovec { iov_base: std::ptr::without_provenance_mut(begin), iov_len: length };
    // SAFETY: the kernel reads one `iovec`, which outlives the call; the address in it is the other process's and is not used here.
    let done = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            pidfd.as_raw_fd(),
            &raw const mapping,
            1_usize,
            libc::MADV_PAGEOUT,
            0_u32,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whatever_a_file_is_called() {
        let line = "7f0000001000-7f0000003000 r--p 00000000 fd:00 12 /tmp/1000-2000 x-y";
        assert_eq!(addresses(line), Some((0x7f00_0000_1000, 0x2000)));
        assert_eq!(
            addresses("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]").map(|at| at.1),
            Some(0x1000)
        );
        assert_eq!(addresses("2000-1000 r--p 0 0 0"), None);
        assert_eq!(addresses("nothing"), None);
    }

    #[test]
    fn a_process_that_ended_has_nothing() {
        let mut child = crate::sys::command::std_command("true").spawn().expect("started");
        child.wait().expect("ended");
        page_out(child.id() as i32).expect("nothing to do");
    }
}

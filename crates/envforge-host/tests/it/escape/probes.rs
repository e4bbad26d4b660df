//! What is tried by one system call: the part of `inside` that lines call `$PROBE`.
//!
//! It ends with 0 when the kernel did it, or would have with better arguments; else it says why not.
#![expect(unsafe_code, reason = "system calls that no safe wrapper would make")]
#![expect(clippy::print_stdout, reason = "a program of its own")]

use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::Path;

/// Said where a kernel was built without it.
pub(crate) const UNKNOWN_HERE: &str = "unknown to this kernel";

type Outcome = Result<(), Errno>;

pub(crate) fn run(arguments: &[&str]) -> i32 {
    let outcome = match arguments {
        ["unix", path] => unix(path),
        ["abstract", name] => abstract_address(name).and_then(|at| ok(UnixStream::connect_addr(&at))),
        ["serve-abstract", name] => return serve_abstract(name),
        ["tcp", address] => ok(std::net::TcpStream::connect_timeout(
            &address.parse().expect("an address"),
            std::time::Duration::from_millis(400),
        )),
        ["link-local", address, interface, port] => link_local(address, interface, port),
        ["open-read", path] => ok(std::fs::File::open(path)),
        ["open-write", path] => ok(std::fs::OpenOptions::new().write(true).open(path)),
        ["handle", mount, handle] => by_handle(mount, handle),
        ["socket", family, kind, protocol] => socket([*family, *kind, *protocol].map(number)),
        ["ptrace", pid] => ptrace(number(pid)),
        ["vm-read", pid] => vm_read(number(pid)),
        ["pidfd-getfd", pid] => pidfd_getfd(number(pid)),
        ["terminals", count] => terminals(number(count) as usize),
        ["watches", count] => watches(number(count) as usize),
        ["hold-watches"] => return hold_watches(),
        ["call", name] => call(name),
        other => {
            println!("unknown probe {other:?}");
            return 2;
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error @ (Errno::ENOSYS | Errno::EAFNOSUPPORT | Errno::ENODEV)) => {
            println!("{error:?}: {UNKNOWN_HERE}, or so it says");
            1
        }
        Err(error) => {
            println!("{error:?}");
            1
        }
    }
}

fn number(text: &str) -> i32 {
    text.parse().expect("a number")
}

fn ok<T>(result: std::io::Result<T>) -> Outcome {
    result.map(drop).map_err(|error| error.raw_os_error().map_or(Errno::ETIMEDOUT, Errno::from_raw))
}

/// What a raw call answered.
fn answered(answer: i64) -> Outcome {
    if answer >= 0 { Ok(()) } else { Err(Errno::last()) }
}

/// The same for a call with arguments that no kernel would take: past the permission is far enough.
fn allowed(answer: i64) -> Outcome {
    match answered(answer) {
        Err(error @ (Errno::EPERM | Errno::EACCES | Errno::ENOSYS)) => Err(error),
        _ => Ok(()),
    }
}

fn unix(path: &str) -> Outcome {
    let seqpacket = || {
        let address = rustix::net::SocketAddrUnix::new(path).map_err(|_| Errno::EINVAL)?;
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET, None);
        socket
            .and_then(|socket| rustix::net::connect(&socket, &address))
            .map_err(|error| Errno::from_raw(error.raw_os_error()))
    };
    match ok(UnixStream::connect(path)) {
        Err(Errno::EPROTOTYPE) => seqpacket(),
        other => other,
    }
}

fn abstract_address(name: &str) -> Result<UnixAddress, Errno> {
    UnixAddress::from_abstract_name(name).map_err(|_| Errno::EINVAL)
}

/// Until it is ended.
fn serve_abstract(name: &str) -> i32 {
    let address = abstract_address(name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    for _ in listener.incoming() {}
    0
}

fn link_local(address: &str, interface: &str, port: &str) -> Outcome {
    let name = CString::new(interface).expect("a name");
    // SAFETY: a C string, alive for the call.
    let scope = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let address = std::net::SocketAddrV6::new(address.parse().expect("an address"), number(port) as u16, 0, scope);
    ok(std::net::TcpStream::connect_timeout(&address.into(), std::time::Duration::from_millis(400)))
}

const HANDLE_BYTES: usize = 128;

/// `struct file_handle` with room for any handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; HANDLE_BYTES],
}

/// How the kernel itself calls a file: with this, whoever may can open it wherever a file of the same file system is seen.
pub(super) fn handle_of(path: &Path) -> String {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    let mut handle = Handle { bytes: HANDLE_BYTES as u32, kind: 0, data: [0; HANDLE_BYTES] };
    let mut mount = 0_i32;
    // SAFETY: the path is a C string, and handle and mount are what the kernel fills, alive for the call.
    let done = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount, 0)
    };
    assert_eq!(done, 0, "a file has a handle: {}", Errno::last());
    format!("{}:{}", handle.kind, hex::encode(&handle.data[..handle.bytes as usize]))
}

fn by_handle(mount: &str, handle: &str) -> Outcome {
    let (kind, data) = handle.split_once(':').expect("a handle");
    let data = hex::decode(data).expect("hexadecimal");
    let mut handle = Handle { bytes: data.len() as u32, kind: number(kind), data: [0; HANDLE_BYTES] };
    handle.data[..data.len()].copy_from_slice(&data);
    let mount = std::fs::File::open(mount).expect("a directory");
    let mount = std::os::fd::AsRawFd::as_raw_fd(&mount);
    // SAFETY: the handle is as the kernel lays it out, with its length, alive for the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount, &raw mut handle, libc::O_RDONLY) };
    answered(fd)?;
    let text = std::fs::read_to_string(format!("/proc/self/fd/{fd}")).map_err(|_| Errno::EIO)?;
    if text == super::scene::SECRET { Ok(()) } else { Err(Errno::EIO) }
}

fn socket([family, kind, protocol]: [i32; 3]) -> Outcome {
    // SAFETY: numbers only.
    answered(i64::from(unsafe { libc::socket(family, kind, protocol) }))
}

fn ptrace(pid: i32) -> Outcome {
    // SAFETY: numbers only; the process is let go again once it has stopped.
    unsafe {
        answered(libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0))?;
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::__WALL))?;
        answered(libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0))
    }
}

fn vm_read(pid: i32) -> Outcome {
    let mut byte = [0_u8; 1];
    let here = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // Nothing is there, which only who may look finds out.
    let there = libc::iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: 1 };
    // SAFETY: one local buffer of one byte, alive for the call; the other address is never touched by this process.
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
    match answered(read as i64) {
        Err(Errno::EFAULT) => Ok(()),
        other => other,
    }
}

fn pidfd_getfd(pid: i32) -> Outcome {
    // SAFETY: numbers only.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    answered(pidfd)?;
    // SAFETY: numbers only.
    answered(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) })
}

/// Opens so many terminals at once.
fn terminals(count: usize) -> Outcome {
    let open = || {
        rustix::fs::open("/dev/ptmx", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY, rustix::fs::Mode::empty())
    };
    let opened: Result<Vec<_>, _> = (0..count).map(|_| open()).collect();
    opened.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// Makes so many inotify instances at once.
fn watches(count: usize) -> Outcome {
    let made: Result<Vec<_>, _> =
        (0..count).map(|_| rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::empty())).collect();
    made.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// Takes all the inotify instances there are, until it is ended.
fn hold_watches() -> i32 {
    let make = || rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::empty());
    let _held: Vec<_> = std::iter::from_fn(|| make().ok()).collect();
    loop {
        std::thread::park();
    }
}

/// Keeps a key in a new session keyring of this thread, and of what it starts; false where there are none.
pub(super) fn keep_key(description: &str) -> bool {
    const SESSION: libc::c_long = -3;
    const JOIN_SESSION: libc::c_long = 1;
    let description = CString::new(description).expect("a name");
    // SAFETY: C strings and one byte, alive for the calls; a null name is no name.
    unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION, std::ptr::null::<libc::c_char>());
        libc::syscall(libc::SYS_add_key, c"user".as_ptr(), description.as_ptr(), c"x".as_ptr(), 1, SESSION) >= 0
    }
}

/// Calls by name, with arguments that do no harm where they are allowed.
fn call(name: &str) -> Outcome {
    let null = std::ptr::null::<libc::c_char>();
    let (empty, tmp, tmpfs) = (c"".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr());
    let clone_tree: libc::c_long = 1;
    // SAFETY: numbers, static C strings, null where the kernel allows it or refuses it before it looks, and buffers that live for
    // the call. A clone without a stack of its own is a fork, and this process has one thread.
    unsafe {
        match name {
            "mount" => answered(libc::syscall(libc::SYS_mount, tmpfs, tmp, tmpfs, 0, null)),
            "remount" => answered(libc::syscall(
                libc::SYS_mount,
                null,
                c"/proc".as_ptr(),
                null,
                libc::MS_REMOUNT | libc::MS_BIND,
                null,
            )),
            "umount" => answered(libc::syscall(libc::SYS_umount2, c"/proc".as_ptr(), libc::MNT_DETACH)),
            "fsopen" => answered(libc::syscall(libc::SYS_fsopen, tmpfs, 0)),
            "fspick" => answered(libc::syscall(libc::SYS_fspick, libc::AT_FDCWD, c"/proc".as_ptr(), 0)),
            "open-tree" => answered(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, tmp, clone_tree)),
            "open-tree-attr" => answered(libc::syscall(467, libc::AT_FDCWD, tmp, clone_tree, null, 0)),
            "chroot" => answered(libc::syscall(libc::SYS_chroot, tmp)),
            "pivot-root" => allowed(libc::syscall(libc::SYS_pivot_root, tmp, tmp)),
            "unshare-user" => answered(i64::from(libc::unshare(libc::CLONE_NEWUSER))),
            "unshare-mount" => answered(i64::from(libc::unshare(libc::CLONE_NEWNS))),
            "unshare-pid" => answered(i64::from(libc::unshare(libc::CLONE_NEWPID))),
            "unshare-net" => answered(i64::from(libc::unshare(libc::CLONE_NEWNET))),
            "unshare-ipc" => answered(i64::from(libc::unshare(libc::CLONE_NEWIPC))),
            "unshare-uts" => answered(i64::from(libc::unshare(libc::CLONE_NEWUTS))),
            "unshare-cgroup" => answered(i64::from(libc::unshare(libc::CLONE_NEWCGROUP))),
            "unshare-time" => answered(i64::from(libc::unshare(0x80))),
            "clone-user" => forked(libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0)),
            "clone3-user" => {
                // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
                let arguments: [u64; 8] = [libc::CLONE_NEWUSER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
                forked(libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)))
            }
            "setns" => {
                let own = std::fs::File::open("/proc/self/ns/net").expect("it has one");
                answered(i64::from(libc::setns(std::os::fd::AsRawFd::as_raw_fd(&own), libc::CLONE_NEWNET)))
            }
            "sethostname" => answered(i64::from(libc::sethostname(c"other".as_ptr(), 5))),
            "setuid" => answered(i64::from(libc::setuid(4_242))),
            "setgroups" => answered(i64::from(libc::setgroups(1, [0].as_ptr()))),
            "settimeofday" => answered(libc::syscall(libc::SYS_settimeofday, null, null)),
            "syslog" => answered(libc::syscall(libc::SYS_syslog, 10, 0, 0)),
            "reboot" => allowed(libc::syscall(libc::SYS_reboot, 0, 0, 0, 0)),
            "swapon" => allowed(libc::syscall(libc::SYS_swapon, empty, 0)),
            "acct" => allowed(libc::syscall(libc::SYS_acct, empty)),
            "init-module" => allowed(libc::syscall(libc::SYS_init_module, null, 0, empty)),
            "delete-module" => {
                allowed(libc::syscall(libc::SYS_delete_module, c"no-such-module".as_ptr(), libc::O_NONBLOCK))
            }
            "kexec" => allowed(libc::syscall(libc::SYS_kexec_load, 0, 1_000, 0, 0)),
            "bpf" => {
                // An array map of one entry: type, key size, value size, entries.
                let attributes: [u32; 32] = std::array::from_fn(|index| [2, 4, 4, 1].get(index).copied().unwrap_or(0));
                answered(libc::syscall(libc::SYS_bpf, 0, &raw const attributes, size_of_val(&attributes)))
            }
            "perf" => {
                // A software event, the CPU's clock; the size of the first version.
                let attributes: [u32; 32] = std::array::from_fn(|index| [1, 64].get(index).copied().unwrap_or(0));
                answered(libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, 0))
            }
            "fanotify" => answered(libc::syscall(libc::SYS_fanotify_init, 4, 0)),
            "userfaultfd" => answered(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC)),
            "io-uring" => {
                let mut parameters = [0_u32; 30];
                answered(libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut parameters))
            }
            "session-keyring" => answered(libc::syscall(libc::SYS_keyctl, 0, -3, 0)),
            "add-key" => {
                answered(libc::syscall(libc::SYS_add_key, c"user".as_ptr(), c"tried".as_ptr(), c"x".as_ptr(), 1, -3))
            }
            "personality" => answered(libc::syscall(libc::SYS_personality, 0x0400_0000)),
            "terminal-input" => terminal_input(),
            #[cfg(target_arch = "x86_64")]
            "iopl" => answered(libc::syscall(libc::SYS_iopl, 3)),
            #[cfg(target_arch = "x86_64")]
            "x32" => answered(libc::syscall(0x4000_0000 + libc::SYS_getpid)),
            #[cfg(target_arch = "x86_64")]
            "ia32" => {
                let pid: i64;
                // The number of getpid in the 32-bit table.
                std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => pid, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
                if pid > 0 { Ok(()) } else { Err(Errno::ENOSYS) }
            }
            other => panic!("unknown probe: call {other}"),
        }
    }
}

/// The child of a fork ends at once.
fn forked(answer: i64) -> Outcome {
    if answer == 0 {
        // SAFETY: ends this process, and runs nothing of its parent's on the way.
        unsafe { libc::_exit(0) }
    }
    answered(answer)
}

/// Types into a terminal for whoever sits at it: the session that this leads.
fn terminal_input() -> Outcome {
    let (mut master, mut terminal) = (-1, -1);
    let (no_name, no_mode, no_size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: two numbers that the library writes, and null for what it may leave out.
    answered(i64::from(unsafe { libc::openpty(&raw mut master, &raw mut terminal, no_name, no_mode, no_size) }))?;
    let typed = b"x";
    // SAFETY: the child makes system calls only, and ends.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            // SAFETY: numbers, and one byte that lives for the call.
            let errno = unsafe {
                libc::setsid();
                if libc::ioctl(terminal, libc::TIOCSCTTY, 0) != 0
                    || libc::ioctl(terminal, libc::TIOCSTI, typed.as_ptr()) != 0
                {
                    Errno::last_raw()
                } else {
                    0
                }
            };
            // SAFETY: ends this process.
            unsafe { libc::_exit(errno) }
        }
        nix::unistd::ForkResult::Parent { child } => match nix::sys::wait::waitpid(child, None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            nix::sys::wait::WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::EIO),
        },
    }
}

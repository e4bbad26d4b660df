//! System calls that no development tool needs and many break-outs did.
//!
//! Refused with EPERM, as without the privilege: mounting, namespaces, kernel modules, tracing of the kernel, keys, time,
//! reboot, io_uring (libraries fall back), sockets that are neither Unix ones nor the network's (a vsock leads past the
//! network namespace to whoever runs this machine, others load a kernel module that nobody here has use for). Refused with ENOSYS, so that libraries try the older call whose flags a
//! filter can see: clone3. Debuggers work: ptrace stays, and so does turning address randomization off.
//!
//! The filter is a second line: the first is that nothing in a sandbox has a capability.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

/// `open_tree_attr` of Linux 6.15: the same number everywhere, and not in the C library's list yet.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Refused whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    // CLONE_NEWTIME, in the bits clone uses for the exit signal; only unshare takes it.
    0x80,
];

/// The address families there are; a packet socket takes a capability besides.
const FAMILIES: [libc::c_int; 5] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

/// Ordinary, 32-bit, without address randomization (debuggers), and the question for the current one.
const PERSONALITIES: [u64; 4] = [0, 0x0008, 0x0004_0000, 0xffff_ffff];

/// Installs the filters on the calling thread and all it will start.
pub(super) fn install() -> Result<(), String> {
    for filter in [refusals().map_err(|error| error.to_string())?, missing_calls()] {
        seccompiler::apply_filter(&filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn refusals() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_unshare, any_bit(&NAMESPACES)?);
    rules.insert(libc::SYS_clone, any_bit(&NAMESPACES[..7])?);
    let other: Result<Vec<_>, _> = FAMILIES.iter().map(|known| argument(0, SeccompCmpOp::Ne, *known as u64)).collect();
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other?)?]);
    let other: Result<Vec<_>, _> = PERSONALITIES.iter().map(|known| argument(0, SeccompCmpOp::Ne, *known)).collect();
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(other?)?]);
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![argument(1, SeccompCmpOp::Eq, libc::TIOCSTI)?])?]);
    let arch = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

fn any_bit(bits: &[libc::c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    bits.iter()
        .map(|bit| {
            let bit = *bit as u64;
            SeccompRule::new(vec![argument(0, SeccompCmpOp::MaskedEq(bit), bit)?])
        })
        .collect()
}

/// The kernel looks at the low half of these arguments only, so the filter does too.
fn argument(index: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, compare, value)
}

/// clone3, and on x86-64 every call of the x32 set, whose numbers the other filter does not know. In the kernel's own
/// instructions, because the compiler gives a filter one answer only.
fn missing_calls() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const X32: u32 = 0x4000_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // The call's number is the first field of what a filter sees.
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, 2, 0, X32),
        step(EQUAL, 1, 0, libc::SYS_clone3 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

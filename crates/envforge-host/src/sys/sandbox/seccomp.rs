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

/// The filter, ready to be installed: compiled once, by the process that inits are born from.
pub(super) struct Filter(BpfProgram);

impl Filter {
    /// Compiles it.
    ///
    /// The kernel, which installs it, asks it about every call there is, so most should have their answer after a few steps: a
    /// search among the numbers that it knows comes first, and only a call whose arguments matter goes on to the chain of rules.
    pub(super) fn compile() -> Result<Self, String> {
        let rules = by_argument().map_err(|error| error.to_string())?;
        let mut known: Vec<(u32, Answer)> = REFUSED.iter().map(|call| (*call as u32, Answer::Refuse)).collect();
        known.extend(rules.keys().map(|call| (*call as u32, Answer::AskRules)));
        known.push((libc::SYS_clone3 as u32, Answer::Missing));
        known.sort_unstable_by_key(|(call, _)| *call);
        let rules = compiled(rules).map_err(|error| error.to_string())?;
        Ok(Self(Search::program(&known, rules)?))
    }

    /// Installs it on the calling thread and all it will start.
    pub(super) fn install(&self) -> Result<(), String> {
        seccompiler::apply_filter(&self.0).map_err(|error| error.to_string())
    }
}

/// The calls that are refused with some arguments only.
fn by_argument() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    rules.insert(libc::SYS_unshare, any_bit(&NAMESPACES)?);
    rules.insert(libc::SYS_clone, any_bit(&NAMESPACES[..7])?);
    let other: Result<Vec<_>, _> = FAMILIES.iter().map(|known| argument(0, SeccompCmpOp::Ne, *known as u64)).collect();
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other?)?]);
    let other: Result<Vec<_>, _> = PERSONALITIES.iter().map(|known| argument(0, SeccompCmpOp::Ne, *known)).collect();
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(other?)?]);
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![argument(1, SeccompCmpOp::Eq, libc::TIOCSTI)?])?]);
    Ok(rules)
}

/// As a program of its own, which begins with the architecture.
fn compiled(rules: BTreeMap<i64, Vec<SeccompRule>>) -> Result<BpfProgram, BackendError> {
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

/// What is answered to a call of a known number.
#[derive(Clone, Copy)]
enum Answer {
    /// EPERM.
    Refuse,
    /// ENOSYS.
    Missing,
    /// Its arguments decide.
    AskRules,
}

/// The search, in the kernel's own instructions, because the compiler makes chains only and gives one answer.
struct Search {
    code: BpfProgram,
    /// The comparisons that lead to an answer, whose places are known when all else is there.
    open: Vec<(usize, Answer)>,
}

impl Search {
    /// Every call of the x32 set of x86-64, whose numbers nothing here knows.
    const X32: u32 = 0x4000_0000;
    /// How many numbers are compared one after the other.
    const RUN: usize = 3;

    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

    /// `known` is in order; `rules` begins with a look at the architecture, which comes before everything here too.
    fn program(known: &[(u32, Answer)], rules: BpfProgram) -> Result<BpfProgram, String> {
        /// Load, compare, end the process.
        const ARCHITECTURE: usize = 3;
        let mut search =
            Self { code: rules.get(..ARCHITECTURE).ok_or("no look at the architecture")?.to_vec(), open: Vec::new() };
        // The call's number is the first field of what a filter sees.
        search.step(Self::LOAD, 0);
        search.leads(Self::AT_LEAST, Self::X32, Answer::Missing);
        search.among(known)?;
        let missing = search.code.len();
        search.step(Self::RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        let refuse = search.code.len();
        search.step(Self::RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
        let ask = search.code.len();
        for (from, answer) in search.open {
            let to = match answer {
                Answer::Missing => missing,
                Answer::Refuse => refuse,
                Answer::AskRules => ask,
            };
            search.code[from].jt = distance(from, to)?;
        }
        search.code.extend(rules);
        Ok(search.code)
    }

    /// Finds one of these, or allows the call.
    fn among(&mut self, known: &[(u32, Answer)]) -> Result<(), String> {
        if known.len() <= Self::RUN {
            for (call, answer) in known {
                self.leads(Self::EQUAL, *call, *answer);
            }
            self.step(Self::RETURN, libc::SECCOMP_RET_ALLOW);
            return Ok(());
        }
        let (lower, upper) = known.split_at(known.len() / 2);
        let fork = self.code.len();
        self.step(Self::AT_LEAST, upper[0].0);
        self.among(lower)?;
        self.code[fork].jt = distance(fork, self.code.len())?;
        self.among(upper)
    }

    fn step(&mut self, code: u16, k: u32) {
        self.code.push(sock_filter { code, jt: 0, jf: 0, k });
    }

    /// A comparison that leads to an answer where it holds.
    fn leads(&mut self, code: u16, k: u32, answer: Answer) {
        self.open.push((self.code.len(), answer));
        self.step(code, k);
    }
}

/// From a comparison to where it leads: counted from the instruction after it.
fn distance(from: usize, to: usize) -> Result<u8, String> {
    u8::try_from(to - from - 1).map_err(|_| "the filter is too long for its jumps".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter answers to a call.
    fn run(program: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
        walk(program, arch, call, arguments).0
    }

    /// The same with the number of steps it takes.
    fn walk(program: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> (u32, usize) {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&call.to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (at, argument) in (16..).step_by(8).zip(arguments) {
            data[at..at + 8].copy_from_slice(&argument.to_ne_bytes());
        }
        let (mut at, mut loaded) = (0, 0_u32);
        for steps in 1.. {
            let step = &program[at];
            let to = |holds: bool| at + 1 + usize::from(if holds { step.jt } else { step.jf });
            at = match u32::from(step.code) {
                0x20 => {
                    let from = step.k as usize;
                    loaded = u32::from_ne_bytes(data[from..from + 4].try_into().expect("a word"));
                    at + 1
                }
                0x54 => {
                    loaded &= step.k;
                    at + 1
                }
                0x05 => at + 1 + step.k as usize,
                0x15 => to(loaded == step.k),
                0x25 => to(loaded > step.k),
                0x35 => to(loaded >= step.k),
                0x06 => return (step.k, steps),
                other => panic!("instruction {other:#x} is not known here"),
            };
        }
        unreachable!("jumps lead forward")
    }

    /// The same answers as one long chain of everything that is refused gives, with what is missing before it.
    fn chain(chain: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let is_missing = call >= 0x4000_0000 || call == libc::SYS_clone3 as u32;
        match run(chain, arch, call, arguments) {
            libc::SECCOMP_RET_KILL_PROCESS => libc::SECCOMP_RET_KILL_PROCESS,
            _ if is_missing => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            other => other,
        }
    }

    // proves ORG-3
    #[test]
    fn the_search_answers_every_call_as_the_chain_of_all_rules() {
        let Filter(program) = Filter::compile().expect("compiled");
        let mut rules = by_argument().expect("rules");
        rules.extend(REFUSED.iter().map(|call| (*call, Vec::new())));
        let all = compiled(rules).expect("compiled");
        let arch = program[1].k;
        let mut words: Vec<u64> = (0..32).map(|bit| 1 << bit).collect();
        words.extend(0..64);
        words.extend(PERSONALITIES);
        words.extend([libc::TIOCSTI, libc::TIOCSTI | 1 << 32, 0xffff_ffff_0000_0000, u64::MAX, 0x1_0000_0000]);
        let calls =
            (0..2_048).chain(0x4000_0000..0x4000_0800).chain([0x3fff_ffff, u32::MAX, u32::MAX - 1, 0x8000_0000]);
        let mut answers = std::collections::BTreeSet::new();
        for call in calls {
            for word in &words {
                for arguments in [[*word, 0, 0, 0, 0, 0], [0, *word, 0, 0, 0, 0], [*word; 6]] {
                    let answer = run(&program, arch, call, arguments);
                    assert_eq!(answer, chain(&all, arch, call, arguments), "call {call:#x} of {arguments:x?}");
                    answers.insert(answer);
                }
            }
            for other in [arch ^ 1, 0x4000_0003, 0] {
                assert_eq!(run(&program, other, call, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "call {call:#x}");
            }
        }
        assert_eq!(answers.len(), 3, "allowed, refused and missing: {answers:x?}");
    }

    #[test]
    fn most_calls_have_their_answer_after_a_few_steps() {
        let Filter(program) = Filter::compile().expect("compiled");
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_mmap, libc::SYS_futex, libc::SYS_execve, 1_000] {
            let (answer, steps) = walk(&program, program[1].k, call as u32, [0; 6]);
            assert_eq!(answer, libc::SECCOMP_RET_ALLOW, "call {call}");
            assert!(steps <= 16, "call {call}: {steps} steps");
        }
    }
}

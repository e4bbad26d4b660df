//! Native sandboxes: one workspace's shell or runtime, shut off by the kernel's own means.
//!
//! A sandbox is a process tree under an init of our own that is PID 1 of a fresh pid namespace, in fresh mount, IPC,
//! UTS and cgroup namespaces, as an unprivileged user without capabilities, in a Landlock domain, behind a seccomp filter. Two sandboxes of a
//! workspace share the network namespace and the checkout, nothing else: an environment or an open file of a service
//! can't be read from the shell.
//!
//! How one starts. The daemon runs its own executable again as `sandbox-init` (a fresh single-threaded process: a
//! multi-threaded one can neither fork safely nor join namespaces) and keeps it: that [`starter`] has a child for each sandbox,
//! with the specification in a memfd as stdin. The
//! child is the init from the beginning: PID 1 of a new pid namespace. It joins cgroups and network, opens what it needs of the
//! host, takes its other namespaces, builds its root ([`mounts`]), gives up every privilege ([`privileges`]), reports that it
//! is ready, and serves its control socket (`crate::init`).
//!
//! An elevated sandbox ([`SandboxSpec::elevated`]) is one thing more: root, in a user namespace in which user 0 is the
//! workspace's own user. Mounts, pids and network are made before that namespace and belong to the machine, so its
//! root rules over the workspace's files and its own processes and over nothing else.
//!
//! What must stay true:
//! - No step after the privileges are gone needs one, and no process is started before they are gone.
//! - A step that fails ends the init; nothing runs in a half-built sandbox. The error names the step.
//! - The init does not depend on the daemon: no pipe, no death signal, no parent. A daemon that comes back finds it by
//!   (pid, start time) and by its socket.
//! - Nothing of the host is open in a started process: every descriptor is close-on-exec and stray ones are closed first.

mod birth;
mod enter;
mod identity;
mod join;
mod landlock;
mod mounts;
mod overlay;
mod privileges;
mod seccomp;
mod spec;
mod start;
mod starter;

pub(crate) use enter::{Entered, enter};
use start::report_to;
pub(crate) use start::{Report, report};

pub(crate) use landlock::missing as missing_landlock;
pub use landlock::version as landlock_version;
pub(crate) use spec::SUB_IDS;
pub use spec::{Bind, GeneratedFile, Protection, SandboxSpec, SpecError};
pub use start::{Sandbox, SandboxError, Starter};

/// The first argument that makes a program a sandbox's init.
pub const INIT_ARGUMENT: &str = "sandbox-init";

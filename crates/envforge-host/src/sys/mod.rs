//! The operating system, and nothing above it.
//!
//! Everything here is a mechanism: it knows pids, paths, limits and addresses, and nothing of workspaces, organizations
//! or policy. It is the only place of the daemon where `unsafe` may stand, each use with its reason.
//!
//! - [`sandbox`] builds the process tree a shell or a runtime lives in; `crate::init` is its PID 1.
//! - [`cgroup`] limits, freezes, kills and measures such a tree, on cgroup v2 and on v1.
//! - [`netns`] gives each workspace its own network, so that every branch can use the same ports, and opens sockets in it.
//! - [`egress`] lets a workspace's network out and nothing in; [`ports`] says who listens there.
//! - [`memory`] says how short memory is, and [`page_out`] pushes out a process's.
//! - [`process`] tells processes apart over time; [`command`] runs programs of the system; [`capability`] says what this
//!   machine permits.
//!
//! The usual life of a sandbox: `cgroup::detect()` once; `netns::create(path)`; `group.create()`, `group.apply(limits)`;
//! `Starter::start(spec, limit)` with `group.join_files()`; `sandbox.connect()`; later `group.freeze`,
//! `group.thaw`, `group.kill`, `group.remove`, `netns::destroy`. Every one of these may be repeated.
//!
//! For the installation: a systemd unit needs `KillMode=process` (sandboxes outlive the daemon) and no private mount
//! namespace (pinned network namespaces are mounts), and `Delegate=yes`.

pub mod capability;
pub mod cgroup;
pub mod command;
pub(crate) mod deadline;
pub(crate) mod memory;
pub(crate) mod page_out;
pub mod egress;
pub mod netns;
pub mod ports;
pub mod process;
pub mod sandbox;
pub(crate) mod spawn;
pub(crate) mod watch;

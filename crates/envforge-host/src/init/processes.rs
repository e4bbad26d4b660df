//! The table of named processes: who runs, who ended and how, and who belongs to whom.
//!
//! A name runs at most once. A process that ended stays in the table until it is forgotten or its name is used again, so
//! that a daemon that was away learns of it; only so many are kept, the oldest go first.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::net::unix::pipe;

use super::log::{LogFile, Logs, Stream};
use super::protocol::{
    Event, Exit, ProcessRecord, ProcessState, Program, Refusal, RefusalCode, Spawn, TerminalSize, is_valid_name,
};
use crate::sys::process::{Stat, all_pids};
use crate::sys::sandbox::SandboxSpec;
use crate::sys::spawn::{self, Streams};

/// Exit records kept at most.
const REMEMBERED: usize = 256;

/// Marks what a process started with `whole_tree` starts, in its environment, where it can't be lost by forking.
const MARK: &str = "ENVFORGE_PROCESS";

/// What a process started with.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) terminal: Option<OwnedFd>,
}

/// All named processes of the sandbox.
pub(super) struct Processes {
    environment: BTreeMap<String, String>,
    table: BTreeMap<String, Entry>,
}

struct Entry {
    record: ProcessRecord,
    /// With the pid, what tells it from a later process.
    start_ticks: u64,
    whole_tree: bool,
    /// It is remembered that it was started, for as long as its name is not used again.
    once: bool,
}

impl Processes {
    pub(super) fn new(spec: &SandboxSpec) -> Self {
        let mut environment: BTreeMap<String, String> = [
            ("HOME", "/home/dev"),
            ("USER", "dev"),
            ("LOGNAME", "dev"),
            ("SHELL", "/bin/bash"),
            ("PATH", "/home/dev/.local/bin:/home/dev/.local/share/gem/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LANG", "C.UTF-8"),
            // Bundler gives up where it may not write; unlike npm and pip, it asks for no other place by itself.
            ("GEM_HOME", "/home/dev/.local/share/gem"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        environment.extend(spec.environment.clone());
        Self { environment, table: BTreeMap::new() }
    }

    /// Starts a process. `passed` are its streams if it asked to bring them.
    pub(super) fn spawn(&mut self, spawn: &Spawn, passed: Vec<OwnedFd>, logs: &Logs) -> Result<Started, Refusal> {
        self.check(spawn, passed.len())?;
        let value_of = |variable: &String| spawn.env.get(variable).map(String::as_str);
        logs.know(spawn.secrets.iter().filter_map(|(variable, name)| Some((name.as_str(), value_of(variable)?))));
        let argv = match &spawn.program {
            Program::Argv(argv) => argv.clone(),
            Program::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        };
        let refuse = |what: &str, error: &dyn std::fmt::Display| {
            Refusal::new(RefusalCode::SpawnFailed, format!("{}: {what}: {error}", spawn.name))
        };
        let outlet = outlet(spawn, passed, logs).map_err(|error| refuse("streams", &error))?;
        let mut env = self.environment.clone();
        if spawn.tty.is_some() {
            env.insert("TERM".to_owned(), "xterm-256color".to_owned());
        }
        env.extend(spawn.env.clone());
        if spawn.whole_tree {
            env.insert(MARK.to_owned(), spawn.name.clone());
        }
        let pid = spawn::in_new_session(&argv, &env, &spawn.cwd, outlet.streams)
            .map_err(|error| refuse(argv.first().map_or("", String::as_str), &error))?;
        // Not reaped yet, whatever it did meanwhile: reaping is this thread's own business.
        let pidfd = Pid::from_raw(pid)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
            .map_err(|error| refuse("pidfd", &error))?;
        let entry = Entry {
            record: ProcessRecord {
                name: spawn.name.clone(),
                pid,
                started_at: super::log::now(),
                tty: spawn.tty.is_some(),
                key: spawn.key.clone(),
                state: ProcessState::Running,
            },
            start_ticks: Stat::read(pid).map_or(0, |stat| stat.start_ticks),
            whole_tree: spawn.whole_tree,
            once: spawn.once,
        };
        self.table.insert(spawn.name.clone(), entry);
        if let Some((log, stdout, stderr)) = outlet.capture {
            tokio::task::spawn_local(super::log::capture(Rc::clone(&log), Stream::Stdout, stdout));
            tokio::task::spawn_local(super::log::capture(log, Stream::Stderr, stderr));
        }
        Ok(Started { pid, pidfd, terminal: outlet.terminal })
    }

    fn check(&self, spawn: &Spawn, passed: usize) -> Result<(), Refusal> {
        let bad = |message: String| Err(Refusal::new(RefusalCode::BadRequest, message));
        let name = &spawn.name;
        if !is_valid_name(name) {
            return bad(format!("{name:?} can't name a process: use letters, digits, dot, _ and -"));
        }
        if let Some(log) = spawn.log.as_deref().filter(|log| !is_valid_name(log)) {
            return bad(format!("{log:?} can't name a log: use letters, digits, dot, _ and -"));
        }
        if passed != if spawn.pass_stdio { 3 } else { 0 } {
            return bad(format!("{name}: {passed} descriptors came with the request"));
        }
        if spawn.pass_stdio && (spawn.tty.is_some() || spawn.log.is_some()) {
            return bad(format!("{name}: streams can't be passed together with a terminal or a log"));
        }
        if !spawn.cwd.is_absolute() || !spawn.cwd.is_dir() {
            return bad(format!("{name}: {} is not a directory in the sandbox", spawn.cwd.display()));
        }
        match self.table.get(name) {
            Some(entry) if entry.record.state == ProcessState::Running => Err(Refusal::new(
                RefusalCode::NameTaken,
                format!("{name} runs already, as process {}", entry.record.pid),
            )),
            Some(entry) if spawn.once && spawn.key.is_some() && entry.record.key == spawn.key => {
                Err(Refusal::new(RefusalCode::NameTaken, format!("{name} was started for this already")))
            }
            _ => Ok(()),
        }
    }

    /// Notes the end of a process; an event if it was a named one.
    pub(super) fn ended(&mut self, pid: i32, code: Option<i32>, signal: Option<i32>) -> Option<Event> {
        let at = super::log::now();
        let entry = self
            .table
            .values_mut()
            .find(|entry| entry.record.pid == pid && entry.record.state == ProcessState::Running)?;
        let exit = Exit { code, signal, at };
        entry.record.state = ProcessState::Exited(exit);
        let name = entry.record.name.clone();
        self.drop_oldest();
        Some(Event::Exited { name, pid, exit })
    }

    fn drop_oldest(&mut self) {
        let ended = |entry: &Entry| match entry.record.state {
            ProcessState::Exited(exit) if !entry.once => Some((exit.at, entry.record.name.clone())),
            ProcessState::Exited(_) | ProcessState::Running => None,
        };
        let mut all: Vec<(Timestamp, String)> = self.table.values().filter_map(ended).collect();
        if all.len() > REMEMBERED {
            all.sort();
            self.table.remove(&all[0].1);
        }
    }

    pub(super) fn records(&self) -> Vec<ProcessRecord> {
        self.table.values().map(|entry| entry.record.clone()).collect()
    }

    /// Forgets an exit; a running process and an unknown name are left alone.
    pub(super) fn forget(&mut self, name: &str) {
        if self.table.get(name).is_some_and(|entry| entry.record.state != ProcessState::Running) {
            self.table.remove(name);
        }
    }

    /// The pid of a running process.
    pub(super) fn running(&self, name: &str) -> Result<i32, Refusal> {
        match self.table.get(name) {
            Some(entry) if entry.record.state == ProcessState::Running => Ok(entry.record.pid),
            _ => Err(Refusal::new(RefusalCode::NoSuchProcess, format!("no process {name} runs"))),
        }
    }

    /// Whose members to look for, if the name is known at all.
    pub(super) fn family(&self, name: &str) -> Result<Family, Refusal> {
        match self.table.get(name) {
            Some(entry) => Ok(Family {
                leader: entry.record.pid,
                start_ticks: entry.start_ticks,
                mark: entry.whole_tree.then(|| format!("{MARK}={name}").into_bytes()),
            }),
            None => Err(Refusal::new(RefusalCode::NoSuchProcess, format!("no process {name} is known"))),
        }
    }
}

/// Everything that was started by, or as, one named process.
pub(super) struct Family {
    pub(super) leader: i32,
    start_ticks: u64,
    mark: Option<Vec<u8>>,
}

impl Family {
    /// The pids of those that still run.
    pub(super) fn members(&self) -> Vec<i32> {
        // Somebody else has the leader's pid by now: the session of that number is not ours.
        let session_is_ours = Stat::read(self.leader).map_or(true, |stat| stat.start_ticks == self.start_ticks);
        all_pids()
            .into_iter()
            .filter(|pid| *pid != 1)
            .filter(|pid| {
                Stat::read(*pid).is_ok_and(|stat| {
                    let in_session = session_is_ours && stat.session == self.leader;
                    !stat.ended && (in_session || self.is_marked(*pid))
                })
            })
            .collect()
    }

    fn is_marked(&self, pid: i32) -> bool {
        self.mark.as_ref().is_some_and(|mark| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_slice()))
        })
    }
}

/// A process's streams, and this side's ends of them.
struct Outlet {
    streams: Streams,
    terminal: Option<OwnedFd>,
    capture: Option<(Rc<LogFile>, pipe::Receiver, pipe::Receiver)>,
}

fn outlet(spawn: &Spawn, mut passed: Vec<OwnedFd>, logs: &Logs) -> std::io::Result<Outlet> {
    if let Some(size) = spawn.tty {
        return terminal(size);
    }
    if let (true, Some(stderr), Some(stdout), Some(stdin)) =
        (spawn.pass_stdio, passed.pop(), passed.pop(), passed.pop())
    {
        return Ok(Outlet {
            streams: Streams { stdin, stdout, stderr, terminal: false },
            terminal: None,
            capture: None,
        });
    }
    let null = |flags| rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty());
    let stdin = null(OFlags::RDONLY)?;
    let Some(name) = spawn.log.as_deref().filter(|_| logs.are_kept()) else {
        let stdout = null(OFlags::WRONLY)?;
        let stderr = stdout.try_clone()?;
        return Ok(Outlet {
            streams: Streams { stdin, stdout, stderr, terminal: false },
            terminal: None,
            capture: None,
        });
    };
    // The process's ends block, as programs expect; ours do not.
    let (from_stdout, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (from_stderr, stderr) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    for end in [&from_stdout, &from_stderr] {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok(Outlet {
        streams: Streams { stdin, stdout, stderr, terminal: false },
        terminal: None,
        capture: Some((
            logs.file(name),
            pipe::Receiver::from_owned_fd(from_stdout)?,
            pipe::Receiver::from_owned_fd(from_stderr)?,
        )),
    })
}

/// A terminal of the sandbox's own devpts.
fn terminal(size: TerminalSize) -> std::io::Result<Outlet> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let path = Path::new("/dev/ptmx");
    let master = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let size = Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master.as_fd(), size)?;
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok(Outlet {
        streams: Streams { stdin: peer.try_clone()?, stdout: peer.try_clone()?, stderr: peer, terminal: true },
        terminal: Some(master),
        capture: None,
    })
}

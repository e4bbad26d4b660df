//! Places at which a test ends the daemon, as `kill -9` right there would.
//!
//! What the daemon does for a command is a row of steps: it writes its journal, changes the kernel or the disk, starts a
//! process, says its answer. It may die between any two. Each such place has a name in [`POINTS`] and calls [`point`] with it;
//! `tests/it/host/faults` kills a daemon at every one of them and looks at what the next daemon makes of it.
//!
//! `ENVFORGE_DIE_AT=<generation>/<point>:<nth>` ends the process when it passes the point for the n-th time, counted from
//! when it took a command of that generation; generation 0 is what a daemon does before its first command.
//! `ENVFORGE_POINTS=<file>` adds a line to the file for each point passed: the generation and the name.
//!
//! Only builds with debug assertions have this; in all others [`point`] is empty and the variables mean nothing.

/// Every point there is.
pub const POINTS: [&str; 34] = [
    "command.taken",
    "journal.before",
    "file.beside",
    "journal.after",
    "git.started",
    "checkout.bundled",
    "checkout.made",
    "checkout.there",
    "network.made",
    "network.open",
    "network.closed",
    "network.gone",
    "layer.grouped",
    "layer.forked",
    "layer.started",
    "layer.frozen",
    "layer.thawed",
    "layer.killed",
    "layer.ended",
    "secret.next",
    "password.changed",
    "secret.kept",
    "users.ended",
    "service.started",
    "services.ended",
    "job.started",
    "hook.started",
    "hook.ended",
    "files.removed",
    "stone.written",
    "journal.removed",
    "answer.before",
    "answer.sent",
    "report.sent",
];

/// What follows is done for a command of this generation.
#[inline]
pub(crate) fn command(generation: u64) {
    #[cfg(debug_assertions)]
    armed::GENERATION.store(generation, std::sync::atomic::Ordering::SeqCst);
    let _ = generation;
}

/// The daemon is at this point.
#[inline]
pub(crate) fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::passed(name);
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    /// Of the command that was taken last.
    pub(super) static GENERATION: AtomicU64 = AtomicU64::new(0);
    /// How often the point to die at may still be passed.
    static LEFT: AtomicU32 = AtomicU32::new(0);

    static PLAN: LazyLock<Plan> = LazyLock::new(Plan::read);

    struct Plan {
        die_at: Option<(u64, String)>,
        trace: Option<PathBuf>,
    }

    impl Plan {
        fn read() -> Self {
            let die_at = std::env::var("ENVFORGE_DIE_AT").ok().map(|text| {
                let parts = text.split_once('/').and_then(|(generation, rest)| {
                    let (point, nth) = rest.rsplit_once(':')?;
                    Some((generation.parse().ok()?, point.to_owned(), nth.parse().ok()?))
                });
                let (generation, point, nth) = parts.expect("ENVFORGE_DIE_AT is <generation>/<point>:<nth>");
                LEFT.store(nth, Ordering::SeqCst);
                (generation, point)
            });
            Self { die_at, trace: std::env::var_os("ENVFORGE_POINTS").map(PathBuf::from) }
        }
    }

    pub(super) fn passed(name: &'static str) {
        debug_assert!(super::POINTS.contains(&name), "{name} is not on the list");
        let generation = GENERATION.load(Ordering::SeqCst);
        if let Some(path) = &PLAN.trace {
            let mut file = fs_err::OpenOptions::new().append(true).create(true).open(path).expect("the list of points");
            file.write_all(format!("{generation} {name}\n").as_bytes()).expect("the list of points");
        }
        let is_it = PLAN.die_at.as_ref().is_some_and(|(of, at)| *of == generation && at == name);
        if is_it && LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

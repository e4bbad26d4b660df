//! Processes that the kernel ended because memory ran out, told as what they are.
//!
//! A signal says nothing: anybody may send KILL. The kernel counts, for the runtime's cgroup, the processes it ended for lack
//! of memory, and how often the runtime's own limit was met; a count that has risen is explained by the end of a
//! service that was killed, or that lost a process it had started. What no end explains within two looks is told of
//! the one service that lost a process meanwhile, and of the runtime when that can't be told. What was told is in the journal,
//! so that the next daemon tells the rest.

use super::driver::Driver;
use super::events::{RuntimeEvent, RuntimeLine};
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::init::protocol::Exit;
use crate::journal::OutOfMemoryRecord;
use crate::place::Place;
use crate::services::supervisor::{OUT_OF_MEMORY, OutOfMemory, SHORT, State};
use crate::sys::cgroup::Stats;
use crate::sys::ports::leader_of;
use crate::sys::process::Stat;
use crate::trouble::Note;
use envforge_core::size::Size;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at the count.
const LOOK: Duration = Duration::from_secs(1);
/// How a shell tells that what it ran was killed by signal 9.
const KILLED_BELOW: i32 = 128 + 9;
const KILL: i32 = 9;
const GIB: u64 = 1024 * 1024 * 1024;

/// Who ran when nothing was to be told; what the looking task and the driver share.
#[derive(Clone, Default)]
pub(crate) struct MemoryWatch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// Kills that were told.
    told: u64,
    /// Processes that services started, by their pid on the host; not the services' own.
    started: BTreeMap<i32, String>,
    /// The driver was told of a rise once already.
    noticed: bool,
}

impl MemoryWatch {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks once; whether there is something to tell.
    fn look(&self, ctx: &HostContext, place: &Place, leaders: &BTreeMap<i32, String>) -> bool {
        let Ok(stats) = ctx.engine.stats(place, Layer::Runtime) else { return false };
        if stats.oom_kills > self.lock().told {
            return true;
        }
        let pids: Vec<i32> = leaders.keys().copied().collect();
        let running = ctx.engine.processes(place, Layer::Runtime).unwrap_or_default();
        let started = running.into_iter().filter(|pid| !leaders.contains_key(pid));
        let started = started.filter_map(|pid| Some((pid, leaders.get(&leader_of(pid, &pids)?)?.clone()))).collect();
        self.lock().started = started;
        false
    }
}

/// Looks again and again, and tells of what is not explained.
pub(super) async fn watch<A>(
    ctx: Arc<HostContext>,
    place: Place,
    line: RuntimeLine,
    watch: MemoryWatch,
    mut aim: watch::Receiver<A>,
    leaders: impl Fn(&A) -> BTreeMap<i32, String>,
) {
    loop {
        let leaders = leaders(&aim.borrow_and_update());
        let (ctx, at, looking) = (Arc::clone(&ctx), place.clone(), watch.clone());
        let rose = tokio::task::spawn_blocking(move || looking.look(&ctx, &at, &leaders)).await;
        if rose.unwrap_or(false) {
            line.tell(RuntimeEvent::MemoryRanOut);
            tokio::time::sleep(LOOK).await;
        } else if let Ok(Err(_)) = tokio::time::timeout(LOOK, aim.changed()).await {
            return;
        }
    }
}

impl Driver {
    /// A runtime was built: its cgroup counts from nothing.
    pub(crate) fn count_memory_anew(&mut self) {
        self.runtime.memory = MemoryWatch::default();
        self.state.out_of_memory = Some(OutOfMemoryRecord::default());
    }

    /// A runtime of an earlier daemon goes on: what that one told is not told again.
    pub(super) fn take_up_memory(&mut self) {
        let now = self.ctx.engine.stats(&self.place, Layer::Runtime).unwrap_or_default();
        let record = self.state.out_of_memory.get_or_insert(counted(&now));
        self.runtime.memory.lock().told = record.kills;
    }

    /// What was counted and not told, if anything.
    fn untold(&self) -> Option<Stats> {
        let told = self.state.out_of_memory?;
        let now = self.ctx.engine.stats(&self.place, Layer::Runtime).ok()?;
        (now.oom_kills > told.kills).then_some(now)
    }

    /// Takes this much as told.
    fn told(&mut self, record: OutOfMemoryRecord) {
        self.state.out_of_memory = Some(record);
        let mut seen = self.runtime.memory.lock();
        (seen.told, seen.noticed) = (record.kills, false);
    }

    /// The services that have lost a process they had started.
    fn bereft(&self) -> BTreeSet<String> {
        let seen = self.runtime.memory.lock();
        let is_gone = |pid: i32| Stat::read(pid).map_or(true, |stat| stat.ended);
        seen.started.iter().filter(|(pid, _)| is_gone(**pid)).map(|(_, service)| service.clone()).collect()
    }

    /// Whether memory that ran out is what ended a process: a service's, or one of the runtime's own.
    pub(super) fn ended_for_memory(&mut self, service: Option<&str>, exit: Exit) -> Option<OutOfMemory> {
        if exit.code == Some(0) {
            return None;
        }
        let now = self.untold()?;
        let bereft = self.bereft();
        let was_killed = exit.signal == Some(KILL) || exit.code == Some(KILLED_BELOW);
        if !was_killed && !service.is_some_and(|service| bereft.contains(service)) {
            return None;
        }
        let told = self.state.out_of_memory.unwrap_or_default();
        let short = self.shortage(&told, &now);
        // Whoever else was killed is still to be told of.
        let others = bereft.iter().any(|other| Some(other.as_str()) != service);
        self.told(if others { OutOfMemoryRecord { kills: told.kills + 1, ..told } } else { counted(&now) });
        Some(short)
    }

    /// The count has risen. An end that explains it may be on its way, so the first word of it is only noted.
    pub(super) fn memory_ran_out(&mut self) {
        let Some(now) = self.untold() else { return };
        if !std::mem::replace(&mut self.runtime.memory.lock().noticed, true) {
            return;
        }
        let short = self.shortage(&self.state.out_of_memory.unwrap_or_default(), &now);
        let bereft = self.bereft();
        let single = (bereft.len() == 1).then(|| bereft.first().and_then(|name| self.runtime.units.get_mut(name)));
        if let Some(unit) = single.flatten() {
            let cause = format!("a process it had started {OUT_OF_MEMORY}: {}", short.cause);
            unit.memory_note = Some(Note { cause, fix: short.fix });
        } else {
            let cause = format!("a process in it {OUT_OF_MEMORY}: {}", short.cause);
            self.runtime.memory_note = Some(Note { cause, fix: short.fix });
        }
        self.told(counted(&now));
        self.publish();
    }

    /// Whose memory ran out, and what helps.
    fn shortage(&self, told: &OutOfMemoryRecord, now: &Stats) -> OutOfMemory {
        match self.order().map(|order| order.size).filter(|_| now.limit_hits > told.limit_hits) {
            Some(size) => OutOfMemory {
                cause: format!("the runtime reached its limit of {} GiB (size {size})", size.burst_memory() / GIB),
                fix: match Size::ALL.into_iter().find(|larger| *larger > size) {
                    Some(larger) => {
                        format!("a larger size: `envforge sleep`, then `envforge wake --size {larger}`")
                    }
                    None => format!("have its services use less memory: {size} is the largest size"),
                },
            },
            None => OutOfMemory {
                cause: "the host's machine has none left".to_owned(),
                fix: "put other workspaces to sleep, or give the host's machine more memory".to_owned(),
            },
        }
    }

    /// Services that memory ran out for are tried again with another size.
    pub(crate) fn retry_out_of_memory(&mut self) {
        for unit in self.runtime.units.values_mut() {
            if matches!(unit.supervisor.state(), State::Blocked { code, .. } if code == SHORT) {
                unit.supervisor.retry();
            }
            unit.memory_note = None;
        }
        self.runtime.memory_note = None;
    }
}

fn counted(stats: &Stats) -> OutOfMemoryRecord {
    OutOfMemoryRecord { kills: stats.oom_kills, limit_hits: stats.limit_hits }
}

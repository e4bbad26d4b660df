//! Taking a workspace up again: after a restart of the daemon, or of the machine.
//!
//! The journal says what was started; the kernel says what of it still runs. A layer that runs is held again and its init
//! asked what happened meanwhile. A runtime that is gone ended at an instant nobody saw: the report says so, with the
//! last proof that it ran. A shell that is gone is started again.

use super::driver::Driver;
use super::layers::Held;
use super::proof;
use super::runtime::Unit;
use crate::engines::Layer;
use crate::journal::Intent;
use crate::recorded::recording;
use crate::services::health::Mode;
use crate::services::log_file::Cursor;
use jiff::Timestamp;
use std::sync::Arc;

impl Driver {
    /// Finds what still runs and tells what is.
    pub(super) async fn take_up(&mut self) {
        let Some(prepared) = self.state.prepared.clone() else {
            return self.view.set_taken_up();
        };
        self.clear_elevated().await;
        self.serve_git(&prepared);
        // First of all: what is written from here on names these services.
        self.take_up_runtime().await;
        if let Some(identity) = self.state.shell {
            match self.ctx.engine.adopt(&self.place, Layer::Shell, identity) {
                Some(sandbox) => self.hold(Held::Shell, Arc::new(sandbox)),
                None => self.let_go(Held::Shell),
            }
        } else if self.state.shell_rests {
            self.clear_shell().await;
        }
        self.show();
        self.view.set_taken_up();
        if let Some(stop) = self.state.stopping.clone() {
            // Begun by an earlier daemon; the server asks again only for its answer.
            self.command(stop).await;
        }
        if let Some(rotating) = self.state.rotating.clone() {
            self.command(rotating.command).await;
        }
        self.keep_shell().await;
        self.look_at_manifest();
        self.publish();
    }

    /// A root terminal ended with its daemon; what is left of it goes.
    async fn clear_elevated(&self) {
        if let Err(error) = self.ctx.engine.end(&self.place, Layer::Elevated).await {
            tracing::error!(workspace = %self.place.workspace, %error, "a root terminal of an earlier daemon does not end");
        }
        if let Err(error) = recording::prune(&self.place, self.ctx.now()) {
            tracing::warn!(workspace = %self.place.workspace, %error, "recordings: old ones were not deleted");
        }
    }

    async fn take_up_runtime(&mut self) {
        let Some(identity) = self.state.runtime else {
            if !matches!(self.state.intent, Intent::Asleep)
                && self.state.last.as_ref().is_none_or(|last| !last.process_runs)
            {
                // It was to be started, and was not.
                self.state.intent = Intent::Asleep;
            }
            // Or it was, too late to be noted: nobody would ever ask for what nobody knows of.
            return self.clear_runtime().await;
        };
        let Some(sandbox) = self.ctx.engine.adopt(&self.place, Layer::Runtime, identity) else {
            tracing::warn!(workspace = %self.place.workspace, "the runtime ended while the daemon was away");
            self.news.last_proof = self.last_proof();
            self.clear_runtime().await;
            return self.runtime_is_gone("the runtime ended while the host daemon was away");
        };
        self.restore_units();
        self.take_up_memory();
        if self.state.stopping.is_none() {
            self.agree_with_freezer();
            self.reclaim_later();
        }
        self.hold(Held::Runtime, Arc::new(sandbox));
    }

    /// Until when it is proven to have run, if it was last told to run: also when it was on its way down, or ended before
    /// its first heartbeat.
    fn last_proof(&self) -> Option<Timestamp> {
        let told = self.state.last.as_ref().filter(|last| last.process_runs && last.phase.is_metered())?;
        Some(proof::read(&self.place.proof()).map_or(told.at, |proof| proof.max(told.at)))
    }

    async fn clear_runtime(&self) {
        if let Err(error) = self.ctx.engine.end(&self.place, Layer::Runtime).await {
            tracing::warn!(workspace = %self.place.workspace, %error, "runtime: not cleared away");
        }
    }

    /// Services as the journal knows them; their processes are looked for once the init answers.
    fn restore_units(&mut self) {
        let Some(manifest) = self.state.running.clone() else { return };
        drop(self.runtime.load(&manifest));
        for (name, record) in &self.state.services {
            if let Some(unit) = self.runtime.units.get_mut(name) {
                let restored = Unit::new(unit.declared.clone(), unit.mode.clone());
                let port = record.port.filter(|_| !matches!(restored.mode, Mode::Running));
                let (supervisor, address) = (record.supervisor.clone(), record.address);
                let log = record.log.map(|position| Cursor::at(&self.place.logs(), name, position));
                *unit = Unit { supervisor, pid: record.pid, port, address, log, ..restored };
            }
        }
    }

    /// A thaw or a freeze that was carried out and not noted.
    fn agree_with_freezer(&mut self) {
        let Some(frozen) = self.ctx.engine.is_frozen(&self.place, Layer::Runtime) else { return };
        let now = self.ctx.now();
        match (&self.state.intent, frozen) {
            (Intent::Awake { order }, true) => self.state.intent = Intent::Frozen { order: order.clone(), since: now },
            (Intent::Frozen { order, since }, false) => {
                self.state.wake_of = Some(*since);
                self.state.intent = Intent::Awake { order: order.clone() };
            }
            _ => {}
        }
    }
}

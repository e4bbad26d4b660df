//! Telling the server what is.
//!
//! A report is made after everything that may have changed something, compared with the last, and journaled before it
//! is sent. While there is no connection it waits; a new connection is first told everything that waits, in order.

use super::driver::Driver;
use crate::checkout_log;
use crate::files::Durability;
use envforge_api::host::{FromHost, Report};
use envforge_api::http::runs::RunState;
use envforge_core::id::JobId;
use envforge_core::readiness::PartKind;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What the next report says once.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) manifest: bool,
    pub(crate) jobs: BTreeSet<JobId>,
    /// The runtime's end was not seen; it was proven to run until then.
    pub(crate) last_proof: Option<Timestamp>,
}

impl News {
    fn is_empty(&self) -> bool {
        !self.manifest && self.jobs.is_empty() && self.last_proof.is_none()
    }
}

impl Driver {
    /// Reports what is, if it is not what was last reported.
    pub(crate) fn publish(&mut self) {
        self.show();
        if self.state.prepared.is_none() {
            return;
        }
        let report = self.report();
        let services = report.parts.iter().filter(|part| part.kind == PartKind::Service);
        self.view.get().readiness = services.map(|part| part.state).collect();
        let same = self.news.is_empty() && self.state.last.as_ref().is_some_and(|last| is_same(last, &report));
        if same {
            // Which processes run may have changed without anything to tell.
            if self.runtime.records() != self.state.services {
                drop(self.save(Durability::Process));
            }
            return;
        }
        let previous = self.state.last.take();
        let is_same = |last: &Report| (last.phase, last.process_runs) == (report.phase, report.process_runs);
        let checkout = if previous.as_ref().is_some_and(is_same) { None } else { checkout_log::read(&self.place) };
        let report = Report { checkout, ..report };
        let report = self.state.reports.push(report, previous.as_ref());
        self.state.last =
            Some(Report { manifest: None, jobs: Vec::new(), last_proof: None, checkout: None, ..report.clone() });
        self.news = News::default();
        if self.save(Durability::Process).is_ok() {
            self.tell(report);
        }
    }

    fn report(&self) -> Report {
        let (phase, process_runs, trouble) = self.phase();
        Report {
            workspace: self.place.workspace,
            sequence: 0,
            generation: self.state.generation,
            at: self.ctx.now(),
            phase,
            process_runs,
            last_proof: self.news.last_proof,
            trouble: trouble.map(Into::into),
            parts: self.parts(),
            manifest: self.news.manifest.then(|| self.state.manifest_reported.clone()).flatten(),
            jobs: self.news.jobs.iter().filter_map(|id| Some(self.state.jobs.get(id)?.report(*id))).collect(),
            checkout: None,
        }
    }

    /// Sends a report that the journal has; on a new connection, everything that waits.
    fn tell(&mut self, report: Report) {
        match self.ctx.outbox.connection() {
            Some(connection) if connection == self.connection => {
                self.ctx.outbox.send(FromHost::Report { report: Box::new(report) });
            }
            _ => self.repeat_reports(),
        }
    }

    /// Tells a new connection everything that was not acknowledged.
    pub(crate) fn repeat_reports(&mut self) {
        let Some(connection) = self.ctx.outbox.connection() else { return };
        if connection == self.connection || self.unsaved {
            return;
        }
        self.connection = connection;
        for report in self.state.reports.waiting() {
            self.ctx.outbox.send(FromHost::Report { report: Box::new(report.clone()) });
        }
    }

    /// Brings the view up to date.
    pub(crate) fn show(&self) {
        let runs = self.layer.sandbox.is_some();
        let mut seen = self.view.get();
        seen.generation = self.state.generation;
        seen.prepared.clone_from(&self.state.prepared);
        seen.shell.clone_from(&self.shell.client);
        seen.runtime_init = self.layer.client.clone().filter(|_| self.is_active());
        seen.services =
            self.manifest_in_force().map(|manifest| manifest.services.keys().cloned().collect()).unwrap_or_default();
        seen.ports = self.runtime.ports();
        seen.jobs = self.state.jobs.keys().map(ToString::to_string).collect();
        seen.jobs_running = self.state.jobs.values().filter(|job| job.state == RunState::Running).count() as u32;
        seen.runtime = self.layer.sandbox.as_ref().map(|sandbox| sandbox.identity());
        seen.runs = runs;
        seen.frozen = self.is_frozen();
        seen.process_runs = self.state.process_started;
    }
}

/// Whether two reports say the same, whenever they were made.
fn is_same(last: &Report, report: &Report) -> bool {
    (last.phase, last.process_runs, last.generation) == (report.phase, report.process_runs, report.generation)
        && last.trouble == report.trouble
        && last.parts == report.parts
}

//! Reports that wait to be acknowledged, and which of them a later one replaces.
//!
//! Each report is whole, so only the latest need arrive, except where the meter listens: a report that changed the
//! phase, or whether a process runs, opens or closes a window at its own instant. Such an *edge* is kept until the server
//! has it. What a replaced report said once (a manifest that changed, jobs whose state changed) moves into its successor, and so does where the checkout was.

use envforge_api::host::Report;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Edges kept while the server is away; beyond that the oldest that the meter does not need go first.
const EDGES_KEPT: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    edge: bool,
    report: Report,
}

/// Reports in the order of their sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportQueue {
    sequence: u64,
    waiting: VecDeque<Waiting>,
}

impl ReportQueue {
    /// Numbers a report, puts it in the queue and returns it as it is to be sent. `previous` is the last report made.
    pub(crate) fn push(&mut self, mut report: Report, previous: Option<&Report>) -> Report {
        self.sequence += 1;
        report.sequence = self.sequence;
        let edge = previous
            .is_none_or(|previous| (previous.phase, previous.process_runs) != (report.phase, report.process_runs))
            || report.last_proof.is_some();
        if let Some(last) = self.waiting.pop_back_if(|last| !last.edge) {
            inherit(&mut report, last.report);
        }
        self.waiting.push_back(Waiting { edge, report: report.clone() });
        self.bound();
        report
    }

    /// Forgets what the server has.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        while self.waiting.front().is_some_and(|first| first.report.sequence <= sequence) {
            self.waiting.pop_front();
        }
    }

    /// What is still to be acknowledged, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Report> {
        self.waiting.iter().map(|waiting| &waiting.report)
    }

    fn bound(&mut self) {
        while self.waiting.len() > EDGES_KEPT {
            let metered = |waiting: &Waiting| waiting.report.phase.is_metered() && waiting.report.process_runs;
            // One whose neighbour before it says the same to the meter; else the oldest.
            let dull = (1..self.waiting.len() - 1)
                .find(|at| metered(&self.waiting[*at]) == metered(&self.waiting[*at - 1]))
                .unwrap_or(0);
            let Some(gone) = self.waiting.remove(dull) else { return };
            if let Some(next) = self.waiting.get_mut(dull) {
                inherit(&mut next.report, gone.report);
            }
        }
    }
}

/// Takes over what the older report said once.
fn inherit(report: &mut Report, older: Report) {
    if report.manifest.is_none() {
        report.manifest = older.manifest;
    }
    if report.checkout.is_none() {
        report.checkout = older.checkout;
    }
    for job in older.jobs {
        if !report.jobs.iter().any(|newer| newer.job == job.job) {
            report.jobs.push(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_api::host::{JobReport, ManifestReport};
    use envforge_api::http::runs::RunState;
    use envforge_core::id::{Id as _, JobId, WorkspaceId};
    use envforge_core::runtime::ObservedPhase;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn report(phase: ObservedPhase, process_runs: bool) -> Report {
        Report {
            workspace: WorkspaceId::from_uuid(uuid::Uuid::from_u128(1)),
            sequence: 0,
            generation: 1,
            at: Timestamp::UNIX_EPOCH,
            phase,
            process_runs,
            last_proof: None,
            trouble: None,
            parts: Vec::new(),
            manifest: None,
            jobs: Vec::new(),
            checkout: None,
        }
    }

    #[test]
    fn a_plain_report_gives_way_and_leaves_its_news() {
        let mut queue = ReportQueue::default();
        let up = queue.push(report(ObservedPhase::Up, true), None);
        let mut news = report(ObservedPhase::Up, true);
        news.manifest = Some(ManifestReport::Missing);
        let job = JobId::from_uuid(uuid::Uuid::from_u128(2));
        news.jobs = vec![JobReport { job, state: RunState::Running, exit_code: None, cause: None }];
        let news = queue.push(news, Some(&up));
        let last = queue.push(report(ObservedPhase::Up, true), Some(&news));
        assert_eq!((last.sequence, last.manifest.as_ref(), last.jobs.len()), (3, Some(&ManifestReport::Missing), 1));
        assert_eq!(queue.waiting().map(|report| report.sequence).collect::<Vec<_>>(), [1, 3]);
    }

    fn phase() -> impl Strategy<Value = ObservedPhase> {
        prop_oneof![
            Just(ObservedPhase::Absent),
            Just(ObservedPhase::Starting),
            Just(ObservedPhase::Up),
            Just(ObservedPhase::Frozen),
            Just(ObservedPhase::Blocked),
        ]
    }

    proptest! {
        // proves COST-1
        #[test]
        fn the_meter_sees_every_edge(steps in prop::collection::vec((phase(), any::<bool>(), prop::option::of(0_u64..200)), 1..120)) {
            let mut queue = ReportQueue::default();
            let (mut previous, mut edges, mut acknowledged) = (None::<Report>, Vec::new(), 0);
            for (phase, runs, acknowledge) in steps {
                let sent = queue.push(report(phase, runs), previous.as_ref());
                if previous.as_ref().is_none_or(|previous| (previous.phase, previous.process_runs) != (phase, runs)) {
                    edges.push(sent.sequence);
                }
                previous = Some(sent);
                if let Some(sequence) = acknowledge {
                    queue.acknowledge(sequence);
                    acknowledged = acknowledged.max(sequence);
                }
                let waiting: Vec<u64> = queue.waiting().map(|report| report.sequence).collect();
                prop_assert!(waiting.is_sorted());
                for edge in edges.iter().filter(|edge| **edge > acknowledged) {
                    prop_assert!(waiting.contains(edge), "edge {} was lost: {:?}", edge, waiting);
                }
                let last = previous.as_ref().map_or(0, |report| report.sequence);
                prop_assert!(last <= acknowledged || waiting.last() == Some(&last), "the latest is always there");
            }
        }
    }
}

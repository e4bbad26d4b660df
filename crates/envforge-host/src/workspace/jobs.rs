//! Tests and jobs in the runtime.
//!
//! A job waits until the runtime is awake, setup is done and every resource is there; then it runs once, whatever becomes of the
//! daemon meanwhile: its end is kept by the init until it was noted here. Its output is a log of its own.

use super::driver::Driver;
use super::readiness::Hold;
use crate::engines::inside;
use crate::init::protocol::{Exit, ProcessState, Program, RefusalCode, SandboxState, Spawn};
use crate::resources::Provision;
use crate::uplink::logs::job_log;
use envforge_api::http::runs::RunState;
use envforge_core::id::JobId;
use envforge_core::manifest::{EnvValue, Manifest, Requirement, ResourceMode, Service, Wiring};
use std::collections::BTreeMap;

/// Names of jobs' processes begin so.
pub(super) const JOB: &str = "job.";
/// The name under which a job is wired; no service can have it.
const WIRED: &str = "_job";

/// Every input anything in the repository could ask for, in capitals: what a job is given.
fn wiring(manifest: &Manifest) -> Wiring {
    let mut names: Vec<String> = Vec::new();
    for (kind, mode) in &manifest.resources {
        if *mode == ResourceMode::BranchScoped {
            names.extend(kind.input_names().iter().map(|name| (*name).to_owned()));
        }
    }
    for service in manifest.services.keys() {
        let service = service.replace('-', "_");
        names.extend(["url", "port", "public_url"].map(|what| format!("{service}_{what}")));
    }
    names.extend(manifest.variables.keys().cloned());
    let job = Service {
        inputs: names.iter().map(|name| (name.clone(), Requirement::Optional)).collect(),
        environment: names.into_iter().map(|name| (name.to_uppercase(), EnvValue::Input(name))).collect(),
        // A port of its own keeps the suggestions of the others as they are.
        port: Some(u16::MAX),
        ..Service::default()
    };
    let mut with_job = manifest.clone();
    with_job.services.insert(WIRED.to_owned(), job);
    Wiring::new(&with_job)
}

impl Driver {
    /// Starts the jobs that wait, if what they need is there.
    pub(super) async fn start_jobs(&mut self) {
        let pending: Vec<JobId> =
            self.state.jobs.iter().filter(|(_, job)| job.state == RunState::Pending).map(|(id, _)| *id).collect();
        if pending.is_empty() {
            return;
        }
        match self.job_hold() {
            Some(Hold::Waits(_)) => {}
            Some(Hold::Blocked(block)) => {
                for id in pending {
                    self.fail_job(id, &block.cause);
                }
            }
            None => {
                for id in pending {
                    self.start_job(id).await;
                }
            }
        }
    }

    fn job_hold(&self) -> Option<Hold> {
        if let Some(hold) = self.setup_hold() {
            return Some(hold);
        }
        self.runtime.resources.iter().find_map(|(kind, provision)| match provision {
            Provision::Ready(_) => None,
            Provision::Pending => Some(Hold::Waits(format!("resource {kind} is starting"))),
            Provision::Blocked(block) => Some(Hold::Blocked(block.clone())),
        })
    }

    async fn start_job(&mut self, id: JobId) {
        let (Some(client), Some(job)) = (self.layer.client.clone(), self.state.jobs.get(&id)) else { return };
        let environment = self
            .state
            .running
            .as_ref()
            .map(|manifest| wiring(manifest).resolve(WIRED, &self.runtime.values(self.order())).unwrap_or_default())
            .unwrap_or_default();
        let mut spawn = Spawn::new(&format!("{JOB}{id}"), Program::Argv(job.argv.clone()));
        spawn.env = environment.into_iter().filter(|(name, _)| name != "PORT").collect::<BTreeMap<_, _>>();
        spawn.cwd = inside::CHECKOUT.into();
        spawn.log = Some(job_log(&id.to_string()));
        spawn.whole_tree = true;
        let started = client.spawn(spawn).await;
        match started {
            // Started before a crash of the daemon that was too early to note it: the same job.
            Ok(_) => self.job_runs(id),
            Err(error) if error.refusal() == Some(RefusalCode::NameTaken) => self.job_runs(id),
            Err(error) => self.fail_job(id, &error.to_string()),
        }
    }

    fn job_runs(&mut self, id: JobId) {
        if let Some(job) = self.state.jobs.get_mut(&id) {
            job.state = RunState::Running;
            self.state.process_started = true;
            self.news.jobs.insert(id);
        }
    }

    pub(super) fn fail_job(&mut self, id: JobId, cause: &str) {
        if let Some(job) = self.state.jobs.get_mut(&id).filter(|job| !job.is_over()) {
            job.state = RunState::Failed;
            job.cause = Some(cause.to_owned());
            self.news.jobs.insert(id);
        }
    }

    /// The jobs that ran can't have ended well.
    pub(crate) fn fail_running_jobs(&mut self, cause: &str) {
        self.fail_jobs_in(RunState::Running, cause);
    }

    /// The jobs that waited will not run.
    pub(crate) fn fail_pending_jobs(&mut self, cause: &str) {
        self.fail_jobs_in(RunState::Pending, cause);
    }

    fn fail_jobs_in(&mut self, state: RunState, cause: &str) {
        let ids: Vec<JobId> = self.state.jobs.iter().filter(|(_, job)| job.state == state).map(|(id, _)| *id).collect();
        for id in ids {
            self.fail_job(id, cause);
        }
    }

    /// A job's process ended.
    pub(super) fn job_exited(&mut self, job: &str, exit: Exit) {
        let Ok(id) = job.parse::<JobId>() else { return };
        if let Some(job) = self.state.jobs.get_mut(&id).filter(|job| !job.is_over()) {
            job.state = RunState::Ended;
            job.exit_code = exit.code.or(exit.signal.map(|signal| 128 + signal));
            self.news.jobs.insert(id);
        }
        self.forget(super::layers::Held::Runtime, &format!("{JOB}{id}"));
    }

    /// What became of the jobs while nobody listened.
    pub(super) fn reconcile_jobs(&mut self, known: &SandboxState) {
        let ids: Vec<JobId> = self.state.jobs.iter().filter(|(_, job)| !job.is_over()).map(|(id, _)| *id).collect();
        for id in ids {
            let record = known.processes.iter().find(|record| record.name == format!("{JOB}{id}"));
            let was_running = self.state.jobs.get(&id).is_some_and(|job| job.state == RunState::Running);
            match record.map(|record| &record.state) {
                Some(ProcessState::Running) => self.job_runs(id),
                Some(ProcessState::Exited(exit)) => self.job_exited(&id.to_string(), *exit),
                None if was_running => self.fail_job(id, "its end was not seen"),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_core::manifest::{InputValues, ResourceKind};

    #[test]
    fn a_job_is_given_every_input_there_is() {
        let mut manifest = Manifest::default();
        manifest.services.insert("api-v2".to_owned(), Service { port: Some(4000), ..Service::default() });
        manifest.resources.insert(ResourceKind::Postgres, ResourceMode::BranchScoped);
        manifest.variables.insert("region".to_owned(), "eu".to_owned());
        let mut values = InputValues::default();
        values.resource(ResourceKind::Postgres, "postgres://x");
        let environment = wiring(&manifest).resolve(WIRED, &values).expect("all is optional");
        let get = |name: &str| environment.get(name).map(String::as_str);
        assert_eq!(get("DATABASE_URL"), Some("postgres://x"));
        assert_eq!(get("API_V2_URL"), Some("http://127.0.0.1:4000"));
        assert_eq!(get("REGION"), Some("eu"));
        assert_eq!(get("REDIS_URL"), None);
    }
}

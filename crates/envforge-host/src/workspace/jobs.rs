//! Tests and jobs in the runtime.
//!
//! A job waits until the runtime is awake, setup is done and every resource is there; then it runs once, whatever becomes of the
//! daemon meanwhile: its end is kept by the init until it was noted here. Its output is a log of its own.
//!
//! It is given every input there is, or what one service is given: the same variables and secrets, in the same directory. Of
//! those, only what no other service has to provide is waited for: a migration runs before what needs it listens.

use super::driver::Driver;
use super::readiness::Hold;
use super::runtime::directory;
use crate::faults::point;
use crate::init::protocol::{Exit, ProcessState, Program, RefusalCode, SandboxState, Spawn};
use crate::resources::Provision;
use crate::uplink::logs::job_log;
use envforge_api::http::runs::RunState;
use envforge_core::id::JobId;
use envforge_core::manifest::{EnvValue, Manifest, Requirement, Service, Wiring};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names of jobs' processes begin so.
pub(super) const JOB: &str = "job.";
/// The name under which a job is wired; no service can have it.
const WIRED: &str = "_job";

/// What a process that is no service is given.
pub(super) struct Given {
    pub(super) environment: BTreeMap<String, String>,
    /// Which of its variables hold which secret.
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) directory: PathBuf,
}

/// Every input anything in the repository could ask for, in capitals.
fn every_input(manifest: &Manifest) -> Service {
    let mut names: Vec<String> = Vec::new();
    for (kind, mode) in &manifest.resources {
        if mode.is_branch_scoped() {
            names.extend(kind.input_names().map(str::to_owned));
        }
    }
    for service in manifest.services.keys() {
        let service = service.replace('-', "_");
        names.extend(["url", "port", "public_url"].map(|what| format!("{service}_{what}")));
    }
    names.extend(manifest.variables.keys().cloned());
    Service {
        inputs: names.iter().map(|name| (name.clone(), Requirement::Optional)).collect(),
        environment: names.into_iter().map(|name| (name.to_uppercase(), EnvValue::Input(name))).collect(),
        ..Service::default()
    }
}

/// What a job is given, as a service would be; none if the service it is to be like is not declared.
fn wiring(manifest: &Manifest, like: Option<&str>) -> Option<(Service, Wiring)> {
    let mut job = match like {
        Some(service) => manifest.services.get(service)?.clone(),
        None => every_input(manifest),
    };
    for requirement in job.inputs.values_mut() {
        *requirement = Requirement::Optional;
    }
    // A port of its own keeps the suggestions of the others as they are.
    job.port = Some(u16::MAX);
    let mut with_job = manifest.clone();
    with_job.services.insert(WIRED.to_owned(), job.clone());
    Some((job, Wiring::new(&with_job)))
}

impl Driver {
    /// Starts the jobs that wait, if what they need is there.
    pub(super) async fn start_jobs(&mut self) {
        let pending: Vec<JobId> =
            self.state.jobs.iter().filter(|(_, job)| job.state == RunState::Pending).map(|(id, _)| *id).collect();
        if pending.is_empty() {
            return;
        }
        for id in pending {
            match self.job_hold(id) {
                Some(Hold::Waits(_)) => {}
                Some(Hold::Blocked(block)) => self.fail_job(id, &block.cause),
                None => self.start_job(id).await,
            }
        }
    }

    fn job_hold(&self, id: JobId) -> Option<Hold> {
        if let Some(hold) = self.common_hold() {
            return Some(hold);
        }
        let service = self.state.jobs.get(&id).and_then(|job| job.service.as_ref());
        if let Some(hold) = service.and_then(|service| self.secrets_hold(service)) {
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
        let like = job.service.as_deref();
        let Some(given) = self.given(like) else {
            let cause = format!(
                "envforge.yml, as the runtime was woken with it, declares no service {}",
                like.unwrap_or_default()
            );
            return self.fail_job(id, &cause);
        };
        let mut spawn = Spawn::new(&format!("{JOB}{id}"), Program::Argv(job.argv.clone()));
        (spawn.env, spawn.secrets, spawn.cwd) = (given.environment, given.secrets, given.directory);
        spawn.log = Some(job_log(&id.to_string()));
        spawn.whole_tree = true;
        let started = client.spawn(spawn).await;
        point("job.started");
        match started {
            // Started before a crash of the daemon that was too early to note it: the same job.
            Ok(_) => self.job_runs(id),
            Err(error) if error.refusal() == Some(RefusalCode::NameTaken) => self.job_runs(id),
            Err(error) => self.fail_job(id, &error.to_string()),
        }
    }

    /// What is given to a process in the runtime that is no service: every input there is, or what this service is given.
    /// `None` if there is no such service.
    pub(super) fn given(&self, like: Option<&str>) -> Option<Given> {
        let (service, wiring) = wiring(self.state.running.as_ref().unwrap_or(&Manifest::default()), like)?;
        let mut environment = wiring.resolve(WIRED, &self.runtime.values(self.order())).unwrap_or_default();
        if !service.environment.contains_key("PORT") {
            // The service's own port is the service's.
            environment.remove("PORT");
        }
        Some(Given { environment, secrets: wiring.secret_variables(WIRED), directory: directory(&service) })
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
    use envforge_core::manifest::{InputValues, ResourceKind, ResourceMode};
    use envforge_core::secret::Secret;

    #[test]
    fn a_job_is_given_every_input_there_is() {
        let mut manifest = Manifest::default();
        manifest.services.insert("api-v2".to_owned(), Service { port: Some(4000), ..Service::default() });
        manifest.resources.insert(ResourceKind::Postgres, ResourceMode::default());
        manifest.variables.insert("region".to_owned(), "eu".to_owned());
        let mut values = InputValues::default();
        let given = [("database_url", Secret::new("postgres://x".to_owned()))];
        values.resource(ResourceKind::Postgres, given.into_iter().collect());
        let (_, wiring) = wiring(&manifest, None).expect("it is like no service");
        let environment = wiring.resolve(WIRED, &values).expect("all is optional");
        let get = |name: &str| environment.get(name).map(String::as_str);
        assert_eq!(get("DATABASE_URL"), Some("postgres://x"));
        assert_eq!(get("API_V2_URL"), Some("http://127.0.0.1:4000"));
        assert_eq!(get("REGION"), Some("eu"));
        assert_eq!(get("REDIS_URL"), None);
    }
}

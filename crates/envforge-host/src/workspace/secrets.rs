//! Secrets of services: fetched when the runtime starts, held in memory, gone with it.
//!
//! A service that declares a secret waits until the server has said what there is; then a required one that is
//! not there blocks it, and an optional one stays unset. What is missing is asked for again every few seconds, so setting it
//! is enough. Values are in this process's memory, in the environment of the services that declare them, and nowhere else:
//! not in the journal, not in a command, not in the shell layer. A daemon that comes up anew fetches them anew.

use super::driver::Driver;
use super::events::RuntimeEvent;
use super::readiness::Hold;
use crate::services::supervisor::State;
use crate::tasks::Owned;
use crate::trouble::{Blocked, blocked};
use envforge_api::client::Client;
use envforge_api::host::{AskSecrets, GivenSecrets, SECRETS_PATH};
use envforge_core::manifest::{Requirement, Source};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::{Secret, SecretName};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The first pause between two tries to reach the server.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long what is missing is not asked for again.
const AGAIN: SignedDuration = SignedDuration::from_secs(4);

/// What is known of the secrets that a runtime's services declare.
#[derive(Default)]
pub(crate) struct Secrets {
    given: BTreeMap<SecretName, Secret>,
    /// Asked for and answered, whether there is one or not.
    answered: BTreeSet<SecretName>,
    asking: Option<Owned>,
    /// Why the server gives none.
    trouble: Option<Blocked>,
    /// What is missing is not asked for before.
    not_before: Timestamp,
}

impl Secrets {
    /// What was given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&SecretName, &Secret)> {
        self.given.iter()
    }

    pub(super) fn is_missing(&self, name: &SecretName) -> bool {
        self.answered.contains(name) && !self.given.contains_key(name)
    }

    /// Asks nothing any more, until [`Driver::fetch_secrets`].
    pub(super) fn stop_asking(&mut self) {
        self.asking = None;
    }
}

impl Driver {
    /// Fetches what services declare and was not asked for yet.
    pub(crate) fn fetch_secrets(&mut self) {
        let Some(wiring) = &self.runtime.wiring else { return };
        let declared = wiring.services.keys().flat_map(|service| wiring.secrets_of(service).into_keys());
        let wanted: BTreeSet<SecretName> =
            declared.filter(|name| !self.runtime.secrets.answered.contains(name)).collect();
        if !wanted.is_empty() && self.runtime.secrets.asking.is_none() {
            self.ask_for(wanted);
        }
    }

    /// Fetches everything that services declare, also what is there: another version may be in use.
    pub(crate) fn fetch_secrets_anew(&mut self) {
        let secrets = &mut self.runtime.secrets;
        secrets.answered.clear();
        secrets.trouble = None;
        secrets.asking = None;
        self.fetch_secrets();
    }

    /// Asks again for what a service waits for.
    pub(crate) fn look_for_missing_secrets(&mut self) {
        let secrets = &self.runtime.secrets;
        if !self.is_active() || secrets.asking.is_some() || self.ctx.now() < secrets.not_before {
            return;
        }
        let Some(wiring) = &self.runtime.wiring else { return };
        let waiting = self.runtime.units.iter().filter(|(_, unit)| *unit.supervisor.state() == State::Waiting);
        let inputs =
            waiting.filter_map(|(name, _)| wiring.services.get(name)).flat_map(|service| service.inputs.values());
        let missing: BTreeSet<SecretName> = inputs
            .filter(|input| input.requirement == Requirement::Required)
            .filter_map(|input| match input.source() {
                Some(Source::Secret { name }) if secrets.is_missing(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        if !missing.is_empty() {
            self.ask_for(missing);
        }
    }

    fn ask_for(&mut self, names: BTreeSet<SecretName>) {
        let (Some(wiring), Some(line)) = (&self.runtime.wiring, self.line()) else { return };
        let of = |service: &String| {
            let declared = wiring.secrets_of(service).into_keys().filter(|name| names.contains(name));
            (service.clone(), declared.collect::<BTreeSet<_>>())
        };
        let ask = AskSecrets {
            workspace: self.place.workspace,
            generation: self.state.generation,
            services: wiring.services.keys().map(of).filter(|(_, declared)| !declared.is_empty()).collect(),
        };
        let server = self.ctx.server.clone();
        self.runtime.secrets.asking = Some(self.ctx.tasks.spawn_owned("secrets", async move {
            let given = fetch(&server, &ask).await;
            line.tell(RuntimeEvent::Secrets(names, given));
        }));
    }

    /// The server has said what there is.
    pub(super) async fn secrets_given(
        &mut self,
        names: BTreeSet<SecretName>,
        given: Result<BTreeMap<SecretName, Secret>, Blocked>,
    ) {
        let secrets = &mut self.runtime.secrets;
        secrets.asking = None;
        secrets.not_before = self.ctx.now().checked_add(AGAIN).unwrap_or(Timestamp::MAX);
        match given {
            Ok(mut given) => {
                secrets.trouble = None;
                let known = given.iter().map(|(name, value)| (name.as_str(), value.expose()));
                self.view.get().secrets.add(known);
                for name in names {
                    match given.remove(&name) {
                        Some(value) => drop(secrets.given.insert(name.clone(), value)),
                        None => drop(secrets.given.remove(&name)),
                    }
                    secrets.answered.insert(name);
                }
            }
            Err(block) => secrets.trouble = Some(block),
        }
        self.fetch_secrets();
        self.start_held_services().await;
        self.settle().await;
    }

    /// Nothing of the workspace has them any more.
    pub(super) fn forget_secrets(&self) {
        let seen = self.view.get();
        // An open root terminal may have taken one with it and still print it.
        if Arc::strong_count(&seen.secrets) == 1 {
            seen.secrets.forget();
        }
    }

    /// What keeps a service waiting for what the server says of its secrets.
    pub(super) fn secrets_hold(&self, service: &str) -> Option<Hold> {
        let secrets = &self.runtime.secrets;
        let declared = self.runtime.wiring.as_ref()?.secrets_of(service).into_keys();
        let name = declared.into_iter().find(|name| !secrets.answered.contains(name))?;
        Some(match &secrets.trouble {
            Some(trouble) => Hold::Blocked(trouble.clone()),
            None => Hold::Waits(format!("waits for secret {name}: the server has not answered yet")),
        })
    }
}

/// Asks until there is an answer; a server that is away is waited for.
async fn fetch(server: &Client, ask: &AskSecrets) -> Result<BTreeMap<SecretName, Secret>, Blocked> {
    let mut pause = FIRST_PAUSE;
    loop {
        let refusal = match server.post::<_, GivenSecrets>(SECRETS_PATH, ask).await {
            Ok(given) => return Ok(given.secrets.into_iter().map(|(name, value)| (name, value.0)).collect()),
            Err(error) => error.into_refusal(),
        };
        if refusal.retry_after.is_none() && refusal.kind != RefusalKind::Internal {
            return Err(said_no(&refusal));
        }
        tracing::debug!(workspace = %ask.workspace, code = refusal.code, "secrets: not given yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn said_no(refusal: &Refusal) -> Blocked {
    let cause = format!("the server gives no secrets: {}", refusal.message);
    blocked("service.secrets_refused", cause, "see the server's log, then `envforge wake`")
}

//! Who provides each input, and who may start when.
//!
//! A service never names another to come first. It asks for a value, and the value has a provider:
//!
//! | input | provider | known |
//! |---|---|---|
//! | `<service>_url`, `<service>_port` | the service, inside the workspace | at once with a declared `port`, else when it binds |
//! | `<service>_public_url` | the service's dev host | always: the label exists before anything runs |
//! | what [`ResourceKind::input_names`] lists, such as `database_url` | the resource | when it is provisioned |
//! | a name under `variables` | the file | always |
//! | any other name | the secret of that name in capitals | when the runtime has fetched it |
//!
//! A hyphen in a service's name is `_` in an input's. A service starts once everything it *requires* is known; what is
//! optional never holds it back. So the only order between services is the one their unknown ports impose, and the only
//! mistake possible is a circle of such ports ([`Wiring::cycle`]).

use core::net::{Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{EnvValue, Manifest, Requirement, ResourceKind, ResourceMode};
use crate::secret::{Secret, SecretName};

/// Where the value of an input comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// The address of a service inside the workspace, `http://127.0.0.1:<port>`.
    ServiceUrl {
        /// The service that provides it.
        service: String,
    },
    /// The port of a service inside the workspace.
    ServicePort {
        /// The service that provides it.
        service: String,
    },
    /// The origin of a service's dev host.
    ServicePublicUrl {
        /// The service that provides it.
        service: String,
    },
    /// The address of a branch-scoped resource or a piece of it, credentials included; the input's name says which.
    Resource {
        /// The resource that provides it.
        resource: ResourceKind,
    },
    /// A value written in the file.
    Variable {
        /// Its name under `variables`.
        name: String,
    },
    /// A secret that the org keeps.
    Secret {
        /// Its name.
        name: SecretName,
    },
}

/// Whether an input has a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Supply {
    /// It has one.
    Provided {
        /// The provider.
        source: Source,
    },
    /// It has none.
    Unsatisfied {
        /// Why not.
        cause: String,
        /// What would help.
        fix: String,
    },
}

/// An input of a service and its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct WiredInput {
    /// Whether the service can run without it.
    pub requirement: Requirement,
    /// Where it comes from.
    pub supply: Supply,
}

/// What is known of a service's port before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// Declared in the file.
    Declared(u16),
    /// Found when the service binds.
    Discover {
        /// Given to the service as `PORT`; it may listen elsewhere.
        suggested_port: u16,
    },
}

/// One service's place in the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ServiceWiring {
    /// Its port.
    pub port: Port,
    /// Its inputs, by name.
    pub inputs: BTreeMap<String, WiredInput>,
    /// The services whose port must be found before this one starts.
    pub waits_for: BTreeSet<String>,
    /// Its environment, as the file maps it.
    pub environment: BTreeMap<String, EnvValue>,
}

/// Every service's place in the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Wiring {
    /// The services, by name.
    pub services: BTreeMap<String, ServiceWiring>,
    /// The file's plain values, by name.
    pub variables: BTreeMap<String, String>,
}

/// A required input whose value is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service `{service}` needs input `{input}`, which has no value yet")]
pub struct MissingInput {
    /// The service that asked.
    pub service: String,
    /// The input it asked for.
    pub input: String,
}

/// The values known so far. It holds passwords (a resource's address has one), so it can't be printed or sent.
#[derive(Clone, Default)]
pub struct InputValues {
    values: BTreeMap<Source, String>,
    /// What each resource gives, by the input's name.
    resources: BTreeMap<ResourceKind, BTreeMap<&'static str, Secret>>,
}

impl fmt::Debug for InputValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.sources()).finish()
    }
}

impl InputValues {
    /// Records the port a service listens on: both its URL and its port inside the workspace.
    pub fn bound(&mut self, service: &str, port: u16) {
        self.bound_at(service, (Ipv4Addr::LOCALHOST, port).into());
    }

    /// The same for a service that does not listen on 127.0.0.1.
    pub fn bound_at(&mut self, service: &str, address: SocketAddr) {
        let service = service.to_owned();
        let url = Source::ServiceUrl { service: service.clone() };
        self.values.insert(url, service_url(address));
        self.values.insert(Source::ServicePort { service }, address.port().to_string());
    }

    /// Records the origin of a service's dev host.
    pub fn public_url(&mut self, service: &str, origin: impl Into<String>) {
        let service = service.to_owned();
        self.values.insert(Source::ServicePublicUrl { service }, origin.into());
    }

    /// Records what a resource that is provisioned gives: a value for each of its inputs.
    pub fn resource(&mut self, resource: ResourceKind, values: BTreeMap<&'static str, Secret>) {
        self.resources.insert(resource, values);
    }

    /// Records a secret that was fetched.
    pub fn secret(&mut self, name: &SecretName, value: &Secret) {
        self.values.insert(Source::Secret { name: name.clone() }, value.expose().to_owned());
    }

    /// Forgets the port of a service that no longer listens.
    pub fn unbound(&mut self, service: &str) {
        self.values.retain(|source, _| match source {
            Source::ServiceUrl { service: bound } | Source::ServicePort { service: bound } => bound != service,
            _ => true,
        });
    }

    /// The sources that have a value: what [`Wiring::ready_to_start`] asks for.
    pub fn sources(&self) -> BTreeSet<Source> {
        let resources = self.resources.keys().map(|resource| Source::Resource { resource: *resource });
        self.values.keys().cloned().chain(resources).collect()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceUrl { service } => write!(formatter, "the address of service {service}"),
            Self::ServicePort { service } => write!(formatter, "the port of service {service}"),
            Self::ServicePublicUrl { service } => write!(formatter, "the dev host of service {service}"),
            Self::Resource { resource } => write!(formatter, "resource {resource}"),
            Self::Variable { name } => write!(formatter, "variable {name}"),
            Self::Secret { name } => write!(formatter, "secret {name}"),
        }
    }
}

impl Port {
    /// The declared port, if there is one.
    pub fn declared(self) -> Option<u16> {
        match self {
            Self::Declared(port) => Some(port),
            Self::Discover { .. } => None,
        }
    }

    /// What the service is given as `PORT`.
    pub fn suggested(self) -> u16 {
        match self {
            Self::Declared(port) => port,
            Self::Discover { suggested_port } => suggested_port,
        }
    }
}

impl WiredInput {
    /// The provider, if there is one.
    pub fn source(&self) -> Option<&Source> {
        match &self.supply {
            Supply::Provided { source } => Some(source),
            Supply::Unsatisfied { .. } => None,
        }
    }
}

impl Wiring {
    /// Resolves every input of a manifest.
    pub fn new(manifest: &Manifest) -> Self {
        let ports = ports(manifest);
        let providers = providers(manifest);
        let wire = |service: &str| -> Option<ServiceWiring> {
            let declared = manifest.services.get(service)?;
            let inputs: BTreeMap<String, WiredInput> = declared
                .inputs
                .iter()
                .map(|(input, requirement)| {
                    let supply = supply(manifest, &providers, input);
                    let requirement = *requirement;
                    (input.clone(), WiredInput { requirement, supply })
                })
                .collect();
            let waits_for = inputs
                .values()
                .filter(|input| input.requirement == Requirement::Required)
                .filter_map(WiredInput::source)
                .filter_map(Source::awaited_service)
                .filter(|provider| ports.get(*provider).is_some_and(|port| port.declared().is_none()))
                .map(str::to_owned)
                .collect();
            Some(ServiceWiring {
                port: *ports.get(service)?,
                inputs,
                waits_for,
                environment: declared.environment.clone(),
            })
        };
        let services = manifest.services.keys().filter_map(|name| Some((name.clone(), wire(name)?)));
        Self { services: services.collect(), variables: manifest.variables.clone() }
    }

    /// The services whose required inputs are all known, given what is. Those already running stay in the answer.
    pub fn ready_to_start(&self, satisfied: &BTreeSet<Source>) -> Vec<&str> {
        let services = self.services.iter();
        services
            .filter(|(_, wiring)| self.missing(wiring, satisfied).next().is_none())
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The required inputs that hold a service back, given what is known.
    pub fn held_back_by<'a>(&'a self, service: &str, satisfied: &'a BTreeSet<Source>) -> Vec<&'a str> {
        let wiring = self.services.get(service);
        wiring.into_iter().flat_map(|wiring| self.missing(wiring, satisfied)).collect()
    }

    /// The environment of a service: what the file maps, and `PORT` unless the file sets it.
    ///
    /// Variables of optional inputs without a value are left out.
    pub fn resolve(&self, service: &str, values: &InputValues) -> Result<BTreeMap<String, String>, MissingInput> {
        let mut environment = BTreeMap::new();
        let Some(wiring) = self.services.get(service) else {
            return Ok(environment);
        };
        environment.insert("PORT".to_owned(), wiring.port.suggested().to_string());
        for (variable, value) in &wiring.environment {
            let text = match value {
                EnvValue::Literal(text) => Some(text.clone()),
                EnvValue::Input(input) => self.value_of(wiring, input, values),
            };
            match (text, value) {
                (Some(text), _) => {
                    environment.insert(variable.clone(), text);
                }
                (None, EnvValue::Input(input)) if wiring.requires(input) => {
                    let (service, input) = (service.to_owned(), input.clone());
                    return Err(MissingInput { service, input });
                }
                // An optional input may be mapped onto `PORT` too: the suggestion stands while it has no value.
                (None, _) => {}
            }
        }
        Ok(environment)
    }

    /// The services that take an input of a resource, in the order of their names.
    pub fn users_of(&self, resource: ResourceKind) -> impl Iterator<Item = &str> {
        let takes = move |wiring: &ServiceWiring| {
            let mut sources = wiring.inputs.values().filter_map(WiredInput::source);
            sources.any(|source| *source == Source::Resource { resource })
        };
        self.services.iter().filter(move |(_, wiring)| takes(wiring)).map(|(name, _)| name.as_str())
    }

    /// The secrets a service declares, by the environment variable that is given each; a secret mapped onto no variable is
    /// declared all the same, under no name.
    pub fn secrets_of(&self, service: &str) -> BTreeMap<SecretName, Vec<&str>> {
        let Some(wiring) = self.services.get(service) else { return BTreeMap::new() };
        let secrets = wiring.inputs.iter().filter_map(|(input, wired)| match wired.source() {
            Some(Source::Secret { name }) => Some((input, name.clone())),
            _ => None,
        });
        let variables = |input: &String| {
            let mapped = wiring.environment.iter();
            mapped
                .filter(|(_, value)| matches!(value, EnvValue::Input(from) if from == input))
                .map(|(variable, _)| variable.as_str())
                .collect()
        };
        secrets.map(|(input, name)| (name, variables(input))).collect()
    }

    /// The variables of a service whose values nobody is to read in what it writes, each with the name of its secret, or with
    /// its input where that is a resource's password and nothing else.
    pub fn secret_variables(&self, service: &str) -> BTreeMap<String, String> {
        let mut variables = self.passwords_of(service);
        for (secret, names) in self.secrets_of(service) {
            variables.extend(names.into_iter().map(|name| (name.to_owned(), secret.to_string())));
        }
        variables
    }

    /// The variables of a service that hold a resource's password and nothing else, each with its input.
    fn passwords_of(&self, service: &str) -> BTreeMap<String, String> {
        let environment = self.services.get(service).into_iter().flat_map(|wiring| &wiring.environment);
        environment
            .filter_map(|(variable, value)| match value {
                EnvValue::Input(from) if ResourceKind::PASSWORDS.contains(&from.as_str()) => {
                    Some((variable.clone(), from.clone()))
                }
                _ => None,
            })
            .collect()
    }

    /// A circle of services that each wait for the next one's port, first name repeated at the end.
    pub fn cycle(&self) -> Option<Vec<String>> {
        self.cycles().into_iter().next()
    }

    /// The circles of services that wait for each other, at least one for every such group.
    pub(super) fn cycles(&self) -> Vec<Vec<String>> {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut found = Vec::new();
        for start in self.services.keys() {
            // A walk over unfinished services: `path` is where we are, with what is left to try at each step.
            let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
            let mut next = Some(start.as_str());
            while let Some(service) = next.take() {
                let circle = path.iter().position(|(on_path, _)| *on_path == service);
                if let Some(from) = circle {
                    let mut names: Vec<String> = path[from..].iter().map(|(name, _)| (*name).to_owned()).collect();
                    names.push(service.to_owned());
                    found.push(names);
                    done.extend(path[from..].iter().map(|(name, _)| *name));
                } else if !done.contains(service) {
                    path.push((service, self.waited_for_by(service)));
                }
                while let Some((here, left)) = path.last_mut() {
                    if let Some(follow) = left.pop() {
                        next = Some(follow);
                        break;
                    }
                    done.insert(here);
                    path.pop();
                }
            }
        }
        found
    }

    fn waited_for_by(&self, service: &str) -> Vec<&str> {
        let wiring = self.services.get(service);
        wiring.into_iter().flat_map(|wiring| wiring.waits_for.iter().rev()).map(String::as_str).collect()
    }

    fn missing<'a>(
        &'a self,
        wiring: &'a ServiceWiring,
        satisfied: &'a BTreeSet<Source>,
    ) -> impl Iterator<Item = &'a str> {
        let required = wiring.inputs.iter().filter(|(_, input)| input.requirement == Requirement::Required);
        required
            .filter(|(_, input)| !input.source().is_some_and(|source| self.is_known(source, satisfied)))
            .map(|(name, _)| name.as_str())
    }

    fn is_known(&self, source: &Source, satisfied: &BTreeSet<Source>) -> bool {
        match source {
            Source::Variable { .. } | Source::ServicePublicUrl { .. } => true,
            Source::Resource { .. } | Source::Secret { .. } => satisfied.contains(source),
            Source::ServiceUrl { service } | Source::ServicePort { service } => {
                // Either of the two says that the service is bound.
                let service = service.clone();
                self.services.get(&service).is_some_and(|provider| provider.port.declared().is_some())
                    || satisfied.contains(source)
                    || satisfied.contains(&Source::ServiceUrl { service: service.clone() })
                    || satisfied.contains(&Source::ServicePort { service })
            }
        }
    }

    fn value_of(&self, wiring: &ServiceWiring, input: &str, values: &InputValues) -> Option<String> {
        let source = wiring.inputs.get(input)?.source()?;
        if let Source::Resource { resource } = source {
            return values.resources.get(resource)?.get(input).map(|value| value.expose().to_owned());
        }
        if let Some(value) = values.values.get(source) {
            return Some(value.clone());
        }
        let declared = |service: &str| self.services.get(service).and_then(|provider| provider.port.declared());
        match source {
            Source::Variable { name } => self.variables.get(name).cloned(),
            Source::ServiceUrl { service } => {
                declared(service).map(|port| service_url((Ipv4Addr::LOCALHOST, port).into()))
            }
            Source::ServicePort { service } => declared(service).map(|port| port.to_string()),
            Source::ServicePublicUrl { .. } | Source::Resource { .. } | Source::Secret { .. } => None,
        }
    }
}

impl ServiceWiring {
    fn requires(&self, input: &str) -> bool {
        self.inputs.get(input).is_none_or(|wired| wired.requirement == Requirement::Required)
    }
}

impl Source {
    /// The service whose port decides this value.
    pub(super) fn awaited_service(&self) -> Option<&str> {
        match self {
            Self::ServiceUrl { service } | Self::ServicePort { service } => Some(service),
            _ => None,
        }
    }
}

/// The address of a service as its neighbours in the workspace see it.
fn service_url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Every input name something provides, with all its providers: more than one is a mistake `check` reports.
pub(super) fn providers(manifest: &Manifest) -> BTreeMap<String, Vec<Source>> {
    let mut found: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    let mut add = |name: String, source: Source| found.entry(name).or_default().push(source);
    for (kind, mode) in &manifest.resources {
        if mode.is_branch_scoped() {
            for name in kind.input_names() {
                add(name.to_owned(), Source::Resource { resource: *kind });
            }
        }
    }
    for service in manifest.services.keys() {
        let name = service.replace('-', "_");
        let service = service.clone();
        add(format!("{name}_url"), Source::ServiceUrl { service: service.clone() });
        add(format!("{name}_port"), Source::ServicePort { service: service.clone() });
        add(format!("{name}_public_url"), Source::ServicePublicUrl { service });
    }
    for name in manifest.variables.keys() {
        add(name.clone(), Source::Variable { name: name.clone() });
    }
    found
}

/// The resource whose address this input is, whether or not the manifest declares it.
pub(super) fn resource_at(input: &str) -> Option<ResourceKind> {
    ResourceKind::ALL.into_iter().find(|kind| kind.address_inputs().contains(&input))
}

fn supply(manifest: &Manifest, providers: &BTreeMap<String, Vec<Source>>, input: &str) -> Supply {
    if let Some(source) = providers.get(input).and_then(|sources| sources.first()) {
        return Supply::Provided { source: source.clone() };
    }
    let secret = |name: SecretName| Supply::Provided { source: Source::Secret { name } };
    let unsatisfied = |cause: String, fix: String| Supply::Unsatisfied { cause, fix };
    let Some(kind) = resource_at(input) else {
        return SecretName::of_input(input).map_or_else(
            |error| {
                let fix = format!("declare it under `variables`, or remove `{input}` from `inputs`");
                unsatisfied(format!("no service, resource or variable provides {input}: {error}"), fix)
            },
            secret,
        );
    };
    match manifest.resources.get(&kind) {
        Some(ResourceMode::CustomerCloud { secret: name }) => name.parse().map_or_else(
            |error| {
                let cause = format!("{kind} is in the customer's cloud, and `{name}` is no secret: {error}");
                unsatisfied(cause, format!("write `{}`", name.to_ascii_uppercase()))
            },
            secret,
        ),
        _ => unsatisfied(
            format!("no service, resource or variable provides {input}"),
            format!("write `{kind}: branch_scoped` under `resources`"),
        ),
    }
}

/// The port of every service: declared, or a suggestion no other service has.
fn ports(manifest: &Manifest) -> BTreeMap<&str, Port> {
    let mut taken: BTreeSet<u16> = manifest.services.values().filter_map(|service| service.port).collect();
    let mut ports = BTreeMap::new();
    let mut suggest = |first: u16| {
        let free = (first..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(first);
        taken.insert(free);
        free
    };
    // `web` and `api` choose first, so that a neighbour's name never moves them.
    for (name, first) in [("web", 3000), ("api", 4000)] {
        if let Some((name, _)) = manifest.services.get_key_value(name).filter(|(_, service)| service.port.is_none()) {
            ports.insert(name.as_str(), Port::Discover { suggested_port: suggest(first) });
        }
    }
    let mut next = 8000;
    for (name, service) in &manifest.services {
        ports.entry(name.as_str()).or_insert_with(|| {
            service.port.map_or_else(
                || {
                    next = suggest(next);
                    Port::Discover { suggested_port: next }
                },
                Port::Declared,
            )
        });
    }
    ports
}

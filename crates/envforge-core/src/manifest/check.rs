//! What is wrong with a manifest whose every part is right: clashes, names that lead nowhere, inputs nobody provides.
//!
//! The manifest says what, the tree says where. Places are looked up only for what is wrong.

use std::collections::BTreeMap;

use super::diagnostic::quoted;
use super::hints;
use super::model::{EnvValue, Manifest, Requirement};
use super::parse::Report;
use super::tree::{Entry, Node};
use super::wiring::{self, Source, Supply, Wiring};

/// Reports everything wrong with the whole. `unsure`: something that may provide inputs could not be read, so a missing
/// provider is not a mistake of its own.
pub(super) fn check(manifest: &Manifest, root: &Node, unsure: bool, report: &mut Report<'_>) {
    let mut checker = Checker { manifest, root, report };
    checker.ports();
    checker.routes();
    checker.labels();
    checker.mapped_inputs();
    checker.checked_services();
    let providers = wiring::providers(manifest);
    checker.providers(&providers);
    let wiring = Wiring::new(manifest);
    if !unsure {
        checker.unsatisfied(&wiring, &providers);
    }
    checker.cycles(&wiring);
}

struct Checker<'a, 'source> {
    manifest: &'a Manifest,
    root: &'a Node,
    report: &'a mut Report<'source>,
}

impl<'a> Checker<'a, '_> {
    fn entry(&self, path: &[&str]) -> Option<&'a Entry> {
        self.root.nearest(path)
    }

    fn key_at(&self, path: &[&str]) -> usize {
        self.entry(path).map_or(self.root.at, |entry| entry.at)
    }

    fn value_at(&self, path: &[&str]) -> usize {
        self.entry(path).map_or(self.root.at, Entry::value_at)
    }

    fn line(&self, path: &[&str]) -> u32 {
        self.report.line(self.key_at(path))
    }

    /// Services in the order of the file, so that the second of two is the one further down.
    fn in_file_order(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.manifest.services.keys().map(String::as_str).collect();
        let order: BTreeMap<&str, usize> = match &self.root.entry("services").map(|entry| &entry.node.value) {
            Some(super::tree::Value::Map(entries)) => {
                entries.iter().enumerate().map(|(place, entry)| (entry.key.as_str(), place)).collect()
            }
            _ => BTreeMap::new(),
        };
        names.sort_by_key(|name| order.get(name).copied());
        names
    }

    fn ports(&mut self) {
        let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
        for name in self.in_file_order() {
            let Some(port) = self.manifest.services.get(name).and_then(|service| service.port) else { continue };
            let Some(owner) = owners.get(&port) else {
                owners.insert(port, name);
                continue;
            };
            let line = self.line(&["services", owner, "port"]);
            self.report.add(
                self.value_at(&["services", name, "port"]),
                "manifest.port_clash",
                format!(
                    "port {port} of service {} is already the port of service {}, on line {line}",
                    quoted(name),
                    quoted(owner)
                ),
                "give one of the two another port",
            );
        }
    }

    fn routes(&mut self) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for name in self.in_file_order() {
            let routes = self.manifest.services.get(name).map_or(&[][..], |service| &service.routes);
            for route in routes {
                let Some(owner) = owners.get(route.as_str()) else {
                    owners.insert(route, name);
                    continue;
                };
                let line = self.line(&["services", owner, "routes"]);
                let at = self.route_at(name, route);
                self.report.add(
                    at,
                    "manifest.route_clash",
                    format!(
                        "route {} of service {} already leads to service {}, on line {line}",
                        quoted(route),
                        quoted(name),
                        quoted(owner)
                    ),
                    "give one of the two another path prefix",
                );
            }
        }
    }

    fn route_at(&self, service: &str, route: &str) -> usize {
        let path = ["services", service, "routes"];
        let Some(entry) = self.entry(&path) else { return self.root.at };
        let super::tree::Value::List(items) = &entry.node.value else { return entry.at };
        let is_route = |item: &&Node| {
            let text = super::scalar::written(item).unwrap_or_default();
            super::names::route(text).is_ok_and(|kept| kept == route)
        };
        items.iter().find(is_route).map_or(entry.at, |item| item.at)
    }

    /// A two-letter service gets `-svc` in its host name, where it can meet a service that is called so.
    fn labels(&mut self) {
        for name in self.manifest.services.keys().filter(|name| name.len() == 2) {
            let longer = format!("{name}-svc");
            if self.manifest.services.contains_key(&longer) {
                self.report.add(
                    self.key_at(&["services", &longer]),
                    "manifest.name_clash",
                    format!(
                        "services {} and {} would have the same dev host, `{longer}--…`",
                        quoted(name),
                        quoted(&longer)
                    ),
                    format!("rename {}", quoted(&longer)),
                );
            }
        }
    }

    fn mapped_inputs(&mut self) {
        for (name, service) in &self.manifest.services {
            for (variable, value) in &service.environment {
                let EnvValue::Input(input) = value else { continue };
                if service.inputs.contains_key(input) || self.report.is_full() {
                    continue;
                }
                let fix = match hints::nearest(input, service.inputs.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `input.{near}`?"),
                    None => format!("add it to the service: {}", quoted(&format!("inputs: {{ {input}: required }}"))),
                };
                self.report.add(
                    self.value_at(&["services", name, "environment", variable]),
                    "manifest.undeclared_input",
                    format!(
                        "variable {variable} takes {}, which service {} does not list under `inputs`",
                        quoted(&format!("input.{input}")),
                        quoted(name)
                    ),
                    fix,
                );
            }
        }
    }

    fn checked_services(&mut self) {
        let names = || self.manifest.services.keys().map(String::as_str);
        for (name, check) in &self.manifest.checks {
            if self.manifest.services.contains_key(&check.service) || self.report.is_full() {
                continue;
            }
            let fix = match hints::nearest(&check.service, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("name one of the services: {}", hints::list(names())),
            };
            self.report.add(
                self.value_at(&["checks", name, "service"]),
                "manifest.unknown_service",
                format!("check {} asks service {}, which is not declared", quoted(name), quoted(&check.service)),
                fix,
            );
        }
    }

    /// An input has one provider.
    fn providers(&mut self, providers: &BTreeMap<String, Vec<Source>>) {
        for (input, sources) in providers.iter().filter(|(_, sources)| sources.len() > 1) {
            let [.., last] = sources.as_slice() else { continue };
            let path = match last {
                Source::ServiceUrl { service }
                | Source::ServicePort { service }
                | Source::ServicePublicUrl { service } => ["services", service],
                Source::Resource { resource } => ["resources", resource.as_str()],
                Source::Variable { name } => ["variables", name],
                // Never beside another: it provides what nothing else does.
                Source::Secret { name } => ["inputs", name.as_str()],
            };
            let all: Vec<String> = sources.iter().map(ToString::to_string).collect();
            self.report.add(
                self.key_at(&path),
                "manifest.ambiguous_input",
                format!("input {} would come from {}", quoted(input), all.join(" and from ")),
                match last {
                    Source::Variable { .. } => "rename the variable",
                    _ => "rename the service",
                },
            );
        }
    }

    fn unsatisfied(&mut self, wiring: &Wiring, providers: &BTreeMap<String, Vec<Source>>) {
        for (name, service) in &wiring.services {
            let required = service.inputs.iter().filter(|(_, input)| input.requirement == Requirement::Required);
            for (input, wired) in required {
                let known = providers.keys().map(String::as_str);
                let fix = match &wired.supply {
                    Supply::Unsatisfied { fix, .. } => fix.clone(),
                    // A secret is set outside the file, so whether it is there can't be said here; but what is nearly
                    // the name of something in the file is hardly meant to be one.
                    Supply::Provided { source: Source::Secret { .. } } if wiring::resource_at(input).is_none() => {
                        let Some(near) = hints::nearest(input, known.clone()) else { continue };
                        format!(
                            "did you mean `{near}`? Provided in this file: {}. A secret needs a name further from these",
                            hints::list(known)
                        )
                    }
                    Supply::Provided { .. } => continue,
                };
                if self.report.is_full() {
                    return;
                }
                self.report.add(
                    self.key_at(&["services", name, "inputs", input]),
                    "manifest.unsatisfied_input",
                    format!("service {} requires input {}, and nothing provides it", quoted(name), quoted(input)),
                    fix,
                );
            }
        }
    }

    fn cycles(&mut self, wiring: &Wiring) {
        for circle in wiring.cycles() {
            let [first, second, ..] = circle.as_slice() else { continue };
            let inputs = wiring.services.get(first).map(|service| &service.inputs);
            let input = inputs.and_then(|inputs| {
                let leads_on = |source: &Source| source.awaited_service() == Some(second);
                let found = inputs.iter().find(|(_, input)| {
                    input.requirement == Requirement::Required && input.source().is_some_and(leads_on)
                });
                found.map(|(name, _)| name.as_str())
            });
            let mut path = vec!["services", first.as_str()];
            path.extend(input.map(|input| ["inputs", input]).into_iter().flatten());
            let public = format!("{}_public_url", second.replace('-', "_"));
            let alone = first == second;
            let who = if alone { "a service waits for its own port" } else { "services wait for each other's port" };
            let which = if alone { "its `port`" } else { "the `port` of one of them" };
            self.report.add(
                self.key_at(&path),
                "manifest.input_cycle",
                format!("{who}: {}", circle.join(" → ")),
                format!("declare {which}, take {} instead, or make one input optional", quoted(&public)),
            );
        }
    }
}

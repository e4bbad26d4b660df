//! A manifest in words: what will run, what browsers reach, and where every input comes from.
//!
//! It is what `envforge repo connect` shows before it writes a file, and the first page of a workspace's `.envforge` context,
//! so it names things as the product does and leaves out what is not there.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::model::{EnvValue, Health, Manifest, Protocol, Requirement, ResourceMode, RestartPolicy, Service};
use super::scalar::duration;
use super::wiring::{Port, ServiceWiring, Source, Supply, Wiring};

/// A plain account of a manifest and its wiring, ending with a line break.
pub fn explain(manifest: &Manifest, wiring: &Wiring) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_all(&mut out, manifest, wiring);
    out
}

fn write_all(out: &mut String, manifest: &Manifest, wiring: &Wiring) -> fmt::Result {
    if let Some(repo) = &manifest.repo {
        writeln!(out, "repository {repo}\n")?;
    }
    for (name, service) in &manifest.services {
        writeln!(out, "service {name}")?;
        if let Some(wiring) = wiring.services.get(name) {
            write_service(out, service, wiring)?;
        }
    }
    if !manifest.resources.is_empty() {
        writeln!(out, "resources")?;
    }
    for (kind, mode) in &manifest.resources {
        match mode {
            ResourceMode::BranchScoped { from, extensions } => {
                write!(out, "  {kind:<10} this branch's own")?;
                if let Some(branch) = from {
                    write!(out, ", begun as a copy of branch {branch}'s")?;
                }
                if !extensions.is_empty() {
                    write!(out, ", with {}", extensions.join(", "))?;
                }
                writeln!(out)?;
            }
            ResourceMode::CustomerCloud { secret } => {
                writeln!(out, "  {kind:<10} in the customer's cloud, billed separately; address in secret {secret}")?;
            }
        }
    }
    if !manifest.variables.is_empty() {
        let names: Vec<&str> = manifest.variables.keys().map(String::as_str).collect();
        writeln!(out, "variables\n  {}", names.join(", "))?;
    }
    if !manifest.checks.is_empty() {
        writeln!(out, "checks")?;
    }
    for (name, check) in &manifest.checks {
        writeln!(out, "  {name:<10} GET {} of service {} answers {}", check.path, check.service, check.status)?;
    }
    let runtime = &manifest.runtime;
    let [idle, reclaim_after, stop_after] =
        [runtime.idle, runtime.reclaim_after, runtime.stop_after].map(|seconds| duration(seconds.into()));
    writeln!(
        out,
        "runtime\n  size {}, asleep after {idle} without activity, its memory given back after {reclaim_after} asleep, stopped \
         after {stop_after}",
        runtime.size
    )?;
    if !manifest.shell.tools.is_empty() || manifest.hooks.setup.is_some() {
        writeln!(out, "shell")?;
    }
    if !manifest.shell.tools.is_empty() {
        writeln!(out, "  tools      {}", manifest.shell.tools.join(", "))?;
    }
    if let Some(setup) = &manifest.hooks.setup {
        writeln!(out, "  setup      {}", one_line(setup))?;
    }
    let hooks = &manifest.hooks;
    if hooks.before_sleep.is_some() || hooks.after_wake.is_some() {
        writeln!(out, "around sleep")?;
    }
    if let Some(command) = &hooks.before_sleep {
        writeln!(out, "  before     {}", one_line(command))?;
    }
    if let Some(command) = &hooks.after_wake {
        writeln!(out, "  after      {}", one_line(command))?;
    }
    Ok(())
}

fn write_service(out: &mut String, service: &Service, wiring: &ServiceWiring) -> fmt::Result {
    let directory = service.directory.as_ref().map_or(String::new(), |directory| format!("  (in {directory})"));
    writeln!(out, "  runs       {}{directory}", one_line(&service.command))?;
    match wiring.port {
        Port::Declared(port) => writeln!(out, "  port       {port}")?,
        Port::Discover { suggested_port } => {
            writeln!(out, "  port       found when it listens; it is told PORT={suggested_port}")?;
        }
    }
    if service.routes.is_empty() {
        writeln!(out, "  routes     none")?;
    } else {
        writeln!(out, "  routes     {}", service.routes.join(", "))?;
    }
    if service.protocol == Protocol::H2c {
        writeln!(out, "  speaks     HTTP/2 without TLS")?;
    }
    if !service.rewrite.is_empty() {
        let rewrites: Vec<&str> = service.rewrite.iter().map(|rewrite| rewrite.as_str()).collect();
        writeln!(out, "  rewritten  {}", rewrites.join(", "))?;
    }
    for (name, input) in &wiring.inputs {
        let variables: Vec<&str> = service
            .environment
            .iter()
            .filter(|(_, value)| **value == EnvValue::Input(name.clone()))
            .map(|(variable, _)| variable.as_str())
            .collect();
        let mapped = if variables.is_empty() { String::new() } else { format!(", as {}", variables.join(" and ")) };
        let optional = if input.requirement == Requirement::Optional { " (optional)" } else { "" };
        match &input.supply {
            Supply::Provided { source } => writeln!(out, "  input      {name}{optional}: {source}{mapped}")?,
            Supply::Unsatisfied { cause, .. } => writeln!(out, "  input      {name}{optional}: missing, {cause}")?,
        }
    }
    let literals = service.environment.iter().filter(|(_, value)| matches!(value, EnvValue::Literal(_)));
    let literals: Vec<&str> = literals.map(|(variable, _)| variable.as_str()).collect();
    if !literals.is_empty() {
        writeln!(out, "  also sets  {}", literals.join(", "))?;
    }
    match &service.health {
        None => {}
        Some(Health::Http { path }) => writeln!(out, "  healthy    when GET {path} answers below 400")?,
        Some(Health::Tcp) => writeln!(out, "  healthy    when its port accepts a connection")?,
        Some(Health::Command(command)) => writeln!(out, "  healthy    when this succeeds: {}", one_line(command))?,
        Some(Health::Log(text)) => writeln!(out, "  healthy    when it prints: {}", one_line(text))?,
    }
    match service.restart {
        RestartPolicy::OnFailure => {}
        RestartPolicy::Always => writeln!(out, "  restarts   however it ends")?,
        RestartPolicy::Never => writeln!(out, "  restarts   never")?,
    }
    if let Some(seconds) = service.start_timeout {
        writeln!(out, "  gets       {} to become ready", duration(seconds.into()))?;
    }
    writeln!(out, "  starts     {}\n", starts(wiring))
}

/// When a service starts, in words.
fn starts(wiring: &ServiceWiring) -> String {
    let required = || wiring.inputs.values().filter(|input| input.requirement == Requirement::Required);
    if required().any(|input| input.source().is_none()) {
        return "not before its missing input is provided".to_owned();
    }
    let resources: BTreeSet<String> = required()
        .filter_map(|input| match input.source() {
            Some(Source::Resource { resource }) => Some(format!("{resource} is ready")),
            Some(Source::Secret { name }) => Some(format!("secret {name} is there")),
            _ => None,
        })
        .collect();
    let services = wiring.waits_for.iter().map(|service| format!("{service} listens"));
    let all: Vec<String> = resources.into_iter().chain(services).collect();
    if all.is_empty() { "at once".to_owned() } else { format!("when {}", all.join(" and ")) }
}

/// The first line of a command, made printable, with a mark when there are more.
fn one_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first: String = lines.next().unwrap_or_default().chars().filter(|next| !next.is_control()).collect();
    if lines.next().is_some() { format!("{first} …") } else { first }
}

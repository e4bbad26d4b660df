//! From bytes to a manifest, or to everything that is wrong with them.
//!
//! Three passes, each only when the one before left something to work on: bytes to text (size, encoding), text to a tree
//! (YAML), tree to a manifest (keys, types, names), which `check` then looks at as a whole. A part that can't be read is
//! replaced by the most harmless thing it could have been, so that the passes after it see the rest and invent no mistakes.

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::diagnostic::{Diagnostic, lines};
use super::model::{Check, DEFAULT_STATUS, Hooks, Manifest, RuntimeDefaults, Service, Shell};
use super::names;
use super::read::Reader;
use super::scalar::{self, Kind};
use super::tree::{self, Entry, Node};
use crate::size::Size;

/// The largest file read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Most mistakes told at once.
const MAX_TOLD: usize = 50;
/// Most mistakes looked for: past this, finding more helps nobody.
const MAX_FOUND: usize = 200;

pub(super) const TOP_KEYS: &[&str] =
    &["repo", "prepare_pr", "services", "resources", "checks", "runtime", "shell", "hooks", "variables"];
pub(super) const CHECK_KEYS: &[&str] = &["service", "path", "status"];
pub(super) const RUNTIME_KEYS: &[&str] = &["size", "idle", "reclaim_after", "stop_after"];
pub(super) const SHELL_KEYS: &[&str] = &["tools"];
/// Keys of `hooks`; a log is named after each.
pub const HOOK_KEYS: &[&str] = &["setup", "before_sleep", "after_wake"];

/// What is said of a file of more than [`MAX_BYTES`], also by who did not even read it.
pub fn too_large(bytes: u64, file: &str) -> Diagnostic {
    Diagnostic {
        code: "manifest.too_large".into(),
        file: file.to_owned(),
        line: 1,
        column: 1,
        message: format!("the file has {} KiB, more than the {} KiB read", bytes.div_ceil(1024), MAX_BYTES / 1024),
        fix: "keep only what describes the services; data belongs in other files".to_owned(),
    }
}

/// Reads the bytes of an `envforge.yml`, or says everything that is wrong with them. `file` is the name the
/// diagnostics carry.
pub fn parse(source: &[u8], file: &str) -> Result<Manifest, Vec<Diagnostic>> {
    let alone = |code: &'static str, line: u32, column: u32, message: String, fix: &str| {
        Err(vec![Diagnostic { code: code.into(), file: file.to_owned(), line, column, message, fix: fix.to_owned() }])
    };
    if source.len() > MAX_BYTES {
        return Err(vec![too_large(source.len() as u64, file)]);
    }
    if source.starts_with(&[0xff, 0xfe]) || source.starts_with(&[0xfe, 0xff]) {
        let message = "the file is UTF-16, not UTF-8".to_owned();
        return alone("manifest.not_utf8", 1, 1, message, "save it as UTF-8");
    }
    let text = match str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let (good, bad) = source.split_at(error.valid_up_to());
            let good = String::from_utf8_lossy(good);
            let good = good.strip_prefix('\u{feff}').unwrap_or(&good);
            let line = lines(good).count() as u32;
            let column = lines(good).last().unwrap_or_default().chars().count() as u32 + 1;
            let message = format!("byte 0x{:02x} is not UTF-8", bad.first().copied().unwrap_or_default());
            return alone("manifest.not_utf8", line, column, message, "save the file as UTF-8");
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(text, file);
    let manifest = read(text, &mut report);
    match (manifest, report.finish()) {
        (Some(manifest), found) if found.is_empty() => Ok(manifest),
        (_, found) => Err(found),
    }
}

fn read(text: &str, report: &mut Report<'_>) -> Option<Manifest> {
    let root = tree::build(text, report);
    if !report.found.is_empty() && root.is_none() {
        return None;
    }
    let Some(root) = root.filter(|root| scalar::kind(root) != Kind::Nothing) else {
        report.add(
            0,
            "manifest.empty",
            "the file is empty",
            "name at least one service, as in `services: { web: { command: npm run dev } }`",
        );
        return None;
    };
    let mut reader = Reader::new(report);
    let manifest = reader.manifest(&root)?;
    let unsure = reader.unsure;
    check::check(&manifest, &root, unsure, report);
    Some(manifest)
}

/// The mistakes found so far.
pub(super) struct Report<'source> {
    text: &'source str,
    file: &'source str,
    line_starts: Vec<usize>,
    found: Vec<Found>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    at: usize,
    code: &'static str,
    message: String,
    fix: String,
}

impl<'source> Report<'source> {
    fn new(text: &'source str, file: &'source str) -> Self {
        let start = |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
        Self { text, file, line_starts: lines(text).map(start).collect(), found: Vec::new() }
    }

    /// Whether looking for more is pointless.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FOUND
    }

    /// Notes a mistake at a byte offset.
    pub(super) fn add(&mut self, at: usize, code: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        if !self.is_full() {
            self.found.push(Found { at, code, message: message.into(), fix: fix.into() });
        }
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= at).max(1) as u32
    }

    /// Line and column of a byte offset. A place after the last character is told as the end of the last line with one.
    fn place(&self, at: usize) -> (u32, u32) {
        let mut at = at.min(self.text.trim_end().len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.line(at);
        let start = self.line_starts.get(line as usize - 1).copied().unwrap_or_default();
        (line, self.text[start..at].chars().count() as u32 + 1)
    }

    fn finish(mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.found);
        found.sort();
        // What an alias repeats is wrong once.
        found.dedup();
        let more = found.len().saturating_sub(MAX_TOLD);
        let first_untold = found.get(MAX_TOLD).map(|next| next.at);
        found.truncate(MAX_TOLD);
        if let Some(at) = first_untold {
            found.push(Found {
                at,
                code: "manifest.more",
                message: format!("at least {more} more mistakes from here on are not listed"),
                fix: "fix the ones above first".to_owned(),
            });
        }
        let tell = |Found { at, code, message, fix }| {
            let (line, column) = self.place(at);
            Diagnostic { code: code.into(), file: self.file.to_owned(), line, column, message, fix }
        };
        found.into_iter().map(tell).collect()
    }
}

impl Reader<'_, '_> {
    fn manifest(&mut self, root: &Node) -> Option<Manifest> {
        let example = "start with `services:` at the beginning of a line";
        let top = self.mapping(root, root.at, "the file", example)?;
        if !self.only_known(top, "at the top of the file", TOP_KEYS) {
            // The misspelt key may be the one that provides what now seems to be missing.
            self.unsure = true;
        }
        let mut manifest = Manifest::default();
        let mut services = None;
        for entry in top {
            match entry.key.as_str() {
                "repo" => manifest.repo = self.repo(entry),
                "prepare_pr" => manifest.prepare_pr = self.boolean(entry, "`prepare_pr`").unwrap_or_default(),
                "services" => services = Some(entry),
                "resources" => manifest.resources = self.resources(entry),
                "checks" => manifest.checks = self.checks(entry),
                "runtime" => manifest.runtime = self.runtime(entry),
                "shell" => manifest.shell = self.shell(entry),
                "hooks" => manifest.hooks = self.hooks(entry),
                "variables" => manifest.variables = self.variables(entry),
                _ => {}
            }
        }
        manifest.services = self.services(services, root)?;
        Some(manifest)
    }

    fn services(&mut self, entry: Option<&Entry>, root: &Node) -> Option<BTreeMap<String, Service>> {
        let example = "write `services:`, and below it, indented, a name and a `command` for each process";
        let at = entry.map_or(root.at, |entry| entry.at);
        let listed = match entry {
            Some(entry) => self.mapping(&entry.node, entry.value_at(), "`services`", example)?,
            None => &[],
        };
        if listed.is_empty() {
            self.report.add(at, "manifest.no_services", "no services are declared", example);
            return None;
        }
        let mut services = BTreeMap::new();
        let mut without_routes = BTreeSet::new();
        for entry in listed {
            if let Err(unfit) = names::service(&entry.key) {
                self.refuse(entry.at, unfit);
            }
            let (service, routes) = self.service(entry);
            if routes.is_none() {
                without_routes.insert(entry.key.clone());
            }
            services.insert(entry.key.clone(), service);
        }
        route_by_convention(&mut services, &without_routes);
        Some(services)
    }

    fn repo(&mut self, entry: &Entry) -> Option<String> {
        let text = self.text(entry, "`repo`", "write it as `github.com/acme/planner`")?;
        match names::repo(text) {
            Ok(()) => Some(text.to_owned()),
            Err(unfit) => self.unfit(entry.node.at, unfit),
        }
    }

    fn checks(&mut self, entry: &Entry) -> BTreeMap<String, Check> {
        let example = "write a name for each check, as in `home: { service: web, path: / }`";
        let Some(listed) = self.mapping(&entry.node, entry.value_at(), "`checks`", example) else {
            return BTreeMap::new();
        };
        let mut checks = BTreeMap::new();
        for entry in listed {
            if let Err(unfit) = names::slug("check", &entry.key) {
                self.refuse(entry.at, unfit);
            }
            if let Some(check) = self.check(entry) {
                checks.insert(entry.key.clone(), check);
            }
        }
        checks
    }

    fn check(&mut self, entry: &Entry) -> Option<Check> {
        let place = format!("check {}", super::diagnostic::quoted(&entry.key));
        let example = "write `{ service: web, path: / }`";
        let fields = self.mapping(&entry.node, entry.value_at(), &place, example)?;
        self.only_known(fields, &format!("in {place}"), CHECK_KEYS);
        let service = self.required(entry, "service", &place, example);
        let service = service.and_then(|field| self.text(field, &format!("`service` of {place}"), example));
        let path = self.required(entry, "path", &place, example);
        let path = path.and_then(|field| {
            let path = self.text(field, &format!("`path` of {place}"), example)?;
            match names::request_path(path) {
                Ok(()) => Some(path.to_owned()),
                Err(unfit) => self.unfit(field.node.at, unfit),
            }
        });
        let status = entry.node.entry("status");
        let status = status.and_then(|field| {
            self.integer(field, &format!("`status` of {place}"), 100, 599, "a number from 100 to 599")
        });
        Some(Check {
            service: service?.to_owned(),
            path: path.unwrap_or_else(|| "/".to_owned()),
            status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(DEFAULT_STATUS),
        })
    }

    fn runtime(&mut self, entry: &Entry) -> RuntimeDefaults {
        let mut runtime = RuntimeDefaults::default();
        let example = "write `runtime: { size: small, idle: 10m }`";
        let Some(fields) = self.mapping(&entry.node, entry.value_at(), "`runtime`", example) else {
            return runtime;
        };
        self.only_known(fields, "under `runtime`", RUNTIME_KEYS);
        for field in fields {
            match field.key.as_str() {
                "size" => {
                    let sizes = Size::ALL.map(|size| (size.as_str(), size));
                    runtime.size = self.choice(field, "`size`", &sizes).unwrap_or_default();
                }
                "idle" => {
                    let idle = self.duration(field, "`idle`", 30, 24 * 3600, "10m");
                    runtime.idle = idle.unwrap_or(runtime.idle);
                }
                "reclaim_after" => {
                    let reclaim_after = self.duration(field, "`reclaim_after`", 10, 7 * 24 * 3600, "3m");
                    runtime.reclaim_after = reclaim_after.unwrap_or(runtime.reclaim_after);
                }
                "stop_after" => {
                    let stop_after = self.duration(field, "`stop_after`", 60, 7 * 24 * 3600, "30m");
                    runtime.stop_after = stop_after.unwrap_or(runtime.stop_after);
                }
                _ => {}
            }
        }
        runtime
    }

    fn shell(&mut self, entry: &Entry) -> Shell {
        let mut shell = Shell::default();
        let example = "write `shell: { tools: [ripgrep, jq] }`";
        let Some(fields) = self.mapping(&entry.node, entry.value_at(), "`shell`", example) else {
            return shell;
        };
        self.only_known(fields, "under `shell`", SHELL_KEYS);
        let Some(tools) = entry.node.entry("tools") else {
            return shell;
        };
        for (at, tool) in self.texts(tools, "`tools`", "write a list, as in `tools: [ripgrep, jq]`") {
            if let Err(unfit) = names::tool(&tool) {
                self.refuse(at, unfit);
            } else if shell.tools.contains(&tool) {
                self.report.add(
                    at,
                    "manifest.duplicate_key",
                    format!("tool `{tool}` is listed twice"),
                    "keep one of the two",
                );
            } else {
                shell.tools.push(tool);
            }
        }
        shell
    }

    fn hooks(&mut self, entry: &Entry) -> Hooks {
        let example = "write `hooks: { setup: npm ci }`";
        let Some(fields) = self.mapping(&entry.node, entry.value_at(), "`hooks`", example) else {
            return Hooks::default();
        };
        self.only_known(fields, "under `hooks`", HOOK_KEYS);
        let mut hook = |name: &str, example: &str| {
            let field = entry.node.entry(name)?;
            self.text(field, &format!("`{name}`"), example).map(str::to_owned)
        };
        Hooks {
            setup: hook("setup", example),
            before_sleep: hook("before_sleep", "write `hooks: { before_sleep: npm run flush }`"),
            after_wake: hook("after_wake", "write `hooks: { after_wake: npm run warm-up }`"),
        }
    }

    fn variables(&mut self, entry: &Entry) -> BTreeMap<String, String> {
        let example = "write a name and a value for each, as in `log_level: debug`";
        let Some(listed) = self.mapping(&entry.node, entry.value_at(), "`variables`", example) else {
            self.unsure = true;
            return BTreeMap::new();
        };
        let mut variables = BTreeMap::new();
        for entry in listed {
            if let Err(unfit) = names::input("variable", &entry.key) {
                self.unsure = true;
                self.refuse(entry.at, unfit);
            }
            let what = format!("variable {}", super::diagnostic::quoted(&entry.key));
            let value = self.literal(entry, &what);
            variables.insert(entry.key.clone(), value.unwrap_or_default().to_owned());
        }
        variables
    }
}

/// Routes of services that declare none: `web` serves `/` and `api` serves `/api`, and a service that is alone serves
/// everything. What another service declares stays with that one.
fn route_by_convention(services: &mut BTreeMap<String, Service>, without_routes: &BTreeSet<String>) {
    let declared: BTreeSet<String> = services.values().flat_map(|service| service.routes.iter().cloned()).collect();
    let alone = services.len() == 1;
    for (name, service) in services.iter_mut().filter(|(name, _)| without_routes.contains(*name)) {
        let route = match name.as_str() {
            _ if alone => "/",
            "web" => "/",
            "api" => "/api",
            _ => continue,
        };
        if !declared.contains(route) {
            service.routes = vec![route.to_owned()];
        }
    }
}

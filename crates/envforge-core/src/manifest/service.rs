//! Reading one service.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::quoted;
use super::hints;
use super::model::{
    DEFAULT_STOP_GRACE, EnvValue, Health, Protocol, Requirement, RestartPolicy, Rewrite, START_TIMEOUT_MAX, Service,
};
use super::names;
use super::read::Reader;
use super::scalar::{self, Kind};
use super::tree::{Entry, Node, Value};

pub(super) const SERVICE_KEYS: &[&str] = &[
    "command",
    "directory",
    "port",
    "protocol",
    "routes",
    "rewrite",
    "inputs",
    "environment",
    "health",
    "restart",
    "stop_grace",
    "start_timeout",
];
pub(super) const HEALTH_KEYS: &[&str] = &["http", "tcp", "command", "log"];

/// Longest time a service gets to stop, in seconds.
const STOP_GRACE_MAX: u64 = 600;

impl Reader<'_, '_> {
    /// A service and its routes as declared: `None` when the file says nothing of them.
    pub(super) fn service(&mut self, entry: &Entry) -> (Service, Option<()>) {
        let place = format!("service {}", quoted(&entry.key));
        let mut service = Service { stop_grace: DEFAULT_STOP_GRACE, ..Service::default() };
        let mut routed = None;
        let example = match scalar::written(&entry.node) {
            Some(command) if scalar::kind(&entry.node) == Kind::Text => {
                format!("write {}", quoted(&format!("{{ command: {command} }}")))
            }
            _ => "write the line that starts it, as in `command: npm run dev`".to_owned(),
        };
        let Some(fields) = self.mapping(&entry.node, entry.value_at(), &place, &example) else {
            return (service, routed);
        };
        self.only_known(fields, &format!("in {place}"), SERVICE_KEYS);
        if !fields.iter().any(|field| hints::means_command(&field.key)) {
            self.required(entry, "command", &place, &example);
        }
        for field in fields {
            let what = format!("`{}` of {place}", field.key);
            match field.key.as_str() {
                "command" => service.command = self.command(field, &what).unwrap_or_default(),
                "directory" => service.directory = self.directory(field, &what),
                "port" => service.port = self.port(field, &what),
                "protocol" => service.protocol = self.protocol(field, &what),
                "rewrite" => service.rewrite = self.rewrite(field, &what),
                "routes" => {
                    routed = Some(());
                    service.routes = self.routes(field, &what);
                }
                "inputs" => service.inputs = self.inputs(field, &place, &what),
                "environment" => service.environment = self.environment(field, &place, &what),
                "health" => service.health = self.health(field, &place),
                "restart" => {
                    let policies = [RestartPolicy::OnFailure, RestartPolicy::Always, RestartPolicy::Never];
                    let choices = policies.map(|policy| (policy.as_str(), policy));
                    service.restart = self.choice(field, &what, &choices).unwrap_or_default();
                }
                "stop_grace" => service.stop_grace = self.stop_grace(field, &what).unwrap_or(DEFAULT_STOP_GRACE),
                "start_timeout" => {
                    service.start_timeout = self.duration(field, &what, 1, START_TIMEOUT_MAX.into(), "10m");
                }
                _ => {}
            }
        }
        (service, routed)
    }

    fn command(&mut self, field: &Entry, what: &str) -> Option<String> {
        let joined = match &field.node.value {
            Value::List(items) => {
                items.iter().map(scalar::written).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
            }
            _ => None,
        };
        let fix = match joined {
            Some(line) => format!("write it as one line: {}", quoted(&format!("{}: {line}", field.key))),
            None => format!("write one line of shell, as in `{}: npm run dev`", field.key),
        };
        self.text(field, what, &fix).map(str::to_owned)
    }

    fn directory(&mut self, field: &Entry, what: &str) -> Option<String> {
        let text = self.text(field, what, "write a directory of the repository, as in `apps/web`")?;
        match names::directory(text) {
            Ok(directory) => directory,
            Err(unfit) => self.unfit(field.node.at, unfit),
        }
    }

    fn port(&mut self, field: &Entry, what: &str) -> Option<u16> {
        let port = self.integer(field, what, 1, u64::from(u16::MAX), "a number from 1 to 65535")?;
        u16::try_from(port).ok()
    }

    fn routes(&mut self, field: &Entry, what: &str) -> Vec<String> {
        let example = match scalar::written(&field.node) {
            Some(route) if route.starts_with('/') => format!("write a list: {}", quoted(&format!("[{route}]"))),
            _ => "write a list of path prefixes, as in `[/, /docs]`".to_owned(),
        };
        let mut routes: Vec<String> = Vec::new();
        for (at, text) in self.texts(field, what, &example) {
            match names::route(&text) {
                Err(unfit) => {
                    self.refuse(at, unfit);
                }
                Ok(route) if routes.contains(&route) => {
                    let message = format!("route {} is listed twice", quoted(&route));
                    self.report.add(at, "manifest.duplicate_key", message, "keep one of the two");
                }
                Ok(route) => routes.push(route),
            }
        }
        routes
    }

    fn protocol(&mut self, field: &Entry, what: &str) -> Protocol {
        let choices = [Protocol::Http, Protocol::H2c].map(|protocol| (protocol.as_str(), protocol));
        let written = scalar::written(&field.node).unwrap_or_default();
        if ["h2", "http2", "http/2", "grpc"].iter().any(|word| word.eq_ignore_ascii_case(written)) {
            let message = format!("{what} must be one of `http`, `h2c`, not {}", quoted(written));
            let fix = "write `h2c`: HTTP/2 without TLS";
            self.report.add(field.value_at(), "manifest.unknown_value", message, fix);
            return Protocol::default();
        }
        self.choice(field, what, &choices).unwrap_or_default()
    }

    fn rewrite(&mut self, field: &Entry, what: &str) -> BTreeSet<Rewrite> {
        let words = || Rewrite::ALL.map(Rewrite::as_str);
        let example = match scalar::written(&field.node) {
            Some(word) if words().contains(&word) => format!("write a list: {}", quoted(&format!("[{word}]"))),
            _ => "write a list, as in `[redirects, cookies]`".to_owned(),
        };
        let mut rewrites = BTreeSet::new();
        for (at, text) in self.texts(field, what, &example) {
            match Rewrite::ALL.into_iter().find(|rewrite| rewrite.as_str() == text) {
                Some(rewrite) if !rewrites.insert(rewrite) => {
                    let message = format!("{} is listed twice in {what}", quoted(&text));
                    self.report.add(at, "manifest.duplicate_key", message, "keep one of the two");
                }
                Some(_) => {}
                None => {
                    let wanted = format!("one of {}", hints::list(words()));
                    let fix = match hints::nearest(&text, words()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("write {wanted}"),
                    };
                    let message = format!("every entry of {what} must be {wanted}, not {}", quoted(&text));
                    self.report.add(at, "manifest.unknown_value", message, fix);
                }
            }
        }
        rewrites
    }

    fn inputs(&mut self, field: &Entry, place: &str, what: &str) -> BTreeMap<String, Requirement> {
        let first = match &field.node.value {
            Value::List(items) => items.first().and_then(scalar::written).unwrap_or("database_url"),
            _ => "database_url",
        };
        let example = format!("write {}", quoted(&format!("inputs: {{ {first}: required }}")));
        let Some(listed) = self.mapping(&field.node, field.value_at(), what, &example) else {
            return BTreeMap::new();
        };
        let mut inputs = BTreeMap::new();
        for entry in listed {
            if let Err(unfit) = names::input("input", &entry.key) {
                self.refuse(entry.at, unfit);
            }
            let choices =
                [Requirement::Required, Requirement::Optional].map(|requirement| (requirement.as_str(), requirement));
            let what = format!("input {} of {place}", quoted(&entry.key));
            let requirement = self.choice(entry, &what, &choices);
            // An optional input is never missing, so a misspelt word leads to no second mistake.
            inputs.insert(entry.key.clone(), requirement.unwrap_or(Requirement::Optional));
        }
        inputs
    }

    fn environment(&mut self, field: &Entry, place: &str, what: &str) -> BTreeMap<String, EnvValue> {
        let pair = match &field.node.value {
            Value::List(items) => items.first().and_then(scalar::written).and_then(|text| text.split_once('=')),
            _ => None,
        };
        let example = match pair {
            Some((name, value)) => format!("write a mapping: {}", quoted(&format!("{{ {name}: {value} }}"))),
            None => "write a name and a value for each variable, as in `API_URL: input.api_url`".to_owned(),
        };
        let Some(listed) = self.mapping(&field.node, field.value_at(), what, &example) else {
            return BTreeMap::new();
        };
        let mut environment = BTreeMap::new();
        for entry in listed {
            if let Err(unfit) = names::environment("variable", &entry.key) {
                self.refuse(entry.at, unfit);
            }
            let what = format!("variable {} of {place}", quoted(&entry.key));
            if let Some(text) = self.literal(entry, &what)
                && let Some(value) = self.env_value(&entry.node, &what, text)
            {
                environment.insert(entry.key.clone(), value);
            }
        }
        environment
    }

    fn env_value(&mut self, node: &Node, what: &str, text: &str) -> Option<EnvValue> {
        if let Some(name) = text.strip_prefix("input.") {
            return match names::input("input", name) {
                Ok(()) => Some(EnvValue::Input(name.to_owned())),
                Err(unfit) => self.unfit(node.at, unfit),
            };
        }
        if ["${input.", "{{input.", "{{ input.", "$input."].iter().any(|inside| text.contains(inside)) {
            let message = format!("{what} puts an input inside other text");
            let fix =
                "make the input the whole value, as in `API_URL: input.api_url`, and join the parts in the program";
            self.report.add(node.at, "manifest.wrong_value", message, fix);
            return None;
        }
        Some(EnvValue::Literal(text.to_owned()))
    }

    fn health(&mut self, field: &Entry, place: &str) -> Option<Health> {
        let what = format!("`health` of {place}");
        let example = match scalar::written(&field.node) {
            Some(path) if path.starts_with('/') => format!("write {}", quoted(&format!("{{ http: {path} }}"))),
            Some("tcp") => "write `{ tcp: true }`".to_owned(),
            _ => "write `{ http: /healthz }`, `{ tcp: true }`, `{ command: … }` or `{ log: … }`".to_owned(),
        };
        let fields = self.mapping(&field.node, field.value_at(), &what, &example)?;
        let all_known = self.only_known(fields, &format!("in {what}"), HEALTH_KEYS);
        let mut known = fields.iter().filter(|field| HEALTH_KEYS.contains(&field.key.as_str()));
        let Some(one) = known.next() else {
            if all_known {
                self.report.add(field.at, "manifest.missing_key", format!("{what} does not say how to tell"), example);
            }
            return None;
        };
        if let Some(second) = known.next() {
            let message = format!("{what} is told in more than one way: `{}` and `{}`", one.key, second.key);
            self.report.add(second.at, "manifest.wrong_value", message, "keep one of them");
        }
        let what = format!("`{}` in {what}", one.key);
        match one.key.as_str() {
            "http" => {
                let path = self.text(one, &what, "write a path, as in `http: /healthz`")?;
                match names::request_path(path) {
                    Ok(()) => Some(Health::Http { path: path.to_owned() }),
                    Err(unfit) => self.unfit(one.node.at, unfit),
                }
            }
            "tcp" => {
                if self.boolean(one, &what)? {
                    return Some(Health::Tcp);
                }
                let fix = "write `tcp: true`, or remove `health`";
                self.report.add(one.value_at(), "manifest.wrong_value", format!("{what} can only be true"), fix);
                None
            }
            "command" => self.command(one, &what).map(Health::Command),
            _ => self.text(one, &what, "write a part of the line to wait for").map(|text| Health::Log(text.to_owned())),
        }
    }

    fn stop_grace(&mut self, field: &Entry, what: &str) -> Option<u32> {
        if scalar::kind(&field.node) == Kind::Number {
            let seconds = self.integer(field, what, 0, STOP_GRACE_MAX, "a number of seconds from 0 to 600")?;
            return u32::try_from(seconds).ok();
        }
        self.duration(field, what, 0, STOP_GRACE_MAX, "10s")
    }
}

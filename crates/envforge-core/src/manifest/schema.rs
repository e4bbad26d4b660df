//! The file format as a JSON Schema, so that editors complete and check `envforge.yml` while it is written.
//!
//! The types here have the shape of the *file*, with its shorthand; they exist for the schema alone. `model` has the shape of
//! what the file means. A test holds the keys of both readers together: what the parser knows, the schema has, and no more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The JSON Schema of `envforge.yml`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<File>().to_value();
    without_null(&mut schema);
    schema
}

/// A key left out is not a key set to nothing: takes `null` out of what schemars says of every `Option`.
fn without_null(schema: &mut Value) {
    let null = json!({ "type": "null" });
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(without_null);
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| *choice != null);
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    // draft 07 ignores what stands beside `$ref`, so a reference stays wrapped.
                    if only.contains_key("$ref") {
                        fields.insert("allOf".to_owned(), json!([only]));
                    } else {
                        fields.extend(only);
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How one repository runs in EnvForge: its services, the resources they need, and the checks that prove they work.
#[derive(JsonSchema)]
#[schemars(title = "envforge.yml", deny_unknown_fields)]
#[schemars(extend("examples" = [{
    "services": { "web": { "command": "npm run dev" } },
    "resources": { "postgres": "branch_scoped" }
}]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct File {
    /// The repository this file belongs to, as `host/owner/name`.
    #[schemars(example = "github.com/acme/planner")]
    repo: Option<String>,
    /// Propose changes to this file as a pull request.
    #[serde(default)]
    prepare_pr: bool,
    /// Long-running processes, by name. `web` serves `/` and `api` serves `/api` unless they say otherwise.
    #[schemars(extend("minProperties" = 1, "propertyNames" = { "pattern": "^(?!.*--)[a-z]([a-z0-9-]{0,29}[a-z0-9])?$" }))]
    services: BTreeMap<String, Service>,
    /// Resources every workspace gets its own of.
    resources: Option<Resources>,
    /// Smoke checks, by name: one request each, and the status it must answer with.
    #[schemars(extend("propertyNames" = { "pattern": "^(?!.*--)[a-z]([a-z0-9-]{0,29}[a-z0-9])?$" }))]
    checks: Option<BTreeMap<String, Check>>,
    /// What a runtime of this repository is like unless someone asks otherwise.
    runtime: Option<Runtime>,
    /// What the shell layer has.
    shell: Option<Shell>,
    /// Commands run at fixed moments.
    hooks: Option<Hooks>,
    /// Plain values that services can take as inputs.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z][a-z0-9_]{0,62}$" }, "examples" = [{ "log_level": "debug" }]))]
    variables: Option<BTreeMap<String, Scalar>>,
}

/// A long-running process.
#[derive(JsonSchema)]
#[schemars(title = "Service", deny_unknown_fields)]
#[schemars(extend("examples" = [{
    "command": "npm run dev",
    "inputs": { "api_url": "required" },
    "environment": { "API_URL": "input.api_url" }
}]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Service {
    /// The line that starts it, run by a shell.
    #[schemars(length(min = 1), example = "npm run dev")]
    command: String,
    /// Where it runs, relative to the repository's root.
    #[schemars(example = "apps/web")]
    directory: Option<String>,
    /// The port it listens on. Left out, it is found when the service listens; `PORT` is suggested to it.
    #[schemars(range(min = 1, max = 65535), example = 3000)]
    port: Option<u16>,
    /// What it speaks on its port.
    #[serde(default)]
    protocol: Protocol,
    /// Path prefixes of the dev host that reach it. Left out: `/` for `web`, `/api` for `api`, `/` for an only service, else none.
    #[schemars(inner(regex(pattern = "^/")), extend("examples" = [["/", "/docs"]]))]
    routes: Option<Vec<String>>,
    /// What the gateway changes in its answers. Left out: nothing.
    #[schemars(extend("uniqueItems" = true, "examples" = [["redirects"]]))]
    rewrite: Option<Vec<Rewrite>>,
    /// Named values it asks for: `<service>_url`, `<service>_port`, `<service>_public_url`, what a resource gives
    /// (`database_url`, `redis_url`, `s3_endpoint`, `smtp_url` and more), or a name under `variables`.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z][a-z0-9_]{0,62}$" }, "examples" = [{ "database_url": "required" }]))]
    inputs: Option<BTreeMap<String, Requirement>>,
    /// Environment variables: a value, or `input.<name>` for the value of an input.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }, "examples" = [{ "DATABASE_URL": "input.database_url" }]))]
    environment: Option<BTreeMap<String, Scalar>>,
    /// How to tell that it works. Left out: its port accepts a connection.
    health: Option<Health>,
    /// What happens when it ends by itself.
    #[serde(default)]
    restart: RestartPolicy,
    /// How long it gets to stop before it is killed, as seconds or a duration.
    stop_grace: Option<Grace>,
    /// How long it may take to become ready, from 1s to 1h: room for a first migration or build. Left out: 2m.
    #[schemars(regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"), length(min = 2), example = "10m")]
    start_timeout: Option<String>,
}

/// What a service speaks on its port.
#[derive(JsonSchema, serde::Serialize, Default)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, from the first byte on, as gRPC servers do. If it speaks nothing else, its health is `tcp`, `command` or
    /// `log`: `http` and smoke checks ask over HTTP/1.1.
    H2c,
}

/// What the gateway changes in a service's answers.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Rewrite {
    /// Redirects to the address the service believes to have, such as `http://localhost:3000/x`, lead to the dev host.
    Redirects,
    /// Cookies lose what a browser would refuse them for: `Secure` where the dev host is reached without TLS, and `SameSite=None`
    /// without `Secure`.
    Cookies,
}

/// Whether a service can run without an input.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Requirement {
    /// The service does not start before the value is known.
    Required,
    /// The service starts without it.
    Optional,
}

/// A value passed on as text.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Scalar {
    /// Text, or `input.<name>` in `environment`.
    Text(String),
    /// A number, passed on as written.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// How to tell that a service works. One of these.
#[derive(JsonSchema)]
#[schemars(title = "Health", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1, "examples" = [{ "http": "/healthz" }, { "tcp": true }]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Health {
    /// A GET of this path, over HTTP/1.1, answers with a status below 400.
    #[schemars(regex(pattern = "^/"), example = "/healthz")]
    http: Option<String>,
    /// The port accepts a connection.
    #[schemars(extend("const" = true))]
    tcp: Option<bool>,
    /// This command ends with status 0.
    #[schemars(example = &"pg_isready")]
    command: Option<String>,
    /// The service has printed a line that contains this text.
    #[schemars(example = "listening on")]
    log: Option<String>,
}

/// What happens when a service ends by itself.
#[derive(JsonSchema, serde::Serialize, Default)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum RestartPolicy {
    /// Started again, with back-off, when it ended with an error; a service that is to answer on a port, however it ended.
    #[default]
    OnFailure,
    /// Started again, with back-off, however it ended.
    Always,
    /// Left ended.
    Never,
}

/// Seconds, or a duration.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Grace {
    /// Seconds.
    Seconds(#[schemars(range(max = 600))] u32),
    /// A duration such as `10s`.
    Duration(#[schemars(regex(pattern = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"), length(min = 2))] String),
}

/// Resources every workspace gets its own of.
#[derive(JsonSchema)]
#[schemars(title = "Resources", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "postgres": "branch_scoped" }]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Resources {
    /// A PostgreSQL database; gives the inputs `database_url` and `postgres_url`, and `postgres_host`, `postgres_port`,
    /// `postgres_user`, `postgres_password`, `postgres_database`.
    postgres: Option<Resource>,
    /// A Redis instance; gives the inputs `redis_url`, `redis_host` and `redis_port`.
    redis: Option<Resource>,
    /// A bucket that speaks the S3 API; gives the inputs `s3_endpoint`, `s3_bucket`, `s3_region`, `s3_access_key_id` and
    /// `s3_secret_access_key`, and all of them in one as `object_storage_url` and `s3_url`.
    object_storage: Option<Resource>,
    /// A mail sink, which accepts every message and delivers none; gives the inputs `smtp_url`, `smtp_host` and `smtp_port`.
    mail: Option<Resource>,
}

/// Who runs a resource.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Resource {
    /// By name.
    Short(BranchScoped),
    /// At length.
    Long(ResourceMapping),
}

/// Who runs a resource, by name.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum BranchScoped {
    /// Made for each workspace, on its host.
    BranchScoped,
}

/// Who runs a resource, at length.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("examples" = [{ "mode": "customer_cloud", "secret": "DATABASE_URL" }]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct ResourceMapping {
    /// Who runs it.
    mode: Option<Mode>,
    /// The branch its database begins as a copy of; `postgres` only, and not with `customer_cloud`. That branch itself
    /// begins empty.
    #[schemars(example = &"main")]
    from: Option<String>,
    /// Extensions its database is to have; `postgres` only, and not with `customer_cloud`. What is taken off the list stays in the
    /// database.
    #[schemars(extend(
        "items" = { "type": "string", "enum": super::EXTENSIONS },
        "examples" = [["pg_trgm", "vector"]],
        "uniqueItems" = true
    ))]
    extensions: Option<Vec<String>>,
    /// The secret that holds its address; with `customer_cloud` only.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"), example = &"DATABASE_URL")]
    secret: Option<String>,
}

/// Who runs a resource.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
enum Mode {
    /// Made for each workspace, on its host.
    BranchScoped,
    /// Run and billed by a provider of the customer's; its address is a secret.
    CustomerCloud,
}

/// A smoke check: one request and the status it must answer with.
#[derive(JsonSchema)]
#[schemars(title = "Check", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "service": "web", "path": "/" }]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Check {
    /// The service asked.
    #[schemars(example = &"web")]
    service: String,
    /// The path asked for.
    #[schemars(regex(pattern = "^/"), example = "/")]
    path: String,
    /// The status expected.
    #[serde(default = "default_status")]
    #[schemars(range(min = 100, max = 599))]
    status: u16,
}

fn default_status() -> u16 {
    super::model::DEFAULT_STATUS
}

/// What a runtime is like unless someone asks otherwise.
#[derive(JsonSchema)]
#[schemars(title = "Runtime", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "size": "medium", "idle": "20m" }]))]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Runtime {
    /// How big it is.
    #[serde(default)]
    size: crate::size::Size,
    /// Time without activity before it sleeps, from 30s to 24h; 10m when left out.
    #[schemars(regex(pattern = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"), length(min = 2), example = "10m")]
    idle: Option<String>,
    /// Time asleep before its memory is given back, from 10s to 7d; 3m when left out. How much that is depends on the
    /// machine's swap; a wake then takes some milliseconds more.
    #[schemars(regex(pattern = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"), length(min = 2), example = "3m")]
    reclaim_after: Option<String>,
    /// Time asleep before its processes are stopped, from 1m to 7d; 30m when left out.
    #[schemars(regex(pattern = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"), length(min = 2), example = "30m")]
    stop_after: Option<String>,
}

/// What the shell layer has beyond the host image.
#[derive(JsonSchema)]
#[schemars(title = "Shell", deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Shell {
    /// Programs people and agents find on their PATH.
    #[schemars(extend("examples" = [["ripgrep", "jq"]], "uniqueItems" = true))]
    tools: Option<Vec<String>>,
}

/// Commands run at fixed moments.
#[derive(JsonSchema)]
#[schemars(title = "Hooks", deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of the file, read by the schema alone")]
struct Hooks {
    /// Run once in the shell layer after checkout, and again when the files it depends on change.
    #[schemars(example = "npm ci")]
    setup: Option<String>,
    /// Run in the runtime layer before it is put to sleep, while the services still run. It has 10 s; sleep follows also when
    /// it fails or takes longer.
    #[schemars(example = "npm run flush")]
    before_sleep: Option<String>,
    /// Run in the runtime layer after a thaw, beside the services, which wait for nothing; for 60 s at most. Services that
    /// were stopped start by their own commands, and this is not run.
    #[schemars(example = "npm run warm-up")]
    after_wake: Option<String>,
}

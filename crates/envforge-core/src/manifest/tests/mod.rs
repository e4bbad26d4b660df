//! The manifest's promises, one by one.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::format_collect, reason = "short to read, and run once")]

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{EnvValue, FILE_NAME, Health, MAX_BYTES, Manifest, ResourceMode, Wiring, explain, json_schema, parse};
use crate::size::Size;

mod inputs;
mod keys;
mod properties;
mod syntax;
mod values;
mod whole;

/// The smallest useful file.
const SMALLEST: &str = "\
repo: github.com/acme/planner
prepare_pr: true
services:
  web:
    command: npm run dev
    inputs: { api_url: required }
    environment: { API_URL: input.api_url }
  api:
    command: npm run api
    inputs: { database_url: required }
    environment: { DATABASE_URL: input.database_url }
resources:
  postgres: branch_scoped
";

/// A file that says everything.
const FULL: &str = r#"
repo: git.acme.example:8443/platform/planner
prepare_pr: false
services:
  web:
    command: &run |
      npm ci
      npm run dev
    directory: ./apps/web/
    port: 3000
    routes: [/, /docs/]
    inputs: { api_url: required, log_level: optional, api_public_url: optional }
    environment: &env
      API_URL: input.api_url
      VERSION: 1.10
      DEBUG: true
      EMPTY: ""
    rewrite: [redirects, cookies]
    health: { http: "/healthz?deep=1" }
    restart: always
    stop_grace: 1m30s
    start_timeout: 7m30s
  api:
    command: cargo run
    protocol: h2c
    health: { tcp: true }
    inputs: { redis_url: required, database_url: required }
    environment: { <<: *env, API_URL: none }
  mail-worker:
    command: *run
    restart: never
    stop_grace: 0
    health: { log: "ready to work" }
resources:
  postgres: { mode: customer_cloud, secret: DATABASE_URL }
  redis: { mode: branch_scoped }
checks:
  home: { service: web, path: / }
  login-page: { service: web, path: /login, status: 302 }
runtime: { size: large, idle: 1h30m, reclaim_after: 45s, stop_after: 7d }
shell: { tools: [ripgrep, node@22] }
hooks: { setup: npm ci, before_sleep: npm run flush, after_wake: "npm run warm-up\nnpm run more" }
variables: { log_level: debug, retries: 3 }
"#;

fn ok(source: &str) -> Manifest {
    parse(source.as_bytes(), FILE_NAME).unwrap_or_else(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(|mistake| mistake.render_snippet(source.as_bytes())).collect();
        panic!("{}", told.join("\n"))
    })
}

/// Everything said about a broken file.
fn told(source: &[u8]) -> String {
    let mistakes = parse(source, FILE_NAME).expect_err("the file is broken");
    let told: Vec<String> =
        mistakes.iter().map(|mistake| format!("{} [{}]", mistake.render_snippet(source), mistake.code)).collect();
    told.join("\n\n") + "\n"
}

/// The first mistake in a broken file, in short.
fn first(source: &[u8]) -> String {
    let mistakes = parse(source, FILE_NAME).expect_err("the file is broken");
    let first = &mistakes[0];
    format!("{}:{} {}", first.line, first.column, first.code)
}

#[expect(clippy::needless_pass_by_value, reason = "expectations are written where they are used")]
fn check(source: &str, expected: Expect) {
    expected.assert_eq(&told(source.trim_start_matches('\n').as_bytes()));
}

// proves REPO-3
// proves REPO-4
#[test]
fn the_smallest_useful_file_works_as_it_stands() {
    let manifest = ok(SMALLEST);
    assert_eq!(manifest.repo.as_deref(), Some("github.com/acme/planner"));
    assert!(manifest.prepare_pr);
    assert_eq!(manifest.services["web"].routes, ["/"]);
    assert_eq!(manifest.services["api"].routes, ["/api"]);
    assert_eq!(manifest.services["web"].environment["API_URL"], EnvValue::Input("api_url".to_owned()));
    let wiring = Wiring::new(&manifest);
    expect![[r#"
        repository github.com/acme/planner

        service api
          runs       npm run api
          port       found when it listens; it is told PORT=4000
          routes     /api
          input      database_url: resource postgres, as DATABASE_URL
          starts     when postgres is ready

        service web
          runs       npm run dev
          port       found when it listens; it is told PORT=3000
          routes     /
          input      api_url: the address of service api, as API_URL
          starts     when api listens

        resources
          postgres   this branch's own
        runtime
          size small, asleep after 10m without activity, its memory given back after 3m asleep, stopped after 30m
    "#]]
    .assert_eq(&explain(&manifest, &wiring));
}

// proves REPO-3
// proves RUN-2
#[test]
fn every_key_is_read() {
    let manifest = ok(FULL);
    let web = &manifest.services["web"];
    assert_eq!(web.directory.as_deref(), Some("apps/web"));
    assert_eq!(web.routes, ["/", "/docs"]);
    assert_eq!(web.stop_grace, 90);
    assert_eq!((web.start_timeout, manifest.services["api"].start_timeout), (Some(450), None));
    assert_eq!(web.health, Some(Health::Http { path: "/healthz?deep=1".to_owned() }));
    // A number keeps the digits it was written with.
    assert_eq!(web.environment["VERSION"], EnvValue::Literal("1.10".to_owned()));
    assert_eq!(web.environment["DEBUG"], EnvValue::Literal("true".to_owned()));
    // What is written wins over what is merged in.
    assert_eq!(manifest.services["api"].environment["API_URL"], EnvValue::Literal("none".to_owned()));
    assert_eq!(manifest.services["api"].environment["VERSION"], EnvValue::Literal("1.10".to_owned()));
    assert_eq!(manifest.services["mail-worker"].command, web.command);
    assert!(manifest.services["mail-worker"].routes.is_empty());
    assert_eq!(manifest.runtime.size, Size::Large);
    let runtime = &manifest.runtime;
    assert_eq!((runtime.idle, runtime.reclaim_after, runtime.stop_after), (5_400, 45, 604_800));
    assert_eq!(manifest.hooks.before_sleep.as_deref(), Some("npm run flush"));
    assert_eq!(manifest.hooks.after_wake.as_deref(), Some("npm run warm-up\nnpm run more"));
    let postgres = manifest.resources.values().next();
    assert_eq!(postgres, Some(&ResourceMode::CustomerCloud { secret: "DATABASE_URL".to_owned() }));
    expect![[r#"
        repository git.acme.example:8443/platform/planner

        service api
          runs       cargo run
          port       found when it listens; it is told PORT=4000
          routes     /api
          speaks     HTTP/2 without TLS
          input      database_url: secret DATABASE_URL
          input      redis_url: resource redis
          also sets  API_URL, DEBUG, EMPTY, VERSION
          healthy    when its port accepts a connection
          starts     when redis is ready and secret DATABASE_URL is there

        service mail-worker
          runs       npm ci …
          port       found when it listens; it is told PORT=8000
          routes     none
          healthy    when it prints: ready to work
          restarts   never
          starts     at once

        service web
          runs       npm ci …  (in apps/web)
          port       3000
          routes     /, /docs
          rewritten  redirects, cookies
          input      api_public_url (optional): the dev host of service api
          input      api_url: the address of service api, as API_URL
          input      log_level (optional): variable log_level
          also sets  DEBUG, EMPTY, VERSION
          healthy    when GET /healthz?deep=1 answers below 400
          restarts   however it ends
          gets       7m30s to become ready
          starts     when api listens

        resources
          postgres   in the customer's cloud, billed separately; address in secret DATABASE_URL
          redis      this branch's own
        variables
          log_level, retries
        checks
          home       GET / of service web answers 200
          login-page GET /login of service web answers 302
        runtime
          size large, asleep after 1h30m without activity, its memory given back after 45s asleep, stopped after 7d
        shell
          tools      ripgrep, node@22
          setup      npm ci
        around sleep
          before     npm run flush
          after      npm run warm-up …
    "#]]
    .assert_eq(&explain(&manifest, &Wiring::new(&manifest)));
}

#[test]
fn the_manifest_and_its_wiring_survive_json() {
    for source in [SMALLEST, FULL] {
        let manifest = ok(source);
        let wiring = Wiring::new(&manifest);
        let sent = serde_json::to_string(&(&manifest, &wiring)).expect("it becomes JSON");
        let received: (Manifest, Wiring) = serde_json::from_str(&sent).expect("it comes back");
        assert_eq!(received, (manifest, wiring));
    }
}

// proves REPO-3
#[test]
fn routes_follow_the_convention_only_where_nothing_is_said() {
    let only = ok("services: { app: { command: a } }");
    assert_eq!(only.services["app"].routes, ["/"]);
    let silent = ok("services: { app: { command: a, routes: [] } }");
    assert!(silent.services["app"].routes.is_empty());
    let many = ok("services: { web: { command: a }, marketing: { command: b }, api: { command: c } }");
    assert_eq!(many.services["web"].routes, ["/"]);
    assert_eq!(many.services["api"].routes, ["/api"]);
    assert!(many.services["marketing"].routes.is_empty());
    let taken = ok("services: { web: { command: a }, marketing: { command: b, routes: [/] } }");
    assert!(taken.services["web"].routes.is_empty());
}

// proves REPO-3
#[test]
fn byte_order_marks_and_windows_line_ends_are_fine() {
    let windows = format!("\u{feff}{}", SMALLEST.replace('\n', "\r\n"));
    assert_eq!(ok(&windows), ok(SMALLEST));
    assert_eq!(first("\u{feff}services:\r\n  web:\r\n    comand: a\r\n".as_bytes()), "3:5 manifest.unknown_key");
    assert_eq!(first("\u{feff}x: 1\rservices: 2\r".as_bytes()), "1:1 manifest.unknown_key");
}

// proves REPO-3
#[test]
fn bytes_that_are_no_text_are_refused_where_they_stand() {
    assert_eq!(first(b"services:\n  web: caf\xe9\n"), "2:11 manifest.not_utf8");
    assert_eq!(first(b"\xff\xfes\0e\0"), "1:1 manifest.not_utf8");
    assert_eq!(first(&[b"a: ".as_slice(), &[0xc3, 0xa4], &[0xff]].concat()), "1:5 manifest.not_utf8");
    expect![[r"
        envforge.yml:2:11: byte 0xe9 is not UTF-8
          |
        2 |   web: caf�
          |           ^
          hint: save the file as UTF-8 [manifest.not_utf8]
    "]]
    .assert_eq(&told(b"services:\n  web: caf\xe9\n"));
}

// proves REPO-3
#[test]
fn size_depth_and_aliases_are_bounded() {
    assert_eq!(first(&vec![b'a'; 1024 * 1024]), "1:1 manifest.too_large");
    assert_eq!(first(&vec![b' '; MAX_BYTES + 1]), "1:1 manifest.too_large");
    assert!(first("[".repeat(10_000).as_bytes()).ends_with("manifest.too_deep"));
    let stairs: String = (0..200).map(|step| format!("{}a:\n", "  ".repeat(step))).collect();
    assert_eq!(first(stairs.as_bytes()), "33:65 manifest.too_deep");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='i')
            .map(|name| {
                let last = char::from(name as u8 - 1);
                format!("{name}: &{name} [{}]\n", vec![format!("*{last}"); 9].join(","))
            })
            .collect::<String>();
    assert!(first(bomb.as_bytes()).ends_with("manifest.too_many_values"));
    let deep_by_alias = "a: &a0 [x]\n".to_owned()
        + &(1..100).map(|step| format!("a{step}: &a{step} [*a{}]\n", step - 1)).collect::<String>();
    assert!(first(deep_by_alias.as_bytes()).ends_with("manifest.too_deep"));
    assert!(first(format!("services: [{}]", "a,".repeat(100_000)).as_bytes()).ends_with("manifest.too_many_values"));
}

// proves REPO-3
#[test]
fn many_mistakes_are_counted_and_not_all_told() {
    let many: String = (0..5_000).map(|number| format!("key{number}: 1\n")).collect();
    let mistakes = parse(many.as_bytes(), FILE_NAME).expect_err("the file is broken");
    assert_eq!(mistakes.len(), 51);
    assert_eq!(mistakes[50].code, "manifest.more");
}

/// The keys of an object in the schema.
fn schema_keys(schema: &Value, definition: Option<&str>) -> BTreeSet<String> {
    let object = definition.map_or(schema, |name| &schema["definitions"][name]);
    assert_eq!(object["additionalProperties"], Value::Bool(false), "{definition:?}");
    object["properties"].as_object().expect("an object").keys().cloned().collect()
}

// proves REPO-3
#[test]
fn the_schema_has_the_keys_the_parser_knows() {
    use super::{parse as top, resource, service};
    let schema = json_schema();
    let known = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let resources = super::ResourceKind::ALL.map(super::ResourceKind::as_str);
    for (definition, keys) in [
        (None, top::TOP_KEYS),
        (Some("Service"), service::SERVICE_KEYS),
        (Some("Health"), service::HEALTH_KEYS),
        (Some("Check"), top::CHECK_KEYS),
        (Some("Runtime"), top::RUNTIME_KEYS),
        (Some("Shell"), top::SHELL_KEYS),
        (Some("Hooks"), top::HOOK_KEYS),
        (Some("ResourceMapping"), resource::RESOURCE_KEYS),
        (Some("Resources"), resources.as_slice()),
    ] {
        assert_eq!(schema_keys(&schema, definition), known(keys), "{definition:?}");
    }
    assert!(!schema.to_string().contains("null"), "a key left out is not a key set to nothing");
}

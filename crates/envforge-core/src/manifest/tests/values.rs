//! Broken names, paths, numbers and words, and what people are told about them.

use expect_test::expect;

use super::check;
use crate::manifest::{ResourceKind, ResourceMode};

// proves REPO-3
#[test]
fn routes_that_are_none() {
    check(
        r#"
services:
  web:
    command: npm run dev
    routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
"#,
        expect![[r#"
            envforge.yml:4:14: route `docs` does not start with `/`
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |              ^^^^
              hint: write `/docs` [manifest.bad_route]

            envforge.yml:4:20: route `/share/x` is reserved: signed links are opened below `/share`
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |                    ^^^^^^^^
              hint: serve these pages under another path [manifest.bad_route]

            envforge.yml:4:30: route `/a b` holds characters a path prefix can't have
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |                              ^^^^^^
              hint: write a path without spaces, `?` and `#`, with other characters percent-encoded [manifest.bad_route]

            envforge.yml:4:38: route `/../x` holds `//`, `.` or `..`
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |                                      ^^^^^
              hint: write the path as the browser asks for it [manifest.bad_route]

            envforge.yml:4:45: route `/users/*` is a pattern; routes are path prefixes
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |                                             ^^^^^^^^^^
              hint: write the part before the pattern: `/api` covers everything below `/api` [manifest.bad_route]

            envforge.yml:4:57: every entry of `routes` of service `web` must be text, this is a number `7`
              |
            4 |     routes: [docs, /share/x, "/a b", /../x, "/users/*", 7]
              |                                                         ^
              hint: write a list of path prefixes, as in `[/, /docs]` [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn protocols_and_rewrites() {
    check(
        r#"
services:
  web: { command: npm run dev, protocol: http2, rewrite: redirects }
  api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
"#,
        expect![[r#"
            envforge.yml:2:42: `protocol` of service `web` must be one of `http`, `h2c`, not `http2`
              |
            2 |   web: { command: npm run dev, protocol: http2, rewrite: redirects }
              |                                          ^^^^^
              hint: write `h2c`: HTTP/2 without TLS [manifest.unknown_value]

            envforge.yml:2:58: `rewrite` of service `web` must be a list, this is text `redirects`
              |
            2 |   web: { command: npm run dev, protocol: http2, rewrite: redirects }
              |                                                          ^^^^^^^^^
              hint: write a list: `[redirects]` [manifest.wrong_type]

            envforge.yml:3:42: `protocol` of service `api` must be one of `http`, `h2c`, not `H2C`
              |
            3 |   api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
              |                                          ^^^
              hint: did you mean `h2c`? [manifest.unknown_value]

            envforge.yml:3:57: every entry of `rewrite` of service `api` must be one of `redirects`, `cookies`, not `cookie`
              |
            3 |   api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
              |                                                         ^^^^^^
              hint: did you mean `cookies`? [manifest.unknown_value]

            envforge.yml:3:74: `cookies` is listed twice in `rewrite` of service `api`
              |
            3 |   api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
              |                                                                          ^^^^^^^
              hint: keep one of the two [manifest.duplicate_key]

            envforge.yml:3:83: every entry of `rewrite` of service `api` must be one of `redirects`, `cookies`, not `bodies`
              |
            3 |   api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
              |                                                                                   ^^^^^^
              hint: write one of `redirects`, `cookies` [manifest.unknown_value]

            envforge.yml:3:91: every entry of `rewrite` of service `api` must be text, this is a number `1`
              |
            3 |   api: { command: npm run api, protocol: H2C, rewrite: [cookie, cookies, cookies, bodies, 1] }
              |                                                                                           ^
              hint: write a list, as in `[redirects, cookies]` [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn durations_sizes_and_words() {
    check(
        r#"
services:
  web: { command: npm run dev, restart: on-failure, stop_grace: 20m, inputs: { a: mandatory } }
runtime:
  size: extra-large
  idle: 10
  stop_after: ten minutes
"#,
        expect![[r#"
            envforge.yml:2:41: `restart` of service `web` must be one of `on_failure`, `always`, `never`, not `on-failure`
              |
            2 |   web: { command: npm run dev, restart: on-failure, stop_grace: 20m, inputs: { a: mandatory } }
              |                                         ^^^^^^^^^^
              hint: did you mean `on_failure`? [manifest.unknown_value]

            envforge.yml:2:65: `stop_grace` of service `web` is `20m`, which is not between 0s and 10m
              |
            2 |   web: { command: npm run dev, restart: on-failure, stop_grace: 20m, inputs: { a: mandatory } }
              |                                                                 ^^^
              hint: write a duration between `0s` and `10m` [manifest.bad_duration]

            envforge.yml:2:83: input `a` of service `web` must be one of `required`, `optional`, not `mandatory`
              |
            2 |   web: { command: npm run dev, restart: on-failure, stop_grace: 20m, inputs: { a: mandatory } }
              |                                                                                   ^^^^^^^^^
              hint: write one of `required`, `optional` [manifest.unknown_value]

            envforge.yml:4:9: `size` must be one of `small`, `medium`, `large`, not `extra-large`
              |
            4 |   size: extra-large
              |         ^^^^^^^^^^^
              hint: write one of `small`, `medium`, `large` [manifest.unknown_value]

            envforge.yml:5:9: `idle` is `10`, which has no unit
              |
            5 |   idle: 10
              |         ^^
              hint: write `10s` for seconds or `10m` for minutes [manifest.bad_duration]

            envforge.yml:6:15: `stop_after` is `ten minutes`, which is not a duration
              |
            6 |   stop_after: ten minutes
              |               ^^^
              hint: write a number with `s`, `m` or `h`, as in `30m` [manifest.bad_duration]
        "#]],
    );
}

// proves REPO-3
#[test]
fn durations_out_of_bounds() {
    check(
        r#"
services:
  web: { command: npm run dev, stop_grace: 700 }
  slow: { command: npm run dev, start_timeout: 2h }
  never: { command: npm run dev, start_timeout: 0s }
  bare: { command: npm run dev, start_timeout: 90, health: { tcp: true, start_period: 1m } }
runtime: { idle: 5s, stop_after: 30d, size: smal }
"#,
        expect![[r#"
            envforge.yml:2:44: `stop_grace` of service `web` must be a number of seconds from 0 to 600, this is `700`
              |
            2 |   web: { command: npm run dev, stop_grace: 700 }
              |                                            ^^^
              hint: write a number of seconds from 0 to 600 [manifest.wrong_value]

            envforge.yml:3:48: `start_timeout` of service `slow` is `2h`, which is not between 1s and 1h
              |
            3 |   slow: { command: npm run dev, start_timeout: 2h }
              |                                                ^^
              hint: write a duration between `1s` and `1h` [manifest.bad_duration]

            envforge.yml:4:49: `start_timeout` of service `never` is `0s`, which is not between 1s and 1h
              |
            4 |   never: { command: npm run dev, start_timeout: 0s }
              |                                                 ^^
              hint: write a duration between `1s` and `1h` [manifest.bad_duration]

            envforge.yml:5:48: `start_timeout` of service `bare` is `90`, which has no unit
              |
            5 |   bare: { command: npm run dev, start_timeout: 90, health: { tcp: true, start_period: 1m } }
              |                                                ^^
              hint: write `90s` for seconds or `90m` for minutes [manifest.bad_duration]

            envforge.yml:5:73: unknown key `start_period` in `health` of service `bare`
              |
            5 |   bare: { command: npm run dev, start_timeout: 90, health: { tcp: true, start_period: 1m } }
              |                                                                         ^^^^^^^^^^^^
              hint: how long it may take to become ready stands at the service itself, beside `health`: `start_timeout: 10m` [manifest.unknown_key]

            envforge.yml:6:18: `idle` is `5s`, which is not between 30s and 24h
              |
            6 | runtime: { idle: 5s, stop_after: 30d, size: smal }
              |                  ^^
              hint: write a duration between `30s` and `24h` [manifest.bad_duration]

            envforge.yml:6:34: `stop_after` is `30d`, which is not between 1m and 7d
              |
            6 | runtime: { idle: 5s, stop_after: 30d, size: smal }
              |                                  ^^^
              hint: write a duration between `1m` and `7d` [manifest.bad_duration]

            envforge.yml:6:45: `size` must be one of `small`, `medium`, `large`, not `smal`
              |
            6 | runtime: { idle: 5s, stop_after: 30d, size: smal }
              |                                             ^^^^
              hint: did you mean `small`? [manifest.unknown_value]
        "#]],
    );
}

// proves REPO-3
#[test]
fn names() {
    check(
        r#"
services:
  My_App: { command: a }
  a--b: { command: a }
  web-: { command: a }
  shell: { command: a }
  xn: { command: a }
  a-name-that-is-much-too-long-for-a-host: { command: a }
  db: { command: a }
  db-svc: { command: a, environment: { "MY-VAR": 1, ENVFORGE_ORG: x, 1A: b } }
variables: { Log-Level: debug }
"#,
        expect![[r#"
            envforge.yml:2:3: service name `My_App` may hold only lower-case letters, digits and hyphens, and starts with a letter
              |
            2 |   My_App: { command: a }
              |   ^^^^^^
              hint: write `my-app` [manifest.bad_name]

            envforge.yml:3:3: service name `a--b` contains `--`, which separates the parts of a dev host
              |
            3 |   a--b: { command: a }
              |   ^^^^
              hint: write `a-b` [manifest.bad_name]

            envforge.yml:4:3: service name `web-` ends with a hyphen
              |
            4 |   web-: { command: a }
              |   ^^^^
              hint: write `web` [manifest.bad_name]

            envforge.yml:5:3: service name `shell` is reserved: `shell` is the layer every workspace has
              |
            5 |   shell: { command: a }
              |   ^^^^^
              hint: choose another name, such as `shell-app` [manifest.reserved_name]

            envforge.yml:6:3: service name `xn` is reserved: a host name that starts with `xn--` is read as an encoded one
              |
            6 |   xn: { command: a }
              |   ^^
              hint: choose another name, such as `xn-app` [manifest.reserved_name]

            envforge.yml:7:3: service name `a-name-that-is-much-too-long-for-a-host` is longer than 31 characters
              |
            7 |   a-name-that-is-much-too-long-for-a-host: { command: a }
              |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              hint: write `a-name-that-is-much-too-long-fo` [manifest.bad_name]

            envforge.yml:9:3: services `db` and `db-svc` would have the same dev host, `db-svc--…`
              |
            9 |   db-svc: { command: a, environment: { "MY-VAR": 1, ENVFORGE_ORG: x, 1A: b } }
              |   ^^^^^^
              hint: rename `db-svc` [manifest.name_clash]

            envforge.yml:9:40: variable name `MY-VAR` may hold only letters, digits and `_`, and starts with no digit
              |
            9 |   db-svc: { command: a, environment: { "MY-VAR": 1, ENVFORGE_ORG: x, 1A: b } }
              |                                        ^^^^^^^^
              hint: write `MY_VAR` [manifest.bad_name]

            envforge.yml:9:53: variable name `ENVFORGE_ORG` is reserved: names that start with `ENVFORGE_` are set by EnvForge
              |
            9 |   db-svc: { command: a, environment: { "MY-VAR": 1, ENVFORGE_ORG: x, 1A: b } }
              |                                                     ^^^^^^^^^^^^
              hint: choose another name [manifest.reserved_name]

            envforge.yml:9:70: variable name `1A` may hold only letters, digits and `_`, and starts with no digit
              |
            9 |   db-svc: { command: a, environment: { "MY-VAR": 1, ENVFORGE_ORG: x, 1A: b } }
              |                                                                      ^^
              hint: use letters, digits and `_`, as in `DATABASE_URL` [manifest.bad_name]

            envforge.yml:10:14: variable name `Log-Level` may hold only lower-case letters, digits and `_`, and starts with a letter
               |
            10 | variables: { Log-Level: debug }
               |              ^^^^^^^^^
              hint: write `log_level` [manifest.bad_name]
        "#]],
    );
}

// proves REPO-3
#[test]
fn repositories() {
    check(
        r#"
repo: git@github.com:acme/planner.git
services: { web: { command: a, directory: ../other } }
"#,
        expect![[r#"
            envforge.yml:1:7: repository `git@github.com:acme/planner.git` is not of the form `host/owner/name`
              |
            1 | repo: git@github.com:acme/planner.git
              |       ^^^^^^^^^^^^^^
              hint: write `github.com/acme/planner` [manifest.bad_repo]

            envforge.yml:2:43: directory `../other` leaves the repository with `..`
              |
            2 | services: { web: { command: a, directory: ../other } }
              |                                           ^^^^^^^^
              hint: write it from the repository's root, as in `apps/web` [manifest.bad_directory]
        "#]],
    );
}

// proves REPO-3
#[test]
fn ports_and_directories() {
    check(
        r#"
services:
  a: { command: x, port: 0, directory: /srv }
  b: { command: x, port: 70000, directory: "apps\\web" }
  c: { command: x, port: 3000.5 }
  d: { command: "", port: three }
"#,
        expect![[r#"
            envforge.yml:2:26: `port` of service `a` must be a number from 1 to 65535, this is `0`
              |
            2 |   a: { command: x, port: 0, directory: /srv }
              |                          ^
              hint: write a number from 1 to 65535 [manifest.wrong_value]

            envforge.yml:2:40: directory `/srv` is not relative to the repository
              |
            2 |   a: { command: x, port: 0, directory: /srv }
              |                                        ^^^^
              hint: write it from the repository's root, as in `apps/web` [manifest.bad_directory]

            envforge.yml:3:26: `port` of service `b` must be a number from 1 to 65535, this is `70000`
              |
            3 |   b: { command: x, port: 70000, directory: "apps\\web" }
              |                          ^^^^^
              hint: write a number from 1 to 65535 [manifest.wrong_value]

            envforge.yml:3:44: directory `apps\web` holds `\`
              |
            3 |   b: { command: x, port: 70000, directory: "apps\\web" }
              |                                            ^^^^^^^^^^^
              hint: separate directories with `/` [manifest.bad_directory]

            envforge.yml:4:26: `port` of service `c` must be a number from 1 to 65535, this is `3000.5`
              |
            4 |   c: { command: x, port: 3000.5 }
              |                          ^^^^^^
              hint: write a number from 1 to 65535 [manifest.wrong_value]

            envforge.yml:5:17: `command` of service `d` is empty
              |
            5 |   d: { command: "", port: three }
              |                 ^^
              hint: write a value, or remove the key [manifest.wrong_value]

            envforge.yml:5:27: `port` of service `d` must be a number from 1 to 65535, this is text `three`
              |
            5 |   d: { command: "", port: three }
              |                           ^^^^^
              hint: write a number from 1 to 65535 [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn resources() {
    check(
        r#"
services:
  web: { command: a, inputs: { database_url: required } }
resources:
  postgres: customer_cloud
  redis: { mode: branch_scoped, secret: X }
  object_storage: branch_scoped
  mail: branch_scoped
  kafka: branch_scoped
"#,
        expect![[r#"
            envforge.yml:4:3: resource `postgres` is in the customer's cloud, and `secret` does not say where its address is
              |
            4 |   postgres: customer_cloud
              |   ^^^^^^^^
              hint: write `postgres: { mode: customer_cloud, secret: POSTGRES_URL }` [manifest.missing_key]

            envforge.yml:5:33: resource `redis` is `branch_scoped`, which takes no `secret`
              |
            5 |   redis: { mode: branch_scoped, secret: X }
              |                                 ^^^^^^
              hint: remove `secret`, or write `mode: customer_cloud` [manifest.wrong_value]

            envforge.yml:8:3: unknown key `kafka` under `resources`
              |
            8 |   kafka: branch_scoped
              |   ^^^^^
              hint: known keys here: `postgres`, `redis`, `object_storage`, `mail` [manifest.unknown_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn health_told_wrongly() {
    check(
        r#"
services:
  a: { command: x, health: { http: /x, tcp: true } }
  b: { command: x, health: { tcp: false } }
  c: { command: x, health: {} }
  d: { command: x, health: { http: healthz } }
"#,
        expect![[r#"
            envforge.yml:2:40: `health` of service `a` is told in more than one way: `http` and `tcp`
              |
            2 |   a: { command: x, health: { http: /x, tcp: true } }
              |                                        ^^^
              hint: keep one of them [manifest.wrong_value]

            envforge.yml:3:35: `tcp` in `health` of service `b` can only be true
              |
            3 |   b: { command: x, health: { tcp: false } }
              |                                   ^^^^^
              hint: write `tcp: true`, or remove `health` [manifest.wrong_value]

            envforge.yml:4:20: `health` of service `c` does not say how to tell
              |
            4 |   c: { command: x, health: {} }
              |                    ^^^^^^
              hint: write `{ http: /healthz }`, `{ tcp: true }`, `{ command: … }` or `{ log: … }` [manifest.missing_key]

            envforge.yml:5:36: path `healthz` does not start with `/`
              |
            5 |   d: { command: x, health: { http: healthz } }
              |                                    ^^^^^^^
              hint: write `/healthz` [manifest.bad_path]
        "#]],
    );
}

// proves REPO-3, RUN-6
#[test]
fn a_database_begins_as_a_copy() {
    let manifest = super::ok("services:\n  web: { command: a }\nresources:\n  postgres: { from: feature/start }\n");
    let mode = &manifest.resources[&ResourceKind::Postgres];
    let extensions = Vec::new();
    assert_eq!(mode, &ResourceMode::BranchScoped { from: Some("feature/start".to_owned()), extensions });
    let json = serde_json::to_value(mode).expect("JSON");
    assert_eq!(json, serde_json::json!({ "mode": "branch_scoped", "from": "feature/start" }));
    // As it was written before there was such a key.
    let before: ResourceMode = serde_json::from_str(r#"{ "mode": "branch_scoped" }"#).expect("reads");
    assert_eq!(before, ResourceMode::default());
    let explained = super::explain(&manifest, &super::Wiring::new(&manifest));
    assert!(explained.contains("begun as a copy of branch feature/start's"), "{explained}");
}

// proves REPO-3
#[test]
fn a_copy_told_wrongly() {
    for source in ["main..x", "-main", "a b", "/main", "main/", "''", "a~1"] {
        let file = format!("services:\n  web: {{ command: a }}\nresources:\n  postgres: {{ from: {source} }}\n");
        assert_eq!(super::first(file.as_bytes()), "4:21 manifest.wrong_value", "{source}");
    }
    check(
        r"
services:
  web: { command: a }
resources:
  postgres: { mode: customer_cloud, secret: X, from: main }
  redis: { from: main }
",
        expect![[r#"
            envforge.yml:4:48: resource `postgres` is in the customer's cloud, where nothing is copied to
              |
            4 |   postgres: { mode: customer_cloud, secret: X, from: main }
              |                                                ^^^^
              hint: remove `from` [manifest.wrong_value]

            envforge.yml:5:12: resource `redis` always starts empty; only `postgres` takes `from`
              |
            5 |   redis: { from: main }
              |            ^^^^
              hint: remove `from` [manifest.wrong_value]
        "#]],
    );
}

// proves REPO-3, RUN-6
#[test]
fn extensions_of_a_database() {
    let manifest = super::ok(
        "services:\n  web: { command: a }\nresources:\n  postgres: { from: main, extensions: [bloom, uuid-ossp] }\n",
    );
    let mode = &manifest.resources[&ResourceKind::Postgres];
    let extensions = ["bloom", "uuid-ossp"].map(str::to_owned).to_vec();
    assert_eq!(mode, &ResourceMode::BranchScoped { from: Some("main".to_owned()), extensions });
    let explained = super::explain(&manifest, &super::Wiring::new(&manifest));
    assert!(explained.contains("begun as a copy of branch main's, with bloom, uuid-ossp"), "{explained}");
    // What reads files, opens connections, runs programs or looks at others.
    for name in [
        "file_fdw",
        "dblink",
        "postgres_fdw",
        "adminpack",
        "plpython3u",
        "plperlu",
        "pg_stat_statements",
        "pageinspect",
        "bloom; DROP TABLE t",
        "BLOOM",
    ] {
        let file =
            format!("services:\n  web: {{ command: a }}\nresources:\n  postgres: {{ extensions: ['{name}'] }}\n");
        assert_eq!(super::first(file.as_bytes()), "4:28 manifest.extension_refused", "{name}");
    }
    check(
        r"
services:
  web: { command: a }
resources:
  postgres: { extensions: [vectors, dblink, bloom, bloom] }
  redis: { extensions: [bloom] }
",
        expect![[r#"
            envforge.yml:4:28: extension `vectors` is not allowed: the databases of all workspaces share a server
              |
            4 |   postgres: { extensions: [vectors, dblink, bloom, bloom] }
              |                            ^^^^^^^
              hint: did you mean `vector`? [manifest.extension_refused]

            envforge.yml:4:37: extension `dblink` is not allowed: the databases of all workspaces share a server
              |
            4 |   postgres: { extensions: [vectors, dblink, bloom, bloom] }
              |                                     ^^^^^^
              hint: remove it; allowed: `bloom`, `btree_gin`, `btree_gist`, `citext`, `cube`, `dict_int`, `fuzzystrmatch`, `hstore`, `intarray`, `isn`, `lo`, `ltree`, and 11 more [manifest.extension_refused]

            envforge.yml:4:52: extension `bloom` is listed twice
              |
            4 |   postgres: { extensions: [vectors, dblink, bloom, bloom] }
              |                                                    ^^^^^
              hint: keep one of the two [manifest.duplicate_key]

            envforge.yml:5:12: resource `redis` has no extensions; only `postgres` has
              |
            5 |   redis: { extensions: [bloom] }
              |            ^^^^^^^^^^
              hint: remove `extensions` [manifest.wrong_value]
        "#]],
    );
}

//! Manifests whose parts are right and whose whole is not, and what people are told about them.

use expect_test::expect;

use super::check;

// proves REPO-3
#[test]
fn clashes() {
    check(
        r#"
services:
  web:
    command: npm run dev
    port: 3000
    routes: [/, /docs/]
  docs:
    command: npm run docs
    port: 3000
    routes: [/docs]
  api:
    command: npm run api
    routes: [/api, /api/]
"#,
        expect![[r#"
            envforge.yml:8:11: port 3000 of service `docs` is already the port of service `web`, on line 4
              |
            8 |     port: 3000
              |           ^^^^
              hint: give one of the two another port [manifest.port_clash]

            envforge.yml:9:14: route `/docs` of service `docs` already leads to service `web`, on line 5
              |
            9 |     routes: [/docs]
              |              ^^^^^
              hint: give one of the two another path prefix [manifest.route_clash]

            envforge.yml:12:20: route `/api` is listed twice
               |
            12 |     routes: [/api, /api/]
               |                    ^^^^^
              hint: keep one of the two [manifest.duplicate_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn inputs_nobody_provides() {
    check(
        r#"
services:
  web:
    command: npm run dev
    inputs: { api_urll: required, stripe_key: required, database_url: required, sentry_dsn: optional }
  api:
    command: npm run api
"#,
        expect![[r#"
            envforge.yml:4:15: service `web` requires input `api_urll`, and nothing provides it
              |
            4 |     inputs: { api_urll: required, stripe_key: required, database_url: required, sentry_dsn: optional…
              |               ^^^^^^^^
              hint: did you mean `api_url`? Provided in this file: `api_port`, `api_public_url`, `api_url`, `web_port`, `web_public_url`, `web_url`. A secret needs a name further from these [manifest.unsatisfied_input]

            envforge.yml:4:57: service `web` requires input `database_url`, and nothing provides it
              |
            4 | …puts: { api_urll: required, stripe_key: required, database_url: required, sentry_dsn: optional }
              |                                                    ^^^^^^^^^^^^
              hint: write `postgres: branch_scoped` under `resources` [manifest.unsatisfied_input]
        "#]],
    );
}

// proves REPO-3
#[test]
fn inputs_used_but_not_declared() {
    check(
        r#"
services:
  web:
    command: npm run dev
    inputs: { api_url: required }
    environment:
      API_URL: input.api_ulr
      WORKER: input.worker_port
      BASE: "${input.api_url}/v1"
      BAD: input.Api-Url
  api:
    command: npm run api
  worker:
    command: npm run worker
"#,
        expect![[r#"
            envforge.yml:6:16: variable API_URL takes `input.api_ulr`, which service `web` does not list under `inputs`
              |
            6 |       API_URL: input.api_ulr
              |                ^^^^^^^^^^^^^
              hint: did you mean `input.api_url`? [manifest.undeclared_input]

            envforge.yml:7:15: variable WORKER takes `input.worker_port`, which service `web` does not list under `inputs`
              |
            7 |       WORKER: input.worker_port
              |               ^^^^^^^^^^^^^^^^^
              hint: add it to the service: `inputs: { worker_port: required }` [manifest.undeclared_input]

            envforge.yml:8:13: variable `BASE` of service `web` puts an input inside other text
              |
            8 |       BASE: "${input.api_url}/v1"
              |             ^^^^^^^^^^^^^^^^^^^^^
              hint: make the input the whole value, as in `API_URL: input.api_url`, and join the parts in the program [manifest.wrong_value]

            envforge.yml:9:12: input name `Api-Url` may hold only lower-case letters, digits and `_`, and starts with a letter
              |
            9 |       BAD: input.Api-Url
              |            ^^^^^^^^^^^^^
              hint: write `api_url` [manifest.bad_name]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_circle_of_inputs() {
    check(
        r#"
services:
  web:
    command: npm run dev
    inputs: { api_url: required }
  api:
    command: npm run api
    inputs: { auth_url: required }
  auth:
    command: npm run auth
    inputs: { web_url: required }
  self:
    command: npm run self
    inputs: { self_port: required }
"#,
        expect![[r#"
            envforge.yml:7:15: services wait for each other's port: api → auth → web → api
              |
            7 |     inputs: { auth_url: required }
              |               ^^^^^^^^
              hint: declare the `port` of one of them, take `auth_public_url` instead, or make one input optional [manifest.input_cycle]

            envforge.yml:13:15: a service waits for its own port: self → self
               |
            13 |     inputs: { self_port: required }
               |               ^^^^^^^^^
              hint: declare its `port`, take `self_public_url` instead, or make one input optional [manifest.input_cycle]
        "#]],
    );
}

// proves REPO-3
#[test]
fn checks_of_services_that_are_not_there() {
    check(
        r#"
services:
  web: { command: npm run dev }
checks:
  home: { service: wep, path: / }
  api: { service: backend, path: healthz, status: 20 }
  none: { path: "http://localhost/x" }
"#,
        expect![[r#"
            envforge.yml:4:20: check `home` asks service `wep`, which is not declared
              |
            4 |   home: { service: wep, path: / }
              |                    ^^^
              hint: did you mean `web`? [manifest.unknown_service]

            envforge.yml:5:19: check `api` asks service `backend`, which is not declared
              |
            5 |   api: { service: backend, path: healthz, status: 20 }
              |                   ^^^^^^^
              hint: name one of the services: `web` [manifest.unknown_service]

            envforge.yml:5:34: path `healthz` does not start with `/`
              |
            5 |   api: { service: backend, path: healthz, status: 20 }
              |                                  ^^^^^^^
              hint: write `/healthz` [manifest.bad_path]

            envforge.yml:5:51: `status` of check `api` must be a number from 100 to 599, this is `20`
              |
            5 |   api: { service: backend, path: healthz, status: 20 }
              |                                                   ^^
              hint: write a number from 100 to 599 [manifest.wrong_value]

            envforge.yml:6:3: check `none` has no `service`
              |
            6 |   none: { path: "http://localhost/x" }
              |   ^^^^
              hint: write `{ service: web, path: / }` [manifest.missing_key]

            envforge.yml:6:17: path `http://localhost/x` does not start with `/`
              |
            6 |   none: { path: "http://localhost/x" }
              |                 ^^^^^^^^^^^^^^^^^^^^
              hint: write `/x` [manifest.bad_path]
        "#]],
    );
}

// proves REPO-3
#[test]
fn one_name_two_providers() {
    check(
        r#"
services:
  api: { command: a }
  api-public: { command: b }
  redis: { command: c }
variables: { api_port: 1 }
resources: { redis: branch_scoped }
"#,
        expect![[r#"
            envforge.yml:3:3: input `api_public_url` would come from the dev host of service api and from the address of service api-public
              |
            3 |   api-public: { command: b }
              |   ^^^^^^^^^^
              hint: rename the service [manifest.ambiguous_input]

            envforge.yml:4:3: input `redis_port` would come from resource redis and from the port of service redis
              |
            4 |   redis: { command: c }
              |   ^^^^^
              hint: rename the service [manifest.ambiguous_input]

            envforge.yml:4:3: input `redis_url` would come from resource redis and from the address of service redis
              |
            4 |   redis: { command: c }
              |   ^^^^^
              hint: rename the service [manifest.ambiguous_input]

            envforge.yml:5:14: input `api_port` would come from the port of service api and from variable api_port
              |
            5 | variables: { api_port: 1 }
              |              ^^^^^^^^
              hint: rename the variable [manifest.ambiguous_input]
        "#]],
    );
}

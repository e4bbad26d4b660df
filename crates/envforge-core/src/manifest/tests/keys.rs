//! Broken keys and types, and what people are told about them: the whole text, because it is the product's face.

use expect_test::expect;

use super::check;

// proves REPO-3
#[test]
fn misspelt_keys_at_every_level() {
    check(
        r#"
repo: github.com/acme/planner
servces: {}
services:
  web:
    comand: npm run dev
    enviroment: { A: b }
    health: { htp: / }
  api:
    command: npm run api
resources:
  postgress: branch_scoped
checks:
  home: { service: web, path: /, staus: 200 }
runtime: { sizes: small }
shell: { tool: [jq] }
hooks: { set_up: npm ci }
"#,
        expect![[r#"
            envforge.yml:2:1: unknown key `servces` at the top of the file
              |
            2 | servces: {}
              | ^^^^^^^
              hint: did you mean `services`? [manifest.unknown_key]

            envforge.yml:5:5: unknown key `comand` in service `web`
              |
            5 |     comand: npm run dev
              |     ^^^^^^
              hint: did you mean `command`? [manifest.unknown_key]

            envforge.yml:6:5: unknown key `enviroment` in service `web`
              |
            6 |     enviroment: { A: b }
              |     ^^^^^^^^^^
              hint: did you mean `environment`? [manifest.unknown_key]

            envforge.yml:7:15: unknown key `htp` in `health` of service `web`
              |
            7 |     health: { htp: / }
              |               ^^^
              hint: did you mean `http`? [manifest.unknown_key]

            envforge.yml:11:3: unknown key `postgress` under `resources`
               |
            11 |   postgress: branch_scoped
               |   ^^^^^^^^^
              hint: did you mean `postgres`? [manifest.unknown_key]

            envforge.yml:13:34: unknown key `staus` in check `home`
               |
            13 |   home: { service: web, path: /, staus: 200 }
               |                                  ^^^^^
              hint: did you mean `status`? [manifest.unknown_key]

            envforge.yml:14:12: unknown key `sizes` under `runtime`
               |
            14 | runtime: { sizes: small }
               |            ^^^^^
              hint: did you mean `size`? [manifest.unknown_key]

            envforge.yml:15:10: unknown key `tool` under `shell`
               |
            15 | shell: { tool: [jq] }
               |          ^^^^
              hint: did you mean `tools`? [manifest.unknown_key]

            envforge.yml:16:10: unknown key `set_up` under `hooks`
               |
            16 | hooks: { set_up: npm ci }
               |          ^^^^^^
              hint: did you mean `setup`? [manifest.unknown_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn keys_of_other_tools() {
    check(
        r#"
version: "3"
services:
  web:
    cmd: npm run dev
    depends_on: [api]
    ports: [3000]
    env: { A: b }
    volumes: [.]
  api:
    command: npm run api
    healthcheck: /healthz
workers:
  mail: npm run mail
"#,
        expect![[r#"
            envforge.yml:1:1: unknown key `version` at the top of the file
              |
            1 | version: "3"
              | ^^^^^^^
              hint: remove it: the format has no version [manifest.unknown_key]

            envforge.yml:4:5: unknown key `cmd` in service `web`
              |
            4 |     cmd: npm run dev
              |     ^^^
              hint: write `command` [manifest.unknown_key]

            envforge.yml:5:5: unknown key `depends_on` in service `web`
              |
            5 |     depends_on: [api]
              |     ^^^^^^^^^^
              hint: there is no start order: ask for what the service needs under `inputs`, as in `inputs: { api_url: required }` [manifest.unknown_key]

            envforge.yml:6:5: unknown key `ports` in service `web`
              |
            6 |     ports: [3000]
              |     ^^^^^
              hint: write `port` with the one port the service listens on; every branch has its own network [manifest.unknown_key]

            envforge.yml:7:5: unknown key `env` in service `web`
              |
            7 |     env: { A: b }
              |     ^^^
              hint: write `environment` [manifest.unknown_key]

            envforge.yml:8:5: unknown key `volumes` in service `web`
              |
            8 |     volumes: [.]
              |     ^^^^^^^
              hint: the checkout and every file in it are kept: nothing has to be mounted [manifest.unknown_key]

            envforge.yml:11:5: unknown key `healthcheck` in service `api`
               |
            11 |     healthcheck: /healthz
               |     ^^^^^^^^^^^
              hint: write `health`, as in `health: { http: /healthz }` [manifest.unknown_key]

            envforge.yml:12:1: unknown key `workers` at the top of the file
               |
            12 | workers:
               | ^^^^^^^
              hint: write a worker under `services`; without `routes` no browser reaches it [manifest.unknown_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_service_without_a_command() {
    check(
        r#"
services:
  web:
    port: 3000
  api:
"#,
        expect![[r#"
            envforge.yml:2:3: service `web` has no `command`
              |
            2 |   web:
              |   ^^^
              hint: write the line that starts it, as in `command: npm run dev` [manifest.missing_key]

            envforge.yml:4:3: service `api` has no `command`
              |
            4 |   api:
              |   ^^^
              hint: write the line that starts it, as in `command: npm run dev` [manifest.missing_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn wrong_types() {
    check(
        r#"
repo: [github.com/acme/planner]
prepare_pr: yes
services:
  web: npm run dev
  api:
    command: [npm, run, api]
    port: "4000"
    routes: /api
    inputs: [database_url]
    environment:
      - DATABASE_URL=input.database_url
    health: /healthz
"#,
        expect![[r#"
            envforge.yml:1:7: `repo` must be text, this is a list
              |
            1 | repo: [github.com/acme/planner]
              |       ^
              hint: write it as `github.com/acme/planner` [manifest.wrong_type]

            envforge.yml:2:13: `prepare_pr` must be true or false, this is text `yes`
              |
            2 | prepare_pr: yes
              |             ^^^
              hint: write `true` [manifest.wrong_type]

            envforge.yml:4:8: service `web` must be a mapping, this is text `npm run dev`
              |
            4 |   web: npm run dev
              |        ^^^
              hint: write `{ command: npm run dev }` [manifest.wrong_type]

            envforge.yml:6:14: `command` of service `api` must be text, this is a list
              |
            6 |     command: [npm, run, api]
              |              ^
              hint: write it as one line: `command: npm run api` [manifest.wrong_type]

            envforge.yml:7:11: `port` of service `api` must be a number from 1 to 65535, this is text `4000`
              |
            7 |     port: "4000"
              |           ^^^^^^
              hint: write 4000 without quotes [manifest.wrong_type]

            envforge.yml:8:13: `routes` of service `api` must be a list, this is text `/api`
              |
            8 |     routes: /api
              |             ^^^^
              hint: write a list: `[/api]` [manifest.wrong_type]

            envforge.yml:9:13: `inputs` of service `api` must be a mapping, this is a list
              |
            9 |     inputs: [database_url]
              |             ^
              hint: write `inputs: { database_url: required }` [manifest.wrong_type]

            envforge.yml:11:7: `environment` of service `api` must be a mapping, this is a list
               |
            11 |       - DATABASE_URL=input.database_url
               |       ^
              hint: write a mapping: `{ DATABASE_URL: input.database_url }` [manifest.wrong_type]

            envforge.yml:12:13: `health` of service `api` must be a mapping, this is text `/healthz`
               |
            12 |     health: /healthz
               |             ^^^^^^^^
              hint: write `{ http: /healthz }` [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn wrong_scalars() {
    check(
        r#"
services:
  api:
    command: npm run api
    restart: true
    stop_grace: soon
  worker:
    command: 7
    directory:
    environment:
      EMPTY:
      LIST: [1]
"#,
        expect![[r#"
            envforge.yml:4:14: `restart` of service `api` must be one of `on_failure`, `always`, `never`, this is `true`
              |
            4 |     restart: true
              |              ^^^^
              hint: write one of `on_failure`, `always`, `never` [manifest.wrong_type]

            envforge.yml:5:17: `stop_grace` of service `api` is `soon`, which is not a duration
              |
            5 |     stop_grace: soon
              |                 ^^^^
              hint: write a number with `s`, `m` or `h`, as in `10s` [manifest.bad_duration]

            envforge.yml:7:14: `command` of service `worker` must be text, this is a number `7`
              |
            7 |     command: 7
              |              ^
              hint: put quotes around it: `"7"` [manifest.wrong_type]

            envforge.yml:8:5: `directory` of service `worker` must be text, this is nothing
              |
            8 |     directory:
              |     ^^^^^^^^^
              hint: write a directory of the repository, as in `apps/web` [manifest.wrong_type]

            envforge.yml:10:7: variable `EMPTY` of service `worker` has no value
               |
            10 |       EMPTY:
               |       ^^^^^
              hint: write `""` for an empty value [manifest.wrong_type]

            envforge.yml:11:13: variable `LIST` of service `worker` must be text, a number, or true or false, this is a list
               |
            11 |       LIST: [1]
               |             ^
              hint: write one value [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn duplicate_keys() {
    check(
        r#"
services:
  web:
    command: npm run dev
    command: npm start
  web:
    command: npm run web
"#,
        expect![[r#"
            envforge.yml:4:5: key `command` is here a second time, first on line 3
              |
            4 |     command: npm start
              |     ^^^^^^^
              hint: keep one of the two [manifest.duplicate_key]

            envforge.yml:5:3: key `web` is here a second time, first on line 2
              |
            5 |   web:
              |   ^^^
              hint: keep one of the two [manifest.duplicate_key]
        "#]],
    );
}

// proves REPO-3
#[test]
fn no_services() {
    check(
        "repo: github.com/acme/planner\n",
        expect![[r#"
            envforge.yml:1:1: no services are declared
              |
            1 | repo: github.com/acme/planner
              | ^^^^
              hint: write `services:`, and below it, indented, a name and a `command` for each process [manifest.no_services]
        "#]],
    );
}

// proves REPO-3
#[test]
fn services_without_any() {
    check(
        "services:\n",
        expect![[r#"
            envforge.yml:1:1: no services are declared
              |
            1 | services:
              | ^^^^^^^^
              hint: write `services:`, and below it, indented, a name and a `command` for each process [manifest.no_services]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_list() {
    check(
        "- web\n- api\n",
        expect![[r#"
            envforge.yml:1:1: the file must be a mapping, this is a list
              |
            1 | - web
              | ^
              hint: start with `services:` at the beginning of a line [manifest.wrong_type]
        "#]],
    );
}

// proves REPO-3
#[test]
fn terminal_escapes() {
    check(
        "services:\n  web:\n    command: x\n    \"\\e[31mred\\u202e\": x\n",
        expect![[r#"
            envforge.yml:4:5: unknown key `\u{1b}[31mred\u{202e}` in service `web`
              |
            4 |     "\e[31mred\u202e": x
              |     ^^^^^^^^^^^^^^^^^
              hint: known keys here: `command`, `directory`, `port`, `protocol`, `routes`, `rewrite`, `inputs`, `environment`, `health`, `restart`, `stop_grace`, `start_timeout` [manifest.unknown_key]
        "#]],
    );
}

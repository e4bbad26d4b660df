//! `envforge up` where nobody can be asked, and the one box.

use crate::support::{End, Server, envforge, events, finish, ok, refused, run, workspace};
use expect_test::expect;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const WS: &str = "/v1/orgs/acme/workspaces/fix-login";

fn git(folder: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").args(args);
    assert!(command.output().expect("git runs").status.success(), "git {args:?}");
}

/// A checkout `planner` on branch `fix/login`.
fn repository(home: &Path) -> std::path::PathBuf {
    let folder = fs_err::canonicalize(home).expect("there").join("planner");
    fs_err::create_dir(&folder).expect("made");
    git(&folder, &["init", "-q", "-b", "fix/login"]);
    folder
}

fn opens(server: &Server) {
    server.route("POST /v1/orgs/acme/workspaces", ok(&workspace("asleep", 1, "asleep", "asleep")));
    server.route(&format!("POST {WS}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    let states = [workspace("waking", 2, "waking", "waking"), workspace("awake", 2, "ready", "ready")];
    server.route(&format!("GET {WS}/events"), events(&states, End::Open));
    let link = json!({ "id": "link_00000000000000000000000000000001", "workspace": "ws_00000000000000000000000000000001",
        "service": "web", "label": "web--fix-login--acme", "state": "active", "created_at": "2026-11-21T06:00:00Z",
        "expires_at": "2026-11-21T07:00:00Z", "visits": 0, "visit_budget": null, "wakes": 0, "wake_budget": 20, "minutes": 0, "minute_budget": 240 });
    let url = "http://web--fix-login--acme.localhost:7081/share/tok";
    server.route(&format!("POST {WS}/links"), ok(&json!({ "link": link, "url": url, "token": "tok" })));
}

fn project(repository: &Path) -> Value {
    json!({ "id": "proj_00000000000000000000000000000001", "slug": "planner", "repository": repository, "created_at": "2026-11-21T06:00:00Z" })
}

// proves UP-1 UP-4
#[test]
fn a_checkout_becomes_a_project_a_workspace_and_a_link() {
    let server = Server::acme();
    let home = tempfile::tempdir().expect("a folder");
    let folder = repository(home.path());
    server.route("GET /v1/orgs/acme/projects", ok(&json!({ "projects": [] })));
    server.route("GET /v1/orgs/acme/projects", ok(&json!({ "projects": [project(&folder)] })));
    server.route("POST /v1/orgs/acme/projects", ok(&project(&folder)));
    opens(&server);
    let up = |args: &[&str]| {
        let mut command = envforge(home.path(), args);
        command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test").current_dir(&folder);
        finish(&mut command).text(&server).replace(&folder.display().to_string(), "FOLDER")
    };
    expect![[r#"
        exit: 0
        --- stdout
        http://web--fix-login--acme.localhost:7081/share/tok
        --- stderr
        new project planner, cloned from FOLDER
        shell: ready
        runtime: waking
        service web: waking
        service api: waking
        resource postgres: waking
        runtime: ready
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
        resource postgres: ready
        opens until 2026-11-21 07:00:00 UTC, at most 20 wakes and 240 awake minutes; `envforge link revoke link_00000000000000000000000000000001` closes it
        attach: envforge attach fix-login
    "#]].assert_eq(&up(&["up"]));
    let asked = server.asked().join("\n").replace(&folder.display().to_string(), "FOLDER");
    expect![[r#"
        GET /v1/health
        GET /v1/me
        GET /v1/orgs/acme/projects
        POST /v1/orgs/acme/projects {"slug":"planner","repository":"FOLDER"}
        POST /v1/orgs/acme/workspaces {"project":"planner","branch":"fix/login"}
        POST /v1/orgs/acme/workspaces/fix-login/wake {}
        GET /v1/orgs/acme/workspaces/fix-login/events
        POST /v1/orgs/acme/workspaces/fix-login/links {"service":"web","expires_in_minutes":60}"#]]
    .assert_eq(&asked);

    // The second time nothing is made.
    let before = server.asked().len();
    assert!(up(&["up", "--no-link"]).starts_with("exit: 0\n"));
    assert!(!server.asked()[before..].iter().any(|asked| asked.starts_with("POST /v1/orgs/acme/projects")));
}

// proves UP-4
#[test]
fn json_is_one_document() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    opens(&server);
    let text = run(&server, &["up", "fix-login", "--json"]);
    let stdout = text
        .strip_prefix("exit: 0\n--- stdout\n")
        .and_then(|text| text.strip_suffix("--- stderr\n"))
        .expect("only stdout");
    let opened: Value = serde_json::from_str(stdout).expect("one document");
    assert_eq!(opened["workspace"]["slug"], "fix-login");
    assert_eq!(opened["link"]["token"], "tok");
}

#[test]
fn a_blocked_service_fails_it_and_no_link_is_made() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    server.route(&format!("POST {WS}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    server.route(&format!("GET {WS}/events"), events(&[workspace("awake", 2, "ready", "blocked")], End::Open));
    expect![[r#"
        exit: 1
        --- stdout
        fix-login is blocked
        --- stderr
        shell: ready
        runtime: ready
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: blocked: `npm` was not found
          fix: add nodejs to the packages in envforge.yml
        resource postgres: ready
        attach: envforge attach fix-login
    "#]]
    .assert_eq(&run(&server, &["up", "fix-login"]));
}

#[test]
fn outside_a_repository_a_name_is_needed() {
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: no workspace is named, and this folder is not on a branch of a Git repository
          hint: name one: `-w <workspace>`; `envforge workspace list` shows them
    "#]]
    .assert_eq(&run(&Server::acme(), &["up"]));
}

/// A machine without a server: the program alone in a folder, and perhaps an `envforged` beside it.
fn alone(home: &Path, envforged: Option<&str>) -> Command {
    let programs = home.join("programs");
    fs_err::create_dir(&programs).expect("made");
    fs_err::copy(env!("CARGO_BIN_EXE_envforge"), programs.join("envforge")).expect("copied");
    if let Some(script) = envforged {
        fs_err::write(programs.join("envforged"), script).expect("written");
        fs_err::set_permissions(programs.join("envforged"), PermissionsExt::from_mode(0o755)).expect("set");
    }
    let mut command = Command::new(programs.join("envforge"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("ENVFORGE_DATA_DIR", home.join("data"));
    command.current_dir(home).stdin(std::process::Stdio::null());
    // A box that may really run at the default address is not asked.
    let run = home.join("data/run");
    fs_err::create_dir_all(&run).expect("made");
    fs_err::write(run.join("server.url"), "http://127.0.0.1:9").expect("written");
    command
}

// proves OPS-1
#[test]
fn without_a_server_it_says_how_to_get_one() {
    let home = tempfile::tempdir().expect("a folder");
    let ran = finish(alone(home.path(), None).arg("up"));
    expect![[r#"
        exit: 6
        --- stdout
        --- stderr
        error: no server is configured, and none answers at http://127.0.0.1:9
          hint: `envforge up --yes` starts the one box on this machine; `envforge login --server URL` uses a server elsewhere
    "#]]
    .assert_eq(&ran.text(&Server::start()));
}

// proves OPS-1 UP-1
#[test]
fn the_one_box_is_started_and_used() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    opens(&server);
    let home = tempfile::tempdir().expect("a folder");
    // In a session of its own, in the foreground, telling where it listens and what the owner's key is.
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'all --data-dir' ] || exit 9\n[ $(cut -d' ' -f6 /proc/$$/stat) -eq $$ ] || exit 8\n\
         echo efk_test > \"$3/owner.key\"\necho {} > \"$3/run/server.url\"\necho started\nsleep 2\n",
        server.url
    );
    let ran = finish(alone(home.path(), Some(&script)).args(["up", "fix-login", "--yes", "--no-link"]));
    let text = ran.text(&server).replace(&home.path().display().to_string(), "HOME");
    expect![[r#"
        exit: 0
        --- stdout
        fix-login is awake and ready
        --- stderr
        starting the one box, data in HOME/data
        shell: ready
        runtime: waking
        service web: waking
        service api: waking
        resource postgres: waking
        runtime: ready
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
        resource postgres: ready
        attach: envforge attach fix-login
    "#]]
    .assert_eq(&text);
    assert_eq!(fs_err::read_to_string(home.path().join("data/envforged.log")).expect("a log"), "started\n");
}

// proves OPS-1 UP-1
#[test]
fn the_one_box_is_started_again_after_it_was_stopped() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    opens(&server);
    let home = tempfile::tempdir().expect("a folder");
    let script = format!(
        "#!/bin/sh\necho efk_test > \"$3/owner.key\"\necho {} > \"$3/run/server.url\"\necho started\nsleep 2\n",
        server.url
    );
    // What is remembered is of a box, and of a server elsewhere, that are no more.
    let config = home.path().join(".config/envforge");
    fs_err::create_dir_all(&config).expect("made");
    let remembered = json!({ "server": "http://127.0.0.1:9", "servers": { &server.url: { "key": "efk_of_before" } } });
    fs_err::write(config.join("config.json"), remembered.to_string()).expect("written");
    let mut up = alone(home.path(), Some(&script));
    up.args(["up", "fix-login", "--yes", "--no-link"]);
    let starts = || fs_err::read_to_string(home.path().join("data/envforged.log")).expect("a log").lines().count();
    for start in 1..=2 {
        fs_err::write(home.path().join("data/run/server.url"), "http://127.0.0.1:9").expect("written");
        let ran = finish(&mut up);
        assert_eq!((ran.code, starts()), (0, start), "{}", ran.stderr);
    }
    // While it runs it is used, with the key it says.
    assert_eq!((finish(&mut up).code, starts()), (0, 2));
}

// proves OPS-1
#[test]
fn a_box_is_not_remembered_as_a_server_that_was_chosen() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    opens(&server);
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join(".local/share/envforge");
    fs_err::create_dir_all(data.join("run")).expect("made");
    fs_err::write(data.join("run/server.url"), &server.url).expect("written");
    fs_err::write(data.join("owner.key"), "efk_test").expect("written");
    let mut up = envforge(home.path(), &["up", "fix-login", "--no-link"]);
    up.env("ENVFORGE_DATA_DIR", &data);
    assert_eq!(finish(&mut up).code, 0);
    let config = fs_err::read_to_string(home.path().join(".config/envforge/config.json")).expect("written");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!((&config["server"], &config["servers"][&server.url]["key"]), (&Value::Null, &Value::Null));
}

// proves OPS-1
#[test]
fn a_box_that_does_not_start_shows_its_last_words() {
    let home = tempfile::tempdir().expect("a folder");
    let ran = finish(
        alone(home.path(), Some("#!/bin/sh\necho 'no PostgreSQL here' >&2\nexit 3\n")).args(["up", "x", "--yes"]),
    );
    let text = ran.text(&Server::start()).replace(&home.path().display().to_string(), "HOME");
    expect![[r#"
        exit: 6
        --- stdout
        --- stderr
        starting the one box, data in HOME/data
        error: the one box did not start: `HOME/programs/envforged` ended with exit status: 3
          hint: its log, HOME/data/envforged.log, ends with:
                no PostgreSQL here
    "#]]
    .assert_eq(&text);
}

/// What `doctor --json` answers, and its checks by name.
fn doctor(server: &Server) -> (String, impl Fn(&str) -> Option<Value>) {
    let text = run(server, &["doctor", "--json"]);
    let report: Value = serde_json::from_str(text.lines().nth(2).expect("a line")).expect("one document");
    let checks = report["checks"].as_array().expect("a list").clone();
    (text, move |name: &str| checks.iter().find(|check| check["name"] == name).cloned())
}

/// How a ledger stands that is verified and whole.
fn ledger_state(broken: &Value) -> Value {
    let hash = "0".repeat(64);
    json!({ "head": { "position": 42, "hash": hash }, "checkpoint": null, "anchor": null,
        "key": { "id": "k", "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, "verified_position": 41,
        "verified_at": "2026-11-21T06:00:00Z", "whole_at": null, "broken": broken, "oldest_unsealed_at": null })
}

// proves OPS-4
#[test]
fn doctor_names_what_is_wrong_and_what_helps() {
    let server = Server::acme();
    server.route(
        "GET /v1/orgs/acme/hosts",
        ok(&json!({ "hosts": [
            { "id": "host_00000000000000000000000000000001", "name": "box", "state": "online", "reductions": ["no cgroup v2"], "swap": 0, "memory_short": null, "last_seen_at": null },
            { "id": "host_00000000000000000000000000000002", "name": "far", "state": "lost", "reductions": [], "last_seen_at": "2026-11-21T06:00:00Z" }] })),
    );
    server.route("GET /v1/orgs/acme/ledger/state", ok(&ledger_state(&Value::Null)));
    let dead =
        json!({ "name": "dead letters", "verdict": "note", "code": "job.dead", "found": "3 jobs", "fix": "look" });
    let mail =
        json!({ "name": "mail", "verdict": "wrong", "code": "mail.unavailable", "found": "refused", "fix": "wait" });
    server.route("GET /v1/operator/health-report", ok(&json!({ "checks": [dead, mail] })));
    let (text, check) = doctor(&server);
    assert!(text.starts_with("exit: 1\n"), "{text}");
    let check = |name: &str| check(name).expect(name);
    assert_eq!(check("server")["verdict"], "fine");
    assert_eq!(check("key")["found"], "Ada, acme (owner)");
    assert_eq!(check("host box")["verdict"], "note");
    assert_eq!(check("memory of box")["code"], "host.no_swap", "what sleeps there keeps its memory, and it says so");
    assert_eq!((&check("host far")["verdict"], &check("host far")["code"]), (&json!("wrong"), &json!("host.lost")));
    assert!(check("host far")["fix"].is_string());
    assert!(check("host far")["found"].as_str().expect("text").contains("2026-11-21 06:00:00"));
    assert_eq!(check("ledger acme")["found"], "verified up to 41 of 42, 2026-11-21 06:00:00 UTC");
    assert_eq!((check("dead letters"), check("mail")), (dead, mail), "as the server says it");
    let shown = run(&server, &["doctor"]);
    assert!(shown.contains("note   dead letters") && shown.contains("fix: wait"), "{shown}");
}

// proves OPS-4
#[test]
fn doctor_tells_members_what_is_theirs() {
    let server = Server::acme();
    let me = json!({ "user": "user_00000000000000000000000000000001", "name": "Ada", "is_operator": false, "scopes": [],
        "credential": "key_00000000000000000000000000000007",
        "orgs": [{ "org": crate::support::ORG_ID, "slug": "acme", "role": "developer" }] });
    server.replace("GET /v1/me", ok(&me));
    server.route("GET /v1/orgs/acme/hosts", ok(&json!({ "hosts": [] })));
    server.route("GET /v1/orgs/acme/ledger/state", refused(403, "forbidden", "access.denied", "no", None));
    let (_, check) = doctor(&server);
    assert_eq!(check("hosts").expect("one")["code"], "host.none");
    assert!(check("ledger acme").is_none() && check("ledger").is_none(), "it is not theirs to read");
    assert!(!server.asked().iter().any(|asked| asked.contains("/v1/operator/")), "{:?}", server.asked());
    let broken = json!({ "position": 7, "reason": "it does not fit", "at": "2026-11-21T06:00:00Z" });
    server.replace("GET /v1/orgs/acme/ledger/state", ok(&ledger_state(&broken)));
    let (text, check) = doctor(&server);
    assert!(text.starts_with("exit: 1\n"), "{text}");
    assert_eq!(check("ledger acme").expect("one")["code"], "ledger.broken");
}

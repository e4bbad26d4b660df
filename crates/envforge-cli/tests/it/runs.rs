//! Runs and logs.

use crate::support::{Answer, End, Server, envforge, events, lost, ok, refused, run, workspace};
use expect_test::expect;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const WS: &str = "/v1/orgs/acme/workspaces/fix-login";
const RUNS: &str = "/v1/orgs/acme/workspaces/fix-login/runs";
const JOB: &str = "job_00000000000000000000000000000001";

fn job(state: &str, exit_code: Option<i32>, cause: Option<&str>) -> Value {
    json!({ "id": JOB, "argv": ["npm", "test"], "state": state, "exit_code": exit_code, "cause": cause,
        "created_at": "2026-11-21T06:00:00Z", "ended_at": null })
}

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().enumerate().map(|(n, text)| format!("2026-11-21T06:00:0{n}.000Z {text}\n")).collect()
}

fn log_route(follow: bool) -> String {
    format!("GET {RUNS}/{JOB}/logs?tail=1000000&follow={follow}")
}

// proves UP-4 RUN-3
#[test]
fn a_run_ends_with_its_commands_output_and_code() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("pending", None, None)));
    server.route(&format!("GET {WS}/events"), events(&[workspace("waking", 2, "waking", "waking")], End::Open));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("running", None, None)));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("ended", Some(3), None)));
    let output = lines(&["stdout ok 1", "stderr warning:  two  spaces", "stdout "]);
    server.route(&log_route(true), Answer::Chunks(output.clone(), End::Clean));
    server.route(&log_route(false), Answer::Chunks(output, End::Clean));
    expect![[r#"
        exit: 3
        --- stdout
        ok 1

        --- stderr
        warning:  two  spaces
    "#]]
    .assert_eq(&run(&server, &["run", "-w", "fix-login", "--", "npm", "test"]));
    assert!(server.asked().contains(&format!("POST {RUNS} {{\"argv\":[\"npm\",\"test\"]}}")));
}

// proves UP-4
#[test]
fn a_run_may_be_like_a_service() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("running", None, None)));
    let answer = run(&server, &["run", "-w", "fix-login", "--service", "api", "--no-wait", "--", "npm", "test"]);
    assert!(answer.starts_with("exit: 0"), "{answer}");
    assert!(server.asked().contains(&format!("POST {RUNS} {{\"argv\":[\"npm\",\"test\"],\"service\":\"api\"}}")));
}

// proves UP-4
#[test]
fn a_dropped_connection_loses_no_line_and_repeats_none() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("running", None, None)));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("running", None, None)));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("ended", Some(0), None)));
    let output = lines(&["stdout one", "stdout two", "stdout three", "stdout four"]);
    let mut cut = output[..2].to_vec();
    cut.push("2026-11-21T06:00:02.000Z stdout th".to_owned());
    server.route(&log_route(true), Answer::Chunks(cut, End::Cut));
    server.route(&log_route(true), Answer::Chunks(output[..3].to_vec(), End::Clean));
    server.route(&log_route(false), Answer::Chunks(output, End::Clean));
    expect![[r#"
        exit: 0
        --- stdout
        {"type":"line","at":"2026-11-21T06:00:00.000Z","stream":"stdout","text":"one"}
        {"type":"line","at":"2026-11-21T06:00:01.000Z","stream":"stdout","text":"two"}
        {"type":"line","at":"2026-11-21T06:00:02.000Z","stream":"stdout","text":"three"}
        {"type":"line","at":"2026-11-21T06:00:03.000Z","stream":"stdout","text":"four"}
        {"type":"run","run":{"id":"job_00000000000000000000000000000001","argv":["npm","test"],"state":"ended","exit_code":0,"cause":null,"created_at":"2026-11-21T06:00:00Z","ended_at":null}}
        --- stderr
    "#]].assert_eq(&run(&server, &["run", "-w", "fix-login", "--json", "--", "npm", "test"]));
}

// proves UP-4
#[test]
fn the_end_of_a_run_is_not_waited_for() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("running", None, None)));
    server.route(&format!("GET {WS}/events"), events(&[workspace("awake", 2, "ready", "ready")], End::Open));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("ended", Some(0), None)));
    let output = lines(&["stdout same", "stdout same", "stdout last", "stderr unended"]);
    // The stream stays open although the run is over, in the middle of a line.
    let mut cut = output[..2].to_vec();
    cut.push(output[2][..30].to_owned());
    server.route(&log_route(true), Answer::Chunks(cut, End::Open));
    let whole = output.concat().trim_end().to_owned();
    server.route(&log_route(false), Answer::Chunks(vec![whole], End::Clean));
    let begun = Instant::now();
    expect![[r#"
        exit: 0
        --- stdout
        same
        same
        last
        --- stderr
        unended"#]]
    .assert_eq(&run(&server, &["run", "-w", "fix-login", "--", "npm", "test"]));
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

// proves UP-4
#[test]
fn a_reader_that_has_enough_ends_it_and_not_the_run() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("running", None, None)));
    server.route(&format!("GET {WS}/events"), events(&[workspace("awake", 2, "ready", "ready")], End::Open));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("running", None, None)));
    server.route(&log_route(true), Answer::Chunks(lines(&["stdout one"]), End::Open));
    let home = tempfile::tempdir().expect("a folder");
    let mut program = envforge(home.path(), &["run", "-w", "fix-login", "--", "tail", "-f", "x"]);
    program.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test");
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((first.as_str(), ended.status.code()), ("one\n", Some(141)));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(said, format!("the run goes on: `envforge run -w fix-login --job {JOB}` follows it\n"));
}

#[test]
fn a_run_whose_host_is_gone_is_not_waited_for() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("pending", None, None)));
    server.route(&format!("GET {RUNS}/{JOB}"), ok(&job("pending", None, None)));
    server.route(&format!("GET {WS}/events"), events(&[lost("waking")], End::Open));
    expect![[r#"
        exit: 6
        --- stdout
        --- stderr
        error: the host of fix-login is lost: it was last heard of 2 min ago
          hint: start the host daemon on its machine
    "#]]
    .assert_eq(&run(&server, &["run", "-w", "fix-login", "--", "npm", "test"]));
}

#[test]
fn a_command_that_could_not_run_says_why() {
    let server = Server::acme();
    server.route(&format!("POST {RUNS}"), ok(&job("failed", None, Some("no capacity for a small runtime"))));
    expect![[r#"
        exit: 1
        --- stdout
        --- stderr
        error: the command could not be run: no capacity for a small runtime
    "#]]
    .assert_eq(&run(&server, &["run", "-w", "fix-login", "--", "npm", "test"]));
}

#[test]
fn captured_logs_are_printed_as_they_are() {
    let server = Server::acme();
    let base = "GET /v1/orgs/acme/workspaces/fix-login/logs/web";
    server.route(
        &format!("{base}?tail=2&follow=false"),
        Answer::Chunks(lines(&["stdout up", "stderr oops"]), End::Clean),
    );
    expect![[r#"
        exit: 0
        --- stdout
        2026-11-21T06:00:00.000Z stdout up
        2026-11-21T06:00:01.000Z stderr oops
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["logs", "web", "-n", "2", "-w", "fix-login"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"at":"2026-11-21T06:00:00.000Z","stream":"stdout","text":"up"}
        {"at":"2026-11-21T06:00:01.000Z","stream":"stderr","text":"oops"}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["logs", "web", "-n", "2", "-w", "fix-login", "--json"]));
}

// proves RUN-8
#[test]
fn logs_are_searched_where_they_are_kept() {
    let server = Server::acme();
    let base = "GET /v1/orgs/acme/workspaces/fix-login/logs/web";
    let all = format!("{base}?tail=4294967295&follow=false&grep=a%20%2Bb%26&since=2026%2D11%2D21T06%3A00%3A00Z");
    server.route(&all.replace("%2D", "-"), Answer::Chunks(lines(&["stdout a  b&"]), End::Clean));
    let asked = ["logs", "web", "--grep", "a +b&", "--since", "2026-11-21T06:00:00Z", "-w", "fix-login"];
    let answer = run(&server, &asked);
    assert!(answer.contains("stdout a  b&\n") && answer.starts_with("exit: 0"), "{answer}");
    server.route(&format!("{base}?tail=100&follow=false"), Answer::Chunks(Vec::new(), End::Clean));
    assert!(run(&server, &["logs", "web", "-w", "fix-login"]).starts_with("exit: 0"));
    server.route(
        &format!("{base}?tail=7&follow=true&grep=%28"),
        refused(400, "invalid", "logs.pattern_invalid", "wrong at character 1", Some("mend it")),
    );
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: wrong at character 1
          hint: mend it
    "#]]
    .assert_eq(&run(&server, &["logs", "web", "-f", "-n", "7", "--grep", "(", "-w", "fix-login"]));
}

// proves RUN-6
#[test]
fn a_database_is_a_file_once_it_is_whole() {
    let server = Server::acme();
    let dump = "GET /v1/orgs/acme/workspaces/fix-login/database/dump";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("db.dump");
    let path = file.to_str().expect("text");
    server.route(dump, Answer::Chunks(vec!["PGDMP".to_owned()], End::Cut));
    let cut = run(&server, &["database", "dump", "-o", path, "-w", "fix-login"]);
    assert!(cut.contains("broke off") && !cut.starts_with("exit: 0"), "{cut}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "half a dump is no file");
    server.replace(dump, Answer::Chunks(vec!["PGDMP and ".to_owned(), "more".to_owned()], End::Clean));
    let whole = run(&server, &["database", "dump", "-o", path, "-w", "fix-login"]);
    assert!(whole.contains("14 bytes written") && whole.starts_with("exit: 0"), "{whole}");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), "PGDMP and more");
    assert!(run(&server, &["database", "dump", "-w", "fix-login"]).contains("PGDMP and more"), "stdout");
    let restore = "POST /v1/orgs/acme/workspaces/fix-login/database/restore";
    server.route(restore, ok(&json!({ "bytes": 14 })));
    let unasked = run(&server, &["database", "restore", path, "-w", "fix-login"]);
    assert!(unasked.contains("--yes") && !server.asked().iter().any(|asked| asked.starts_with(restore)), "{unasked}");
    let restored = run(&server, &["database", "restore", path, "--yes", "-w", "fix-login"]);
    assert!(restored.starts_with("exit: 0") && restored.contains("the database of fix-login is what"), "{restored}");
    assert!(server.asked().iter().any(|asked| asked.starts_with(restore)));
}

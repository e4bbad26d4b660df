//! What the installation's operator does.

use crate::support::{Server, ok, refused, run};
use expect_test::expect;
use serde_json::{Value, json};

const JOB: &str = "bgjob_00000000000000000000000000000001";

fn job(state: &str) -> Value {
    json!({ "id": JOB, "queue": "github", "kind": "repository.sync", "arguments": {}, "org": null, "priority": 0,
        "unique_key": null, "state": state, "attempt": 2, "max_attempts": 10, "run_at": "2026-11-21T06:00:00Z",
        "error": "the connection was reset\nat line 1", "cancelling": state == "running",
        "created_at": "2026-11-21T05:00:00Z", "started_at": "2026-11-21T05:59:00Z", "finished_at": null })
}

// proves OPS-3
#[test]
fn background_jobs_are_listed() {
    let server = Server::acme();
    let page = json!({ "jobs": [job("waiting"), job("running")], "next": JOB });
    let path = "/v1/operator/jobs?limit=2&queue=github&kind=repository%2Esync";
    server.route(&format!("GET {path}"), ok(&page));
    let list = ["admin", "jobs", "list", "-n", "2", "--queue", "github", "--kind", "repository.sync"];
    expect![[r#"
        exit: 0
        --- stdout
        JOB                                     QUEUE   KIND             STATE       ATTEMPT  AT                       ERROR
        bgjob_00000000000000000000000000000001  github  repository.sync  waiting     2/10     2026-11-21 06:00:00 UTC  the connection was reset
        bgjob_00000000000000000000000000000001  github  repository.sync  cancelling  2/10     2026-11-21 05:59:00 UTC  the connection was reset
        --- stderr
        there are more: `--before bgjob_00000000000000000000000000000001`
    "#]]
    .assert_eq(&run(&server, &list));
    let json = run(&server, &[&list[..], &["--json"]].concat());
    assert!(json.contains("\"max_attempts\":10") && json.starts_with("exit: 0"), "{json}");
}

// proves OPS-3
#[test]
fn queues_are_shown_with_what_waits() {
    let server = Server::acme();
    let queue = |queue: &str, dead: u64, due: Value| {
        json!({ "queue": queue, "concurrency": 10, "waiting": 4, "running": 1, "done": 70, "failed": 0, "cancelled": 0,
            "dead": dead, "oldest_due_at": due })
    };
    let all = json!({ "queues": [queue("default", 2, json!("2026-11-21T06:00:00Z")), queue("ai", 0, Value::Null)] });
    server.route("GET /v1/operator/queues", ok(&all));
    expect![[r#"
        exit: 0
        --- stdout
        QUEUE    PLACES  WAITING  RUNNING  FAILED  DEAD  OLDEST DUE
        default  10      4        1        0       2     2026-11-21 06:00:00 UTC
        ai       10      4        1        0       0
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["admin", "jobs", "queues"]));
    assert!(run(&server, &["admin", "jobs", "queues", "--json"]).contains("\"dead\":2"));
    let no = refused(403, "forbidden", "access.operator_only", "this is for the installation's operator", None);
    server.replace("GET /v1/operator/queues", no);
    assert!(run(&server, &["admin", "jobs", "queues"]).starts_with("exit: 3"));
}

// proves OPS-3
#[test]
fn a_background_job_is_retried_and_cancelled() {
    let server = Server::acme();
    server.route(&format!("POST /v1/operator/jobs/{JOB}/retry"), ok(&job("waiting")));
    expect![[r#"
        exit: 0
        --- stdout
        bgjob_00000000000000000000000000000001 waits to be run again
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["admin", "jobs", "retry", JOB]));
    server.route(&format!("POST /v1/operator/jobs/{JOB}/cancel"), ok(&job("running")));
    expect![[r#"
        exit: 0
        --- stdout
        bgjob_00000000000000000000000000000001 was told to end
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["admin", "jobs", "cancel", JOB]));
    let code = "access.operator_only";
    let no = refused(403, "forbidden", code, "this is for the installation's operator", None);
    server.route("POST /v1/operator/jobs/bgjob_2/cancel", no);
    expect![[r#"
        exit: 3
        --- stdout
        --- stderr
        error: this is for the installation's operator
    "#]]
    .assert_eq(&run(&server, &["admin", "jobs", "cancel", "bgjob_2"]));
    expect![[r#"
        exit: 2
        --- stdout
        {"error":{"code":"usage","message":"invalid value 'nothing' for '--state <STATE>': `nothing` is not a state; there are waiting, running, done, failed, cancelled, dead","hint":"`envforge help` shows verbs and flags","kind":"invalid"}}
        --- stderr
    "#]].assert_eq(&run(&server, &["admin", "jobs", "list", "--state", "nothing", "--json"]));
}

// proves LINK-2
#[test]
fn signing_keys_are_listed_rotated_and_revoked() {
    let server = Server::acme();
    let key = |id: &str, state: &str, from: &str, until: Value| {
        json!({ "id": id, "public_key": "b64", "state": state, "announced_at": "2026-11-21T05:00:00Z", "signs_from": from,
            "verifies_until": until })
    };
    let first = key("0badc0de", "signing", "1970-01-01T00:00:00Z", json!("2026-12-21T07:01:00Z"));
    let all = json!({ "keys": [first, key("5eed5eed", "announced", "2026-11-21T06:01:00Z", Value::Null)] });
    server.route("GET /v1/operator/signing-keys", ok(&all));
    server.route("POST /v1/operator/signing-keys/rotate", ok(&all));
    expect![[r#"
        exit: 0
        --- stdout
        KEY       STATE      SIGNS FROM               VERIFIES UNTIL           PUBLIC KEY
        0badc0de  signing    ever                     2026-12-21 07:01:00 UTC  b64
        5eed5eed  announced  2026-11-21 06:01:00 UTC                           b64
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["admin", "keys", "list"]));
    assert!(run(&server, &["admin", "keys", "rotate", "--json"]).contains("\"state\":\"announced\""));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: revoking the signing keys ends every link and session, and nobody can be asked here
          hint: `--yes` revokes without asking
    "#]]
    .assert_eq(&run(&server, &["admin", "keys", "rotate", "--revoke"]));
    assert!(run(&server, &["admin", "keys", "rotate", "--revoke", "--yes"]).starts_with("exit: 0"));
    let asked: Vec<_> = server.asked().into_iter().filter(|asked| asked.starts_with("POST")).collect();
    let path = "POST /v1/operator/signing-keys/rotate";
    assert_eq!(asked, [format!("{path} {{\"revoke\":false}}"), format!("{path} {{\"revoke\":true}}")]);
    let no = refused(409, "conflict", "signing_key.under_way", "the key 5eed5eed was announced already", None);
    server.replace(path, no);
    assert!(run(&server, &["admin", "keys", "rotate"]).starts_with("exit: 5"));
}

//! Root: policy, requests, answers, the terminal.

use crate::support::{Act, Answer, Server, ok, refused, run, workspace};
use expect_test::expect;
use serde_json::{Value, json};

const ELEVATIONS: &str = "/v1/orgs/acme/elevations";
const ID: &str = "elv_00000000000000000000000000000001";

fn elevation(state: &str, ended: Option<&str>) -> Value {
    let person = |number: u8, name: &str| json!({ "user": format!("user_{number:032}"), "name": name });
    json!({ "id": ID, "workspace": "ws_00000000000000000000000000000001", "slug": "fix-login", "state": state, "ended": ended,
        "reason": "the disk is full", "minutes": 20, "requested_by": person(1, "Ada"), "requested_at": "2026-11-21T06:00:00Z",
        "decided_by": if state == "requested" { Value::Null } else { person(2, "Grace") }, "decided_at": null,
        "expires_at": "2026-11-21T07:00:00Z", "ended_at": ended.map(|_| "2026-11-21T06:30:00Z") })
}

// proves ORG-4
#[test]
fn the_policy_is_shown_and_set() {
    let server = Server::acme();
    let route = "/v1/orgs/acme/root-policy";
    server.route(&format!("GET {route}"), ok(&json!({ "policy": { "mode": "disabled" } })));
    server.route(&format!("PUT {route}"), ok(&json!({ "policy": { "mode": "break_glass", "max_minutes": 30 } })));
    expect![[r#"
        exit: 0
        --- stdout
        disabled: nobody can become root in a workspace
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["root", "policy"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"policy":{"mode":"break_glass","max_minutes":30}}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["root", "policy", "break-glass", "--max-minutes", "30", "--json"]));
    let body = r#"{"policy":{"mode":"break_glass","max_minutes":30}}"#;
    assert!(server.asked().contains(&format!("PUT {route} {body}")), "{:?}", server.asked());
}

// proves ORG-4
#[test]
fn a_request_says_who_has_to_answer() {
    let server = Server::acme();
    let route = "POST /v1/orgs/acme/workspaces/fix-login/elevations";
    server.route(route, ok(&elevation("requested", None)));
    expect![[r#"
        exit: 0
        --- stdout
        elv_00000000000000000000000000000001
        --- stderr
        waits until 2026-11-21 07:00:00 UTC for another person: `envforge root approve elv_00000000000000000000000000000001`
    "#]]
    .assert_eq(&run(&server, &["root", "request", "-w", "fix-login", "--reason", "the disk is full", "--minutes", "20"]));
    let body = r#"{"reason":"the disk is full","minutes":20}"#;
    assert!(server.asked().contains(&format!("{route} {body}")), "{:?}", server.asked());
    let without = run(&server, &["root", "request", "-w", "fix-login"]);
    assert!(without.starts_with("exit: 2") && without.contains("--reason"), "{without}");
}

// proves ORG-4
#[test]
fn elevations_are_answered_taken_back_and_listed() {
    let server = Server::acme();
    let own = "another person has to answer this request";
    server.route(
        &format!("POST {ELEVATIONS}/{ID}/approve"),
        refused(403, "forbidden", "elevation.own_request", own, Some("an owner or admin answers it")),
    );
    server.route(&format!("POST {ELEVATIONS}/{ID}/refuse"), ok(&elevation("refused", None)));
    server.route(&format!("POST {ELEVATIONS}/{ID}/revoke"), ok(&elevation("ended", Some("revoked"))));
    server.route(&format!("GET {ELEVATIONS}"), ok(&json!({ "elevations": [elevation("ended", Some("revoked"))] })));
    let ran = ["approve", "refuse", "revoke"].map(|verb| run(&server, &["root", verb, ID])).concat();
    expect![[r#"
        exit: 3
        --- stdout
        --- stderr
        error: another person has to answer this request
          hint: an owner or admin answers it
        exit: 0
        --- stdout
        Ada does not become root in fix-login
        --- stderr
        exit: 0
        --- stdout
        Ada is no longer root in fix-login: its terminal ends within a second
        --- stderr
    "#]]
    .assert_eq(&ran);
    expect![[r#"
        exit: 0
        --- stdout
        ELEVATION                             WORKSPACE  STATE    FOR  ANSWERED BY  UNTIL                    REASON
        elv_00000000000000000000000000000001  fix-login  revoked  Ada  Grace        2026-11-21 06:30:00 UTC  the disk is full
        --- stderr
    "#]].assert_eq(&run(&server, &["root", "list"]));
}

// proves ORG-4
#[test]
fn status_shows_who_is_root_and_until_when() {
    let server = Server::acme();
    let mut shown = workspace("awake", 1, "ready", "ready");
    shown["elevation"] = json!({ "id": ID, "by": "Ada", "opened": true, "until": "2026-11-21T07:00:00Z" });
    server.route("GET /v1/orgs/acme/workspaces/fix-login", ok(&shown));
    let text = run(&server, &["status", "-w", "fix-login"]);
    let line = text.lines().find(|line| line.contains("root")).expect("a line");
    expect!["  root      granted  Ada until 2026-11-21 07:00:00 UTC; `envforge root revoke elv_00000000000000000000000000000001` ends it"].assert_eq(line);
}

// proves ORG-4
#[test]
fn a_root_shell_is_for_a_person_and_a_recording_for_anything() {
    let server = Server::acme();
    let cast = "{\"version\":2,\"width\":90}\n[0.1, \"o\", \"hi\"]\n";
    server.route(&format!("GET {ELEVATIONS}/{ID}/recording"), Answer::Body(200, cast.to_owned()));
    assert_eq!(run(&server, &["root", "recording", ID]), format!("exit: 0\n--- stdout\n{cast}--- stderr\n"));
    for (arguments, code) in
        [(vec!["root", "shell", ID, "--json"], "attach.no_json"), (vec!["root", "shell", ID], "needs a terminal")]
    {
        let text = run(&server, &arguments);
        assert!(text.starts_with("exit: 2") && text.contains(code), "{text}");
    }
}

/// Somebody with a granted elevation.
pub(crate) fn granted(server: &Server, acts: Vec<Act>) {
    server.route(&format!("GET {ELEVATIONS}"), ok(&json!({ "elevations": [elevation("approved", None)] })));
    server.terminal(acts);
}

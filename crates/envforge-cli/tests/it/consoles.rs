//! What consoles show: messages, objects, rows; strangers' words are only shown.

use crate::support::{Answer, End, Server, ok, refused, run};
use expect_test::expect;
use serde_json::json;

const BASE: &str = "/v1/orgs/acme/workspaces/fix-login";
const MAIL: &str = "mail_01934f4e5c7a7000a000000000000001";

// proves RUN-6 DASH-2
#[test]
fn mail_is_listed_and_shown() {
    let server = Server::acme();
    let summary = json!({ "id": MAIL, "received_at": "2026-11-21T06:00:00Z", "from": "shop@acme.example",
        "to": ["a@b.example", "c@d.example"], "subject": "Your\u{1b}[2J order", "size": 512 });
    server.route(
        &format!("GET {BASE}/mail?limit=1&before={MAIL}"),
        ok(&json!({ "mails": [summary], "more_before": MAIL })),
    );
    let list = ["mail", "list", "-n", "1", "--before", MAIL, "-w", "fix-login"];
    expect![[r#"
        exit: 0
        --- stdout
        ID                                     RECEIVED                 FROM               TO                        SUBJECT
        mail_01934f4e5c7a7000a000000000000001  2026-11-21 06:00:00 UTC  shop@acme.example  a@b.example, c@d.example  Your�[2J order
        --- stderr
        there is more: give the last id to --before
    "#]].assert_eq(&run(&server, &list));
    let text = run(&server, &[&list[..], &["--json"]].concat());
    assert!(text.contains(r#""to":["a@b.example","c@d.example"]"#) && !text.contains("there is more"), "{text}");

    let mut mail = summary;
    mail["headers"] = json!([{ "name": "Subject", "value": "Your\r\n order" }, { "name": "X", "value": "\u{1b}]0;x" }]);
    mail["text"] = json!("Thanks!\nBye\u{1b}[2J\n");
    mail["html"] = json!("<p>Thanks!");
    mail["attachments"] = json!([{ "name": "bill.pdf", "content_type": "application/pdf", "size": 9 }]);
    server.route(&format!("GET {BASE}/mail/{MAIL}"), ok(&mail));
    expect![[r#"
        exit: 0
        --- stdout
        Subject: Your   order
        X: �]0;x

        Thanks!
        Bye�[2J

        attached: bill.pdf (application/pdf, 9 bytes)
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["mail", "show", MAIL, "-w", "fix-login"]));

    // As it was sent; and what was cut off is not taken for all of it.
    let raw = ["mail", "show", MAIL, "--raw", "-w", "fix-login"];
    let route = format!("GET {BASE}/mail/{MAIL}/raw");
    server.route(&route, Answer::Chunks(vec!["Subject: x\r\n".to_owned(), "\r\n\u{1b}y".to_owned()], End::Clean));
    assert_eq!(run(&server, &raw), "exit: 0\n--- stdout\nSubject: x\r\n\r\n\u{1b}y--- stderr\n");
    server.replace(&route, Answer::Chunks(vec!["Subject".to_owned()], End::Cut));
    let text = run(&server, &raw);
    assert!(text.starts_with("exit: 6") && text.contains("the content was cut off"), "{text}");
}

// proves RUN-6 DASH-2
#[test]
fn objects_are_listed_and_downloaded() {
    let server = Server::acme();
    server.route(&format!("GET {BASE}/objects"), ok(&json!({ "buckets": ["uploads", "workspace"] })));
    expect![[r#"
        exit: 0
        --- stdout
        uploads
        workspace
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["objects", "list", "-w", "fix-login"]));

    let object = json!({ "key": "a/b\n\u{1b}c", "size": 12, "modified_at": "2026-11-21T06:00:00Z" });
    server.route(
        &format!("GET {BASE}/objects/workspace?limit=1&prefix=a%2F&after=a%2Fa"),
        ok(&json!({ "objects": [object], "more_after": "a/b" })),
    );
    let list = ["objects", "list", "workspace", "--prefix", "a/", "--after", "a/a", "-n", "1", "-w", "fix-login"];
    expect![[r#"
        exit: 0
        --- stdout
        KEY     BYTES  MODIFIED
        a/b �c  12     2026-11-21 06:00:00 UTC
        --- stderr
        there is more: give the last key to --after
    "#]]
    .assert_eq(&run(&server, &list));

    let route = format!("GET {BASE}/objects/workspace/content?key=a%2Fb%26c");
    server.route(&route, Answer::Chunks(vec!["content".to_owned()], End::Clean));
    let get = ["objects", "get", "workspace", "a/b&c", "-w", "fix-login"];
    expect![[r#"
        exit: 0
        --- stdout
        content--- stderr
    "#]]
    .assert_eq(&run(&server, &get));
    let hint = Some("`envforge objects list` shows what there is");
    server.replace(&route, refused(404, "not_found", "object.not_found", "there is no such object", hint));
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: there is no such object
          hint: `envforge objects list` shows what there is
    "#]]
    .assert_eq(&run(&server, &get));
}

// proves RUN-6 DASH-2
#[test]
fn a_database_is_queried() {
    let server = Server::acme();
    let route = format!("POST {BASE}/database/query");
    let rows = json!([["1", "Ada"], ["2", null], ["3", "\u{1b}[2J\nx"]]);
    server.route(&route, ok(&json!({ "columns": ["id", "na\u{1b}me"], "rows": rows, "is_cut": true })));
    let query = ["database", "query", "select id, name from t", "-n", "3", "-w", "fix-login"];
    expect![[r#"
        exit: 0
        --- stdout
        id  na�me
        1   Ada
        2   NULL
        3   �[2J x
        --- stderr
        there is more: rows or the ends of long values are left out
    "#]]
    .assert_eq(&run(&server, &query));
    assert!(server.asked().contains(&format!(r#"{route} {{"query":"select id, name from t","limit":3}}"#)));
    let text = run(&server, &[&query[..], &["--json"]].concat());
    assert!(text.contains(r#"["2",null]"#) && text.contains(r#""is_cut":true"#), "{text}");
    let message = "the runtime is asleep, and a database answers while it is awake";
    server.replace(&route, refused(409, "conflict", "console.asleep", message, Some("wake it first: `envforge wake`")));
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: the runtime is asleep, and a database answers while it is awake
          hint: wake it first: `envforge wake`
    "#]]
    .assert_eq(&run(&server, &query));
}

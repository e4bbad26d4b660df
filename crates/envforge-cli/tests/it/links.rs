//! Signed links.

use crate::support::{Server, ok, refused, run};
use expect_test::expect;
use serde_json::{Value, json};

const LINKS: &str = "/v1/orgs/acme/workspaces/fix-login/links";

fn link() -> Value {
    json!({ "id": "link_00000000000000000000000000000001", "workspace": "ws_00000000000000000000000000000001", "service": "web",
        "label": "web--fix-login--acme", "state": "active", "created_at": "2026-11-21T06:00:00Z", "expires_at": "2026-11-21T07:00:00Z",
        "visits": 2, "visit_budget": 10, "wakes": 1, "wake_budget": 20, "minutes": 3, "minute_budget": 240 })
}

// proves LINK-2
#[test]
fn the_url_alone_is_on_stdout() {
    let server = Server::acme();
    let url = "http://web--fix-login--acme.localhost:7081/share/tok";
    server.route(&format!("POST {LINKS}"), ok(&json!({ "link": link(), "url": url, "token": "tok" })));
    expect![[r#"
        exit: 0
        --- stdout
        http://web--fix-login--acme.localhost:7081/share/tok
        --- stderr
        opens until 2026-11-21 07:00:00 UTC, at most 10 visits, at most 20 wakes and 240 awake minutes; `envforge link revoke link_00000000000000000000000000000001` closes it
    "#]].assert_eq(&run(&server, &["link", "create", "web", "-w", "fix-login", "--expires", "2h", "--visits", "10"]));
    let body = r#"{"service":"web","expires_in_minutes":120,"visit_budget":10}"#;
    assert!(server.asked().contains(&format!("POST {LINKS} {body}")), "{:?}", server.asked());
}

// proves LINK-7
#[test]
fn what_is_missing_is_told() {
    let server = Server::acme();
    let hint = "see `envforge logs web`";
    server.route(
        &format!("POST {LINKS}"),
        refused(409, "conflict", "link.not_ready", "web is not ready: no port is bound yet", Some(hint)),
    );
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: web is not ready: no port is bound yet
          hint: see `envforge logs web`
    "#]]
    .assert_eq(&run(&server, &["link", "create", "web", "-w", "fix-login"]));
    expect![[r#"
        exit: 5
        --- stdout
        {"error":{"code":"link.not_ready","message":"web is not ready: no port is bound yet","hint":"see `envforge logs web`","kind":"conflict"}}
        --- stderr
    "#]].assert_eq(&run(&server, &["link", "create", "web", "-w", "fix-login", "--json"]));
}

#[test]
fn links_are_listed_and_revoked() {
    let server = Server::acme();
    server.route(&format!("GET {LINKS}"), ok(&json!({ "links": [link()] })));
    server.route("DELETE /v1/orgs/acme/links/link_00000000000000000000000000000001", ok(&link()));
    expect![[r#"
        exit: 0
        --- stdout
        LINK                                   SERVICE  STATE   EXPIRES                  VISITS  WAKES  MINUTES
        link_00000000000000000000000000000001  web      active  2026-11-21 07:00:00 UTC  2/10    1/20   3/240
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["link", "list", "-w", "fix-login"]));
    expect![[r#"
        exit: 0
        --- stdout
        link_00000000000000000000000000000001 is revoked: it stops opening within a second
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["link", "revoke", "link_00000000000000000000000000000001"]));
}

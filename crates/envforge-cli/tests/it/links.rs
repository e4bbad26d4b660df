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

// proves LINK-2
#[test]
fn a_link_for_once_has_one_visit() {
    let server = Server::acme();
    let created = json!({ "link": link(), "url": "http://x/share/tok", "token": "tok" });
    server.route(&format!("POST {LINKS}"), ok(&created));
    assert!(run(&server, &["link", "create", "web", "-w", "fix-login", "--once"]).starts_with("exit: 0"));
    let body = r#"{"service":"web","expires_in_minutes":60,"visit_budget":1}"#;
    assert!(server.asked().contains(&format!("POST {LINKS} {body}")), "{:?}", server.asked());
    let both = ["link", "create", "web", "-w", "fix-login", "--once", "--visits", "2"];
    assert!(run(&server, &both).starts_with("exit: 2"));
}

// proves LINK-8
#[test]
fn visits_are_shown_with_what_they_woke() {
    let server = Server::acme();
    let id = "link_00000000000000000000000000000001";
    let window = |n: u8, opened: &str, closed: Value, seconds: u64| {
        json!({ "window": format!("win_{n:032}"), "opened_at": opened, "closed_at": closed, "size": "small",
            "awake_seconds": seconds, "cost_micros": seconds * 100 })
    };
    let visit = |n: u8, agent: Value, windows: Vec<Value>, seconds: u64| {
        json!({ "session": format!("ls_{n:032}"), "at": "2026-11-21T06:00:00Z", "user_agent": agent, "windows": windows,
            "awake_seconds": seconds, "cost_micros": seconds * 100 })
    };
    let once = window(1, "2026-11-21T06:01:00Z", json!("2026-11-21T06:02:05Z"), 65);
    let open = window(2, "2026-11-21T06:10:00Z", Value::Null, 10);
    let page = json!({ "currency": "EUR", "next": format!("ls_{:032}", 1), "visits": [
        visit(3, json!("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko"), vec![once.clone()], 65),
        visit(2, json!("curl/8"), vec![once, open], 75), visit(1, Value::Null, vec![], 0)] });
    server.route(&format!("GET /v1/orgs/acme/links/{id}/visits?limit=3"), ok(&page));
    expect![[r#"
        exit: 0
        --- stdout
        VISIT                                AT                       USER AGENT                                WOKE                                  AWAKE              COST
        ls_00000000000000000000000000000003  2026-11-21 06:00:00 UTC  Mozilla/5.0 (X11; Linux x86_64; rv:145.0  2026-11-21 06:01:00 UTC               1 min 5 s          0.0065 EUR
        ls_00000000000000000000000000000002  2026-11-21 06:00:00 UTC  curl/8                                    2 times from 2026-11-21 06:01:00 UTC  1 min 15 s so far  0.0075 EUR
        ls_00000000000000000000000000000001  2026-11-21 06:00:00 UTC                                            nothing                               0 s                0.0000 EUR
        --- stderr
        there are more: `--before ls_00000000000000000000000000000001`
    "#]].assert_eq(&run(&server, &["link", "visits", id, "-n", "3"]));
    assert!(run(&server, &["link", "visits", id, "-n", "3", "--json"]).contains("\"awake_seconds\":75"));
    let gone = refused(404, "not_found", "link.not_found", "there is no such link", None);
    server.route("GET /v1/orgs/acme/links/link_2/visits?limit=50&before=ls_3", gone);
    assert!(run(&server, &["link", "visits", "link_2", "--before", "ls_3"]).starts_with("exit: 4"));
    let none = json!({ "currency": "EUR", "next": null, "visits": [] });
    server.route("GET /v1/orgs/acme/links/link_3/visits?limit=50", ok(&none));
    assert!(run(&server, &["link", "visits", "link_3"]).contains("nobody came through this link yet"));
}

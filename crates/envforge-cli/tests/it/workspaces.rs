//! Status, wake, sleep, usage, list and delete.

use crate::support::{Answer, End, Server, events, lost, ok, receipt, refused, run, usage, workspace};
use expect_test::expect;
use serde_json::{Value, json};

const WS: &str = "/v1/orgs/acme/workspaces/fix-login";

#[test]
fn status_shows_every_part_with_cause_and_fix() {
    let server = Server::acme();
    server.route(&format!("GET {WS}"), ok(&workspace("awake", 3, "ready", "blocked")));
    expect![[r#"
        exit: 0
        --- stdout
        fix-login (project planner, branch fix/login, org acme)
          shell     ready
          runtime   awake    small, woken by Ada: envforge up
        services
          web       ready    http://web--fix-login--acme.localhost:7081, port 3000
          api       blocked  `npm` was not found
                             fix: add nodejs to the packages in envforge.yml
        resources
          postgres  ready
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["status", "fix/login"]));
    // Looking wakes nothing.
    assert_eq!(server.asked(), ["GET /v1/me", &format!("GET {WS}")]);
}

#[test]
fn status_is_the_servers_own_json() {
    let server = Server::acme();
    let wanted = workspace("asleep", 3, "asleep", "asleep");
    server.route(&format!("GET {WS}"), ok(&wanted));
    let text = run(&server, &["status", "-w", "fix-login", "--json", "--org", "acme"]);
    let stdout = text
        .strip_prefix("exit: 0\n--- stdout\n")
        .and_then(|text| text.strip_suffix("--- stderr\n"))
        .expect("nothing else");
    let got: serde_json::Value = serde_json::from_str(stdout).expect("one document");
    assert_eq!(got["parts"], wanted["parts"]);
}

// proves RUN-3
#[test]
fn wake_waits_until_the_services_have_settled() {
    let server = Server::acme();
    server.route(&format!("GET {WS}/usage"), ok(&usage("asleep", &json!([]))));
    server.route(&format!("POST {WS}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    let states = [
        workspace("waking", 2, "waking", "waking"),
        workspace("awake", 2, "ready", "waking"),
        workspace("awake", 2, "ready", "ready"),
    ];
    // The connection breaks in the middle; the first event after connecting again is the present state.
    server.route(&format!("GET {WS}/events"), events(&states[..2], End::Cut));
    server.route(&format!("GET {WS}/events"), events(&states[1..], End::Open));
    expect![[r#"
        exit: 0
        --- stdout
        fix-login is awake and ready
        --- stderr
        cap: warn at 600 min a month, 1 % used
        shell: ready
        runtime: waking
        service web: waking
        service api: waking
        resource postgres: waking
        runtime: ready
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        resource postgres: ready
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
    "#]]
    .assert_eq(&run(&server, &["wake", "fix-login", "--size", "medium"]));
    assert!(server.asked().contains(&format!("POST {WS}/wake {{\"size\":\"medium\"}}")));
}

#[test]
fn a_blocked_service_fails_the_wake() {
    let server = Server::acme();
    server.route(&format!("GET {WS}/usage"), ok(&usage("asleep", &json!([]))));
    server.route(&format!("POST {WS}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    server.route(&format!("GET {WS}/events"), events(&[workspace("awake", 2, "ready", "blocked")], End::Open));
    expect![[r#"
        exit: 1
        --- stdout
        fix-login is blocked
        --- stderr
        cap: warn at 600 min a month, 1 % used
        shell: ready
        runtime: ready
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: blocked: `npm` was not found
          fix: add nodejs to the packages in envforge.yml
        resource postgres: ready
    "#]]
    .assert_eq(&run(&server, &["wake", "fix-login"]));
}

#[test]
fn a_host_that_is_gone_is_not_waited_for() {
    let server = Server::acme();
    server.route(&format!("POST {WS}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    server.route(&format!("GET {WS}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    let states = [workspace("waking", 2, "waking", "waking"), lost("waking")];
    server.route(&format!("GET {WS}/events"), events(&states, End::Open));
    for verb in ["wake", "up"] {
        expect![[r#"
            exit: 6
            --- stdout
            {"error":{"code":"host.lost","message":"the host of fix-login is lost: it was last heard of 2 min ago","hint":"start the host daemon on its machine","kind":"unavailable","retry_after":1}}
            --- stderr
        "#]]
        .assert_eq(&run(&server, &[verb, "fix-login", "--json"]));
    }
}

// proves COST-2b
#[test]
fn sleep_answers_five_things_once_they_are_true() {
    let server = Server::acme();
    server.route(&format!("POST {WS}/sleep"), ok(&workspace("awake", 4, "ready", "ready")));
    let states = [workspace("awake", 4, "ready", "ready"), workspace("frozen", 4, "asleep", "asleep")];
    server.route(&format!("GET {WS}/events"), events(&states, End::Open));
    server.route(&format!("GET {WS}/usage"), ok(&usage("frozen", &json!([receipt()]))));
    expect![[r#"
        exit: 0
        --- stdout
        fix-login is asleep (paused: connections stay open, a wake takes milliseconds)
          billing stopped          7 min 12 s awake, 0.0123 USD
          shell still available    envforge attach fix-login
          data persisted           checkout, databases, logs
          links can wake it later  within their wake budgets; so can `envforge wake` and `envforge run`
          wake and sleep recorded  in the ledger, receipt us_00000000000000000000000000000001
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["sleep", "fix-login"]));
    let json = run(&server, &["sleep", "fix-login", "--json", "--no-wait"]);
    assert!(json.contains("\"billing_stopped\":false"), "awake is not asleep: {json}");
}

// proves COST-2 COST-2b
#[test]
fn the_usage_panel_names_everything() {
    let server = Server::acme();
    server.route(&format!("GET {WS}/usage"), ok(&usage("awake", &json!([receipt()]))));
    expect![[r#"
        exit: 0
        --- stdout
        fix-login
          state               awake
          size                small (light web and API routes)
          awake this month    7 min (7 min 12 s)
          awake since         2026-11-21 06:00:00 UTC
          woken by            link visit
          cap                 warn at 600 min a month, 1 % used
          estimate            0.0123 USD this month
          billed separately   warehouse (customer cloud)
          receipts            1 kept
            us_00000000000000000000000000000001  2026-11-21 06:00:00 UTC  7 min 12 s  0.0123 USD  small, woken by link visit, ended: asked by Ada
        --- stderr
    "#]].assert_eq(&run(&server, &["workspace", "usage", "fix-login"]));
}

#[test]
fn workspaces_are_listed_in_columns() {
    let server = Server::acme();
    let both =
        json!({ "workspaces": [workspace("awake", 1, "ready", "ready"), workspace("frozen", 1, "asleep", "asleep")] });
    server.route("GET /v1/orgs/acme/workspaces", ok(&both));
    expect![[r#"
        exit: 0
        --- stdout
        WORKSPACE  PROJECT  BRANCH     SHELL  RUNTIME  SIZE
        fix-login  planner  fix/login  ready  awake    small
        fix-login  planner  fix/login  ready  asleep   small
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["workspace", "list"]));
}

// proves UP-7
#[test]
fn deleting_is_explicit() {
    let server = Server::acme();
    server.route(&format!("DELETE {WS}"), Answer::Body(202, String::new()));
    let deleting = workspace("stopping", 2, "asleep", "asleep");
    server.route(&format!("GET {WS}/events"), events(&[deleting, json!(null)], End::Open));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: deleting fix-login can't be undone, and nobody can be asked here
          hint: `--yes` deletes without asking
    "#]]
    .assert_eq(&run(&server, &["workspace", "delete", "fix-login"]));
    assert!(server.asked().is_empty());
    expect![[r#"
        exit: 0
        --- stdout
        fix-login is deleted; its receipts and ledger events are kept
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["workspace", "delete", "fix-login", "--yes"]));
}

#[test]
fn a_cap_that_stops_a_wake_is_told() {
    let server = Server::acme();
    server.route(&format!("GET {WS}/usage"), ok(&usage("asleep", &json!([]))));
    server.route(
        &format!("POST {WS}/wake"),
        refused(
            429,
            "limit",
            "cap.reached",
            "the cap of 600 min is reached",
            Some("`envforge workspace cap` raises it"),
        ),
    );
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        cap: warn at 600 min a month, 1 % used
        error: the cap of 600 min is reached
          hint: `envforge workspace cap` raises it
    "#]]
    .assert_eq(&run(&server, &["wake", "fix-login"]));
    server.route(&format!("PUT {WS}/cap"), ok(&usage("asleep", &json!([]))));
    expect![[r#"
        exit: 0
        --- stdout
        cap of fix-login: warn at 600 min a month, 1 % used
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["workspace", "cap", "-w", "fix-login", "warn", "600"]));
    assert!(server.asked().contains(&format!("PUT {WS}/cap {{\"cap\":{{\"mode\":\"warn\",\"minutes\":600}}}}")));
}

// proves RUN-3 RUN-8
#[test]
fn a_service_is_restarted_and_waited_for() {
    let server = Server::acme();
    server.route(&format!("POST {WS}/services/api"), ok(&workspace("awake", 2, "ready", "waking")));
    let states = [workspace("awake", 2, "ready", "waking"), workspace("awake", 2, "ready", "ready")];
    server.route(&format!("GET {WS}/events"), events(&states, End::Open));
    expect![[r#"
        exit: 0
        --- stdout
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["service", "restart", "api", "-w", "fix-login"]));
    assert!(server.asked().contains(&format!("POST {WS}/services/api {{\"action\":\"restart\"}}")));
    server.route(&format!("POST {WS}/services/api"), ok(&workspace("awake", 2, "ready", "blocked")));
    expect![[r#"
        exit: 0
        --- stdout
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["service", "start", "api", "-w", "fix-login"]));
}

// proves COST-2 COST-5
#[test]
fn what_an_org_used_in_a_month_is_a_table_json_or_lines_of_values() {
    let server = Server::acme();
    let seconds = |small: u64, large: u64| json!({ "small": small, "medium": 0, "large": large });
    let used = |slug: &str, deleted: bool, cap: &Value, posture: &Value| {
        json!({ "id": format!("ws_{:032}", 1), "slug": slug, "project": "planner", "is_deleted": deleted, "seconds": seconds(432, 60),
            "awake_seconds": 492, "cost_micros": 12_300, "cap": cap, "cap_posture": posture })
    };
    let cap = json!({ "mode": "stop", "minutes": 600 });
    let none = json!({ "mode": "none", "minutes": 0 });
    let (within, no) = (json!({ "posture": "within", "percent": 1 }), json!({ "posture": "none" }));
    let answer = json!({ "month": "2026-10", "is_over": true, "workspaces": [used("fix-login", false, &cap, &within),
        used("old", true, &none, &no)], "seconds": seconds(900, 120), "awake_seconds": 1_020, "cost_micros": 30_000,
        "currency": "USD", "cap": none, "cap_posture": no });
    server.route("GET /v1/orgs/acme/usage?month=2026-10", ok(&answer));
    expect![[r#"
        exit: 0
        --- stdout
        2026-10
        PROJECT  WORKSPACE      AWAKE       COST        CAP
        planner  fix-login      8 min 12 s  0.0123 USD  stop at 600 min a month, 1 % used
        planner  old (deleted)  8 min 12 s  0.0123 USD  none
        all                     17 min      0.0300 USD  none
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["usage", "--month", "2026-10"]));
    expect![[r#"
        exit: 0
        --- stdout
        month,project,workspace,deleted,small_seconds,medium_seconds,large_seconds,cost_micros,currency
        2026-10,planner,fix-login,false,432,0,60,12300,USD
        2026-10,planner,old,true,432,0,60,12300,USD
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["usage", "--month", "2026-10", "--csv"]));
    let wrong = run(&server, &["usage", "--month", "october"]);
    assert!(wrong.contains("write it like 2026-11"), "{wrong}");
}

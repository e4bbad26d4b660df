//! The list of terminals, and the end of one.

use crate::support::{Server, ok, refused, run};
use expect_test::expect;
use serde_json::json;

const TERMINALS: &str = "/v1/orgs/acme/workspaces/fix-login/terminals";

// proves UP-3 UP-4
#[test]
fn terminals_are_listed_and_ended() {
    let server = Server::acme();
    let main = json!({ "name": "main", "since": "2026-11-21T06:00:00Z", "clients": 2, "cols": 120, "rows": 40, "command": "vim" });
    let build = json!({ "name": "build", "since": "2026-11-21T06:01:00Z", "clients": 0, "cols": 80, "rows": 24,
        "command": "ma\u{1b}]0;ke" });
    server.route(&format!("GET {TERMINALS}"), ok(&json!({ "terminals": [build, main] })));
    expect![[r#"
        exit: 0
        --- stdout
        TERMINAL  SINCE                    CLIENTS  SIZE    PROGRAM
        build     2026-11-21 06:01:00 UTC  0        80x24   ma�]0;ke
        main      2026-11-21 06:00:00 UTC  2        120x40  vim
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["terminal", "list", "fix-login"]));
    let text = run(&server, &["terminal", "list", "fix-login", "--json"]);
    assert!(
        text.contains(r#""name":"main","since":"2026-11-21T06:00:00Z","clients":2,"cols":120,"rows":40"#),
        "{text}"
    );

    server.route(&format!("DELETE {TERMINALS}/build"), ok(&json!({ "terminals": [main] })));
    expect![[r#"
        exit: 0
        --- stdout
        terminal build of fix-login is ended
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["terminal", "end", "build", "-w", "fix-login"]));
    let hint = Some("`envforge terminal list` shows them");
    let gone = refused(404, "not_found", "terminal.not_found", "the workspace has no terminal `build`", hint);
    server.replace(&format!("DELETE {TERMINALS}/build"), gone);
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: the workspace has no terminal `build`
          hint: `envforge terminal list` shows them
    "#]]
    .assert_eq(&run(&server, &["terminal", "end", "build", "-w", "fix-login"]));
}

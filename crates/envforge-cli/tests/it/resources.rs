//! Credentials of resources.

use crate::support::{End, Server, events, ok, refused, run, workspace};
use expect_test::expect;
use serde_json::{Value, json};

const WS: &str = "/v1/orgs/acme/workspaces/fix-login";

fn rotated(takes_effect: &str, services: &Value) -> Value {
    json!({ "resource": "postgres", "takes_effect": takes_effect, "services": services })
}

// proves RUN-6
#[test]
fn a_credential_is_rotated_and_the_services_waited_for() {
    let server = Server::acme();
    let route = format!("POST {WS}/resources/postgres/rotate");
    server.route(&route, ok(&rotated("now", &json!(["api", "web"]))));
    let states = [workspace("awake", 2, "waking", "waking"), workspace("awake", 2, "ready", "ready")];
    server.route(&format!("GET {WS}/events"), events(&states, End::Open));
    let rotate = ["resource", "rotate", "postgres", "-w", "fix-login"];
    expect![[r#"
        exit: 0
        --- stdout
        postgres of fix-login has a new credential, and refuses the one from before
        restarted, as far as they ran: api, web
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: ready: http://api--fix-login--acme.localhost:7081, port 4000
        --- stderr
    "#]]
    .assert_eq(&run(&server, &rotate));
    // What then can't run is said, and fails it.
    server.replace(&format!("GET {WS}/events"), events(&[workspace("awake", 2, "ready", "blocked")], End::Open));
    expect![[r#"
        exit: 1
        --- stdout
        postgres of fix-login has a new credential, and refuses the one from before
        restarted, as far as they ran: api, web
        service web: ready: http://web--fix-login--acme.localhost:7081, port 3000
        service api: blocked: `npm` was not found
          fix: add nodejs to the packages in envforge.yml
        --- stderr
    "#]]
    .assert_eq(&run(&server, &rotate));
    assert!(run(&server, &[&rotate[..], &["--json"]].concat()).contains(r#""code":"service.command_not_found""#));
    assert!(run(&server, &[&rotate[..], &["--no-wait"]].concat()).starts_with("exit: 0"));
}

// proves RUN-6
#[test]
fn asleep_it_takes_effect_at_the_next_wake() {
    let server = Server::acme();
    server.route(&format!("POST {WS}/resources/postgres/rotate"), ok(&rotated("next_wake", &json!(["api"]))));
    expect![[r#"
        exit: 0
        --- stdout
        postgres of fix-login has a new credential, and refuses the one from before
        nothing runs: services have it at the next wake
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["resource", "rotate", "postgres", "-w", "fix-login"]));
    let message = "`redis` has no password or key: nobody outside the workspace's own network reaches it";
    let refusal = refused(
        409,
        "conflict",
        "resource.no_credential",
        message,
        Some("those with a credential are postgres and object_storage"),
    );
    server.route(&format!("POST {WS}/resources/redis/rotate"), refusal);
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: `redis` has no password or key: nobody outside the workspace's own network reaches it
          hint: those with a credential are postgres and object_storage
    "#]]
    .assert_eq(&run(&server, &["resource", "rotate", "redis", "-w", "fix-login"]));
}

//! Secrets.

use crate::support::{Server, ok, refused, run, run_with_input};
use expect_test::expect;
use serde_json::{Value, json};

const SECRETS: &str = "/v1/orgs/acme/secrets";
const ID: &str = "sec_00000000000000000000000000000001";

fn secret(scope: &Value) -> Value {
    json!({ "id": ID, "name": "STRIPE_KEY", "scope": scope, "version": 3, "set_by": "Ada", "set_at": "2026-11-21T06:00:00Z",
        "last_used_at": null })
}

// proves ORG-5
#[test]
fn a_value_comes_from_stdin_and_is_not_repeated() {
    let server = Server::acme();
    server.route(&format!("POST {SECRETS}"), ok(&secret(&json!({ "kind": "org" }))));
    expect![[r#"
        exit: 0
        --- stdout
        STRIPE_KEY of the org is set, version 3
        --- stderr
        services get it when they start next
    "#]]
    .assert_eq(&run_with_input(&server, &["secret", "set", "STRIPE_KEY"], "sk_live_1\n"));
    let body = r#"{"name":"STRIPE_KEY","value":"sk_live_1"}"#;
    assert!(server.asked().contains(&format!("POST {SECRETS} {body}")), "{:?}", server.asked());
    // The lines of a key stay as they are, and a flag says of what it is.
    for (flags, path) in
        [(["--project", "planner"], "projects/planner"), (["--workspace", "fix-login"], "workspaces/fix-login")]
    {
        let path = format!("POST /v1/orgs/acme/{path}/secrets");
        server.route(&path, ok(&secret(&json!({ "kind": "org" }))));
        let text = run_with_input(&server, &["secret", "set", "KEY", flags[0], flags[1], "--json"], "a\nb\n");
        assert!(text.starts_with("exit: 0") && !text.contains(r"a\nb"), "{text}");
        assert!(
            server.asked().contains(&format!(r#"{path} {{"name":"KEY","value":"a\nb\n"}}"#)),
            "{:?}",
            server.asked()
        );
    }
}

// proves ORG-5
#[test]
fn a_secret_is_named_with_its_scope_to_be_changed() {
    let server = Server::acme();
    let of_project = secret(&json!({ "kind": "project", "project": "planner" }));
    server.route(&format!("GET {SECRETS}"), ok(&json!({ "secrets": [of_project] })));
    server.route(&format!("DELETE {SECRETS}/{ID}"), ok(&of_project));
    server.route(&format!("POST {SECRETS}/{ID}/restore"), ok(&of_project));
    let versions = json!([{ "version": 3, "set_by": "Ada", "set_at": "2026-11-21T06:00:00Z", "restored_from": 1 }]);
    server.route(&format!("GET {SECRETS}/{ID}/versions"), ok(&json!({ "versions": versions })));
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: there is no secret STRIPE_KEY of the org
          hint: `envforge secret list` shows them; `--project` and `--workspace` say of which
    "#]]
    .assert_eq(&run(&server, &["secret", "remove", "STRIPE_KEY", "--yes"]));
    expect![[r#"
        exit: 0
        --- stdout
        SECRET      KNOWN IN         GIVEN TO  VERSION  SET                      BY   LAST USED
        STRIPE_KEY  project planner  services  3        2026-11-21 06:00:00 UTC  Ada  never
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["secret", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        VERSION  SET                      BY
        3        2026-11-21 06:00:00 UTC  Ada  restored from 1
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["secret", "versions", "STRIPE_KEY", "--project", "planner"]));
    expect![[r#"
        exit: 0
        --- stdout
        STRIPE_KEY of project planner has the value of version 1 again, as version 3
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["secret", "restore", "STRIPE_KEY", "--project", "planner", "--version", "1"]));
    expect![[r#"
        exit: 0
        --- stdout
        STRIPE_KEY of project planner is removed
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["secret", "remove", "STRIPE_KEY", "--project", "planner", "--yes"]));
}

#[test]
fn refusals_say_what_helps() {
    let server = Server::acme();
    server.route(
        "POST /v1/orgs/acme/data-key/rotate",
        refused(403, "forbidden", "access.denied", "as developer of `acme` you can't change secrets", None),
    );
    expect![[r#"
        exit: 3
        --- stdout
        --- stderr
        error: as developer of `acme` you can't change secrets
    "#]]
    .assert_eq(&run(&server, &["secret", "rotate-key"]));
    expect![[r#"
        exit: 2
        --- stdout
        {"error":{"code":"usage","message":"invalid value 'stripe-key' for '<NAME>': a secret's name may hold only capital letters, digits and `_`, and starts with a letter, as in `STRIPE_KEY`","hint":"`envforge help` shows verbs and flags","kind":"invalid"}}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["secret", "set", "stripe-key", "--json"]));
}

//! Settings: secrets never on the command line, changes made from a known version.

use crate::support::{Server, envforge, finish, ok, run};
use expect_test::expect;
use serde_json::{Value, json};

const MAIL: &str = "/v1/operator/settings/mail";

fn mail(version: u64) -> Value {
    let field = |name: &str, kind: &str, value: Value| json!({ "name": name, "about": "about it", "kind": kind, "is_required": true, "is_set": version > 0, "value": value });
    json!({ "name": "mail", "about": "The mail server", "version": version, "is_set": version > 0,
        "changed_by": null, "changed_at": null,
        "fields": [field("host", "text", json!("mx")), field("port", "number", json!(465)), field("password", "secret", Value::Null)] })
}

// proves ORG-9
#[test]
fn a_secret_comes_from_stdin_and_never_from_the_arguments() {
    let server = Server::acme();
    server.route(&format!("GET {MAIL}"), ok(&mail(3)));
    server.route(&format!("PUT {MAIL}"), ok(&mail(4)));
    let arguments = ["setting", "set", "mail", "port=587", "--secret", "password", "--reason", "new", "--installation"];
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("typed"), "hunter2\n").unwrap();
    let mut command = envforge(home.path(), &arguments);
    command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test");
    command.stdin(std::fs::File::open(home.path().join("typed")).unwrap());
    expect![[r#"
        exit: 0
        --- stdout
        mail is at version 4
        --- stderr
    "#]]
    .assert_eq(&finish(&mut command).text(&server));
    let sent = r#"{"values":{"port":587,"password":"hunter2"},"from_version":3,"reason":"new"}"#;
    assert!(server.asked().contains(&format!("PUT {MAIL} {sent}")), "{:?}", server.asked());
    let arguments = ["setting", "set", "mail", "password=x", "--reason", "new", "--installation"];
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: a secret on the command line can be read by every user of the machine
          hint: `--secret FIELD` asks for it, `--secret FIELD=FILE` reads it
    "#]]
    .assert_eq(&run(&server, &arguments));
}

#[test]
fn a_setting_is_shown_without_its_secret() {
    let server = Server::acme();
    server.route(&format!("GET {MAIL}"), ok(&mail(3)));
    expect![[r#"
        exit: 0
        --- stdout
        mail is at version 3
        FIELD     VALUE     WHAT IT IS
        host      mx        about it
        port      465       about it
        password  (secret)  about it
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["setting", "show", "mail", "--installation"]));
}

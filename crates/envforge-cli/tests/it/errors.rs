//! What goes wrong, told to people and to programs.

use crate::support::{Answer, Server, envforge, finish, ok, refused, run};
use expect_test::expect;
use serde_json::json;

// proves UP-4
#[test]
fn a_refusal_is_a_sentence_advice_and_an_exit_code() {
    let server = Server::acme();
    server.route(
        "GET /v1/orgs/acme/workspaces/nope",
        refused(
            404,
            "not_found",
            "workspace.not_found",
            "no workspace `nope` in acme",
            Some("`envforge workspace list` shows them"),
        ),
    );
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: no workspace `nope` in acme
          hint: `envforge workspace list` shows them
    "#]]
    .assert_eq(&run(&server, &["status", "nope"]));
    expect![[r#"
        exit: 4
        --- stdout
        {"error":{"code":"workspace.not_found","message":"no workspace `nope` in acme","hint":"`envforge workspace list` shows them","kind":"not_found"}}
        --- stderr
    "#]].assert_eq(&run(&server, &["status", "nope", "--json"]));
}

// proves UP-4
#[test]
fn every_kind_of_refusal_has_its_exit_code() {
    let kinds = [
        (400, "invalid", 2),
        (401, "unauthenticated", 3),
        (403, "forbidden", 3),
        (404, "not_found", 4),
        (409, "conflict", 5),
        (429, "limit", 5),
        (503, "unavailable", 6),
        (500, "internal", 70),
    ];
    for (status, kind, code) in kinds {
        let server = Server::acme();
        server.route("POST /v1/orgs/acme/workspaces/x/wake", refused(status, kind, "test.code", "no", None));
        let text = run(&server, &["wake", "x", "--json", "--no-wait"]);
        assert!(text.starts_with(&format!("exit: {code}\n")), "{kind}: {text}");
    }
}

#[test]
fn an_unreachable_server_is_told_with_its_cause() {
    let server = Server::acme();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound");
    let home = tempfile::tempdir().expect("a folder");
    let mut command = envforge(home.path(), &["status", "x", "--org", "acme", "--server", &format!("http://{free}")]);
    let ran = finish(command.env("ENVFORGE_KEY", "efk_test"));
    expect![[r#"
        exit: 6
        --- stdout
        --- stderr
        error: no answer from http://ADDRESS: Connection refused (os error 111)
          hint: is it running? `envforge doctor` looks
    "#]]
    .assert_eq(&ran.text(&server).replace(&free.to_string(), "ADDRESS"));
}

#[test]
fn an_answer_in_another_language_is_not_shown_as_success() {
    let server = Server::acme();
    server.route("GET /v1/orgs/acme/workspaces", Answer::Body(200, "<html>".to_owned()));
    server.route("GET /v1/orgs/acme/hosts", Answer::Body(502, "<html>".to_owned()));
    let text = run(&server, &["workspace", "list"]);
    assert!(text.starts_with("exit: 70\n"), "{text}");
}

#[test]
fn nobody_is_signed_in() {
    let server = Server::acme();
    let home = tempfile::tempdir().expect("a folder");
    let ran = finish(envforge(home.path(), &["workspace", "list"]).env("ENVFORGE_SERVER", &server.url));
    expect![[r#"
        exit: 3
        --- stdout
        --- stderr
        error: not signed in to SERVER
          hint: `envforge login` signs in; ENVFORGE_KEY gives an API key for a single call
    "#]]
    .assert_eq(&ran.text(&server));
    assert!(server.asked().is_empty());
}

#[test]
fn a_wrong_command_line_is_usage_in_both_languages() {
    let server = Server::acme();
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: invalid value '1y' for '--expires <EXPIRES>': give minutes, hours or days: `45m`, `8h`, `7d`

        For more information, try '--help'.
    "#]]
    .assert_eq(&run(&server, &["link", "create", "web", "--expires", "1y"]));
    expect![[r#"
        exit: 2
        --- stdout
        {"error":{"code":"usage","message":"invalid value '1y' for '--expires <EXPIRES>': give minutes, hours or days: `45m`, `8h`, `7d`","hint":"`envforge help` shows verbs and flags","kind":"invalid"}}
        --- stderr
    "#]].assert_eq(&run(&server, &["link", "create", "web", "--expires", "1y", "--json"]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: no workspace is named, and this folder is not on a branch of a Git repository
          hint: name one: `-w <workspace>`; `envforge workspace list` shows them
    "#]]
    .assert_eq(&run(&server, &["status"]));
}

#[test]
fn a_key_goes_to_its_own_server_only() {
    let (one, other) = (Server::acme(), Server::acme());
    let home = tempfile::tempdir().expect("a folder");
    fs_err::write(home.path().join("key"), "efk_test\n").expect("written");
    let login = finish(&mut envforge(home.path(), &["login", "--server", &one.url, "--key-file", "key"]));
    expect![[r#"
        exit: 0
        --- stdout
        signed in to SERVER as Ada, org acme
        --- stderr
    "#]]
    .assert_eq(&login.text(&one));
    one.route("GET /v1/orgs/acme/workspaces", ok(&json!({ "workspaces": [] })));
    let mut list = envforge(home.path(), &["workspace", "list"]);
    assert_eq!(finish(list.env_remove("ENVFORGE_DATA_DIR")).code, 0);
    let elsewhere = finish(&mut envforge(home.path(), &["workspace", "list", "--server", &other.url]));
    assert_eq!(elsewhere.code, 3);
    assert!(other.asked().is_empty());
}

#[test]
fn a_key_that_is_none_is_not_sent() {
    let server = Server::acme();
    let home = tempfile::tempdir().expect("a folder");
    fs_err::write(home.path().join("key"), "hunter2 hunter2").expect("written");
    let ran = finish(&mut envforge(home.path(), &["login", "--server", &server.url, "--key-file", "key"]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: that is not an API key: one starts with `efk_` and is a single word
    "#]]
    .assert_eq(&ran.text(&server));
    assert!(server.asked().is_empty());
}

/// The reference page is made from the table in the program.
#[test]
fn the_reference_of_exit_codes_is_as_checked_in() {
    use std::fmt::Write as _;
    let mut page = "# Exit codes of `envforge`\n\nMade from `crates/envforge-cli/src/exit.rs`. `envforge run` and `envforge exec` answer the code of the command they ran.\n\n| code | name | when |\n|---|---|---|\n".to_owned();
    for (code, name, meaning) in envforge_cli::exit::ExitCode::TABLE {
        writeln!(page, "| {code} | `{name}` | {meaning} |").unwrap();
    }
    expect_test::expect_file!["../../../../docs/reference/exit-codes.md"].assert_eq(&page);
}

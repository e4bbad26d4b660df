//! Tokens for Git hosts.

use crate::support::{Answer, Server, envforge, finish, ok, refused, run};
use expect_test::expect;
use serde_json::{Value, json};

const PATH: &str = "/v1/git-credentials";

fn credential() -> Value {
    json!({ "id": "gitcred_00000000000000000000000000000001", "host": "git.example.org", "username": "x-access-token",
        "created_at": "2026-11-21T06:00:00Z", "expires_at": null, "last_used_at": "2026-11-21T07:00:00Z" })
}

// proves UP-10
#[test]
fn a_token_is_read_from_a_file_and_never_said() {
    let server = Server::acme();
    server.route(&format!("PUT {PATH}"), ok(&credential()));
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("token"), "planted-token\n").expect("written");
    let mut command = envforge(home.path(), &["git-credential", "set", "git.example.org", "--token-file", "token"]);
    let text = finish(command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test")).text(&server);
    expect![[r#"
        exit: 0
        --- stdout
        Git in your workspaces reaches git.example.org with your token
        --- stderr
    "#]]
    .assert_eq(&text);
    let body = r#"{"host":"git.example.org","username":null,"token":"planted-token","expires_at":null}"#;
    assert!(server.asked().contains(&format!("PUT {PATH} {body}")), "{:?}", server.asked());
}

#[test]
fn without_a_token_nothing_is_asked_of_the_server() {
    let server = Server::acme();
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: nobody can be asked for a token here
          hint: give `--token-file FILE`, or `--token-file -` to read it from stdin
    "#]]
    .assert_eq(&run(&server, &["git-credential", "set", "git.example.org"]));
    assert!(!server.asked().iter().any(|asked| asked.contains(PATH)), "{:?}", server.asked());
}

#[test]
fn tokens_are_listed_and_removed() {
    let server = Server::acme();
    server.route(&format!("GET {PATH}"), ok(&json!({ "git_credentials": [credential()] })));
    server.route(&format!("DELETE {PATH}/git%2Eexample%2Eorg"), Answer::Body(204, String::new()));
    server.route(
        &format!("DELETE {PATH}/other%2Eexample%2Eorg"),
        refused(404, "not_found", "git_credential.not_found", "you have no credential for other.example.org", None),
    );
    expect![[r#"
        exit: 0
        --- stdout
        HOST             USER NAME       SET                      EXPIRES  LAST USED
        git.example.org  x-access-token  2026-11-21 06:00:00 UTC  -        2026-11-21 07:00:00 UTC
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["git-credential", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"removed":"git.example.org"}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["git-credential", "remove", "git.example.org", "--json"]));
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: you have no credential for other.example.org
    "#]]
    .assert_eq(&run(&server, &["git-credential", "remove", "other.example.org"]));
}

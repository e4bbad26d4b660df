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
    server.route("GET /v1/git-keys", ok(&json!({ "git_keys": [] })));
    server.route(&format!("DELETE {PATH}/git%2Eexample%2Eorg"), Answer::Body(204, String::new()));
    server.route(
        &format!("DELETE {PATH}/other%2Eexample%2Eorg"),
        refused(404, "not_found", "git_credential.not_found", "you have no credential for other.example.org", None),
    );
    expect![[r#"
        exit: 0
        --- stdout
        HOST             KIND   USER NAME OR KEY  SET                      EXPIRES  LAST USED
        git.example.org  token  x-access-token    2026-11-21 06:00:00 UTC  -        2026-11-21 07:00:00 UTC
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

const KEYS: &str = "/v1/git-keys";

fn key() -> Value {
    json!({ "id": "gitkey_00000000000000000000000000000001", "host": "git.example.org:2222",
        "public_key": "ssh-ed25519 AAAAkey", "fingerprint": "SHA256:print",
        "created_at": "2026-11-21T06:00:00Z", "last_used_at": null })
}

// proves UP-10
#[test]
fn a_key_is_made_and_its_public_half_is_said() {
    let server = Server::acme();
    server.route(&format!("POST {KEYS}"), ok(&key()));
    expect![[r#"
        exit: 0
        --- stdout
        ssh-ed25519 AAAAkey envforge
        register this line at git.example.org:2222
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["git-credential", "generate-key", "git.example.org:2222"]));
    let body = r#"{"host":"git.example.org:2222"}"#;
    assert!(server.asked().contains(&format!("POST {KEYS} {body}")), "{:?}", server.asked());

    let server = Server::acme();
    let hint = Some("`envforge git-credential remove-key git.example.org:2222` removes it");
    let exists = "you have an SSH key for git.example.org:2222 already";
    server.route(&format!("POST {KEYS}"), refused(409, "conflict", "git_key.exists", exists, hint));
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: you have an SSH key for git.example.org:2222 already
          hint: `envforge git-credential remove-key git.example.org:2222` removes it
    "#]]
    .assert_eq(&run(&server, &["git-credential", "generate-key", "git.example.org:2222"]));
}

// proves UP-10
#[test]
fn a_key_is_read_from_a_file_and_never_said() {
    let server = Server::acme();
    server.route(&format!("PUT {KEYS}"), ok(&key()));
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("id"), "planted\nkey\n").expect("written");
    let import = ["git-credential", "import-key", "git.example.org:2222", "--file"];
    let called = |file: &str| {
        let mut command = envforge(home.path(), &[&import[..], &[file]].concat());
        finish(command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test")).text(&server)
    };
    expect![[r#"
        exit: 0
        --- stdout
        Git in your workspaces reaches git.example.org:2222 with SHA256:print
        --- stderr
    "#]]
    .assert_eq(&called("id"));
    let body = r#"{"host":"git.example.org:2222","private_key":"planted\nkey\n"}"#;
    assert!(server.asked().contains(&format!("PUT {KEYS} {body}")), "{:?}", server.asked());
    let before = server.asked().len();
    let missing = called("missing");
    assert!(missing.starts_with("exit: 2\n") && missing.contains("the secret can't be read"), "{missing}");
    assert_eq!(server.asked().len(), before, "nothing is asked of the server");
}

#[test]
fn keys_are_listed_beside_tokens_and_removed() {
    let server = Server::acme();
    server.route(&format!("GET {PATH}"), ok(&json!({ "git_credentials": [credential()] })));
    server.route(&format!("GET {KEYS}"), ok(&json!({ "git_keys": [key()] })));
    server.route(&format!("DELETE {KEYS}/git%2Eexample%2Eorg%3A2222"), Answer::Body(204, String::new()));
    expect![[r#"
        exit: 0
        --- stdout
        HOST                  KIND     USER NAME OR KEY  SET                      EXPIRES  LAST USED
        git.example.org       token    x-access-token    2026-11-21 06:00:00 UTC  -        2026-11-21 07:00:00 UTC
        git.example.org:2222  ssh-key  SHA256:print      2026-11-21 06:00:00 UTC  -        -

        to register at git.example.org:2222: ssh-ed25519 AAAAkey envforge
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["git-credential", "list"]));
    let listed = run(&server, &["git-credential", "list", "--json"]);
    assert!(listed.contains(r#""git_credentials":[{"#) && listed.contains(r#""git_keys":[{"#), "{listed}");
    expect![[r#"
        exit: 0
        --- stdout
        your SSH key for git.example.org:2222 is removed
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["git-credential", "remove-key", "git.example.org:2222"]));
}

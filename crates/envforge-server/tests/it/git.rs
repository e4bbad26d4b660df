//! Git credentials: whose, for what, and who never gets one.

use crate::support::{FakeHost, TestServer, code};
use envforge_api::client::{Address, CallError, Client};
use envforge_api::host::{AskGitCredential, GIT_CREDENTIAL_PATH, GitCredential, REGISTER_PATH, Register, Registered};
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::http::git::GitCredentials;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::secret::Secret;
use serde_json::{Value, json};

const PATH: &str = "/v1/git-credentials";
const TOKEN: &str = "planted-secret-git-token";
const URL: &str = "https://example.org/planner.git";

fn line(server: &TestServer, host: &FakeHost) -> Client {
    let key = Secret::new(host.registered.key.clone());
    Client::new(&Address::Socket(server.path("server.sock")), Some(key)).unwrap()
}

async fn ask(
    server: &TestServer,
    host: &FakeHost,
    workspace: &Workspace,
    url: &str,
) -> Result<GitCredential, CallError> {
    let ask = AskGitCredential { host_generation: host.generation, workspace: workspace.id, url: url.to_owned() };
    line(server, host).post(GIT_CREDENTIAL_PATH, &ask).await
}

fn refused(result: Result<GitCredential, CallError>) -> String {
    result.map(|_| ()).map_err(CallError::into_refusal).unwrap_err().code
}

async fn set(client: &Client, host: &str, token: &str) {
    let _: Value = client.put(PATH, &json!({ "host": host, "token": token })).await.unwrap();
}

/// As attaching would.
pub(crate) async fn attach(server: &TestServer, workspace: &Workspace, who: &Client) {
    let key = who.key().unwrap().expose();
    let identity = envforge_server::accounts::ops::authenticate(server.server.app(), key).await.unwrap().unwrap();
    let mut tx = server.server.app().db.begin(server.scope("acme").await).await.unwrap();
    envforge_server::git::ops::attached(&mut tx, workspace.id, identity.user).await.unwrap();
    tx.commit().await.unwrap();
}

// proves UP-10
#[tokio::test]
async fn git_is_given_the_token_of_whoever_acts() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let nothing = ask(&server, &host, &workspace, URL).await;
    let refusal = nothing.map(|_| ()).map_err(CallError::into_refusal).unwrap_err();
    assert_eq!(refusal.code, "git.no_credential");
    assert!(refusal.hint.unwrap().contains("envforge git-credential set example.org"), "it says what to do");

    // Nobody attached yet: whoever made the workspace.
    set(&server.owner, "Example.org", TOKEN).await;
    let given = ask(&server, &host, &workspace, URL).await.map_err(CallError::into_refusal).unwrap();
    assert_eq!((given.username.as_str(), given.password.as_str()), ("x-access-token", TOKEN));

    // Somebody attached: they, with their own or none, never somebody else's.
    let ada = server.member("acme", Role::Developer).await;
    attach(&server, &workspace, &ada).await;
    assert_eq!(refused(ask(&server, &host, &workspace, URL).await), "git.no_credential");
    set(&ada, "example.org", "hers").await;
    assert_eq!(ask(&server, &host, &workspace, URL).await.map_err(CallError::into_refusal).unwrap().password, "hers");

    // They may not attach any more: nothing.
    let mut owner = server.database_owner().await;
    sqlx::query("UPDATE memberships m SET role = 'reviewer' FROM workspaces w WHERE m.user_id = w.acting_user")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(refused(ask(&server, &host, &workspace, URL).await), "git.no_credential");
}

// proves UP-10
#[tokio::test]
async fn only_the_repositorys_host_is_served() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server.owner, "example.org", TOKEN).await;
    set(&server.owner, "other.example.org", TOKEN).await;
    set(&server.owner, "example.org:8443", TOKEN).await;
    for url in [
        "https://other.example.org/planner.git",
        "https://example.org:8443/planner.git",
        "http://example.org/planner.git",
        "https://example.org.evil.example/planner.git",
        "https://example.org@evil.example/planner.git",
        "ssh://git@example.org/planner.git",
        &format!("https://example.org/{}", "x".repeat(3000)),
    ] {
        assert_eq!(refused(ask(&server, &host, &workspace, url).await), "git.other_host", "{url}");
    }
    // A submodule beside it is served.
    assert!(ask(&server, &host, &workspace, "https://example.org/theme").await.is_ok());
    // One that is reached in clear is not.
    let project = json!({ "slug": "clear", "repository": "http://example.org/clear.git" });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    let request = json!({ "project": "clear", "branch": "clear" });
    let clear: Workspace = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    assert_eq!(refused(ask(&server, &host, &clear, "http://example.org/clear.git").await), "git.in_clear");
}

// proves UP-10 ORG-2
#[tokio::test]
async fn only_the_workspaces_own_host_is_answered() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server.owner, "example.org", TOKEN).await;

    // Another host of the org, and one of another org.
    for (org, owner) in [("acme", server.owner.clone()), ("rival", server.member("rival", Role::Owner).await)] {
        let made: Value =
            owner.post(&format!("/v1/orgs/{org}/host-tokens"), &json!({ "name": "second" })).await.unwrap();
        let token = made["token"].as_str().unwrap().to_owned();
        let plain = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
        let registered: Registered = plain.post(REGISTER_PATH, &Register { token }).await.unwrap();
        let other = FakeHost::connect(server.path("server.sock"), registered).await;
        assert_eq!(refused(ask(&server, &other, &workspace, URL).await), "workspace.not_found", "{org}");
    }
    // Nobody, and a person's key.
    for key in [None, server.owner.key().cloned()] {
        let client = Client::new(&Address::Socket(server.path("server.sock")), key).unwrap();
        let ask = AskGitCredential { host_generation: 1, workspace: workspace.id, url: URL.to_owned() };
        assert_eq!(refused(client.post(GIT_CREDENTIAL_PATH, &ask).await), "host.key");
    }
    // A daemon that was replaced.
    let before = host.generation;
    host.reconnect().await;
    let ask_of_before = AskGitCredential { host_generation: before, workspace: workspace.id, url: URL.to_owned() };
    assert_eq!(refused(line(&server, &host).post(GIT_CREDENTIAL_PATH, &ask_of_before).await), "host.stale");
    assert!(ask(&server, &host, &workspace, URL).await.is_ok());
    // A workspace that is going away.
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    assert_eq!(refused(ask(&server, &host, &workspace, URL).await), "workspace.not_found");
}

// proves UP-10
#[tokio::test]
async fn a_token_is_sealed_and_what_was_given_is_in_the_ledger_without_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server.owner, "example.org", TOKEN).await;
    for _ in 0..3 {
        assert!(ask(&server, &host, &workspace, URL).await.is_ok());
    }
    assert_eq!(server.events("git.credential_issued").await, 1, "once a minute");
    server.advance(61);
    assert!(ask(&server, &host, &workspace, URL).await.is_ok());
    assert_eq!(server.events("git.credential_issued").await, 2);

    let mut owner = server.database_owner().await;
    let details: Value =
        sqlx::query_scalar("SELECT details FROM ledger_events WHERE verb = 'git.credential_issued' LIMIT 1")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((&details["git_host"], &details["repository"]), (&json!("example.org"), &json!("planner")));
    let everything: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM ledger_events e WHERE e::text LIKE '%' || $1 || '%') + \
                (SELECT count(*) FROM git_credentials g WHERE position(convert_to($1, 'UTF8') IN g.sealed) > 0)",
    )
    .bind(TOKEN)
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(everything, 0, "the token is nowhere in clear");

    // Inside an org nobody's credentials exist.
    let mut app = server.database_app().await;
    let count = async |connection: &mut sqlx::PgConnection| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM git_credentials").fetch_one(connection).await.unwrap()
    };
    assert_eq!(count(&mut app).await, 1);
    sqlx::query("SELECT set_config('envforge.org', org_id::text, false) FROM system_org_ids() AS org_id")
        .execute(&mut app)
        .await
        .unwrap();
    assert_eq!(count(&mut app).await, 0);
}

// proves UP-10
#[tokio::test]
async fn credentials_are_ones_own_and_can_not_be_read_back() {
    let server = TestServer::start().await;
    let ada = server.member("acme", Role::Reviewer).await;
    let end = server.clock.now() + jiff::SignedDuration::from_secs(60);
    let body = json!({ "host": "git.example.org:443", "username": "ada", "token": TOKEN, "expires_at": end });
    let made: Value = ada.put(PATH, &body).await.unwrap();
    set(&ada, "git.example.org", "another").await;
    let list: GitCredentials = ada.get(PATH).await.unwrap();
    assert_eq!(list.git_credentials.len(), 1, "set again, it is replaced");
    assert!(!made.to_string().contains(TOKEN) && list.git_credentials[0].username == "x-access-token");
    let others: GitCredentials = server.owner.get(PATH).await.unwrap();
    assert!(others.git_credentials.is_empty());
    let there = format!("{PATH}/git.example.org");
    assert_eq!(code(server.owner.delete::<Value>(&there).await), "git_credential.not_found");

    for (body, expected) in [
        (json!({ "host": "https://github.com", "token": "t" }), "git_credential.host"),
        (json!({ "host": "github.com", "token": "two words" }), "git_credential.token"),
        (json!({ "host": "github.com", "token": "line\npassword=x" }), "git_credential.token"),
        (json!({ "host": "github.com", "token": "" }), "git_credential.token"),
        (json!({ "host": "github.com", "token": "t", "username": "a:b" }), "git_credential.username"),
        (json!({ "host": "github.com", "token": "t", "expires_at": server.clock.now() }), "git_credential.expired"),
    ] {
        assert_eq!(code(ada.put::<_, Value>(PATH, &body).await), expected, "{body}");
    }
    // A limited key changes nothing, not even one that may do all of this otherwise.
    let key: CreatedApiKey =
        ada.post("/v1/api-keys", &json!({ "name": "limited", "scopes": ["shell.attach"] })).await.unwrap();
    let limited = server.with_key(&key.value);
    assert_eq!(code(limited.delete::<Value>(&there).await), "access.scope");
    assert_eq!(
        code(limited.put::<_, Value>(PATH, &json!({ "host": "github.com", "token": "t" })).await),
        "access.scope"
    );
    let _: Value = ada.delete(&there).await.unwrap();
    assert_eq!(server.events("git_credential.removed").await, 1);
    assert_eq!(server.events("git_credential.set").await, 2);
}

// proves UP-10
#[tokio::test]
async fn a_token_that_has_ended_is_told_as_such() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let end = server.clock.now() + jiff::SignedDuration::from_secs(60);
    let body = json!({ "host": "example.org", "token": TOKEN, "expires_at": end });
    let _: Value = server.owner.put(PATH, &body).await.unwrap();
    let given = ask(&server, &host, &workspace, URL).await.map_err(CallError::into_refusal).unwrap();
    assert_eq!(given.expires_at, Some(end));
    server.advance(60);
    assert_eq!(refused(ask(&server, &host, &workspace, URL).await), "git.expired");
}

//! Secrets: set, versioned, given to the right host only, and found nowhere in clear.

use crate::support::{FakeHost, TestServer, code};
use envforge_api::client::{Address, CallError, Client};
use envforge_api::host::{AskEgress, AskSecrets, EGRESS_PATH, GivenEgress, GivenSecrets, HostCommand, SECRETS_PATH};
use envforge_api::http::ledger::LedgerEvents;
use envforge_api::http::secrets::{SecretInfo, SecretScope, SecretVersions, Secrets};
use envforge_api::http::vault::KeyEncryptionKeys;
use envforge_core::access::Role;
use envforge_core::id::WorkspaceId;
use envforge_core::secret::{Secret, VALUE_MAX};
use envforge_server::platform::keys::KeyWrappers;
use envforge_server::secrets::jobs;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SECRETS: &str = "/v1/orgs/acme/secrets";
const OF_WORKSPACE: &str = "/v1/orgs/acme/workspaces/main/secrets";
const OF_PROJECT: &str = "/v1/orgs/acme/projects/planner/secrets";

pub(crate) async fn set(client: &Client, path: &str, name: &str, value: &str) -> SecretInfo {
    client.post(path, &json!({ "name": name, "value": value })).await.unwrap()
}

pub(crate) fn as_host(server: &TestServer, host: &FakeHost) -> Client {
    Client::new(&Address::Socket(server.path("server.sock")), Some(Secret::new(host.registered.key.clone()))).unwrap()
}

pub(crate) async fn ask(
    client: &Client,
    workspace: WorkspaceId,
    generation: u64,
    services: &[(&str, &[&str])],
) -> Result<BTreeMap<String, String>, CallError> {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<_>>();
    let services = services.iter().map(|(service, declared)| ((*service).to_owned(), names(declared))).collect();
    let given: GivenSecrets = client.post(SECRETS_PATH, &AskSecrets { workspace, generation, services }).await?;
    Ok(given.secrets.into_iter().map(|(name, value)| (name.to_string(), value.0.expose().to_owned())).collect())
}

/// A workspace that was told to be awake.
pub(crate) async fn waking(server: &TestServer) -> (FakeHost, HostCommand) {
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let command = server.awake(&mut host, &workspace).await;
    (host, command)
}

// proves ORG-5
#[tokio::test]
async fn the_narrowest_secret_of_a_name_is_given() {
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let (client, workspace, generation) = (as_host(&server, &host), command.workspace, command.generation);
    let given = async || ask(&client, workspace, generation, &[("web", &["KEY", "NOT_SET"])]).await.unwrap();
    assert_eq!(given().await, BTreeMap::new());
    for (path, value) in [(SECRETS, "of the org"), (OF_PROJECT, "of the project"), (OF_WORKSPACE, "of the workspace")] {
        set(&server.owner, path, "KEY", value).await;
        assert_eq!(given().await, BTreeMap::from([("KEY".to_owned(), value.to_owned())]));
    }
    let listed: Secrets = server.owner.get(SECRETS).await.unwrap();
    let scopes: Vec<_> = listed.secrets.iter().map(|secret| &secret.scope).collect();
    assert!(
        matches!(scopes.as_slice(), [SecretScope::Org, SecretScope::Project { .. }, SecretScope::Workspace { .. }]),
        "{scopes:?}"
    );
    assert!(
        listed
            .secrets
            .iter()
            .all(|secret| secret.last_used_at == Some(envforge_core::clock::Clock::now(&*server.clock)))
    );
}

// proves ORG-5
#[tokio::test]
async fn each_use_is_in_the_ledger_with_who_and_for_what() {
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    let key = set(&server.owner, SECRETS, "KEY", "planted-secret-value").await;
    set(&server.owner, SECRETS, "OTHER", "planted-secret-other-value").await;
    let services: &[(&str, &[&str])] = &[("web", &["KEY"]), ("api", &["KEY", "NOT_SET"])];
    ask(&client, command.workspace, command.generation, services).await.unwrap();
    let used: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=secret.used&order=oldest").await.unwrap();
    let mut uses: Vec<_> = used.events.into_iter().map(|listed| listed.event).collect();
    uses.sort_by_key(|event| event.details["service"].to_string());
    assert_eq!(uses.len(), 2);
    for (event, service) in uses.iter().zip(["api", "web"]) {
        assert_eq!(event.actor, format!("host:{}", host.registered.host));
        assert_eq!(event.subject, key.id.to_string());
        assert_eq!(event.details["service"], service);
        assert_eq!(event.details["version"], 1);
        assert_eq!(event.details["workspace"], command.workspace.to_string());
    }
}

// proves ORG-5
#[tokio::test]
async fn a_host_gets_secrets_of_its_own_awake_workspaces_only() {
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    set(&server.owner, SECRETS, "KEY", "planted-secret-value").await;
    let wanted: &[(&str, &[&str])] = &[("web", &["KEY"])];
    let nobody = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
    assert_eq!(code(ask(&nobody, command.workspace, command.generation, wanted).await), "host.key");
    for generation in [command.generation - 1, command.generation + 1] {
        assert_eq!(code(ask(&client, command.workspace, generation, wanted).await), "secret.stale");
    }
    // A second host of the same org, and a host of another org.
    let mut owner = server.database_owner().await;
    for (org, key) in [("acme", "efhk_second"), ("rival", "efhk_rival")] {
        server.member(org, Role::Owner).await;
        sqlx::query("INSERT INTO hosts (id, org_id, name, key_digest, created_at) SELECT gen_random_uuid(), org_id, $2, $3, now() FROM orgs WHERE slug = $1")
            .bind(org)
            .bind(key)
            .bind(envforge_core::token::digest(key))
            .execute(&mut owner)
            .await
            .unwrap();
        let other =
            Client::new(&Address::Socket(server.path("server.sock")), Some(Secret::new(key.to_owned()))).unwrap();
        assert_eq!(code(ask(&other, command.workspace, command.generation, wanted).await), "secret.not_on_host");
        let noted = "SELECT count(*) FROM ledger_events e JOIN orgs o USING (org_id) JOIN hosts h USING (org_id) \
             WHERE verb = 'secret.refused' AND o.slug = $1 AND e.actor = 'host:host_' || replace(h.id::text, '-', '') AND h.name = $2";
        wait_until("it is in the ledger of the org whose host it is", async || {
            let (mut owner, query) = (server.database_owner().await, sqlx::query_scalar::<_, i64>(noted));
            query.bind(org).bind(key).fetch_one(&mut owner).await.unwrap() == 1
        })
        .await;
    }
    assert_eq!(server.events("secret.used").await, 0);
    // Asleep again: nothing more, even of the right generation.
    let main = "/v1/orgs/acme/workspaces/main";
    let _: Value = server.owner.post(&format!("{main}/sleep"), &json!({ "tier": "stopped" })).await.unwrap();
    let now = server.show("main").await.runtime.generation;
    assert_eq!(code(ask(&client, command.workspace, now, wanted).await), "secret.stale");
}

// proves ORG-5
// proves ORG-8
#[tokio::test]
async fn versions_are_kept_and_restored() {
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    let mut secret = set(&server.owner, SECRETS, "KEY", "value 1").await;
    for version in 2..=12 {
        secret = set(&server.owner, SECRETS, "KEY", &format!("value {version}")).await;
        assert_eq!(secret.version, version);
    }
    let path = format!("{SECRETS}/{}", secret.id);
    let versions: SecretVersions = server.owner.get(&format!("{path}/versions")).await.unwrap();
    assert_eq!(
        versions.versions.iter().map(|version| version.version).collect::<Vec<_>>(),
        (3..=12).rev().collect::<Vec<_>>()
    );
    let restore = async |version: u32| {
        server.owner.post::<_, SecretInfo>(&format!("{path}/restore"), &json!({ "version": version })).await
    };
    assert_eq!(code(restore(2).await), "secret.version_not_found");
    assert_eq!(restore(5).await.unwrap().version, 13);
    assert_eq!(restore(13).await.unwrap().version, 13, "in use already");
    let given = ask(&client, command.workspace, command.generation, &[("web", &["KEY"])]).await.unwrap();
    assert_eq!(given["KEY"], "value 5");
    let newest: SecretVersions = server.owner.get(&format!("{path}/versions")).await.unwrap();
    assert_eq!(newest.versions[0].restored_from, Some(5));
    let _: SecretInfo = server.owner.delete(&path).await.unwrap();
    assert_eq!(code(server.owner.delete::<SecretInfo>(&path).await), "secret.not_found");
    assert_eq!(code(server.owner.get::<SecretVersions>(&format!("{path}/versions")).await), "secret.not_found");
    assert_eq!(server.events("secret.updated").await, 11);
    assert_eq!(server.events("secret.deleted").await, 1);
}

// proves ORG-2
// proves ORG-5
#[tokio::test]
async fn a_developer_changes_secrets_of_workspaces_only() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let shared = set(&server.owner, SECRETS, "KEY", "of the org").await;
    let developer = server.member("acme", Role::Developer).await;
    let own = set(&developer, OF_WORKSPACE, "KEY", "of the workspace").await;
    for path in [SECRETS, OF_PROJECT] {
        let refused = developer.post::<_, Value>(path, &json!({ "name": "KEY", "value": "x" })).await;
        assert_eq!(code(refused), "access.denied");
    }
    let path = format!("{SECRETS}/{}", shared.id);
    assert_eq!(code(developer.delete::<Value>(&path).await), "access.denied");
    assert_eq!(
        code(developer.post::<_, Value>(&format!("{path}/restore"), &json!({ "version": 1 })).await),
        "access.denied"
    );
    let _: SecretInfo = developer.delete(&format!("{SECRETS}/{}", own.id)).await.unwrap();
    let reviewer = server.member("acme", Role::Reviewer).await;
    assert_eq!(code(reviewer.get::<Secrets>(SECRETS).await), "access.denied");
}

// proves ORG-5
#[tokio::test]
async fn what_can_be_no_secret_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let post = async |body: Value| code(server.owner.post::<_, Value>(SECRETS, &body).await);
    assert_eq!(post(json!({ "name": "KEY", "value": "" })).await, "secret.value_size");
    assert_eq!(post(json!({ "name": "KEY", "value": "x".repeat(VALUE_MAX + 1) })).await, "secret.value_size");
    assert_eq!(post(json!({ "name": "KEY", "value": "a\0b" })).await, "secret.value");
    assert_eq!(post(json!({ "name": "key", "value": "x" })).await, "request.body");
    assert_eq!(post(json!({ "name": "ENVFORGE_KEY", "value": "x" })).await, "request.body");
    assert_eq!(post(json!({ "name": "KEY", "value": "x", "scope": "org" })).await, "request.body");
    let body = json!({ "name": "KEY", "value": "x" });
    assert_eq!(code(server.owner.post::<_, Value>(OF_WORKSPACE, &body).await), "workspace.not_found");
    assert_eq!(code(server.owner.post::<_, Value>(OF_PROJECT, &body).await), "project.not_found");
    assert_eq!(server.owner.get::<Secrets>(SECRETS).await.unwrap().secrets, []);
    set(&server.owner, SECRETS, "KEY", &"x".repeat(VALUE_MAX)).await;
}

// proves ORG-5
#[tokio::test]
async fn a_workspaces_secrets_go_with_it() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server.owner, OF_WORKSPACE, "KEY", "of the workspace").await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    let refused = server.owner.post::<_, Value>(OF_WORKSPACE, &json!({ "name": "NEW", "value": "x" })).await;
    assert_eq!(code(refused), "workspace.not_found", "on its way out");
    let command = host.command("DESTROY_WORKSPACE").await;
    host.done(&command).await;
    wait_until("it is gone", async || server.owner.get::<Secrets>(SECRETS).await.unwrap().secrets.is_empty()).await;
    let mut owner = server.database_owner().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM secret_versions").fetch_one(&mut owner).await.unwrap();
    assert_eq!(left, 0);
}

// proves ORG-5
// proves ORG-8
#[tokio::test]
async fn a_planted_value_lies_nowhere() {
    const PLANTED: &str = "planted-secret-4711";
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let secret = set(&server.owner, SECRETS, "KEY", PLANTED).await;
    set(&server.owner, SECRETS, "KEY", &format!("{PLANTED}-too")).await;
    let client = as_host(&server, &host);
    let given = ask(&client, command.workspace, command.generation, &[("web", &["KEY"])]).await.unwrap();
    assert!(given["KEY"].starts_with(PLANTED), "it is given");
    let versions = format!("{SECRETS}/{}/versions", secret.id);
    for path in [SECRETS, &versions, "/v1/orgs/acme/ledger?limit=500", "/v1/orgs/acme/workspaces/main"] {
        let answer: Value = server.owner.get(path).await.unwrap();
        assert!(!answer.to_string().contains(PLANTED), "{path} holds the value");
    }
    let export = server.owner.stream("/v1/orgs/acme/ledger/export").await.unwrap().text().await.unwrap();
    assert!(!export.contains(PLANTED), "the ledger's export holds the value");
    let dump = envforge_testkit::dump(&server.database.owner_url());
    assert!(dump.contains("secret_versions") && dump.contains("START_RUNTIME"), "the dump is whole");
    for form in [PLANTED.to_owned(), hex::encode(PLANTED)] {
        assert!(!dump.contains(&form), "the database holds {form}");
    }
}

// proves ORG-8
#[tokio::test]
async fn a_data_key_rotates_and_what_was_half_done_goes_on() {
    let mut server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let names: Vec<String> = (0..250).map(|number| format!("KEY_{number}")).collect();
    for name in &names {
        set(&server.owner, SECRETS, name, &format!("value of {name}")).await;
    }
    let mut owner = server.database_owner().await;
    // Somebody holds rows, so that the first round can't finish: it does what it can reach.
    let mut held = sqlx::Connection::begin(&mut owner).await.unwrap();
    sqlx::query("SELECT 1 FROM secret_versions ORDER BY secret_id LIMIT 60 FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let _: Value = server.owner.post("/v1/orgs/acme/data-key/rotate", &json!({})).await.unwrap();
    let old = "SELECT count(*) FROM secret_versions v WHERE substring(v.sealed FROM 2 FOR 16) <> (SELECT uuid_send(id) FROM data_keys k WHERE k.org_id = v.org_id AND retired_at IS NULL)";
    jobs::round(server.server.app()).await.unwrap();
    let left: i64 = sqlx::query_scalar(old).fetch_one(&mut *held).await.unwrap();
    assert!((60..250).contains(&left), "{left} lie under the old key");
    // Old and new values open side by side, also for a server that has just come up.
    server.restart().await;
    let client = as_host(&server, &host);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let given = ask(&client, command.workspace, command.generation, &[("web", &all)]).await.unwrap();
    assert!(given.len() == 250 && given.iter().all(|(name, value)| *value == format!("value of {name}")));
    held.rollback().await.unwrap();
    jobs::round(server.server.app()).await.unwrap();
    let mut owner = server.database_owner().await;
    wait_until("nothing lies under the old key", async || {
        sqlx::query_scalar::<_, i64>(old).fetch_one(&mut owner).await.unwrap() == 0
    })
    .await;
    let given = ask(&client, command.workspace, command.generation, &[("web", &["KEY_7"])]).await.unwrap();
    assert_eq!(given["KEY_7"], "value of KEY_7");
    assert_eq!(server.events("data_key.retired").await, 1);
}

// proves ORG-8
#[tokio::test]
async fn another_key_encryption_key_takes_over_while_everything_runs() {
    let keys = |digits: &[&str]| {
        KeyWrappers::local(&digits.iter().map(|digit| Secret::new(digit.repeat(32))).collect::<Vec<_>>()).unwrap()
    };
    let mut server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    set(&server.owner, SECRETS, "KEY", "value").await;
    let given = async |server: &TestServer| {
        ask(&as_host(server, &host), command.workspace, command.generation, &[("web", &["KEY"])]).await
    };
    let state = async |server: &TestServer| {
        let known: KeyEncryptionKeys = server.owner.get("/v1/operator/keys").await.unwrap();
        known.keys.iter().map(|key| (key.configured, key.in_use, key.data_keys)).collect::<Vec<_>>()
    };
    // The org's, and the installation's, which seals signing keys.
    assert_eq!(state(&server).await, [(true, true, 2)]);
    server.restart_with(|config| config.key_wrappers = keys(&["33", "22"])).await;
    assert_eq!(given(&server).await.unwrap()["KEY"], "value");
    wait_until("the data key is wrapped anew", async || state(&server).await == [(true, true, 2), (true, false, 0)])
        .await;
    // The old one can go.
    server.restart_with(|config| config.key_wrappers = keys(&["33"])).await;
    assert_eq!(given(&server).await.unwrap()["KEY"], "value");
    // With the wrong one alone nothing opens, and it is told which is missing.
    server.restart_with(|config| config.key_wrappers = keys(&["44"])).await;
    assert_eq!(code(given(&server).await), "internal");
    assert_eq!(state(&server).await, [(true, true, 0), (false, false, 2)]);
    assert_eq!(server.events("data_key.rewrapped").await, 2);
}

// proves ORG-5
#[tokio::test]
async fn what_is_lent_to_a_destination_is_given_to_no_service() {
    let server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let (client, workspace, generation) = (as_host(&server, &host), command.workspace, command.generation);
    let set = async |body: Value| server.owner.post::<_, SecretInfo>(SECRETS, &body).await;
    let rule = json!({ "host": "api.example.org", "header": "x-api-key" });
    let first = set(json!({ "name": "MODEL_KEY", "value": "planted-secret-lent", "egress": rule })).await.unwrap();
    assert_eq!(first.egress.as_ref().unwrap().host, "api.example.org");
    let lent = async |host: &str| {
        let asked = AskEgress { workspace, host: host.to_owned() };
        let given: GivenEgress = client.post(EGRESS_PATH, &asked).await.unwrap();
        given.lent.into_iter().map(|lent| (lent.rule.header, lent.value.0.expose().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(lent("api.example.org").await, [("x-api-key".to_owned(), "planted-secret-lent".to_owned())]);
    assert_eq!(lent("api.elsewhere.org").await, []);
    let given = async || ask(&client, workspace, generation, &[("web", &["MODEL_KEY"])]).await.unwrap();
    assert_eq!(given().await, BTreeMap::new(), "a service that declares it gets nothing");
    // Made readable by another value, the old one does not come back readable.
    set(json!({ "name": "MODEL_KEY", "value": "for services" })).await.unwrap();
    assert_eq!(given().await.len(), 1);
    assert_eq!(lent("api.example.org").await, []);
    let restored: SecretInfo =
        server.owner.post(&format!("{SECRETS}/{}/restore", first.id), &json!({ "version": 1 })).await.unwrap();
    assert_eq!(restored.egress, first.egress);
    assert_eq!(given().await, BTreeMap::new());
    assert_eq!(server.events("secret.used").await, 2, "once lent, once given");
    for host in ["127.0.0.1", "localhost", "api.example.org/x"] {
        let refused = set(json!({ "name": "K", "value": "v", "egress": { "host": host } })).await;
        assert_eq!(code(refused), "secret.egress", "{host}");
    }
    let stranger =
        AskEgress { workspace: envforge_core::id::Id::from_uuid(uuid::Uuid::from_u128(7)), host: String::new() };
    assert_eq!(code(client.post::<_, GivenEgress>(EGRESS_PATH, &stranger).await), "secret.not_on_host");
    wait_until("it is noted", async || server.events("secret.refused").await == 1).await;
}

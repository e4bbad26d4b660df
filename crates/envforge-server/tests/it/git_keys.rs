//! SSH keys for Git hosts: whose, for which login, and that nothing else is ever signed.

use crate::git::attach;
use crate::support::{FakeHost, TestServer, code};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envforge_api::client::{Address, CallError, Client};
use envforge_api::host::{
    AskGitIdentity, AskGitSignature, GIT_IDENTITY_PATH, GIT_SIGNATURE_PATH, GitIdentity, GitSignature, REGISTER_PATH,
    Register, Registered,
};
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::http::git::{GitKey, GitKeys};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::ssh::SshPublicKey;
use envforge_testkit::wait_until;
use serde_json::{Value, json};

const PATH: &str = "/v1/git-keys";
const HOST: &str = "git.example.org:2222";
const REPOSITORY: &str = "ssh://git@git.example.org:2222/acme/planner.git";
const FILE: &str = include_str!("../../../envforge-core/src/ssh/testdata/id_ed25519");
const PUBLIC: &str = include_str!("../../../envforge-core/src/ssh/testdata/id_ed25519.pub");
const WITH_PASSPHRASE: &str = include_str!("../../../envforge-core/src/ssh/testdata/id_passphrase");
const RSA: &str = include_str!("../../../envforge-core/src/ssh/testdata/id_rsa");

struct World {
    server: TestServer,
    host: FakeHost,
    workspace: Workspace,
}

impl World {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let mut host = server.host().await;
        let workspace = workspace_of(&server, &mut host, "planner", REPOSITORY).await;
        Self { server, host, workspace }
    }

    async fn identity(&self) -> Result<GitIdentity, Refusal> {
        identity(&self.server, &self.host, &self.workspace).await
    }

    async fn sign(&self, public_key: SshPublicKey, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        let ask = AskGitSignature {
            host_generation: self.host.generation,
            workspace: self.workspace.id,
            public_key,
            data: BASE64_STANDARD.encode(data),
        };
        let signed = line(&self.server, &self.host).post::<_, GitSignature>(GIT_SIGNATURE_PATH, &ask).await;
        signed.map_err(CallError::into_refusal).map(|given| BASE64_STANDARD.decode(given.signature).unwrap())
    }
}

async fn workspace_of(server: &TestServer, host: &mut FakeHost, slug: &str, repository: &str) -> Workspace {
    let project = json!({ "slug": slug, "repository": repository });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    server.named_workspace_of(host, slug, slug).await
}

fn line(server: &TestServer, host: &FakeHost) -> Client {
    let key = Secret::new(host.registered.key.clone());
    Client::new(&Address::Socket(server.path("server.sock")), Some(key)).unwrap()
}

async fn identity(server: &TestServer, host: &FakeHost, workspace: &Workspace) -> Result<GitIdentity, Refusal> {
    let ask = AskGitIdentity { host_generation: host.generation, workspace: workspace.id };
    line(server, host).post(GIT_IDENTITY_PATH, &ask).await.map_err(CallError::into_refusal)
}

async fn generate(client: &Client, host: &str) -> GitKey {
    client.post(PATH, &json!({ "host": host })).await.unwrap()
}

/// What SSH asks an agent to sign (RFC 4252, section 7).
fn login(user: &str, key: &SshPublicKey) -> Vec<u8> {
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let named = [string(user.as_bytes()), string(b"ssh-connection"), string(b"publickey")].concat();
    [string(&[7; 32]), vec![50], named, vec![1], string(b"ssh-ed25519"), string(&key.blob())].concat()
}

// proves UP-10
#[tokio::test]
async fn ssh_logs_in_with_the_key_of_whoever_acts() {
    let world = World::new().await;
    let nothing = world.identity().await.unwrap_err();
    assert_eq!(nothing.code, "git.no_key");
    assert!(nothing.hint.unwrap().contains("envforge git-credential generate-key git.example.org:2222"));

    // Nobody attached yet: whoever made the workspace. What was made logs in.
    let made = generate(&world.server.owner, "Git.example.org:2222").await;
    assert!(made.fingerprint.starts_with("SHA256:") && made.host == HOST && made.last_used_at.is_none());
    let key = world.identity().await.unwrap().public_key;
    assert_eq!(key.to_string(), made.public_key);
    let data = login("git", &key);
    let signed = world.sign(key, &data).await.unwrap();
    let (name, signature) = signed.split_at(4 + b"ssh-ed25519".len() + 4);
    assert_eq!(name[4..15], *b"ssh-ed25519");
    let blob = key.blob();
    UnparsedPublicKey::new(&ED25519, &blob[blob.len() - 32..]).verify(&data, signature).unwrap();
    let list: GitKeys = world.server.owner.get(PATH).await.unwrap();
    assert!(list.git_keys[0].last_used_at.is_some());

    // Somebody attached: they, with their own or none, never somebody else's.
    let ada = world.server.member("acme", Role::Developer).await;
    attach(&world.server, &world.workspace, &ada).await;
    assert_eq!(world.identity().await.unwrap_err().code, "git.no_key");
    assert_eq!(world.sign(key, &data).await.unwrap_err().code, "git.no_key");
    let hers = generate(&ada, HOST).await;
    assert_eq!(world.identity().await.unwrap().public_key.to_string(), hers.public_key);
    assert_eq!(world.sign(key, &data).await.unwrap_err().code, "git.no_login", "the owner's key is not hers to use");

    // Removed, nothing is signed any more.
    let hers = hers.public_key.parse().unwrap();
    assert!(world.sign(hers, &login("git", &hers)).await.is_ok());
    let _: Value = ada.delete(&format!("{PATH}/{HOST}")).await.unwrap();
    assert_eq!(world.sign(hers, &login("git", &hers)).await.unwrap_err().code, "git.no_key");

    // They may not attach any more: nothing.
    generate(&ada, HOST).await;
    let mut owner = world.server.database_owner().await;
    sqlx::query("UPDATE memberships m SET role = 'reviewer' FROM workspaces w WHERE m.user_id = w.acting_user")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(world.identity().await.unwrap_err().code, "git.no_key");
}

// proves UP-10
#[tokio::test]
async fn nothing_but_a_login_at_the_repository_is_signed() {
    let world = World::new().await;
    let key: SshPublicKey = generate(&world.server.owner, HOST).await.public_key.parse().unwrap();
    let good = login("git", &key);
    let mut longer = good.clone();
    longer.push(0);
    for bad in [
        Vec::new(),
        b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512\0\0\0\0".to_vec(),
        login("root", &key),
        login("git", &PUBLIC.trim_end_matches(" test\n").parse().unwrap()),
        good[..good.len() - 1].to_vec(),
        longer,
        vec![0; 100_000],
    ] {
        assert_eq!(world.sign(key, &bad).await.unwrap_err().code, "git.no_login");
    }
    wait_until("it is in the ledger", async || world.server.events("git.signature_refused").await > 0).await;
    assert_eq!(world.server.events("git.signature_given").await, 0);
    assert!(world.sign(key, &good).await.is_ok());

    // No more than a person could cause.
    for _ in 1..120 {
        world.sign(key, &good).await.unwrap();
    }
    let refused = world.sign(key, &good).await.unwrap_err();
    assert_eq!(refused.code, "git.too_many_signatures");
    assert_eq!(world.server.events("git.signature_given").await, 1, "once a minute");
    world.server.advance(61);
    assert!(world.sign(key, &good).await.is_ok());
    assert_eq!(world.server.events("git.signature_given").await, 2);
}

// proves UP-10 ORG-2
#[tokio::test]
async fn only_the_workspaces_own_host_may_ask_and_only_for_a_repository_over_ssh() {
    let World { server, mut host, workspace } = World::new().await;
    generate(&server.owner, HOST).await;
    generate(&server.owner, "git.example.org").await;
    for (org, owner) in [("acme", server.owner.clone()), ("rival", server.member("rival", Role::Owner).await)] {
        let made: Value =
            owner.post(&format!("/v1/orgs/{org}/host-tokens"), &json!({ "name": "second" })).await.unwrap();
        let token = made["token"].as_str().unwrap().to_owned();
        let plain = Client::new(&Address::Socket(server.path("server.sock")), None).unwrap();
        let registered: Registered = plain.post(REGISTER_PATH, &Register { token }).await.unwrap();
        let other = FakeHost::connect(server.path("server.sock"), registered).await;
        assert_eq!(identity(&server, &other, &workspace).await.unwrap_err().code, "workspace.not_found", "{org}");
    }
    wait_until("both are in the ledger", async || server.events("git.credential_refused").await == 2).await;
    for key in [None, server.owner.key().cloned()] {
        let client = Client::new(&Address::Socket(server.path("server.sock")), key).unwrap();
        let ask = AskGitIdentity { host_generation: 1, workspace: workspace.id };
        assert_eq!(code(client.post::<_, GitIdentity>(GIT_IDENTITY_PATH, &ask).await), "host.key");
    }
    let before = host.generation;
    host.reconnect().await;
    let ask = AskGitIdentity { host_generation: before, workspace: workspace.id };
    assert_eq!(code(line(&server, &host).post::<_, GitIdentity>(GIT_IDENTITY_PATH, &ask).await), "host.stale");
    assert!(identity(&server, &host, &workspace).await.is_ok());
    // The same host with another port is another host, and one reached over HTTPS is none.
    let short = workspace_of(&server, &mut host, "short", "git@git.example.org:acme/planner.git").await;
    let given = identity(&server, &host, &short).await.unwrap();
    assert_ne!(given, identity(&server, &host, &workspace).await.unwrap());
    let https = workspace_of(&server, &mut host, "https", "https://git.example.org/acme/planner.git").await;
    assert_eq!(identity(&server, &host, &https).await.unwrap_err().code, "git.no_ssh");
}

// proves UP-10
#[tokio::test]
async fn keys_are_ones_own_sealed_and_can_not_be_read_back() {
    let server = TestServer::start().await;
    let ada = server.member("acme", Role::Reviewer).await;
    let body = json!({ "host": "git.example.org:22", "private_key": FILE });
    let made: GitKey = ada.put(PATH, &body).await.unwrap();
    assert_eq!((made.host.as_str(), format!("{} test\n", made.public_key)), ("git.example.org", PUBLIC.to_owned()));
    let others: GitKeys = server.owner.get(PATH).await.unwrap();
    assert!(others.git_keys.is_empty());
    let there = format!("{PATH}/git.example.org");
    assert_eq!(code(server.owner.delete::<Value>(&there).await), "git_key.not_found");
    // A key that is registered somewhere is not replaced by the way.
    assert_eq!(code(ada.put::<_, Value>(PATH, &body).await), "git_key.exists");
    assert_eq!(code(ada.post::<_, Value>(PATH, &json!({ "host": "git.example.org" })).await), "git_key.exists");
    for (host, private_key, expected) in [
        ("https://github.com", FILE, "git_key.host"),
        ("github.com", WITH_PASSPHRASE, "git_key.passphrase"),
        ("github.com", RSA, "git_key.kind"),
        ("github.com", PUBLIC, "git_key.unreadable"),
        ("github.com", "", "git_key.unreadable"),
        ("github.com", &"x".repeat(20_000), "git_key.unreadable"),
    ] {
        let body = json!({ "host": host, "private_key": private_key });
        let refusal = ada.put::<_, Value>(PATH, &body).await.map_err(CallError::into_refusal).unwrap_err();
        assert_eq!(refusal.code, expected);
        assert!(expected == "git_key.host" || refusal.hint.unwrap().contains("generate-key github.com"));
    }
    // A limited key changes nothing, not even one that may do all of this otherwise.
    let limited: CreatedApiKey =
        ada.post("/v1/api-keys", &json!({ "name": "limited", "scopes": ["shell.attach"] })).await.unwrap();
    let limited = server.with_key(&limited.value);
    assert_eq!(code(limited.delete::<Value>(&there).await), "access.scope");
    assert_eq!(code(limited.post::<_, Value>(PATH, &json!({ "host": "github.com" })).await), "access.scope");
    assert_eq!(code(limited.put::<_, Value>(PATH, &body).await), "access.scope");

    // The private half is nowhere in clear, neither as it came nor as it is kept.
    let kept = envforge_core::ssh::SshKey::import(&Secret::new(FILE.to_owned())).unwrap().to_keep();
    let mut owner = server.database_owner().await;
    let everything: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM ledger_events e WHERE e::text LIKE '%' || $1 || '%') + \
                (SELECT count(*) FROM git_keys g WHERE g::text LIKE '%' || $1 || '%' OR position(convert_to($1, 'UTF8') IN g.sealed) > 0 \
                 OR position(decode($1, 'hex') IN g.sealed) > 0)",
    )
    .bind(kept.expose())
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(everything, 0);
    // Inside an org nobody's keys exist.
    let mut app = server.database_app().await;
    let count = async |connection: &mut sqlx::PgConnection| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM git_keys").fetch_one(connection).await.unwrap()
    };
    assert_eq!(count(&mut app).await, 1);
    sqlx::query("SELECT set_config('envforge.org', org_id::text, false) FROM system_org_ids() AS org_id")
        .execute(&mut app)
        .await
        .unwrap();
    assert_eq!(count(&mut app).await, 0);
    let _: Value = ada.delete(&there).await.unwrap();
    for verb in ["git_key.imported", "git_key.removed"] {
        assert_eq!(server.events(verb).await, 1, "{verb}");
    }
}

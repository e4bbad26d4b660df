//! People and machines of one org against another's: each attack for real, each refused, each in the ledger.
//!
//! The org that is attacked is the box's own, `local`, with a workspace that runs. The attackers are an admin and a
//! developer of `globex`, and a host of theirs: a program of this test that registered as one.

use super::sample::{Member, PATIENCE, client, nobody, on_socket, repository, stranger};
use crate::support::TestBox;
use envforge_api::client::{CallError, Client};
use envforge_api::host::{AskGitCredential, AskSecrets, FromHost, Machine, Pulse, Registered, Report};
use envforge_api::host::{GIT_CREDENTIAL_PATH, REGISTER_PATH, SECRETS_PATH, STREAM_PATH};
use envforge_api::http::accounts::{CreatedApiKey, CreatedHostToken, Me};
use envforge_api::http::orgs::{AcceptedInvitation, CreatedInvitation, Org};
use envforge_api::http::secrets::SecretInfo;
use envforge_core::id::WorkspaceId;
use envforge_core::runtime::ObservedPhase;
use envforge_testkit::{Browser, wait_until, wait_until_within};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const OF_NOBODY: &str = "00000000000070008000000000000000";

fn code<T>(answer: Result<T, CallError>) -> String {
    answer.err().map_or_else(|| "it was allowed".to_owned(), |error| error.into_refusal().code)
}

/// `METHOD /path`, with a body where the method has one; the code it is refused with.
async fn ask(client: &Client, what: &str, body: &Value) -> String {
    let (method, path) = what.split_once(' ').unwrap();
    code(match method {
        "GET" => client.get::<Value>(path).await,
        "PUT" => client.put::<_, Value>(path, body).await,
        "DELETE" => client.delete::<Value>(path).await,
        _ => client.post::<_, Value>(path, body).await,
    })
}

/// Asks for all of them and complains of each that is not refused as it should be.
async fn each_refused(client: &Client, wanted: &str, attempts: &[(String, Value)]) {
    for (what, body) in attempts {
        assert_eq!(ask(client, what, body).await, wanted, "{what}");
    }
}

fn attempts<const N: usize>(list: [(&str, Value); N]) -> Vec<(String, Value)> {
    list.into_iter().map(|(what, body)| (what.to_owned(), body)).collect()
}

/// Somebody who accepts an invitation into `globex`.
async fn member(the_box: &TestBox, role: &str) -> Client {
    let owner = the_box.client();
    let made: CreatedInvitation = owner.post("/v1/orgs/globex/invitations", &json!({ "role": role })).await.unwrap();
    let body = json!({ "token": made.token, "name": role });
    let accepted: AcceptedInvitation = nobody(the_box).post("/v1/invitations/accept", &body).await.unwrap();
    client(the_box, &accepted.api_key.unwrap().value)
}

/// What of the attacked org must stay as it is.
async fn estate(the_box: &TestBox) -> Vec<Value> {
    let owner = the_box.client();
    let mut found = Vec::new();
    for rest in ["", "/members", "/invitations", "/secrets", "/root-policy", "/elevations", "/settings", "/projects"] {
        found.push(owner.get(&format!("/v1/orgs/local{rest}")).await.unwrap());
    }
    let workspace: Value = owner.get("/v1/orgs/local/workspaces/main").await.unwrap();
    found.extend([workspace["runtime"]["state"].clone(), workspace["runtime"]["generation"].clone()]);
    let secrets = found[3]["secrets"].as_array_mut().unwrap();
    for secret in secrets.iter_mut() {
        secret["last_used_at"] = Value::Null;
    }
    found
}

/// Waits until a chain has an event whose line holds all of these.
async fn in_ledger(the_box: &TestBox, chain: &str, words: &[&str]) {
    let wanted = format!("{words:?} in the ledger of {chain}");
    wait_until_within(&wanted, PATIENCE, async || {
        let Ok(export) = the_box.client().stream(&format!("/v1/{chain}/ledger/export")).await else { return false };
        let text = export.text().await.unwrap_or_default();
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    })
    .await;
}

async fn status_and_code(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

struct Attacked {
    workspace: WorkspaceId,
    secret: String,
    link: String,
    invitation: String,
    owner: String,
}

/// Over the API: another's org, another's ids, more than one's own role, keys that do not hold.
async fn over_the_api(the_box: &TestBox, attacked: &Attacked) {
    let (admin, developer) = (member(the_box, "admin").await, member(the_box, "developer").await);
    let me: Me = developer.get("/v1/me").await.unwrap();
    let user = format!("user:{}", me.user);
    let Attacked { secret, link, invitation, owner, .. } = attacked;
    let nothing = json!({});
    let of_b = [
        ("GET ", nothing.clone()),
        ("GET /workspaces/main", nothing.clone()),
        ("GET /secrets", nothing.clone()),
        ("GET /ledger", nothing.clone()),
        ("GET /ledger/export", nothing.clone()),
        ("GET /members", nothing.clone()),
        ("GET /settings", nothing.clone()),
        ("POST /secrets", json!({ "name": "STOLEN", "value": "x" })),
        ("POST /workspaces/main/sleep", json!({ "tier": "stopped" })),
        ("POST /workspaces/main/runs", json!({ "argv": ["id"] })),
        ("POST /workspaces/main/links", json!({ "service": "web" })),
        ("POST /workspaces/main/elevations", json!({ "reason": "because" })),
        ("POST /invitations", json!({ "role": "owner" })),
        ("PUT /root-policy", json!({ "policy": { "mode": "workspace", "max_minutes": 60 } })),
        ("GET /workspaces/main/logs/web", nothing.clone()),
        ("DELETE /workspaces/main", nothing.clone()),
    ];
    let mut all: Vec<(String, Value)> =
        of_b.into_iter().map(|(what, body)| (what.replacen(' ', " /v1/orgs/local", 1), body)).collect();
    all.push((format!("DELETE /v1/orgs/local/links/{link}"), nothing.clone()));
    all.push((format!("POST /v1/orgs/local/elevations/elv_{OF_NOBODY}/approve"), nothing.clone()));
    all.push((format!("PUT /v1/orgs/local/members/{}", me.user), json!({ "role": "owner" })));
    each_refused(&developer, "org.not_found", &all).await;
    in_ledger(the_box, "installation", &["access.denied", &user, "org.not_found"]).await;

    // Its ids below an org of one's own, where one may do everything; and ids that were made up.
    let of_a = "/v1/orgs/globex";
    for (what, body, wanted) in [
        (format!("DELETE {of_a}/links/{link}"), nothing.clone(), "link.not_found"),
        (format!("DELETE {of_a}/links/link_{OF_NOBODY}"), nothing.clone(), "link.not_found"),
        (format!("DELETE {of_a}/secrets/{secret}"), nothing.clone(), "secret.not_found"),
        (format!("GET {of_a}/secrets/{secret}/versions"), nothing.clone(), "secret.not_found"),
        (format!("POST {of_a}/secrets/{secret}/restore"), json!({ "version": 1 }), "secret.not_found"),
        (format!("DELETE {of_a}/invitations/{invitation}"), nothing.clone(), "invitation.not_found"),
        (format!("PUT {of_a}/members/{owner}"), json!({ "role": "billing" }), "member.above_you"),
        (format!("DELETE {of_a}/members/user_{OF_NOBODY}"), nothing.clone(), "member.not_found"),
        (format!("POST {of_a}/elevations/elv_{OF_NOBODY}/approve"), nothing.clone(), "elevation.not_found"),
        (format!("GET {of_a}/workspaces/main/runs/job_{OF_NOBODY}"), nothing.clone(), "workspace.not_found"),
    ] {
        assert_eq!(ask(&admin, &what, &body).await, wanted, "{what}");
    }
    for cause in ["link.not_found", "secret.not_found", "invitation.not_found", "member.not_found"] {
        in_ledger(the_box, "orgs/globex", &["access.denied", cause]).await;
    }

    // More than the role allows.
    let more = attempts([
        ("PUT /v1/orgs/globex/root-policy", json!({ "policy": { "mode": "workspace", "max_minutes": 60 } })),
        ("POST /v1/orgs/globex/invitations", json!({ "role": "admin" })),
        ("POST /v1/orgs/globex/host-tokens", json!({ "name": "mine" })),
        ("GET /v1/orgs/globex/settings", nothing.clone()),
        ("GET /v1/orgs/globex/ledger", nothing.clone()),
        ("POST /v1/orgs/globex/secrets", json!({ "name": "MINE", "value": "x" })),
    ]);
    each_refused(&developer, "access.denied", &more).await;
    let raise = format!("PUT /v1/orgs/globex/members/{}", me.user);
    assert_eq!(ask(&developer, &raise, &json!({ "role": "admin" })).await, "access.denied");
    let approve = format!("POST /v1/orgs/globex/elevations/elv_{OF_NOBODY}/approve");
    assert_eq!(ask(&developer, &approve, &nothing).await, "access.denied");
    for cause in ["as developer: root_policy.set", "as developer: elevation.approve", "as developer: member.manage"] {
        in_ledger(the_box, "orgs/globex", &["access.denied", &user, cause]).await;
    }
    let operator = attempts([
        ("GET /v1/operator/settings", nothing.clone()),
        ("POST /v1/operator/data-key/rotate", nothing.clone()),
        ("GET /v1/operator/jobs", nothing.clone()),
        ("GET /v1/installation/ledger/export", nothing.clone()),
    ]);
    each_refused(&developer, "access.operator_only", &operator).await;
    in_ledger(the_box, "installation", &["access.denied", &user, "access.operator_only"]).await;

    with_worn_keys(the_box, &developer, &user).await;
}

/// Keys that are limited, over, or taken back; and an invitation that was guessed.
async fn with_worn_keys(the_box: &TestBox, developer: &Client, user: &str) {
    let nothing = json!({});
    let limited = json!({ "name": "limited", "scopes": ["read"] });
    let limited: CreatedApiKey = developer.post("/v1/api-keys", &limited).await.unwrap();
    let reader = client(the_box, &limited.value);
    let project = json!({ "slug": "p", "repository": "https://git.example.org/a/b.git" });
    assert_eq!(ask(&reader, "POST /v1/orgs/globex/projects", &project).await, "access.scope");
    assert_eq!(ask(&reader, "POST /v1/api-keys", &json!({ "name": "wider" })).await, "access.scope");
    in_ledger(the_box, "orgs/globex", &[user, "a limited API key: project.create"]).await;
    in_ledger(the_box, "installation", &["access.denied", user, "access.scope"]).await;
    let _ = developer.delete::<Value>(&format!("/v1/api-keys/{}", limited.id)).await;
    wait_until("the key is taken back", async || {
        ask(&reader, "GET /v1/me", &nothing).await == "access.unauthenticated"
    })
    .await;
    in_ledger(the_box, "installation", &["access.denied", "stranger", "access.unauthenticated"]).await;
    let made: CreatedApiKey = developer.post("/v1/api-keys", &json!({ "name": "short" })).await.unwrap();
    the_box.psql("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE name = 'short'");
    let over = client(the_box, &made.value);
    assert_eq!(ask(&over, "GET /v1/me", &nothing).await, "access.expired");
    in_ledger(the_box, "installation", &["access.denied", "stranger", "access.expired"]).await;
    let guess = json!({ "token": format!("efi_{}", "a".repeat(43)), "name": "somebody" });
    assert_eq!(ask(developer, "POST /v1/invitations/accept", &guess).await, "invitation.not_valid");
    in_ledger(the_box, "installation", &["access.denied", user, "invitation.not_valid"]).await;
}

/// A page from elsewhere, with the session of somebody who is signed in; and a name that leads here.
async fn from_another_page(the_box: &TestBox) {
    let me: Me = the_box.client().get("/v1/me").await.unwrap();
    let token = format!("efs_{}", "s".repeat(43));
    let (user, digest) = (me.user.to_string().replace("user_", ""), envforge_core::token::digest(&token));
    the_box.psql(&format!(
        "INSERT INTO login_sessions (id, user_id, digest, method, user_agent, created_at, last_seen_at, expires_at) \
         VALUES (gen_random_uuid(), '{user}', '{digest}', 'mail', 'a browser', now(), now(), now() + interval '1 hour')"
    ));
    let cookie = format!("{}={token}", envforge_server::sessions::cookie_name("http://box"));
    let orgs = format!("http://{}/v1/orgs", the_box.listen);
    let forged = || stranger().post(&orgs).header("cookie", &cookie).json(&json!({ "slug": "forged" }));
    let refused = |code: &str| (403, code.to_owned());
    assert_eq!(status_and_code(forged().header("sec-fetch-site", "cross-site")).await, refused("access.csrf"));
    assert_eq!(status_and_code(forged().header("sec-fetch-site", "same-origin")).await, refused("access.csrf"));
    assert_eq!(status_and_code(forged().header("origin", "http://evil.example")).await, refused("origin.foreign"));
    assert_eq!(status_and_code(forged().header("host", "evil.example")).await, refused("host.unknown"));
    in_ledger(the_box, "installation", &["access.denied", &format!("user:{}", me.user), "access.csrf"]).await;
    for cause in ["origin.foreign", "host.unknown"] {
        in_ledger(the_box, "installation", &["access.denied", "stranger", cause]).await;
    }
    assert_eq!(code(the_box.client().get::<Value>("/v1/orgs/forged").await), "org.not_found", "nothing was made");
}

/// A link in the wrong hands.
async fn with_a_stolen_link(the_box: &TestBox, first: &Member<'_>) {
    let (web, api) = (first.link("web").await, first.link("api").await);
    let mut browser = Browser::at(&web.url).unwrap();
    browser.open(&web.url).await.unwrap();
    let elsewhere = Browser::at(&api.url).unwrap();
    assert_eq!(browser.with_host_of(&elsewhere).status("/api/notes").await.unwrap(), 401, "its session");
    let gateway = format!("http://{}/share/{}", the_box.gateway, web.token);
    let shown = stranger().post(&gateway).header("host", elsewhere.host()).send().await.unwrap();
    assert!(shown.status().is_client_error() && shown.headers().get("set-cookie").is_none(), "{shown:?}");
    let nothing = json!({});
    for token in [&web.token, browser.cookie().unwrap().split_once('=').map(|(_, value)| value).unwrap()] {
        let thief = client(the_box, token);
        assert_eq!(ask(&thief, "GET /v1/orgs/local/workspaces/main", &nothing).await, "access.unauthenticated");
    }
    let body = json!({ "service": "web", "visit_budget": 1 });
    let path = "/v1/orgs/local/workspaces/main/links";
    let once: envforge_api::http::links::CreatedLink = the_box.client().post(path, &body).await.unwrap();
    Browser::at(&once.url).unwrap().open(&once.url).await.unwrap();
    let again = Browser::at(&once.url).unwrap().open(&once.url).await.unwrap_err().to_string();
    assert!(again.contains("429") || again.contains("403"), "{again}");
    in_ledger(the_box, "orgs/local", &["link.refused", &once.link.id.to_string(), "link.visits_spent"]).await;
    the_box.client().delete::<Value>(&format!("/v1/orgs/local/links/{}", web.link.id)).await.unwrap();
    wait_until("its session is over", async || browser.status("/").await.unwrap() == 401).await;
    assert!(Browser::at(&web.url).unwrap().open(&web.url).await.is_err(), "and it opens no other");
    // What the gateway tells each second is summed up each minute, and when the server stops.
    let query = "/v1/orgs/local/ledger?verb=traffic.unverified";
    wait_until_within("the gateway's refusals are summed up", PATIENCE, async || {
        if let Ok(found) = the_box.client().get::<Value>(query).await {
            let found = found.to_string();
            if found.contains("wrong_host") && found.contains("revoked") {
                return true;
            }
            let server = the_box.children()["server"];
            crate::support::signal(server, rustix::process::Signal::TERM);
            the_box.successor("server", server).await;
        }
        false
    })
    .await;
}

/// A host of `globex` that speaks of a workspace that is not its own; a key and a token that are worth nothing any more.
async fn as_a_host(the_box: &TestBox, attacked: &Attacked) {
    let body = json!({ "name": "theirs" });
    let token: CreatedHostToken = the_box.client().post("/v1/orgs/globex/host-tokens", &body).await.unwrap();
    let nobody = on_socket(the_box, "efhk_nobody");
    let token = json!({ "token": token.token });
    let stale: Registered = nobody.post(REGISTER_PATH, &token).await.unwrap();
    let host: Registered = nobody.post(REGISTER_PATH, &token).await.unwrap();
    let workspace = attacked.workspace;
    let (services, generation) = (BTreeMap::from([("web".to_owned(), ["STRIPE_KEY".parse().unwrap()].into())]), 1);
    let secrets = AskSecrets { workspace, generation, services };
    let git = AskGitCredential { host_generation: 1, workspace, url: "https://git.example.org/a/b.git".to_owned() };
    let theirs = on_socket(the_box, &host.key);
    assert_eq!(code(on_socket(the_box, &stale.key).post::<_, Value>(SECRETS_PATH, &secrets).await), "host.key");
    assert_eq!(code(theirs.post::<_, Value>(SECRETS_PATH, &secrets).await), "secret.not_on_host");
    assert_eq!(code(theirs.post::<_, Value>(GIT_CREDENTIAL_PATH, &git).await), "workspace.not_found");
    assert_eq!(code(theirs.post::<_, Value>(envforge_api::gateway::EXCHANGE_PATH, &json!({})).await), "gateway.key");

    let socket = the_box.path().join("run/internal/server.sock");
    let mut request = format!("ws://host{STREAM_PATH}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", host.key).parse().unwrap());
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let (mut stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let machine = Machine { milli_cpu: 64_000, memory: 1 << 40, reductions: Vec::new(), elevation: true };
    let (at, generation) = (jiff::Timestamp::UNIX_EPOCH, 99);
    let report = Report {
        workspace,
        sequence: 1_000_000,
        generation,
        at,
        phase: ObservedPhase::Absent,
        process_runs: false,
        last_proof: None,
        trouble: None,
        parts: Vec::new(),
        manifest: None,
        jobs: Vec::new(),
    };
    let pulse =
        Pulse { workspace, generation, process_runs: true, service_milli_cpu: 9_000, memory: 1, jobs_running: 7 };
    for message in [
        FromHost::Hello { version: "0".to_owned(), machine },
        FromHost::Heartbeat { at, workspaces: vec![pulse] },
        FromHost::Report { report: Box::new(report) },
    ] {
        stream.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
    }
    let told = async {
        while let Some(Ok(message)) = stream.next().await {
            let text = message.to_text().unwrap_or_default();
            assert!(!text.contains("\"command\""), "another's command: {text}");
            if text.contains("acknowledge") {
                return;
            }
        }
        panic!("the stream was closed");
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    let spent = nobody.post::<_, Value>(REGISTER_PATH, &token).await;
    assert_eq!(code(spent), "host.token_invalid", "its token is spent");
    let actor = format!("host:{}", host.host);
    for verb in ["secret.refused", "git.credential_refused", "host.report_refused", "host.heartbeat_refused"] {
        in_ledger(the_box, "orgs/globex", &[verb, &actor]).await;
    }
    for cause in ["host.key", "host.token_invalid", "gateway.key"] {
        in_ledger(the_box, "installation", &["access.denied", "stranger", cause]).await;
    }
}

/// What a host was ordered once, and what another org's is ordered, sent to it.
async fn with_a_replayed_command(the_box: &TestBox, attacked: &Attacked) {
    let workspace = attacked.workspace.to_string().replace("ws_", "");
    let insert = |generation: u64, org: &str| {
        format!(
            "INSERT INTO host_commands (id, org_id, host_id, workspace_id, generation, verb, command, created_at) \
             SELECT id, org_id, host_id, workspace_id, {generation}, 'STOP_RUNTIME', \
             jsonb_build_object('id', 'cmd_' || replace(id::text, '-', ''), 'org', {org}, 'workspace', command->'workspace', \
             'generation', {generation}, 'order', jsonb_build_object('verb', 'STOP_RUNTIME')), now() FROM \
             (SELECT gen_random_uuid() AS id, org_id, host_id, workspace_id, command FROM host_commands \
             WHERE workspace_id = '{workspace}' LIMIT 1) AS old"
        )
    };
    the_box.psql(&insert(0, "command->>'org'"));
    in_ledger(the_box, "orgs/local", &["host.command_refused", "newer generation", "STOP_RUNTIME"]).await;
    the_box.psql(&insert(99, &format!("'org_{OF_NOBODY}'")));
    in_ledger(the_box, "orgs/local", &["host.command_refused", "another org", "STOP_RUNTIME"]).await;
}

/// A ledger's export that somebody changed.
async fn with_a_tampered_export(the_box: &TestBox) {
    let folder = the_box.scratch("exports");
    let export = async |org: &str| {
        let path = format!("/v1/orgs/{org}/ledger/export");
        the_box.client().stream(&path).await.unwrap().text().await.unwrap()
    };
    let (whole, other) = (export("local").await, export("globex").await);
    let state: Value = the_box.client().get("/v1/orgs/local/ledger/state").await.unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        changed.join("\n") + "\n"
    };
    let cases = [
        ("whole", whole.clone(), true),
        ("edited", whole.replacen("link.issued", "link.isssed", 1), false),
        ("cut", with(&|lines| drop(lines.remove(lines.len() - 2))), false),
        ("without its end", with(&|lines| drop(lines.pop())), false),
        ("spliced", with(&|lines| lines.insert(3, other.lines().nth(2).unwrap().to_owned())), false),
    ];
    for (name, text, is_good) in cases {
        let file = folder.join(name);
        fs_err::write(&file, text).unwrap();
        let key = state["key"]["key"].as_str().unwrap();
        let said = the_box.envforge(&folder, &["ledger", "verify", file.to_str().unwrap(), "--key", key]).await;
        let text = String::from_utf8_lossy(&said.stdout);
        let begins = if is_good { "verified: " } else { "does not verify: line " };
        assert!(text.starts_with(begins), "{name}: {said:?}");
        assert_eq!(said.status.code(), Some(i32::from(!is_good)), "{name}");
    }
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attack_is_refused_and_in_the_ledger() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let first = Member { the_box: &the_box, slug: "main".to_owned() };
    first.workspace(&repository, "main").await;
    first.wake().await;
    let owner = the_box.client();
    let _: Org = owner.post("/v1/orgs", &json!({ "slug": "globex" })).await.unwrap();
    let secret = json!({ "name": "STRIPE_KEY", "value": "planted-secret-worth-stealing" });
    let secret: SecretInfo = owner.post("/v1/orgs/local/secrets", &secret).await.unwrap();
    let invited: CreatedInvitation =
        owner.post("/v1/orgs/local/invitations", &json!({ "role": "reviewer" })).await.unwrap();
    first.all_ready().await;
    let attacked = Attacked {
        workspace: first.show().await.unwrap().id,
        secret: secret.id.to_string(),
        link: first.link("web").await.link.id.to_string(),
        invitation: invited.invitation.id.to_string(),
        owner: owner.get::<Me>("/v1/me").await.unwrap().user.to_string(),
    };
    let before = estate(&the_box).await;
    over_the_api(&the_box, &attacked).await;
    from_another_page(&the_box).await;
    as_a_host(&the_box, &attacked).await;
    with_a_replayed_command(&the_box, &attacked).await;
    with_a_stolen_link(&the_box, &first).await;
    with_a_tampered_export(&the_box).await;
    first.all_ready().await;
    assert_eq!(estate(&the_box).await, before, "nothing of it changed");
}

//! Every endpoint × {nobody, expired, limited key, other org, member without the role, member with it}.
//!
//! Made from the API's own document: it names each endpoint's action in its security requirement, and the bodies are
//! made from its schemas. An endpoint that names none where it must fails the test.

use crate::contract::{Contract, Endpoint, Needs};
use crate::support::{TestServer, code, raw};
use envforge_api::http::accounts::{ApiKeys, CreatedApiKey, Me};
use envforge_core::access::{Role, allows};
use envforge_core::clock::Clock as _;
use reqwest::Method;
use serde_json::json;

async fn call(server: &TestServer, key: Option<&str>, endpoint: &Endpoint) -> (u16, String) {
    let url = format!("http://{}{}", server.server.local_addr, endpoint.example_path("acme"));
    let client = raw();
    let mut request = client.request(Method::from_bytes(endpoint.method.as_bytes()).unwrap(), url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if let Some(body) = &endpoint.body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    // An endless answer has said enough with its head.
    if status < 300 {
        return (status, String::new());
    }
    let text = response.text().await.unwrap();
    let code = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|body| Some(body["error"]["code"].as_str()?.to_owned()));
    (status, code.unwrap_or_default())
}

struct Callers {
    expired: String,
    /// Of an owner, limited to a scope no endpoint asks for but one.
    limited: String,
    stranger: String,
    members: Vec<(Role, String)>,
    operator: String,
}

impl Callers {
    async fn new(server: &TestServer) -> Self {
        let key = |client: &envforge_api::client::Client| client.key().unwrap().expose().to_owned();
        let owner = server.member("acme", Role::Owner).await;
        let soon = server.clock.now() + jiff::SignedDuration::from_secs(60);
        let made = async |body| owner.post::<_, CreatedApiKey>("/v1/api-keys", &body).await.unwrap().value;
        let expired = made(json!({ "name": "short", "expires_at": soon })).await;
        let limited = made(json!({ "name": "limited", "scopes": ["host.manage"] })).await;
        server.advance(61);
        let mut members = Vec::new();
        for role in Role::ALL {
            members.push((role, key(&server.member("acme", role).await)));
        }
        let stranger = key(&server.member("rival", Role::Owner).await);
        Self { expired, limited, stranger, members, operator: key(&server.owner) }
    }
}

// proves ORG-2
#[tokio::test]
async fn every_endpoint_asks_who_is_calling() {
    let server = TestServer::start().await;
    let callers = Callers::new(&server).await;
    for endpoint in &Contract::read().endpoints {
        let name = format!("{} {}", endpoint.method, endpoint.path);
        let (status, code) = call(&server, None, endpoint).await;
        let Needs::Caller(right) = &endpoint.needs else {
            assert!(![401, 403, 500].contains(&status), "{name} is for everyone, and answered {status} {code}");
            continue;
        };
        assert_eq!((status, code.as_str()), (401, "access.unauthenticated"), "nobody: {name}");
        let (status, _) = call(&server, Some("efk_wrong"), endpoint).await;
        assert_eq!(status, 401, "a wrong key: {name}");
        let (status, code) = call(&server, Some(&callers.expired), endpoint).await;
        assert_eq!((status, code.as_str()), (401, "access.expired"), "an expired key: {name}");
        right.check(&name, async |who| call(&server, Some(who), endpoint).await, &callers).await;
    }
}

impl crate::contract::Right {
    async fn check(&self, name: &str, call: impl AsyncFn(&str) -> (u16, String), callers: &Callers) {
        let passed = |who: &str, (status, code): (u16, String)| {
            assert!(
                ![401, 403, 500].contains(&status) && code != "org.not_found",
                "{who}: {name} answered {status} {code}"
            );
        };
        match self {
            Self::SignedIn => {}
            Self::Operator => {
                let (status, code) = call(&callers.members[0].1).await;
                assert_eq!((status, code.as_str()), (403, "access.operator_only"), "an org's owner: {name}");
                passed("operator", call(&callers.operator).await);
            }
            Self::Member(action) => {
                let (status, code) = call(&callers.stranger).await;
                assert_eq!((status, code.as_str()), (404, "org.not_found"), "another org: {name}");
                let answer = call(&callers.limited).await;
                if action.code() == "host.manage" {
                    passed("a key limited to it", answer);
                } else {
                    assert_eq!((answer.0, answer.1.as_str()), (403, "access.scope"), "a key limited to others: {name}");
                }
                for (role, key) in &callers.members {
                    let answer = call(key).await;
                    if allows(*role, *action) {
                        passed(role.as_str(), answer);
                    } else {
                        assert_eq!((answer.0, answer.1.as_str()), (403, "access.denied"), "{role}: {name}");
                    }
                }
            }
        }
    }
}

// proves ORG-2
#[tokio::test]
async fn a_limited_key_makes_no_wider_one() {
    let server = TestServer::start().await;
    let request = json!({ "name": "limited", "scopes": ["read", "link.issue"] });
    let limited: CreatedApiKey = server.owner.post("/v1/api-keys", &request).await.unwrap();
    let limited = server.with_key(&limited.value);
    assert_eq!(limited.get::<Me>("/v1/me").await.unwrap().scopes, ["read", "link.issue"]);
    let wider = limited.post::<_, CreatedApiKey>("/v1/api-keys", &json!({ "name": "wider" })).await;
    assert_eq!(code(wider), "access.scope");
    let unknown = json!({ "name": "unknown", "scopes": ["everything"] });
    assert_eq!(code(server.owner.post::<_, CreatedApiKey>("/v1/api-keys", &unknown).await), "api_key.scope");
    let past = json!({ "name": "past", "expires_at": server.clock.now() });
    assert_eq!(code(server.owner.post::<_, CreatedApiKey>("/v1/api-keys", &past).await), "api_key.expiry");
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let server = TestServer::start().await;
    let url = format!("http://{}/v1/health", server.server.local_addr);
    let client = raw();
    let rebound = client.get(&url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
    let foreign = client.get(&url).header("origin", "http://web--main--acme.localhost:7081").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
}

// proves ORG-2
#[tokio::test]
async fn a_key_works_until_its_own_user_revokes_it() {
    let server = TestServer::start().await;
    let (mine, other) = (server.member("acme", Role::Developer).await, server.member("acme", Role::Owner).await);
    let made: CreatedApiKey = mine.post("/v1/api-keys", &serde_json::json!({ "name": "laptop" })).await.unwrap();
    let listed = async || {
        let keys: ApiKeys = mine.get("/v1/api-keys").await.unwrap();
        keys.api_keys.into_iter().find(|key| key.id == made.id)
    };
    assert_eq!(listed().await.unwrap().last_used_at, None);
    let laptop = server.with_key(&made.value);
    laptop.get::<Me>("/v1/me").await.unwrap();
    let used = server.clock.now();
    assert_eq!(listed().await.unwrap().last_used_at, Some(used));
    server.advance(59);
    laptop.get::<Me>("/v1/me").await.unwrap();
    assert_eq!(listed().await.unwrap().last_used_at, Some(used), "noted at most once a minute");
    server.advance(2);
    laptop.get::<Me>("/v1/me").await.unwrap();
    assert_eq!(listed().await.unwrap().last_used_at, Some(server.clock.now()));
    let path = format!("/v1/api-keys/{}", made.id);
    assert_eq!(code(other.delete::<serde_json::Value>(&path).await), "api_key.not_found", "not even by an owner");
    laptop.get::<Me>("/v1/me").await.unwrap();
    mine.delete::<serde_json::Value>(&path).await.unwrap();
    assert_eq!(code(laptop.get::<Me>("/v1/me").await), "access.unauthenticated");
    assert!(listed().await.is_none());
}

//! Every endpoint × {nobody, other org, member without the role, member with it}.
//!
//! The list of endpoints is the API's own document; one that is missing in the table below fails the test.

use crate::support::{TestServer, code, raw};
use envforge_api::http::accounts::{ApiKeys, CreatedApiKey, Me};
use envforge_core::access::{Action, Role, allows};
use envforge_core::clock::Clock as _;
use reqwest::Method;

/// Endpoint, and the action it asks the permission table for; `None` needs no org.
const TABLE: &[(&str, &str, Option<Action>)] = &[
    ("GET", "/v1/health", None),
    ("GET", "/v1/me", None),
    ("GET", "/v1/api-keys", None),
    ("POST", "/v1/api-keys", None),
    ("DELETE", "/v1/api-keys/{key}", None),
    ("GET", "/v1/orgs/{org}/hosts", Some(Action::View)),
    ("POST", "/v1/orgs/{org}/host-tokens", Some(Action::ManageHosts)),
    ("GET", "/v1/orgs/{org}/projects", Some(Action::View)),
    ("POST", "/v1/orgs/{org}/projects", Some(Action::CreateProject)),
    ("GET", "/v1/orgs/{org}/workspaces", Some(Action::View)),
    ("POST", "/v1/orgs/{org}/workspaces", Some(Action::CreateWorkspace)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}", Some(Action::View)),
    ("DELETE", "/v1/orgs/{org}/workspaces/{workspace}", Some(Action::DeleteWorkspace)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/events", Some(Action::View)),
    ("POST", "/v1/orgs/{org}/workspaces/{workspace}/wake", Some(Action::Wake)),
    ("POST", "/v1/orgs/{org}/workspaces/{workspace}/sleep", Some(Action::Sleep)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/usage", Some(Action::ViewUsage)),
    ("PUT", "/v1/orgs/{org}/workspaces/{workspace}/cap", Some(Action::SetCaps)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/links", Some(Action::View)),
    ("POST", "/v1/orgs/{org}/workspaces/{workspace}/links", Some(Action::IssueLink)),
    ("DELETE", "/v1/orgs/{org}/links/{link}", Some(Action::IssueLink)),
    ("POST", "/v1/orgs/{org}/workspaces/{workspace}/runs", Some(Action::Run)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}", Some(Action::View)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}/logs", Some(Action::ReadLogs)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/logs/{service}", Some(Action::ReadLogs)),
    ("GET", "/v1/orgs/{org}/workspaces/{workspace}/terminal", Some(Action::Attach)),
    ("GET", "/v1/orgs/{org}/ledger", Some(Action::ReadLedger)),
];

fn body(method: &str, path: &str) -> Option<serde_json::Value> {
    use serde_json::json;
    Some(match (method, path.rsplit('/').next()?) {
        ("POST", "api-keys") => json!({ "name": "x" }),
        ("POST", "host-tokens") => json!({ "name": "another" }),
        ("POST", "projects") => json!({ "slug": "p", "repository": "https://example.org/p.git" }),
        ("POST", "workspaces") => json!({ "project": "nothing", "branch": "main" }),
        ("POST", "wake" | "sleep") => json!({}),
        ("PUT", "cap") => json!({ "cap": { "mode": "none", "minutes": 0 } }),
        ("POST", "links") => json!({ "service": "web" }),
        ("POST", "runs") => json!({ "argv": ["true"] }),
        _ => return None,
    })
}

async fn call(server: &TestServer, key: Option<&str>, method: &str, path: &str) -> (u16, String) {
    let id = "0".repeat(32);
    let path = path
        .replace("{org}", "acme")
        .replace("{workspace}", "nowhere")
        .replace("{key}", &format!("key_{id}"))
        .replace("{link}", &format!("link_{id}"))
        .replace("{run}", &format!("job_{id}"))
        .replace("{service}", "web");
    let url = format!("http://{}{path}", server.server.local_addr);
    let client = raw();
    let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if let Some(body) = body(method, &path) {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let code = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|body| Some(body["error"]["code"].as_str()?.to_owned()));
    (status, code.unwrap_or_default())
}

#[test]
fn the_table_is_the_api() {
    let document = serde_json::to_value(envforge_server::openapi_document()).unwrap();
    let mut served: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            served.push((method.to_uppercase(), path.clone()));
        }
    }
    let mut listed: Vec<(String, String)> =
        TABLE.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    served.sort();
    listed.sort();
    assert_eq!(served, listed, "an endpoint and its row in the access test belong together");
}

// proves ORG-2
#[tokio::test]
async fn every_endpoint_asks_who_is_calling() {
    let server = TestServer::start().await;
    let stranger = server.member("rival", Role::Owner).await.key().unwrap().expose().to_owned();
    let mut members = Vec::new();
    for role in Role::ALL {
        members.push((role, server.member("acme", role).await.key().unwrap().expose().to_owned()));
    }
    for (method, path, action) in TABLE {
        let (status, code) = call(&server, None, method, path).await;
        if *path == "/v1/health" {
            assert_eq!(status, 200, "health is for everyone");
            continue;
        }
        assert_eq!((status, code.as_str()), (401, "access.unauthenticated"), "nobody: {method} {path}");
        let (status, _) = call(&server, Some("efk_wrong"), method, path).await;
        assert_eq!(status, 401, "a wrong key: {method} {path}");
        let Some(action) = action else { continue };
        let (status, code) = call(&server, Some(&stranger), method, path).await;
        assert_eq!((status, code.as_str()), (404, "org.not_found"), "another org: {method} {path}");
        for (role, key) in &members {
            let (status, code) = call(&server, Some(key), method, path).await;
            if allows(*role, *action) {
                assert!(
                    ![401, 403, 500].contains(&status) && code != "org.not_found",
                    "{role}: {method} {path} answered {status} {code}"
                );
            } else {
                assert_eq!((status, code.as_str()), (403, "access.denied"), "{role}: {method} {path}");
            }
        }
    }
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

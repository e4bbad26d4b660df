//! What a session can and can't do, and when it ends.

use super::Browser;
use crate::support::TestServer;
use envforge_api::http::accounts::Me;
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::access::Role;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

// proves LINK-10 ORG-1
#[tokio::test]
async fn a_cookie_changes_nothing_for_pages_from_elsewhere() {
    let server = TestServer::start().await;
    let browser = Browser::with_key(&server, server.owner.key().unwrap().expose()).await;
    let change = |headers: &[(&str, &str)]| {
        let mut request = browser.request(Method::POST, "/v1/api-keys").json(&json!({ "name": "x" }));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async { request.send().await.unwrap().status().as_u16() }
    };
    let (ours, csrf) = (("origin", "http://127.0.0.1:7080"), ("x-envforge-csrf", "1"));
    assert_eq!(change(&[]).await, 403);
    assert_eq!(change(&[ours]).await, 403, "the header is missing");
    assert_eq!(change(&[csrf]).await, 403, "nothing says who sent it");
    assert_eq!(change(&[("origin", "http://web--main--acme.localhost:7081"), csrf]).await, 403);
    assert_eq!(change(&[("sec-fetch-site", "same-site"), csrf]).await, 403);
    assert_eq!(change(&[("sec-fetch-site", "cross-site"), ours, csrf]).await, 403);
    assert_eq!(change(&[ours, csrf]).await, 201);
    assert_eq!(change(&[("sec-fetch-site", "same-origin"), csrf]).await, 201);
    // A WebSocket is no reading.
    let socket = |origin: Option<&str>| {
        let mut request = browser.request(Method::GET, "/v1/orgs/acme/workspaces/main/terminal");
        request = request.header("connection", "upgrade").header("upgrade", "websocket");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(socket(None).await, 403);
    assert_eq!(socket(Some("http://web--main--acme.localhost:7081")).await, 403);
    assert_eq!(socket(Some("http://127.0.0.1:7080")).await, 404, "no such workspace, but who asks may");
    // Forms need the session's own token, and sign nobody in from elsewhere.
    let mut browser = browser;
    let page = browser.post("/sign-out", &[("form_token", "wrong")]).await;
    assert_eq!((page.status, page.code()), (403, "access.csrf"));
    let foreign = browser.request(Method::POST, "/sign-in/key").header("sec-fetch-site", "cross-site");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded").body("key=efk_x");
    assert_eq!(browser.send(foreign).await.code(), "access.csrf");
    let card = browser.get("/sign-out").await;
    assert_eq!(browser.post("/sign-out", &[("form_token", card.field("form_token"))]).await.status, 303);
    assert!(browser.api::<Me>("/v1/me").await.is_none());
}

// proves ORG-1
#[tokio::test]
async fn a_revoked_session_ends_with_its_streams() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let key = server.owner.key().unwrap().expose().to_owned();
    let events = format!("/v1/orgs/acme/workspaces/{}/events", workspace.slug);
    let (watching, other) = (Browser::with_key(&server, &key).await, Browser::with_key(&server, &key).await);
    let open = async |browser: &Browser<'_>| {
        let response = browser.request(Method::GET, &events).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = response.bytes_stream();
        stream.next().await.unwrap().unwrap();
        stream
    };
    let (mut ended, mut kept) = (open(&watching).await, open(&other).await);
    let id = watching.api::<LoginSessions>("/v1/sessions").await.unwrap();
    let id = id.sessions.into_iter().find(|it| it.is_current).unwrap().id;
    server.owner.delete::<Value>(&format!("/v1/sessions/{id}")).await.unwrap();
    assert!(watching.api::<Me>("/v1/me").await.is_none());
    let rest = tokio::time::timeout(std::time::Duration::from_secs(2), async { while ended.next().await.is_some() {} });
    rest.await.expect("the stream ends within two seconds");
    assert!(futures_util::poll!(kept.next()).is_pending(), "the other session's goes on");
    assert!(other.api::<Me>("/v1/me").await.is_some());
    // A stranger can't, and the key's end is the session's.
    let stranger = server.member("rival", Role::Owner).await;
    assert!(stranger.delete::<Value>(&format!("/v1/sessions/{id}")).await.is_err());
    let made: envforge_api::http::accounts::CreatedApiKey =
        server.owner.post("/v1/api-keys", &json!({ "name": "browser" })).await.unwrap();
    let by_key = Browser::with_key(&server, &made.value).await;
    server.owner.delete::<Value>(&format!("/v1/api-keys/{}", made.id)).await.unwrap();
    assert!(by_key.api::<Me>("/v1/me").await.is_none());
}

// proves ORG-1
#[tokio::test]
async fn a_session_ends_idle_and_old() {
    let server = TestServer::start().await;
    let key = server.owner.key().unwrap().expose().to_owned();
    let day = 86_400;
    let idle = Browser::with_key(&server, &key).await;
    server.advance(14 * day);
    assert!(idle.api::<Me>("/v1/me").await.is_none(), "two weeks unused");
    let used = Browser::with_key(&server, &key).await;
    for _ in 0..9 {
        server.advance(10 * day - 1);
        assert!(used.api::<Me>("/v1/me").await.is_some());
    }
    server.advance(9);
    assert!(used.api::<Me>("/v1/me").await.is_none(), "90 days old");
    server.advance(2 * day);
    envforge_server::sessions::jobs::round(server.server.app()).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM login_sessions")
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(left, 0, "forgotten");
}

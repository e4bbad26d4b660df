//! People: of another org, with less than it takes, with a key that is over, on a page from elsewhere, after they left.

use super::{Attacked, Attacker, OF_NOBODY, World, ask, client, code, each_refused, status_and_code, stranger};
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::http::elevations::Elevation;
use envforge_testkit::{Shell, wait_until};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Another's org, its ids below one's own, more than one's own role.
pub(super) async fn over_the_api(world: &World) {
    let (admin, developer) = (world.member("admin").await, world.member("developer").await);
    in_the_others_org(world, &developer).await;
    with_the_others_ids(world, &admin, &developer).await;
    beyond_ones_role(world, &developer).await;
    in_a_restricted_project(world, &developer).await;
}

async fn in_the_others_org(world: &World, developer: &Attacker) {
    let Attacked { link, elevation, run, .. } = &world.attacked;
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
        (&format!("GET /workspaces/main/runs/{run}"), nothing.clone()),
        (&format!("GET /workspaces/main/runs/{run}/logs"), nothing.clone()),
        (&format!("DELETE /links/{link}"), nothing.clone()),
        (&format!("POST /elevations/{elevation}/approve"), nothing.clone()),
        (&format!("GET /elevations/{elevation}/recording"), nothing.clone()),
        (&format!("PUT /members/{}", developer.id), json!({ "role": "owner" })),
    ];
    each_refused(&developer.client, "/v1/orgs/local", "org.not_found", of_b).await;
    world.noted("installation", &["access.denied", &developer.actor, "org.not_found"]);
}

/// The other's ids below an org of one's own, where one may do everything; and ids that were made up.
async fn with_the_others_ids(world: &World, admin: &Attacker, developer: &Attacker) {
    let Attacked { secret, link, invitation, owner, elevation, run, .. } = &world.attacked;
    let nothing = json!({});
    for (what, body, wanted) in [
        (format!("DELETE /links/{link}"), nothing.clone(), "link.not_found"),
        (format!("DELETE /links/link_{OF_NOBODY}"), nothing.clone(), "link.not_found"),
        (format!("DELETE /secrets/{secret}"), nothing.clone(), "secret.not_found"),
        (format!("GET /secrets/{secret}/versions"), nothing.clone(), "secret.not_found"),
        (format!("POST /secrets/{secret}/restore"), json!({ "version": 1 }), "secret.not_found"),
        (format!("DELETE /invitations/{invitation}"), nothing.clone(), "invitation.not_found"),
        (format!("PUT /members/{owner}"), json!({ "role": "billing" }), "member.above_you"),
        (format!("DELETE /members/user_{OF_NOBODY}"), nothing.clone(), "member.not_found"),
        (format!("POST /elevations/{elevation}/approve"), nothing.clone(), "elevation.not_found"),
        (format!("POST /elevations/{elevation}/revoke"), nothing.clone(), "elevation.not_found"),
        (format!("GET /elevations/{elevation}/recording"), nothing.clone(), "elevation.not_found"),
        (format!("POST /elevations/elv_{OF_NOBODY}/approve"), nothing.clone(), "elevation.not_found"),
        (format!("GET /workspaces/main/runs/{run}"), nothing.clone(), "run.not_found"),
        (format!("GET /workspaces/main/runs/{run}/logs"), nothing.clone(), "run.not_found"),
        (format!("GET /workspaces/main/runs/job_{OF_NOBODY}"), nothing.clone(), "run.not_found"),
    ] {
        let what = what.replacen(' ', " /v1/orgs/globex", 1);
        assert_eq!(ask(&admin.client, &what, &body).await, wanted, "{what}");
    }
    assert_eq!(terminal(world, &developer.key, elevation).await, "elevation.not_found");
    for cause in ["link", "secret", "invitation", "member", "elevation", "run"] {
        world.noted("orgs/globex", &["access.denied", &admin.actor, &format!("{cause}.not_found")]);
    }
    world.noted("orgs/globex", &["access.denied", &admin.actor, "member.above_you"]);
    world.noted("orgs/globex", &["access.denied", &developer.actor, "elevation.not_found"]);
}

async fn beyond_ones_role(world: &World, developer: &Attacker) {
    let nothing = json!({});
    let more = [
        ("PUT /root-policy", json!({ "policy": { "mode": "workspace", "max_minutes": 60 } })),
        ("POST /invitations", json!({ "role": "admin" })),
        ("POST /host-tokens", json!({ "name": "mine" })),
        ("GET /settings", nothing.clone()),
        ("GET /ledger", nothing.clone()),
        ("POST /secrets", json!({ "name": "MINE", "value": "x" })),
        (&format!("PUT /members/{}", developer.id), json!({ "role": "admin" })),
        (&format!("POST /elevations/elv_{OF_NOBODY}/approve"), nothing.clone()),
    ];
    each_refused(&developer.client, "/v1/orgs/globex", "access.denied", more).await;
    for cause in ["as developer: root_policy.set", "as developer: elevation.approve", "as developer: member.manage"] {
        world.noted("orgs/globex", &["access.denied", &developer.actor, cause]);
    }
    let operator = [
        ("GET /operator/settings", nothing.clone()),
        ("POST /operator/data-key/rotate", nothing.clone()),
        ("GET /operator/jobs", nothing.clone()),
        ("GET /installation/ledger/export", nothing.clone()),
    ];
    each_refused(&developer.client, "/v1", "access.operator_only", operator).await;
    world.noted("installation", &["access.denied", &developer.actor, "access.operator_only"]);
}

/// A project of one's own org that only others see: what is in it is like what does not exist.
async fn in_a_restricted_project(world: &World, developer: &Attacker) {
    let access = "/v1/orgs/globex/projects/notes/access";
    let restricted = json!({ "is_restricted": true, "groups": [] });
    let _: Value = world.owner().put(access, &restricted).await.unwrap();
    let hidden = [
        ("GET ", json!({})),
        ("GET /events", json!({})),
        ("POST /wake", json!({})),
        ("POST /elevations", json!({ "reason": "because" })),
        (&format!("GET /runs/job_{OF_NOBODY}"), json!({})),
    ];
    each_refused(&developer.client, "/v1/orgs/globex/workspaces/main", "workspace.not_found", hidden).await;
    assert_eq!(code(developer.client.get::<Value>(access).await), "project.not_found");
    world.noted("orgs/globex", &["access.denied", &developer.actor, "workspace.not_found"]);
    let _: Value = world.owner().put(access, &json!({ "is_restricted": false })).await.unwrap();
}

/// The code with which a root terminal is refused.
async fn terminal(world: &World, key: &str, elevation: &str) -> String {
    let address = world.the_box.listen;
    let url = format!("ws://{address}/v1/orgs/globex/elevations/{elevation}/terminal?cols=80&rows=24");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok(_) => "it was allowed".to_owned(),
        Err(WsError::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
            body["error"]["code"].as_str().unwrap_or_default().to_owned()
        }
        Err(error) => panic!("{error}"),
    }
}

/// Root by one's own approval, and by another's elevation.
pub(super) async fn with_root(world: &World) {
    let (admin, developer) = (world.member("admin").await, world.member("developer").await);
    let policy = json!({ "policy": { "mode": "break_glass", "max_minutes": 60 } });
    let _: Value = world.owner().put("/v1/orgs/globex/root-policy", &policy).await.unwrap();
    let reason = json!({ "reason": "because" });
    let asked: Elevation = admin.client.post("/v1/orgs/globex/workspaces/main/elevations", &reason).await.unwrap();
    let at = |verb: &str| format!("POST /v1/orgs/globex/elevations/{}/{verb}", asked.id);
    assert_eq!(ask(&admin.client, &at("approve"), &json!({})).await, "elevation.own_request");
    // Another key is not another person.
    let more: CreatedApiKey = admin.client.post("/v1/api-keys", &json!({ "name": "another me" })).await.unwrap();
    assert_eq!(ask(&client(&world.the_box, &more.value), &at("approve"), &json!({})).await, "elevation.own_request");
    world.noted("orgs/globex", &["access.denied", &admin.actor, "elevation.own_request"]);
    assert_eq!(terminal(world, &admin.key, &asked.id.to_string()).await, "elevation.not_approved");
    assert_eq!(ask(&developer.client, &at("approve"), &json!({})).await, "access.denied");
    assert_eq!(ask(&world.owner(), &at("approve"), &json!({})).await, "it was allowed");
    assert_eq!(terminal(world, &developer.key, &asked.id.to_string()).await, "elevation.not_requester");
    world.noted("orgs/globex", &["access.denied", &developer.actor, "elevation.not_requester"]);
    assert_eq!(ask(&world.owner(), &at("revoke"), &json!({})).await, "it was allowed");
    assert_eq!(terminal(world, &admin.key, &asked.id.to_string()).await, "elevation.over");
}

/// Keys that are limited, over, or taken back; and an invitation that was guessed.
pub(super) async fn with_worn_keys(world: &World) {
    let Attacker { client: developer, actor, .. } = world.member("developer").await;
    let nothing = json!({});
    let limited = json!({ "name": "limited", "scopes": ["read"] });
    let limited: CreatedApiKey = developer.post("/v1/api-keys", &limited).await.unwrap();
    let reader = client(&world.the_box, &limited.value);
    let project = json!({ "slug": "p", "repository": "https://git.example.org/a/b.git" });
    assert_eq!(ask(&reader, "POST /v1/orgs/globex/projects", &project).await, "access.scope");
    assert_eq!(ask(&reader, "POST /v1/api-keys", &json!({ "name": "wider" })).await, "access.scope");
    world.noted("orgs/globex", &[&actor, "a limited API key: project.create"]);
    world.noted("installation", &["access.denied", &actor, "access.scope"]);
    let _ = developer.delete::<Value>(&format!("/v1/api-keys/{}", limited.id)).await;
    wait_until("the key is taken back", async || {
        ask(&reader, "GET /v1/me", &nothing).await == "access.unauthenticated"
    })
    .await;
    world.noted("installation", &["access.denied", "stranger", "access.unauthenticated"]);
    let made: CreatedApiKey = developer.post("/v1/api-keys", &json!({ "name": "short" })).await.unwrap();
    world.the_box.psql("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE name = 'short'");
    let over = client(&world.the_box, &made.value);
    assert_eq!(ask(&over, "GET /v1/me", &nothing).await, "access.expired");
    world.noted("installation", &["access.denied", "stranger", "access.expired"]);
    let guess = json!({ "token": format!("efi_{}", "a".repeat(43)), "name": "somebody" });
    assert_eq!(ask(&developer, "POST /v1/invitations/accept", &guess).await, "invitation.not_valid");
    world.noted("installation", &["access.denied", &actor, "invitation.not_valid"]);
}

/// A page from elsewhere, with the session of somebody who is signed in; a name that leads here; a session that ended.
pub(super) async fn from_another_page(world: &World) {
    let token = format!("efs_{}", "s".repeat(43));
    let user = &world.attacked.owner;
    let (id, digest) = (user.replace("user_", ""), envforge_core::token::digest(&token));
    world.the_box.psql(&format!(
        "INSERT INTO login_sessions (id, user_id, digest, method, user_agent, created_at, last_seen_at, expires_at) \
         VALUES (gen_random_uuid(), '{id}', '{digest}', 'mail', 'a browser', now(), now(), now() + interval '1 hour')"
    ));
    let cookie = format!("{}={token}", envforge_server::sessions::cookie_name("http://box"));
    let at = |path: &str| format!("http://{}{path}", world.the_box.listen);
    let forged = || stranger().post(at("/v1/orgs")).header("cookie", &cookie).json(&json!({ "slug": "forged" }));
    let refused = |code: &str| (403, code.to_owned());
    assert_eq!(status_and_code(forged().header("sec-fetch-site", "cross-site")).await, refused("access.csrf"));
    assert_eq!(status_and_code(forged().header("sec-fetch-site", "same-origin")).await, refused("access.csrf"));
    assert_eq!(status_and_code(forged().header("origin", "http://evil.example")).await, refused("origin.foreign"));
    assert_eq!(status_and_code(forged().header("host", "evil.example")).await, refused("host.unknown"));
    world.noted("installation", &["access.denied", &format!("user:{user}"), "access.csrf"]);
    for cause in ["origin.foreign", "host.unknown"] {
        world.noted("installation", &["access.denied", "stranger", cause]);
    }
    assert_eq!(code(world.owner().get::<Value>("/v1/orgs/forged").await), "org.not_found", "nothing was made");
    let me = || status_and_code(stranger().get(at("/v1/me")).header("cookie", &cookie));
    assert_eq!(me().await.0, 200, "reading is nothing that a page from elsewhere sees");
    world.the_box.psql("UPDATE login_sessions SET revoked_at = now()");
    assert_eq!(me().await, (401, "access.unauthenticated".to_owned()));
}

/// A member who is removed while a terminal is open.
pub(super) async fn after_being_removed(world: &World) {
    let leaver = world.member("developer").await;
    let server = format!("http://{}", world.the_box.listen);
    let mut shell = Shell::attach(&server, &leaver.key, "globex", "main").await.unwrap();
    shell.send("typed").await.unwrap();
    shell.expect("typed").await.unwrap();
    let begun = Instant::now();
    world.owner().delete::<Value>(&format!("/v1/orgs/globex/members/{}", leaver.id)).await.unwrap();
    let said = shell.expect("never").await.unwrap_err().to_string();
    assert!(said.contains("may not") && begun.elapsed() < Duration::from_secs(2), "{said} {:?}", begun.elapsed());
    let again = Shell::attach(&server, &leaver.key, "globex", "main").await.unwrap_err();
    assert!(format!("{again:#}").contains("404"), "{again:#}");
    assert_eq!(code(leaver.client.get::<Value>("/v1/orgs/globex").await), "org.not_found");
    world.noted("orgs/globex", &["member.removed", &leaver.id]);
    world.noted("installation", &["access.denied", &leaver.actor, "org.not_found"]);
}

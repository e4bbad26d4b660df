//! Settings: sealed, versioned, compared, restored, and never shown where they are secret.

use crate::support::{TestServer, code};
use envforge_api::client::Client;
use envforge_api::http::settings::{Setting, SettingVersions, Settings};
use envforge_core::access::Role;
use envforge_core::setting::Setting as Name;
use envforge_server::settings::ops;
use serde_json::{Value, json};

const PLANTED: &str = "planted-secret-password";

fn mail() -> Value {
    json!({ "host": "mx.example.org", "port": 465, "encryption": "tls", "username": "me", "password": PLANTED,
        "from": "e@example.org" })
}

async fn put(client: &Client, path: &str, values: Value) -> Setting {
    client.put(path, &json!({ "values": values, "reason": "a test" })).await.unwrap()
}

// proves ORG-9
#[tokio::test]
async fn every_change_is_a_version_that_can_be_compared_and_restored() {
    let server = TestServer::start().await;
    let path = "/v1/operator/settings/mail";
    put(&server.owner, path, mail()).await;
    let second = put(&server.owner, path, json!({ "port": 587, "password": "another one" })).await;
    assert_eq!(second.summary.version, 2);
    let again = put(&server.owner, path, json!({ "port": 587 })).await;
    assert_eq!(again.summary.version, 2, "what changes nothing is no version");
    let restored: Setting = server
        .owner
        .post(&format!("{path}/restore"), &json!({ "version": 1, "reason": "the new one does not work" }))
        .await
        .unwrap();
    assert_eq!(restored.summary.version, 3);
    let history: SettingVersions = server.owner.get(&format!("{path}/versions")).await.unwrap();
    let told: Vec<_> = history
        .versions
        .iter()
        .map(|version| {
            let changes: Vec<_> =
                version.changes.iter().map(|change| format!("{} {}", change.field, change.change)).collect();
            (version.version, version.restored, changes.join(", "))
        })
        .collect();
    assert_eq!(
        told,
        [
            (3, Some(1), "password changed, port changed".to_owned()),
            (2, None, "password changed, port changed".to_owned()),
            (
                1,
                None,
                "encryption added, from added, host added, password added, port added, username added".to_owned()
            ),
        ]
    );
    let port = &history.versions[1].changes[1];
    assert_eq!((port.before.clone(), port.after.clone()), (Some(json!(465)), Some(json!(587))));
    let app = server.server.app();
    let mut tx = app.db.begin_installation().await.unwrap();
    let values = ops::in_force(app, &mut tx, &Name::find("mail", false).unwrap()).await.unwrap().unwrap();
    assert_eq!(values.secret("password").unwrap().expose(), PLANTED, "the restored version brought its secret back");
    drop(tx);
    server.owner.delete::<Setting>(path).await.unwrap();
    let mut tx = app.db.begin_installation().await.unwrap();
    assert!(ops::in_force(app, &mut tx, &Name::find("mail", false).unwrap()).await.unwrap().is_none());
}

// proves ORG-9
#[tokio::test]
async fn two_changes_of_one_version_don_t_both_win() {
    let server = TestServer::start().await;
    let path = "/v1/operator/settings/mail";
    put(&server.owner, path, mail()).await;
    let change = |port: u16| json!({ "values": { "port": port }, "from_version": 1, "reason": "a race" });
    let bodies: Vec<_> = (0..6).map(|n| change(1000 + n)).collect();
    let answers =
        futures_util::future::join_all(bodies.iter().map(|body| server.owner.put::<_, Setting>(path, body))).await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(code(answer), "setting.changed");
    }
    let missing_reason = json!({ "values": { "port": 1 }, "reason": " " });
    assert_eq!(code(server.owner.put::<_, Setting>(path, &missing_reason).await), "setting.reason");
}

// proves ORG-8
#[tokio::test]
async fn a_secret_field_is_in_no_answer_no_row_and_no_event() {
    let server = TestServer::start().await;
    let admin = server.member("acme", Role::Admin).await;
    let path = "/v1/orgs/acme/settings/connecteam";
    put(&admin, path, json!({ "api_key": PLANTED })).await;
    let mut seen = Vec::new();
    for path in [path.to_owned(), "/v1/orgs/acme/settings".to_owned(), format!("{path}/versions")] {
        seen.push(admin.get::<Value>(&path).await.unwrap().to_string());
    }
    seen.push(admin.get::<Value>("/v1/orgs/acme/ledger?limit=500").await.unwrap().to_string());
    let mut database = server.database_owner().await;
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT row_to_json(s)::text || encode(sealed, 'escape') FROM setting_versions s")
            .fetch_all(&mut database)
            .await
            .unwrap();
    seen.extend(rows);
    assert_eq!(seen.len(), 5);
    for text in seen {
        assert!(!text.contains(PLANTED), "{text}");
    }
}

// proves ORG-9
#[tokio::test]
async fn an_org_sees_its_own_settings_only() {
    let server = TestServer::start().await;
    let (acme, rival) = (server.member("acme", Role::Admin).await, server.member("rival", Role::Admin).await);
    put(&acme, "/v1/orgs/acme/settings/llm.main", json!({ "protocol": "openai", "api_key": "k" })).await;
    let theirs: Settings = rival.get("/v1/orgs/rival/settings").await.unwrap();
    assert!(theirs.settings.iter().all(|setting| !setting.is_set));
    let installation: Settings = server.owner.get("/v1/operator/settings").await.unwrap();
    assert!(installation.settings.iter().all(|setting| !setting.is_set));
    let mine: Settings = acme.get("/v1/orgs/acme/settings").await.unwrap();
    assert!(mine.settings.iter().any(|setting| setting.name == "llm.main" && setting.is_set));
}

// proves ORG-9
#[tokio::test]
async fn what_could_not_be_used_is_refused() {
    let server = TestServer::start().await;
    let oidc = json!({ "title": "T", "issuer": "https://idp.example.org", "client_id": "c", "sign_up": "invited" });
    let changed = |form: &Value, field: &str, value: Value| {
        let mut form = form.clone();
        form[field] = value;
        json!({ "values": form, "reason": "a test" })
    };
    for (name, body) in [
        ("mail", changed(&mail(), "encryption", json!("none"))),
        ("mail", changed(&mail(), "username", Value::Null)),
        ("mail", changed(&mail(), "from", json!("EnvForge"))),
        ("oidc.test", changed(&oidc, "sign_up", json!("anyone"))),
        ("oidc.test", changed(&oidc, "orgs", json!("org_1=acme"))),
        ("oidc.test", changed(&oidc, "issuer", json!("https://[x"))),
    ] {
        let refused = server.owner.put::<_, Setting>(&format!("/v1/operator/settings/{name}"), &body).await;
        assert_eq!(code(refused), "setting.value", "{body}");
    }
    let settings: Settings = server.owner.get("/v1/operator/settings").await.unwrap();
    assert!(settings.settings.iter().all(|setting| !setting.is_set));
}

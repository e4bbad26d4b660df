//! Machines are signed in by somebody with a browser, elsewhere or on the same machine.

use crate::sign_in::Browser;
use crate::support::{TestServer, code};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envforge_api::client::CallError;
use envforge_api::http::accounts::{ApiKeys, CreatedApiKey, Me};
use envforge_api::http::sign_in::{DeviceStarted, MachineKey};
use serde_json::{Value, json};

async fn start(server: &TestServer) -> DeviceStarted {
    let nobody = server.with_key("efk_none");
    nobody.post("/v1/device/code", &json!({ "machine": "laptop" })).await.unwrap()
}

async fn poll(server: &TestServer, started: &DeviceStarted) -> Result<MachineKey, CallError> {
    let nobody = server.with_key("efk_none");
    nobody.post("/v1/device/token", &json!({ "device_code": started.device_code })).await
}

// proves ORG-1
#[tokio::test]
async fn a_machine_without_a_browser_is_signed_in() {
    let server = TestServer::start().await;
    let started = start(&server).await;
    assert_eq!(started.verification_uri, "http://127.0.0.1:7080/device");
    assert_eq!(code(poll(&server, &started).await), "device.authorization_pending");
    let Err(CallError::Refused(slower)) = poll(&server, &started).await else { panic!("it polls too fast") };
    assert_eq!((slower.code.as_str(), slower.retry_after), ("device.slow_down", Some(10)));
    // Nobody is signed in: the page to sign in on leads back here.
    let path = format!("/device?user_code={}", started.user_code.to_lowercase());
    let page = Browser::new(&server).get(&path).await;
    assert!(page.location.starts_with("/sign-in?return_to=/device%3Fuser_code%3D"), "{}", page.location);
    let mut browser = Browser::with_key(&server, server.owner.key().unwrap().expose()).await;
    let card = browser.get(&path).await;
    assert!(card.body.contains("laptop") && card.body.contains(&started.user_code), "{}", card.body);
    assert_eq!(code(poll(&server, &started).await), "device.slow_down", "looking decides nothing");
    let form = |token| [("user_code", card.field("user_code")), ("form_token", token), ("approve", "true")];
    assert_eq!(browser.post("/device", &form("wrong")).await.status, 403);
    assert_eq!(browser.post("/device", &form(card.field("form_token"))).await.status, 200);
    assert_eq!(browser.post("/device", &form(card.field("form_token"))).await.status, 404, "decided once");
    let key = poll(&server, &started).await.unwrap();
    assert_eq!(code(poll(&server, &started).await), "device.expired_token", "fetched once");
    let laptop = server.with_key(&key.value);
    let me: Me = laptop.get("/v1/me").await.unwrap();
    assert_eq!(me.credential, key.id.to_string());
    let keys: ApiKeys = laptop.get("/v1/api-keys").await.unwrap();
    let listed = keys.api_keys.iter().find(|it| it.id == key.id).unwrap();
    assert_eq!((listed.name.as_str(), listed.expires_at), ("laptop", Some(key.expires_at)));
    server.advance(30 * 86_400);
    assert_eq!(code(laptop.get::<Me>("/v1/me").await), "access.expired");
    assert_eq!((server.events("device.approved").await, server.events("api_key.created").await), (1, 1));
}

// proves ORG-1
#[tokio::test]
async fn a_machine_is_told_no_and_too_late() {
    let server = TestServer::start().await;
    let decide = async |client: &envforge_api::client::Client, started: &DeviceStarted, approve: bool| {
        let body = json!({ "user_code": started.user_code, "approve": approve });
        client.post::<_, Value>("/v1/device/decision", &body).await
    };
    let denied = start(&server).await;
    decide(&server.owner, &denied, false).await.unwrap();
    assert_eq!(code(poll(&server, &denied).await), "device.access_denied");
    assert_eq!(code(decide(&server.owner, &denied, true).await), "device.not_found");
    let late = start(&server).await;
    let limited: CreatedApiKey =
        server.owner.post("/v1/api-keys", &json!({ "name": "limited", "scopes": ["read"] })).await.unwrap();
    assert_eq!(code(decide(&server.with_key(&limited.value), &late, true).await), "access.scope");
    server.advance(600);
    assert_eq!(code(decide(&server.owner, &late, true).await), "device.not_found");
    assert_eq!(code(poll(&server, &late).await), "device.expired_token");
    // A stranger fills no table.
    let nobody = server.with_key("efk_none");
    let mut started = 0;
    for _ in 0..30 {
        let answer = nobody.post::<_, DeviceStarted>("/v1/device/code", &json!({ "machine": "m" })).await;
        started += i32::from(answer.is_ok());
    }
    assert_eq!(started, 18, "two wait already");
    assert_eq!(
        code(nobody.post::<_, DeviceStarted>("/v1/device/code", &json!({ "machine": "a\nb" })).await),
        "device.machine"
    );
}

// proves ORG-1
#[tokio::test]
async fn a_browser_brings_the_code_to_the_program_beside_it() {
    let server = TestServer::start().await;
    let verifier = "v".repeat(64);
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
    let path = format!("/sign-in/loopback?port=40000&state={}&challenge={challenge}&machine=laptop", "s".repeat(32));
    let nobody = server.with_key("efk_none");
    let mut browser = Browser::with_key(&server, server.owner.key().unwrap().expose()).await;
    let ask = async |browser: &mut Browser<'_>, approve: &str| {
        let card = browser.get(&path).await;
        let fields =
            ["port", "state", "challenge", "machine", "form_token"].map(|name| (name, card.field(name).to_owned()));
        let mut form: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        form.push(("approve", approve));
        browser.post("/sign-in/loopback", &form).await.location
    };
    let redeem = async |place: &str, verifier: &str| {
        let code = place.split(['=', '&']).nth(1).unwrap().to_owned();
        nobody.post::<_, MachineKey>("/v1/device/loopback", &json!({ "code": code, "code_verifier": verifier })).await
    };
    assert_eq!(
        ask(&mut browser, "false").await,
        format!("http://127.0.0.1:40000/?error=access_denied&state={}", "s".repeat(32))
    );
    let place = ask(&mut browser, "true").await;
    assert!(
        place.starts_with("http://127.0.0.1:40000/?code=") && place.ends_with(&format!("&state={}", "s".repeat(32)))
    );
    assert_eq!(code(redeem(&place, "another").await), "device.code");
    assert_eq!(code(redeem(&place, &verifier).await), "device.code", "used up by the wrong verifier");
    let place = ask(&mut browser, "true").await;
    let key = redeem(&place, &verifier).await.unwrap();
    server.with_key(&key.value).get::<Me>("/v1/me").await.unwrap();
    assert_eq!(code(redeem(&place, &verifier).await), "device.code", "once");
    let place = ask(&mut browser, "true").await;
    server.advance(60);
    assert_eq!(code(redeem(&place, &verifier).await), "device.code", "within a minute");
    let bad = browser.get(&path.replace("port=40000", "port=80")).await;
    assert_eq!(bad.status, 400);
}

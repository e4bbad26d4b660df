//! A scripted OpenID provider: it says whatever a test wants, well signed or not.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envforge_core::login::SignUp;
use envforge_core::secret::Secret;
use envforge_server::providers::identity::{ClientAuth, ProviderConfig};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub(crate) const CLIENT: &str = "envforge";
pub(crate) const SECRET: &str = "the client's secret";

/// What the token endpoint says to a refresh token.
#[derive(Clone)]
pub(crate) enum Renewal {
    /// To the one given last: the next one, and maybe a token about the person.
    Fine(Option<String>),
    /// That it is not valid.
    Withdrawn,
    /// Nothing useful.
    Down,
}

struct Script {
    key: EcdsaKeyPair,
    kid: String,
    announces_iss: bool,
    /// What the token endpoint answers with, once.
    token: Option<String>,
    challenge: String,
    /// How many refresh tokens it has given; the last one is good, once.
    refreshes: u32,
    renewal: Renewal,
    asked: HashMap<&'static str, u32>,
}

/// A provider.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    script: Arc<Mutex<Script>>,
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            key: new_key(),
            kid: "one".to_owned(),
            announces_iss: false,
            token: None,
            challenge: String::new(),
            refreshes: 0,
            renewal: Renewal::Fine(None),
            asked: HashMap::new(),
        };
        let it = Self { issuer, script: Arc::new(Mutex::new(script)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        it
    }

    pub(crate) fn config(&self, sign_up: SignUp) -> ProviderConfig {
        ProviderConfig {
            name: "test".parse().unwrap(),
            title: "Test".to_owned(),
            issuer: self.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(Secret::new(SECRET.to_owned())),
            client_auth: ClientAuth::Basic,
            redirect_uri: None,
            refresh: false,
            sign_up,
            orgs: None,
        }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn count(&self, what: &'static str) {
        *self.script().asked.entry(what).or_default() += 1;
    }

    pub(crate) fn asked(&self, what: &str) -> u32 {
        self.script().asked.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn announce_iss(&self) {
        self.script().announces_iss = true;
    }

    /// Other keys from now on.
    pub(crate) fn rotate(&self, kid: &str) {
        let mut script = self.script();
        script.key = new_key();
        kid.clone_into(&mut script.kid);
    }

    /// A signed token.
    pub(crate) fn sign(&self, claims: &Value, kind: &str) -> String {
        let script = self.script();
        let header = json!({ "alg": "ES256", "kid": script.kid, "typ": kind });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = script.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// A token without a signature.
    pub(crate) fn unsigned(claims: &Value) -> String {
        format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(claims))
    }

    /// A token under a MAC, as if `key` were a shared secret.
    pub(crate) fn mac(claims: &Value, key: &[u8]) -> String {
        let signed = format!("{}.{}", encode(&json!({ "alg": "HS256" })), encode(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    /// The public key as its key set spells it.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.script().key.public_key().as_ref().to_vec()
    }

    /// What becomes of refresh tokens.
    pub(crate) fn renew(&self, renewal: Renewal) {
        self.script().renewal = renewal;
    }

    /// What the next exchange of a code gives, to whoever began with this challenge.
    pub(crate) fn answer(&self, token: String, challenge: &str) {
        let mut script = self.script();
        script.token = Some(token);
        challenge.clone_into(&mut script.challenge);
    }
}

async fn discovery(State(it): State<Provider>) -> Json<Value> {
    it.count("discovery");
    let at = |path: &str| format!("{}{path}", it.issuer);
    Json(json!({
        "issuer": it.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"), "end_session_endpoint": at("/end"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": it.script().announces_iss,
    }))
}

async fn keys(State(it): State<Provider>) -> Json<Value> {
    it.count("keys");
    let script = it.script();
    let point = script.key.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    Json(
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "kid": script.kid, "x": part(1..33), "y": part(33..65) }] }),
    )
}

async fn token(State(it): State<Provider>, Form(form): Form<HashMap<String, String>>) -> Response {
    if form["grant_type"] == "refresh_token" {
        return renewal(&it, &form["refresh_token"]);
    }
    it.count("token");
    let mut script = it.script();
    let shown = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()).as_ref());
    // A code works once, and for whoever began.
    match script.token.take().filter(|_| shown == script.challenge && form["code"] == "the-code") {
        Some(token) => {
            script.refreshes += 1;
            let refresh = refresh_token(script.refreshes);
            Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": token, "refresh_token": refresh }))
                .into_response()
        }
        None => invalid_grant(),
    }
}

fn refresh_token(number: u32) -> String {
    format!("refresh-token-{number}")
}

fn invalid_grant() -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response()
}

fn renewal(it: &Provider, shown: &str) -> Response {
    it.count("renewal");
    let mut script = it.script();
    match script.renewal.clone() {
        Renewal::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Renewal::Fine(token) if shown == refresh_token(script.refreshes) => {
            script.refreshes += 1;
            let mut answer = json!({ "access_token": "a", "token_type": "Bearer", "refresh_token": refresh_token(script.refreshes) });
            if let Some(token) = token {
                answer["id_token"] = json!(token);
            }
            Json(answer).into_response()
        }
        Renewal::Fine(_) | Renewal::Withdrawn => invalid_grant(),
    }
}

//! Signing keys rotate while links, sessions, gateways and hosts go on, and end at once when they are revoked.

use crate::support::{FakeHost, Feed, TestServer, code, unknown};
use envforge_api::client::Client;
use envforge_api::gateway::{FeedItem, WAKE_PATH, WakeRequest};
use envforge_api::host::HostPass;
use envforge_api::http::links::{CreatedLink, LinkState, Links};
use envforge_api::http::vault::SigningKeys;
use envforge_core::clock::{Clock as _, FixedClock};
use envforge_core::secret::Secret;
use envforge_core::signing::SigningState::{Announced, Signing, Verifying};
use envforge_core::signing::{LONGEST_LIFE, SigningState};
use envforge_core::token::{Signer, TokenError};
use envforge_server::platform::keys::KeyWrappers;
use envforge_server::signing_keys::ops::tidy;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;

const KEYS: &str = "/v1/operator/signing-keys";
const LINKS: &str = "/v1/orgs/acme/workspaces/main/links";
const LABEL: &str = "web--main--acme";

/// The key that signed a token.
fn key_of(token: &str) -> String {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["k"].as_str().unwrap().to_owned()
}

async fn keys(client: &Client) -> Vec<(String, SigningState)> {
    let shown: SigningKeys = client.get(KEYS).await.unwrap();
    shown.keys.into_iter().map(|key| (key.id, key.state)).collect()
}

fn ids(keys: &[(String, SigningState)]) -> Vec<String> {
    keys.iter().map(|(id, _)| id.clone()).collect()
}

async fn rotate(server: &TestServer, revoke: bool) -> Vec<(String, SigningState)> {
    let _: SigningKeys = server.owner.post(&format!("{KEYS}/rotate"), &json!({ "revoke": revoke })).await.unwrap();
    keys(&server.owner).await
}

async fn link(server: &TestServer) -> CreatedLink {
    server.owner.post(LINKS, &json!({ "service": "web", "expires_in_minutes": 43_200 })).await.unwrap()
}

async fn wakes(server: &TestServer, session: &str) -> Result<(), String> {
    let request = WakeRequest { session: session.to_owned(), session_id: unknown(), path: "/".to_owned() };
    let answer = server.gateway().post::<_, Value>(WAKE_PATH, &request).await;
    answer.map(drop).map_err(|error| error.into_refusal().code)
}

async fn listen(server: &TestServer) -> Feed {
    Feed::open(&server.gateway(), unknown(), 7081).await
}

/// Reads on until gateways are told exactly these keys.
async fn told(feed: &mut Feed, wanted: &[String]) {
    loop {
        let item = feed.next().await.expect("the feed goes on");
        if matches!(item, FeedItem::Snapshot { keys, .. } if keys.iter().map(|key| &key.id).eq(wanted)) {
            return;
        }
    }
}

// proves LINK-2
#[tokio::test]
async fn a_rotation_ends_nothing_that_was_signed_before() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let mut feed = listen(&server).await;
    let old = keys(&server.owner).await;
    told(&mut feed, &ids(&old)).await;
    let before = link(&server).await;
    let session = server.exchange(LABEL, &before.token).await.unwrap().session;

    let both = rotate(&server, false).await;
    assert_eq!(both.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [Signing, Announced]);
    told(&mut feed, &ids(&both)).await;
    host.told_keys(&ids(&both)).await;
    assert_eq!(key_of(&host.pass), old[0].0);
    assert_eq!(key_of(&link(&server).await.token), old[0].0, "announced is not in use");
    let twice = server.owner.post::<_, Value>(&format!("{KEYS}/rotate"), &json!({})).await;
    assert_eq!(code(twice), "signing_key.under_way");

    server.advance(60);
    assert_eq!(keys(&server.owner).await.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [Verifying, Signing]);
    let after = link(&server).await;
    assert_eq!(key_of(&after.token), both[1].0);
    for token in [&before.token, &after.token] {
        server.exchange(LABEL, token).await.unwrap();
    }
    assert_eq!(wakes(&server, &session).await, Ok(()));
    host.reconnect().await;
    assert_eq!(server.events("signing_key.announced").await, 2, "the first one, and this one");
}

// proves LINK-2
#[tokio::test]
async fn an_old_key_is_dropped_when_nothing_of_it_can_hold() {
    let mut server = TestServer::start().await;
    let old = keys(&server.owner).await;
    // As the server of the tests is given it.
    let thief = Signer::from_seed(&[0x11; 32]);
    assert_eq!(thief.public_key().id, old[0].0);
    let both = rotate(&server, false).await;
    let halves = async |server: &TestServer| -> i64 {
        let mut owner = server.database_owner().await;
        sqlx::query_scalar("SELECT count(sealed) FROM signing_keys").fetch_one(&mut owner).await.unwrap()
    };
    assert_eq!((tidy(server.server.app()).await.unwrap(), halves(&server).await), (0, 2));
    server.advance(60 + 3_600);
    assert_eq!((tidy(server.server.app()).await.unwrap(), halves(&server).await), (1, 1));
    assert_eq!(tidy(server.server.app()).await.unwrap(), 0, "again is nothing");
    let claims = |server: &TestServer| {
        let app = server.server.app();
        let expires = (app.now() + SignedDuration::from_hours(1)).as_second();
        HostPass { host: app.mint(), org: app.mint(), expires }
    };
    let verifies = |server: &TestServer| {
        let token = thief.sign(&claims(server));
        server.server.app().signing_keys.verify::<HostPass>(&token, server.clock.now()).map(drop)
    };
    server.clock.advance(LONGEST_LIFE - SignedDuration::from_secs(1));
    server.restart().await;
    assert_eq!(verifies(&server), Ok(()));
    server.advance(1);
    envforge_server::signing_keys::ops::refresh(server.server.app()).await.unwrap();
    assert_eq!(verifies(&server), Err(TokenError::UnknownKey), "dropped by the hour, tidied up or not");
    // The server's own schedule is due by now, and may be first: whoever was, nothing is left to do.
    tidy(server.server.app()).await.unwrap();
    assert_eq!((tidy(server.server.app()).await.unwrap(), server.events("signing_key.dropped").await), (0, 1));
    server.restart().await;
    assert_eq!(keys(&server.owner).await, [(both[1].0.clone(), Signing)], "the seed's own key does not come back");
    assert_eq!(server.events("signing_key.dropped").await, 1);
}

// proves LINK-2
#[tokio::test]
async fn revoking_ends_all_that_was_signed_at_once() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let mut feed = listen(&server).await;
    let before = link(&server).await;
    let session = server.exchange(LABEL, &before.token).await.unwrap().session;
    rotate(&server, false).await;
    server.advance(1);
    let now = rotate(&server, true).await;
    assert_eq!(now.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [Signing]);
    told(&mut feed, &ids(&now)).await;
    host.told_keys(&ids(&now)).await;
    assert_eq!(key_of(&host.pass), now[0].0, "its uplinks go on with a new pass");
    assert_eq!(server.exchange(LABEL, &before.token).await.unwrap_err().code, "link.invalid");
    assert_eq!(wakes(&server, &session).await, Err("session.invalid".to_owned()));
    let after = link(&server).await;
    server.exchange(LABEL, &after.token).await.unwrap();
    let listed: Links = server.owner.get(LINKS).await.unwrap();
    let states: Vec<_> = listed.links.iter().map(|link| link.state).collect();
    assert_eq!(states, [LinkState::Active, LinkState::Revoked]);
    server.advance(before.link.expires_at.duration_since(server.clock.now()).as_secs() + 1);
    let listed: Links = server.owner.get(LINKS).await.unwrap();
    assert!(listed.links.iter().all(|link| link.state == LinkState::Expired), "whoever looks later reads why it ended");
    assert_eq!(server.events("signing_key.revoked").await, 2, "the announced one too");
}

// proves LINK-2
#[tokio::test]
async fn all_servers_sign_with_the_same_key() {
    let server = TestServer::start().await;
    let clock = Arc::new(FixedClock::new(server.clock.now() - SignedDuration::from_secs(5)));
    let cancel = tokio_util::sync::CancellationToken::new();
    let other = server.another(Arc::clone(&clock), cancel.clone()).await;
    let app = server.server.app();
    let pass = |server: &envforge_server::app::App| {
        let claims = HostPass { host: server.mint(), org: server.mint(), expires: server.now().as_second() + 60 };
        server.signing_keys.sign(&claims, server.now()).unwrap()
    };
    let (both, theirs) = (rotate(&server, false).await, other.app());
    envforge_testkit::wait_until("the other has read them", async || theirs.signing_keys.trusted().len() == 2).await;
    server.advance(62);
    clock.advance(SignedDuration::from_secs(62));
    let (ours, before) = (pass(app), pass(theirs));
    assert_eq!((key_of(&ours), key_of(&before)), (both[1].0.clone(), both[0].0.clone()), "its clock is behind");
    for (server, token) in [(app, &before), (theirs, &ours)] {
        server.signing_keys.verify::<HostPass>(token, server.now()).unwrap();
    }
    let now = rotate(&server, true).await;
    envforge_testkit::wait_until("the other has read and opened them", async || {
        let claims = HostPass { host: theirs.mint(), org: theirs.mint(), expires: theirs.now().as_second() + 60 };
        theirs.signing_keys.trusted().len() == 1 && theirs.signing_keys.sign(&claims, theirs.now()).is_ok()
    })
    .await;
    assert_eq!(key_of(&pass(theirs)), now[0].0, "though by its clock none signs yet");
    assert_eq!(theirs.signing_keys.verify::<HostPass>(&ours, theirs.now()), Err(TokenError::UnknownKey));
    cancel.cancel();
}

// proves ORG-8
#[tokio::test]
async fn private_halves_lie_sealed_and_follow_the_data_key() {
    let mut server = TestServer::start().await;
    rotate(&server, false).await;
    let sealed = async |server: &TestServer| -> Vec<Vec<u8>> {
        let mut owner = server.database_owner().await;
        sqlx::query_scalar("SELECT sealed FROM signing_keys ORDER BY id").fetch_all(&mut owner).await.unwrap()
    };
    let before = sealed(&server).await;
    assert!(before.iter().all(|sealed| !sealed.windows(8).any(|part| part == b"11111111")));
    let _: Value = server.owner.post("/v1/operator/data-key/rotate", &json!({})).await.unwrap();
    envforge_server::secrets::jobs::round(server.server.app()).await.unwrap();
    envforge_testkit::wait_until("all are sealed anew", async || {
        sealed(&server).await.iter().zip(&before).all(|(now, before)| now != before)
    })
    .await;
    let known = keys(&server.owner).await;
    server.restart().await;
    assert_eq!(keys(&server.owner).await, known);
    server.advance(60);
    let claims = |token: &str| server.server.app().signing_keys.verify::<HostPass>(token, server.clock.now());
    let app = server.server.app();
    let pass = HostPass { host: app.mint(), org: app.mint(), expires: app.now().as_second() + 60 };
    let token = app.signing_keys.sign(&pass, app.now()).unwrap();
    assert_eq!((key_of(&token), claims(&token)), (known[1].0.clone(), Ok(pass)));
}

/// The ledger's key is another matter.
// proves ORG-6
#[tokio::test]
async fn the_ledger_goes_on_with_its_own_key() {
    let server = TestServer::start().await;
    let of =
        async || -> Value { server.owner.get::<Value>("/v1/installation/ledger/state").await.unwrap()["key"].clone() };
    let before = of().await;
    let now = rotate(&server, true).await;
    assert_eq!(of().await, before);
    assert_ne!(before["id"], now[0].0);
}

#[tokio::test]
async fn a_host_that_comes_later_is_told_all_keys() {
    let server = TestServer::start().await;
    let both = rotate(&server, false).await;
    let host: FakeHost = server.host().await;
    assert_eq!(host.keys, ids(&both));
}

/// As after a start with the wrong key-encryption key.
#[tokio::test]
async fn a_server_that_can_open_no_key_verifies_and_signs_nothing() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    rotate(&server, true).await;
    let before = link(&server).await;
    let other = Secret::new("33".repeat(32));
    server.restart_with(|config| config.key_wrappers = KeyWrappers::local(&[other]).unwrap()).await;
    assert_eq!(keys(&server.owner).await.len(), 1);
    let made = server.owner.post::<_, Value>(LINKS, &json!({ "service": "web" })).await;
    assert_eq!(code(made), "signing_key.unavailable");
    let app = server.server.app();
    app.signing_keys.verify::<envforge_core::link::LinkClaims>(&before.token, app.now()).unwrap();
}

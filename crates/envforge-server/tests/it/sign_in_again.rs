//! A provider is asked again about whoever it signed in.

use crate::provider::Renewal;
use crate::sign_in::{Browser, World, parameter};
use envforge_api::http::accounts::Me;
use envforge_core::clock::Clock as _;
use envforge_core::login::SignUp;
use envforge_server::sessions;
use envforge_testkit::wait_until;
use serde_json::json;

async fn ask_again(world: &World) {
    sessions::ops::ask_again(world.server.server.app()).await.unwrap();
}

async fn is_signed_in(browser: &Browser<'_>) -> bool {
    browser.api::<Me>("/v1/me").await.is_some()
}

/// Why sessions ended, the last one first.
async fn ends(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT cause FROM ledger_events WHERE verb = 'session.ended'")
        .fetch_all(&mut world.server.database_owner().await)
        .await
        .unwrap()
}

async fn kept(world: &World, pattern: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM session_standings WHERE encode(sealed, 'escape') LIKE $1")
        .bind(pattern)
        .fetch_one(&mut world.server.database_owner().await)
        .await
        .unwrap()
}

// proves ORG-1
#[tokio::test]
async fn a_provider_is_asked_again_with_each_token_once() {
    let world = World::start(SignUp::Open, |config| config.refresh = true).await;
    let mut asking = Browser::new(&world.server);
    let url = asking.leave_for("test", "/").await;
    assert_eq!(
        (parameter(&url, "scope").as_str(), parameter(&url, "prompt").as_str()),
        ("openid email profile offline_access", "consent")
    );
    let (browser, _) = world.sign_in("ada").await;
    ask_again(&world).await;
    assert_eq!(world.provider.asked("renewal"), 0, "it has just vouched for her");
    assert_eq!((kept(&world, "%").await, kept(&world, "%refresh-token%").await), (1, 0), "kept, and sealed");
    for (times, names_nonce) in [(1, true), (2, false)] {
        world.server.advance(15 * 60);
        let now = world.server.clock.now().as_second();
        let token = json!({ "iss": world.provider.issuer, "aud": crate::provider::CLIENT, "sub": "ada", "iat": now, "exp": now + 300 });
        world.provider.renew(Renewal::Fine(names_nonce.then(|| world.provider.sign(&token, "JWT"))));
        ask_again(&world).await;
        wait_until("it was asked", async || world.provider.asked("renewal") == times).await;
        assert!(is_signed_in(&browser).await);
    }
}

// proves ORG-1
#[tokio::test]
async fn whom_a_provider_does_not_vouch_for_any_more_is_signed_out() {
    let world = World::start(SignUp::Open, |config| config.refresh = true).await;
    let (left, _) = world.sign_in("ada").await;
    world.server.advance(15 * 60);
    world.provider.renew(Renewal::Withdrawn);
    ask_again(&world).await;
    wait_until("she is signed out", async || !is_signed_in(&left).await).await;
    assert_eq!(
        (ends(&world).await, kept(&world, "%").await),
        (vec!["the provider does not vouch for them any more".to_owned()], 0)
    );

    // Her token is answered with somebody else.
    let (taken, _) = world.sign_in("ada").await;
    world.server.advance(15 * 60);
    let now = world.server.clock.now().as_second();
    let other = json!({ "iss": world.provider.issuer, "aud": crate::provider::CLIENT, "sub": "eve", "iat": now, "exp": now + 300 });
    world.provider.renew(Renewal::Fine(Some(world.provider.sign(&other, "JWT"))));
    ask_again(&world).await;
    wait_until("she is signed out", async || !is_signed_in(&taken).await).await;
}

// proves ORG-1
#[tokio::test]
async fn a_provider_that_is_away_ends_a_session_after_a_day() {
    let world = World::start(SignUp::Open, |config| config.refresh = true).await;
    let (browser, _) = world.sign_in("ada").await;
    world.provider.renew(Renewal::Down);
    world.server.advance(23 * 3_600);
    ask_again(&world).await;
    wait_until("it was asked", async || world.provider.asked("renewal") == 1).await;
    assert!(is_signed_in(&browser).await, "an outage signs nobody out");
    ask_again(&world).await;
    assert_eq!(world.provider.asked("renewal"), 1, "it is left alone for a while");
    world.server.advance(2 * 3_600);
    ask_again(&world).await;
    wait_until("she is signed out", async || !is_signed_in(&browser).await).await;
    assert_eq!(ends(&world).await, ["the provider did not answer for a day"]);
}

// proves ORG-1
#[tokio::test]
async fn nothing_is_kept_of_a_provider_that_is_not_asked_again() {
    let world = World::start(SignUp::Open, |_| ()).await;
    let mut asking = Browser::new(&world.server);
    assert_eq!(parameter(&asking.leave_for("test", "/").await, "scope"), "openid email profile");
    world.sign_in("ada").await;
    assert_eq!(kept(&world, "%").await, 0);
}

//! Whoever holds a link: another dev host, the API, again, after it was revoked, and more wakes than it has.

use super::{World, ask, client, status_and_code, stranger};
use crate::support::signal;
use envforge_api::http::links::CreatedLink;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, wait_until, wait_until_within};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use super::super::sample::PATIENCE;

const LINKS: &str = "/v1/orgs/local/workspaces/main/links";

/// A request of a program to a dev host.
fn to(world: &World, host: &str, path: &str) -> reqwest::RequestBuilder {
    stranger().get(format!("http://{}{path}", world.the_box.gateway)).header("host", host)
}

/// A link in the wrong hands.
pub(super) async fn with_a_stolen_link(world: &World) {
    let (web, api) = (world.first().link("web").await, world.first().link("api").await);
    let mut browser = Browser::at(&web.url).unwrap();
    browser.open(&web.url).await.unwrap();
    let elsewhere = Browser::at(&api.url).unwrap();
    assert_eq!(browser.with_host_of(&elsewhere).status("/api/notes").await.unwrap(), 401, "its session");
    // Another service, another workspace, another org; and another way to name the same one.
    let cookie = browser.cookie().unwrap().to_owned();
    let of = |org: &str| browser.host().replace("web--main--local", org);
    let wrong = (401, "link.wrong_host".to_owned());
    for host in [elsewhere.host().to_owned(), of("web--other--local"), of("web--main--globex")] {
        assert_eq!(status_and_code(to(world, &host, "/").header("envforge-link", &web.token)).await, wrong, "{host}");
        assert_eq!(status_and_code(to(world, &host, "/").header("cookie", &cookie)).await, wrong, "{host}");
        let both = to(world, &host, "/").header("cookie", &cookie).header("envforge-link", &api.token);
        let (status, code) = status_and_code(both).await;
        assert!(host == elsewhere.host() || (status, code.as_str()) == (401, "link.wrong_host"), "{host}: {code}");
    }
    assert_eq!(status_and_code(to(world, "web--main--local.evil.example", "/")).await.0, 404);
    let gateway = format!("http://{}/share/{}", world.the_box.gateway, web.token);
    let shown = stranger().post(&gateway).header("host", elsewhere.host()).send().await.unwrap();
    assert!(shown.status().is_client_error() && shown.headers().get("set-cookie").is_none(), "{shown:?}");
    // A session is no link, a link is no session, and neither is a key.
    let session = cookie.split_once('=').unwrap().1;
    let invalid = (401, "link.invalid".to_owned());
    let name = cookie.split_once('=').unwrap().0;
    let swapped = to(world, browser.host(), "/").header("cookie", format!("{name}={}", web.token));
    assert_eq!(status_and_code(swapped).await, invalid);
    assert_eq!(status_and_code(to(world, browser.host(), "/").header("envforge-link", session)).await, invalid);
    for token in [&*web.token, session] {
        let thief = client(&world.the_box, token);
        let refused = ask(&thief, "GET /v1/orgs/local/workspaces/main", &json!({})).await;
        assert_eq!(refused, "access.unauthenticated");
    }
    let once: CreatedLink = world.owner().post(LINKS, &json!({ "service": "web", "visit_budget": 1 })).await.unwrap();
    Browser::at(&once.url).unwrap().open(&once.url).await.unwrap();
    let again = Browser::at(&once.url).unwrap().open(&once.url).await.unwrap_err().to_string();
    assert!(again.contains("429") || again.contains("403"), "{again}");
    world.noted("orgs/local", &["link.refused", &once.link.id.to_string(), "link.visits_spent"]);
    world.owner().delete::<Value>(&format!("/v1/orgs/local/links/{}", web.link.id)).await.unwrap();
    // What is under way then is cut.
    wait_until("its session is over", async || browser.status("/").await.is_ok_and(|status| status == 401)).await;
    assert!(Browser::at(&web.url).unwrap().open(&web.url).await.is_err(), "and it opens no other");
    summed_up(world).await;
}

/// Longer than a gateway takes to tell what it refused.
const TOLD: Duration = Duration::from_secs(3);

/// What the gateway tells each second is summed up each minute, and when the server stops. Dev hosts that lead nowhere are
/// no org's.
async fn summed_up(world: &World) {
    let told = async |chain: &str, reasons: &[&str]| {
        let Ok(export) = world.owner().stream(&format!("/v1/{chain}/ledger/export")).await else { return None };
        let text = export.text().await.ok()?;
        let summaries: Vec<&str> = text.lines().filter(|line| line.contains("traffic.unverified")).collect();
        Some(reasons.iter().all(|reason| summaries.iter().any(|line| line.contains(reason))))
    };
    // What was not told yet is told to the next server; one that is ended again at once never hears of it, and the more
    // often it dies the longer its supervisor waits.
    let mut begun = Instant::now();
    wait_until_within("the gateway's refusals are summed up", PATIENCE, async || {
        let of_local = told("orgs/local", &["wrong_host", "revoked", "forged"]).await;
        let of_nobody = told("installation", &["wrong_host"]).await;
        if (of_local, of_nobody) == (Some(true), Some(true)) {
            return true;
        }
        if of_local.is_some() && of_nobody.is_some() && begun.elapsed() > TOLD {
            let server = world.the_box.children()["server"];
            signal(server, rustix::process::Signal::TERM);
            world.the_box.successor("server", server).await;
            begun = Instant::now();
        }
        false
    })
    .await;
}

/// A link whose one wake is used up.
pub(super) async fn with_a_spent_link(world: &World) {
    let first = world.first();
    let link: CreatedLink = world.owner().post(LINKS, &json!({ "service": "web", "wake_budget": 1 })).await.unwrap();
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    first.sleep("frozen").await;
    assert_eq!(browser.status("/").await.unwrap(), 200, "it wakes once");
    first.sleep("frozen").await;
    let spent = to(world, browser.host(), "/").header("cookie", browser.cookie().unwrap());
    assert_eq!(status_and_code(spent).await, (429, "link.wakes_spent".to_owned()));
    world.noted("orgs/local", &["link.refused", &link.link.id.to_string(), "link.wakes_spent"]);
    assert_eq!(first.show().await.unwrap().runtime.state, RuntimeState::Frozen);
}

//! A member opens a dev host with their account, wakes it, and is out of it when they are out of the org.

use super::sample::{Member, client, nobody, repository};
use crate::support::TestBox;
use envforge_api::http::accounts::Me;
use envforge_api::http::orgs::{AcceptedInvitation, CreatedInvitation};
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, wait_until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// What "within a second" may take here, where other tests use both cores.
const AT_ONCE: Duration = Duration::from_secs(3);

// proves LINK-8 LINK-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_on_a_dev_host_with_their_account_for_as_long_as_they_may() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let workspace = Member { the_box: &the_box, slug: "main".to_owned() };
    workspace.workspace(&repository, "main").await;
    workspace.wake().await;
    workspace.all_ready().await;
    let owner = the_box.client();
    let invited: CreatedInvitation =
        owner.post("/v1/orgs/local/invitations", &json!({ "role": "developer" })).await.unwrap();
    let accepted = json!({ "token": invited.token, "name": "Grace" });
    let accepted: AcceptedInvitation = nobody(&the_box).post("/v1/invitations/accept", &accepted).await.unwrap();
    let key = accepted.api_key.unwrap().value;
    let user = client(&the_box, &key).get::<Me>("/v1/me").await.unwrap().user;

    workspace.sleep("frozen").await;
    let mut browser = Browser::at(&workspace.link("web").await.url).unwrap();
    browser.sign_in(&key, "/api/notes").await.unwrap();
    assert_eq!(workspace.show().await.unwrap().runtime.state, RuntimeState::Frozen, "entering wakes nothing");
    assert!(browser.get("/").await.unwrap().contains("Notes of the story"));
    let elsewhere = Browser::at(&workspace.link("api").await.url).unwrap();
    assert_eq!(browser.with_host_of(&elsewhere).status("/").await.unwrap(), 401, "its session is of one host");
    let actor = format!("user:{user}");
    wait_until("who entered and who woke is in the ledger", async || {
        let export = owner.stream("/v1/orgs/local/ledger/export").await.unwrap().text().await.unwrap();
        let is_there = |what: &str| export.lines().any(|line| line.contains(what) && line.contains(&actor));
        is_there("dev_host.entered") && is_there("dev host visit by")
    })
    .await;

    let mut socket = browser.websocket("/api/live").await.unwrap();
    Browser::echo(&mut socket, "hello", "hello").await.unwrap();
    let begun = Instant::now();
    owner.delete::<Value>(&format!("/v1/orgs/local/members/{user}")).await.unwrap();
    let closed = async { while matches!(socket.next().await, Some(Ok(message)) if !message.is_close()) {} };
    tokio::time::timeout(AT_ONCE, closed).await.expect("the WebSocket of somebody who was removed is closed");
    println!("the WebSocket was closed {:?} after its member began to be removed", begun.elapsed());
    wait_until("the page is refused", async || browser.status("/").await.unwrap() == 401).await;
    let again = Browser::at(&format!("http://{}/", browser.host())).unwrap().sign_in(&key, "/").await;
    assert!(again.unwrap_err().to_string().contains("404"), "and they are let in no more");
}

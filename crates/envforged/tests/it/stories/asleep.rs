//! What sleeps stays asleep until somebody is let in, and lasts whatever becomes of the machine.

use super::sample::{Member, page, repository};
use crate::support::TestBox;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, Shell};
use serde_json::json;

// proves RUN-3 RUN-5 LINK-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_what_sleeps_wakes_nothing() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    member.sleep("frozen").await;
    let before = member.show().await.unwrap().runtime;

    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.answers().await.unwrap();
    shell.send("echo edited >> page.html; git status --short; echo seen-$((1+1))\r").await.unwrap();
    shell.expect("seen-2").await.unwrap();
    for arguments in [
        ["logs", "web", "-w", "main"].as_slice(),
        &["status", "-w", "main"],
        &["workspace", "usage", "main"],
        &["link", "list", "-w", "main"],
    ] {
        let output = the_box.envforge(&repository, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let dashboard = Browser::at(&server).unwrap();
    assert!(!dashboard.status("/").await.unwrap().is_server_error());
    // Strangers, and whoever holds a link without opening it: a mail scanner does.
    let stranger = Browser::at(&link.url).unwrap();
    assert_eq!(stranger.status("/").await.unwrap(), 401);
    assert_eq!(stranger.status("/api/notes").await.unwrap(), 401);
    let (_, path) = link.url.split_once(stranger.host()).unwrap();
    assert_eq!(stranger.status(path).await.unwrap(), 200, "the card of the link");

    let after = member.show().await.unwrap().runtime;
    assert_eq!((after.state, after.generation), (RuntimeState::Frozen, before.generation));
    assert!(member.usage().await.awake_since.is_none());
}

// proves UP-7 COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_machine_died_everything_is_asleep_and_there() {
    let mut the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    browser.post("/api/notes", &json!({ "text": "before the end" })).await.unwrap();
    assert_eq!(member.run("echo kept > kept.txt").await.0, 0);

    the_box.lose_power().await;
    the_box.start().await;

    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.until("the runtime is asleep", |workspace| workspace.runtime.state == RuntimeState::Asleep).await;
    let usage = member.usage().await;
    assert!(usage.awake_since.is_none(), "a window is still open: {usage:?}");
    assert!(!usage.receipts.is_empty() && usage.receipts.iter().all(|receipt| receipt.is_final), "{usage:?}");

    // The same visitor, the same session.
    assert!(page(&browser, "/api/notes").await.contains("before the end"), "the link wakes everything again");
    member.all_ready().await;
    let (code, said) = member.run("cat kept.txt").await;
    assert_eq!((code, said.trim()), (0, "kept"));
}

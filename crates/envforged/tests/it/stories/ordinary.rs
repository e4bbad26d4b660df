//! A box that an ordinary user runs: less apart, and it says so; everything else is as everywhere.

use super::sample::{Member, commit, repository};
use crate::support::{TestBox, kill};
use envforge_api::http::accounts::Hosts;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, free_port, wait_until};

/// The ordinary user that every machine has.
const NOBODY: u32 = 65_534;

// proves OPS-1 OPS-2 RUN-1 RUN-3 RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_users_box_does_the_whole_loop_and_says_what_is_reduced() {
    let is_root = rustix::process::geteuid().is_root();
    let mut the_box = if is_root { TestBox::of_user(NOBODY) } else { TestBox::new() };
    the_box.start().await;
    for reduced in ["one Linux user", "share this machine's network", "no CPU, memory or process limits"] {
        assert!(the_box.words().contains(reduced), "{}", the_box.words());
    }
    let hosts: Hosts = the_box.client().get("/v1/orgs/local/hosts").await.unwrap();
    assert_eq!(hosts.hosts[0].reductions.len(), 3, "members see it too");

    // Its services listen on this machine's own network, where any port may be taken.
    let notes = repository(&the_box.scratch("notes"));
    let file = notes.join("envforge.yml");
    let [web, api] = [free_port(), free_port()].map(|port| format!("port: {port}"));
    let text = fs_err::read_to_string(&file).unwrap().replace("port: 3000", &web).replace("port: 4000", &api);
    fs_err::write(&file, text).unwrap();
    commit(&notes, "Other ports");
    the_box.give(&notes);
    let opened = the_box.json(&notes, &["up", "--yes", "--no-attach"]).await;
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.all_ready().await;
    let mut browser = Browser::at(opened["link"]["url"].as_str().expect("`up` makes a link")).unwrap();
    browser.open(opened["link"]["url"].as_str().unwrap()).await.unwrap();
    assert!(browser.get("/").await.unwrap().contains("Notes of the story"));
    let (code, said) = member.run("psql \"$DATABASE_URL\" -Atc 'select 6 * 7' && redis-cli -u $REDIS_URL ping").await;
    assert_eq!((code, said.contains("42") && said.contains("PONG")), (0, true), "{said}");

    // Paused by signals: what runs stands still, and goes on where it was.
    member.sleep("frozen").await;
    let host = the_box.children()["host"];
    kill(host);
    the_box.successor("host", host).await;
    let frozen = member.show().await.unwrap().runtime;
    assert_eq!(frozen.state, RuntimeState::Frozen, "a daemon that comes again finds it paused");
    assert!(browser.get("/").await.unwrap().contains("Notes of the story"), "the link wakes it");
    member.sleep("stopped").await;
    assert!(browser.get("/api/count").await.unwrap().contains("count"), "and brings it back from nothing");
    member.sleep("stopped").await;
    let is_final = async || member.usage().await.receipts.iter().any(|receipt| receipt.is_final);
    wait_until("the receipt is final", is_final).await;
}

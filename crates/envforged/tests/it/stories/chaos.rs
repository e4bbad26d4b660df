//! `kill -9` of every part at every step; the loop completes and nothing is billed twice.
//!
//! The order of the kills follows from a seed (`ENVFORGE_CHAOS_SEED`), printed with every failure.

use super::sample::{Member, repository};
use crate::support::TestBox;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, Shell};
use serde_json::json;
use std::time::Duration;

/// What is killed.
const PARTS: [&str; 4] = ["gateway", "server", "host", "supervisor"];

/// A small, well-mixed generator (SplitMix64, Steele, Lea and Flood 2014), so that a seed repeats a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

struct Story {
    the_box: TestBox,
    dice: Dice,
}

impl Story {
    /// Kills one part within the next moments of whatever is under way.
    async fn kill(&mut self, part: &str) {
        tokio::time::sleep(Duration::from_millis(self.dice.roll(120))).await;
        if part == "supervisor" {
            self.the_box.kill_supervisor().await;
            self.the_box.start().await;
        } else {
            let before = self.the_box.children().get(part).copied();
            if let Some(pid) = before {
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_raw(pid).unwrap(),
                    rustix::process::Signal::KILL,
                );
                self.the_box.successor(part, pid).await;
            }
        }
    }
}

/// Asks until the gateway and everything behind it answer again.
async fn page(browser: &Browser, path: &str) -> String {
    let end = tokio::time::Instant::now() + super::sample::PATIENCE;
    loop {
        match browser.get(path).await {
            Ok(text) => return text,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{path}: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn open(link: &str) -> Browser {
    let end = tokio::time::Instant::now() + super::sample::PATIENCE;
    loop {
        let mut browser = Browser::at(link).unwrap();
        match browser.open(link).await {
            Ok(()) => return browser,
            Err(error) => assert!(tokio::time::Instant::now() < end, "the link: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn attach(the_box: &TestBox, slug: &str) -> Shell {
    let server = format!("http://{}", the_box.listen);
    let end = tokio::time::Instant::now() + super::sample::PATIENCE;
    loop {
        let opened = async {
            let mut shell = Shell::attach(&server, the_box.key().expose(), "local", slug).await?;
            shell.answers().await.map(|()| shell)
        };
        match opened.await {
            Ok(shell) => return shell,
            Err(error) => assert!(tokio::time::Instant::now() < end, "the shell: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The whole loop, with `part` killed at every step.
async fn survive(story: &mut Story, repository: &std::path::Path, part: &str) {
    let slug = format!("after-{part}");
    macro_rules! member {
        () => {
            Member { the_box: &story.the_box, slug: slug.clone() }
        };
    }
    member!().workspace(repository, &slug).await;
    story.kill(part).await;
    member!().shell_ready().await;
    let mut shell = attach(&story.the_box, &slug).await;
    shell.send("export STAYS=$((20+3)); echo set-$STAYS\r").await.unwrap();
    shell.expect("set-23").await.unwrap();
    member!().wake().await;
    story.kill(part).await;
    member!().all_ready().await;
    let link = member!().link("web").await;
    story.kill(part).await;
    let browser = open(&link.url).await;
    story.kill(part).await;
    page(&browser, "/").await;
    let note = format!("kept through {part}");
    browser.post("/api/notes", &json!({ "text": note })).await.unwrap();
    member!().sleep("frozen").await;
    story.kill(part).await;
    member!().until("it still sleeps", |workspace| workspace.runtime.state == RuntimeState::Frozen).await;
    assert!(page(&browser, "/api/notes").await.contains(&note), "woken by the link after a kill while frozen");
    story.kill(part).await;
    assert!(page(&browser, "/api/notes").await.contains(&note));
    member!().sleep("stopped").await;
    story.kill(part).await;
    assert!(page(&browser, "/api/notes").await.contains(&note), "woken from nothing");
    let mut shell = attach(&story.the_box, &slug).await;
    shell.send("echo kept-$STAYS\r").await.unwrap();
    shell.expect("kept-23").await.unwrap();
    member!().sleep("stopped").await;
    story.kill(part).await;
    let usage = member!().usage().await;
    assert!(usage.awake_since.is_none(), "no window is left open");
    for receipt in &usage.receipts {
        assert!(receipt.is_final, "{receipt:?}");
        for pair in receipt.windows.windows(2) {
            assert!(pair[0].closed_at.unwrap() <= pair[1].opened_at, "windows overlap: {receipt:?}");
        }
    }
}

// proves UP-3 UP-7 OPS-1 OPS-2 COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_is_killed_at_each_step_and_the_loop_completes() {
    let seed = std::env::var("ENVFORGE_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut story = Story { the_box: TestBox::started().await, dice: Dice(seed) };
    let repository = repository(&story.the_box.scratch("notes"));
    for part in PARTS {
        survive(&mut story, &repository, part).await;
    }
}

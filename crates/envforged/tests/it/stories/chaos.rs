//! `kill -9` of every part at every step; the loop completes and nothing is billed twice.
//!
//! When each kill comes follows from a seed (`ENVFORGE_CHAOS_SEED`), printed with every failure. `ENVFORGE_CHAOS_TIMES` walks
//! again and again, each time with the next seed and a box of its own: `./dev soak chaos`.

use super::sample::{Dice, Member, PATIENCE, page, repository};
use crate::support::{TestBox, is_alive, kill};
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, Shell, wait_until_within};
use serde_json::json;
use std::time::Duration;

/// What is killed: the box's roles, its own database, and what a workspace has while it is awake.
const PARTS: [&str; 8] = ["gateway", "server", "host", "supervisor", "database", "cluster", "redis", "service"];

struct Story {
    the_box: TestBox,
    dice: Dice,
}

/// Whether the workspace has a runtime whose parts can be killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Asleep,
    Awake,
}

impl Story {
    /// Kills one part within the next moments of whatever is under way, and waits until there is another.
    async fn kill(&mut self, part: &str, runtime: Runtime) {
        let is_there = match part {
            "cluster" | "redis" | "service" => runtime != Runtime::Asleep,
            _ => true,
        };
        if !is_there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(self.dice.roll(120))).await;
        if part == "supervisor" {
            self.the_box.kill_supervisor().await;
            self.the_box.start().await;
            return;
        }
        let service = ["node web.mjs", "node api.mjs"][self.dice.roll(2) as usize];
        let running = || self.process(part, service).filter(|pid| is_alive(*pid));
        // A wake may still be bringing it.
        wait_until_within(&format!("a {part} runs"), PATIENCE, async || running().is_some()).await;
        let before = running();
        if let Some(pid) = before {
            kill(pid);
        }
        let successor = async || running().is_some_and(|pid| Some(pid) != before);
        wait_until_within(&format!("another {part} than process {before:?}"), PATIENCE, successor).await;
    }

    fn process(&self, part: &str, service: &str) -> Option<i32> {
        match part {
            "database" => self.the_box.postmaster("postgres"),
            "cluster" => self.the_box.postmaster("host/resources/postgres"),
            "redis" => self.the_box.in_runtime("/usr/bin/redis-server"),
            "service" => self.the_box.in_runtime(service),
            role => self.the_box.children().get(role).copied(),
        }
    }
}

async fn open(link: &str) -> Browser {
    let end = tokio::time::Instant::now() + PATIENCE;
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
    let end = tokio::time::Instant::now() + PATIENCE;
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
    story.kill(part, Runtime::Asleep).await;
    member!().shell_ready().await;
    let mut shell = attach(&story.the_box, &slug).await;
    shell.send("export STAYS=$((20+3)); echo set-$STAYS\r").await.unwrap();
    shell.expect("set-23").await.unwrap();
    member!().wake().await;
    story.kill(part, Runtime::Awake).await;
    member!().all_ready().await;
    let link = member!().link("web").await;
    story.kill(part, Runtime::Awake).await;
    let browser = open(&link.url).await;
    story.kill(part, Runtime::Awake).await;
    page(&browser, "/").await;
    page(&browser, "/api/count").await;
    page(&browser, "/api/notes").await;
    let note = format!("kept through {part}");
    browser.post("/api/notes", &json!({ "text": note })).await.unwrap();
    member!().sleep("frozen").await;
    story.kill(part, Runtime::Asleep).await;
    member!().until("it still sleeps", |workspace| workspace.runtime.state == RuntimeState::Frozen).await;
    assert!(page(&browser, "/api/notes").await.contains(&note), "woken by the link after a kill while frozen");
    story.kill(part, Runtime::Awake).await;
    assert!(page(&browser, "/api/notes").await.contains(&note));
    member!().sleep("stopped").await;
    story.kill(part, Runtime::Asleep).await;
    assert!(page(&browser, "/api/notes").await.contains(&note), "woken from nothing");
    let mut shell = attach(&story.the_box, &slug).await;
    shell.send("echo kept-$STAYS\r").await.unwrap();
    shell.expect("kept-23").await.unwrap();
    member!().sleep("stopped").await;
    story.kill(part, Runtime::Asleep).await;
    let usage = member!().usage().await;
    assert!(usage.awake_since.is_none(), "no window is left open");
    for receipt in &usage.receipts {
        assert!(receipt.is_final, "{receipt:?}");
        for pair in receipt.windows.windows(2) {
            assert!(pair[0].closed_at.unwrap() <= pair[1].opened_at, "windows overlap: {receipt:?}");
        }
    }
}

/// Says which walk it was, should it fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = format!("it was ENVFORGE_CHAOS_SEED={}\n", self.0);
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        }
    }
}

// proves UP-3 UP-7 OPS-1 OPS-2 COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_is_killed_at_each_step_and_the_loop_completes() {
    let number = |name: &str| std::env::var(name).ok().map_or(1, |text| text.parse().expect(name));
    let (first, times): (u64, u64) = (number("ENVFORGE_CHAOS_SEED"), number("ENVFORGE_CHAOS_TIMES"));
    for seed in first..first + times {
        println!("seed {seed}");
        let _seed = Seed(seed);
        let mut story = Story { the_box: TestBox::started().await, dice: Dice(seed) };
        let repository = repository(&story.the_box.scratch("notes"));
        for part in PARTS {
            survive(&mut story, &repository, part).await;
        }
    }
}

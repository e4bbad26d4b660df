//! A real browser, headless Chromium, on the sample application as a reviewer uses it.
//!
//! The sample is cloned with its installed packages committed, so the story needs no registry. Where Chromium, its driver
//! or those packages are missing it says that it was skipped; in CI that is a failure, unless `ENVFORGE_NO_BROWSER` says
//! that this system has no browser to install.

use super::sample::{self, Member, PATIENCE, commit};
use crate::support::TestBox;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Shell, free_port, wait_for, wait_until_within};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use thirtyfour::prelude::*;

/// What keeps Chromium from asking the network for anything of its own.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
];

/// Who is added.
const PERSON: &str = "Grace of the browser";

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scheduler")
}

/// The sample in a repository of its own, packages included, so that its setup hook has nothing to fetch.
fn repository(folder: &Path) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "copying the sample as a person would")]
    let copied =
        std::process::Command::new("cp").args(["-r", "--"]).arg(sample()).arg(folder.join("sample")).status().unwrap();
    assert!(copied.success());
    let repository = folder.join("sample");
    let manifest = fs_err::read_to_string(repository.join("envforge.yml")).unwrap();
    let kept: Vec<_> =
        manifest.lines().filter(|line| !line.starts_with("hooks:") && !line.contains("setup:")).collect();
    fs_err::write(repository.join("envforge.yml"), kept.join("\n")).unwrap();
    fs_err::write(repository.join(".gitignore"), "").unwrap();
    #[expect(clippy::disallowed_methods, reason = "a team's own Git")]
    let made = std::process::Command::new("git")
        .arg("-C")
        .arg(&repository)
        .args(["init", "--quiet", "--initial-branch=main"])
        .status();
    assert!(made.unwrap().success());
    commit(&repository, "The scheduler, with its packages");
    repository
}

const DRIVER: &str = "/usr/bin/chromedriver";

/// Whether the story can't be told here.
#[expect(clippy::print_stdout, reason = "a test says that it was skipped")]
fn is_skipped(has_packages: bool) -> bool {
    if Path::new(DRIVER).exists() && has_packages {
        return false;
    }
    let missing = "the browser's stories need chromium-driver, and `npm ci` in examples/scheduler";
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    assert!(!is_set("CI") || is_set("ENVFORGE_NO_BROWSER"), "{missing}");
    println!("skipped: {missing}");
    true
}

/// A browser with a profile of its own.
struct Chromium {
    driver: WebDriver,
    program: tokio::process::Child,
}

impl Chromium {
    async fn start(the_box: &TestBox) -> Self {
        let port = free_port();
        #[expect(clippy::disallowed_methods, reason = "the browser's driver")]
        let program = tokio::process::Command::new(DRIVER)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        for flag in FLAGS {
            wanted.add_arg(flag).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", the_box.scratch("profile").display())).unwrap();
        let server = format!("http://127.0.0.1:{port}");
        let driver =
            wait_for("the browser's driver", async || WebDriver::new(&server, wanted.clone()).await.ok()).await;
        Self { driver, program }
    }

    async fn quit(mut self) {
        self.driver.quit().await.unwrap();
        let _ = self.program.kill().await;
    }

    /// What an expression is worth in the page.
    async fn value(&self, expression: &str) -> serde_json::Value {
        match self.driver.execute(format!("return {expression}"), Vec::new()).await {
            Ok(value) => value.json().clone(),
            Err(_) => serde_json::Value::Null,
        }
    }
}

async fn text(driver: &WebDriver) -> String {
    match driver.find(By::Tag("body")).await {
        Ok(body) => body.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

async fn shows(driver: &WebDriver, wanted: &str) {
    wait_until_within(wanted, PATIENCE, async || text(driver).await.contains(wanted)).await;
}

// proves LINK-3 LINK-5 RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reviewer_opens_the_sample_and_sees_changes_as_they_are_made() {
    if is_skipped(sample().join("node_modules/vite").exists()) {
        return;
    }
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("team"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;

    let browser = Chromium::start(&the_box).await;
    let driver = &browser.driver;

    // The card, its button, the application; the token leaves the address bar.
    driver.goto(&link.url).await.unwrap();
    driver.find(By::Tag("button")).await.unwrap().click().await.unwrap();
    shows(driver, "Scheduler").await;
    assert!(!driver.current_url().await.unwrap().as_str().contains("/share/"));

    // A row made with the page's own form is in the branch's database.
    driver.find(By::Css("input[aria-label='Name of a new person']")).await.unwrap().send_keys(PERSON).await.unwrap();
    driver.find(By::XPath("//button[normalize-space()='Add']")).await.unwrap().click().await.unwrap();
    shows(driver, &format!("Added {PERSON}.")).await;
    let (code, rows) = member.run("psql \"$DATABASE_URL\" -qAtXc \"SELECT name FROM people\"").await;
    assert!(code == 0 && rows.contains(PERSON), "{rows}");

    // Hot reload through the gateway: the page changes without being loaded again.
    driver.execute("window.stays = 42", Vec::new()).await.unwrap();
    let mut shell =
        Shell::attach(&format!("http://{}", the_box.listen), the_box.key().expose(), "local", "main").await.unwrap();
    shell.send("sed -i 's/Scheduler/Planner of the story/' web/src/App.tsx; echo changed-$((1+1))\r").await.unwrap();
    shell.expect("changed-2").await.unwrap();
    shows(driver, "Planner of the story").await;
    let stays = driver.execute("return window.stays", Vec::new()).await.unwrap();
    assert_eq!(stays.json().as_i64(), Some(42), "the page was reloaded instead of updated");

    // Asleep, opening the page again wakes it. (The tab is left first: its hot-reload client asks for a new socket
    // as soon as the old one ends, and that is traffic of a verified visitor like any other.)
    let page = driver.current_url().await.unwrap();
    driver.goto("about:blank").await.unwrap();
    member.sleep("stopped").await;
    driver.goto(page.as_str()).await.unwrap();
    shows(driver, "Planner of the story").await;
    browser.quit().await;
}

/// Opens a socket from the page and keeps what it says.
const LISTEN: &str = "window.heard = []; window.ended = null; window.socket = new WebSocket(`ws://${location.host}/api/live`);
socket.onmessage = (event) => heard.push(event.data); socket.onclose = (event) => (ended = { code: event.code, at: Date.now() });";

// proves LINK-2 LINK-4 LINK-5 RUN-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opened_cold_becomes_the_app_and_its_tab_outlives_sleep_but_not_the_link() {
    if is_skipped(true) {
        return;
    }
    let the_box = TestBox::started().await;
    let folder = sample::repository(&the_box.scratch("notes"));
    // Slow enough to be waited for.
    let manifest = fs_err::read_to_string(folder.join("envforge.yml")).unwrap();
    let slow = manifest.replace("command: node web.mjs", "command: sleep 4 && node web.mjs");
    fs_err::write(folder.join("envforge.yml"), slow).unwrap();
    commit(&folder, "A slow start");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&folder, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    member.sleep("stopped").await;
    let browser = Chromium::start(&the_box).await;

    // The card wakes nothing; its button shows what is on its way, and the page becomes the application by itself.
    browser.driver.goto(&link.url).await.unwrap();
    shows(&browser.driver, "invited to a preview").await;
    assert_eq!(member.show().await.unwrap().runtime.state, RuntimeState::Asleep);
    browser.driver.find(By::Tag("button")).await.unwrap().click().await.unwrap();
    shows(&browser.driver, "Waking up main").await;
    shows(&browser.driver, "Notes of the story").await;

    // The tab's socket stays open over a freeze; what the page says then wakes the runtime and is heard.
    browser.driver.execute(LISTEN, Vec::new()).await.unwrap();
    let opened = async || browser.value("socket.readyState").await == json!(1);
    wait_until_within("the socket is open", PATIENCE, opened).await;
    member.all_ready().await;
    member.sleep("frozen").await;
    assert_eq!(browser.value("socket.readyState").await, json!(1), "it stays open");
    browser.driver.execute("socket.send('still here')", Vec::new()).await.unwrap();
    let heard = async || browser.value("heard").await == json!(["still here"]);
    wait_until_within("the echo after the thaw", PATIENCE, heard).await;
    assert_eq!(browser.value("ended").await, json!(null), "the same socket");
    member.all_ready().await;

    // Revoked, it is closed within a second.
    let revoked_at = browser.value("Date.now()").await.as_f64().unwrap();
    let path = format!("/v1/orgs/local/links/{}", link.link.id);
    let _: serde_json::Value = the_box.client().delete(&path).await.unwrap();
    let closed = async || browser.value("ended && ended.code").await == json!(1008);
    wait_until_within("the socket is closed", PATIENCE, closed).await;
    let closed_at = browser.value("ended.at").await.as_f64().unwrap();
    assert!(closed_at - revoked_at < 1_000.0, "{} ms after the revocation", closed_at - revoked_at);
    browser.quit().await;
}

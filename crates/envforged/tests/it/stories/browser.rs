//! A real browser, headless Chromium, on the sample application as a reviewer uses it.
//!
//! The sample is cloned with its installed packages committed, so the story needs no registry. Where Chromium, its driver
//! or those packages are missing it says that it was skipped; in CI that is a failure, unless `ENVFORGE_NO_BROWSER` says
//! that this system has no browser to install.

use super::sample::{Member, PATIENCE, commit};
use crate::support::TestBox;
use envforge_testkit::{Shell, free_port, wait_until_within};
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
    let driver_program = Path::new("/usr/bin/chromedriver");
    if !driver_program.exists() || !sample().join("node_modules/vite").exists() {
        let missing = "the browser story needs chromium-driver, and `npm ci` in examples/scheduler";
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        assert!(!is_set("CI") || is_set("ENVFORGE_NO_BROWSER"), "{missing}");
        println!("skipped: {missing}");
        return;
    }
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("team"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;

    let port = free_port();
    #[expect(clippy::disallowed_methods, reason = "the browser's driver")]
    let mut chromedriver = tokio::process::Command::new(driver_program)
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
        envforge_testkit::wait_for("the browser's driver", async || WebDriver::new(&server, wanted.clone()).await.ok())
            .await;

    // The card, its button, the application; the token leaves the address bar.
    driver.goto(&link.url).await.unwrap();
    driver.find(By::Tag("button")).await.unwrap().click().await.unwrap();
    shows(&driver, "Scheduler").await;
    assert!(!driver.current_url().await.unwrap().as_str().contains("/share/"));

    // A row made with the page's own form is in the branch's database.
    driver.find(By::Css("input[aria-label='Name of a new person']")).await.unwrap().send_keys(PERSON).await.unwrap();
    driver.find(By::XPath("//button[normalize-space()='Add']")).await.unwrap().click().await.unwrap();
    shows(&driver, &format!("Added {PERSON}.")).await;
    let (code, rows) = member.run("psql \"$DATABASE_URL\" -qAtXc \"SELECT name FROM people\"").await;
    assert!(code == 0 && rows.contains(PERSON), "{rows}");

    // Hot reload through the gateway: the page changes without being loaded again.
    driver.execute("window.stays = 42", Vec::new()).await.unwrap();
    let mut shell =
        Shell::attach(&format!("http://{}", the_box.listen), the_box.key().expose(), "local", "main").await.unwrap();
    shell.send("sed -i 's/Scheduler/Planner of the story/' web/src/App.tsx; echo changed-$((1+1))\r").await.unwrap();
    shell.expect("changed-2").await.unwrap();
    shows(&driver, "Planner of the story").await;
    let stays = driver.execute("return window.stays", Vec::new()).await.unwrap();
    assert_eq!(stays.json().as_i64(), Some(42), "the page was reloaded instead of updated");

    // Asleep, opening the page again wakes it. (The tab is left first: its hot-reload client asks for a new socket
    // as soon as the old one ends, and that is traffic of a verified visitor like any other.)
    let page = driver.current_url().await.unwrap();
    driver.goto("about:blank").await.unwrap();
    member.sleep("stopped").await;
    driver.goto(page.as_str()).await.unwrap();
    shows(&driver, "Planner of the story").await;
    driver.quit().await.unwrap();
    let _ = chromedriver.kill().await;
}

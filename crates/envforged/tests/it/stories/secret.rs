//! A secret on its way: set by a person, in the one service that declares it, and nowhere else on the box.

use super::sample::{Member, commit, repository};
use crate::support::TestBox;
use envforge_api::http::secrets::SecretInfo;
use envforge_core::readiness::ReadinessState;
use envforge_testkit::Browser;
use serde_json::{Value, json};
use std::path::Path;

const PLANTED: &str = "planted-secret-4711_nowhere_else";

const FILE: &str = "\
services:
  web:
    command: node serve.mjs
    port: 3000
    inputs: { stripe_key: required }
    environment: { STRIPE_KEY: input.stripe_key }
  other:
    command: node other.mjs
    port: 3001
    routes: [/other]
";

const SERVE: &str = r#"
import { createServer } from "node:http";
console.log(`starting with ${process.env.STRIPE_KEY}`);
createServer((request, response) => response.end(process.env.STRIPE_KEY ?? "none")).listen(Number(process.env.PORT), "127.0.0.1");
"#;

/// What holds the value below a directory: files that can be read now.
fn files_with(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            files_with(&path, found);
        } else if kind.is_file()
            && std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
}

/// Command lines of the processes that have the value in what `/proc` shows of them under this name.
fn processes_with(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        if String::from_utf8_lossy(&read(name)).contains(PLANTED) {
            found.push(String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
        }
    }
    found
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_its_service_and_nowhere_else() {
    let the_box = TestBox::started().await;
    let folder = repository(&the_box.scratch("planner"));
    for (name, text) in [("envforge.yml", FILE), ("serve.mjs", SERVE), ("other.mjs", SERVE)] {
        fs_err::write(folder.join(name), text).unwrap();
    }
    commit(&folder, "A service with a secret");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&folder, "main").await;
    member.wake().await;
    member
        .until("it says which secret is missing", |workspace| {
            let blocked =
                workspace.parts.iter().find(|part| part.name == "web" && part.state == ReadinessState::Blocked);
            blocked
                .is_some_and(|part| part.fix.as_ref().is_some_and(|fix| fix.contains("envforge secret set STRIPE_KEY")))
        })
        .await;
    let body = json!({ "name": "STRIPE_KEY", "value": PLANTED });
    let _: SecretInfo = the_box.client().post("/v1/orgs/local/secrets", &body).await.unwrap();
    member.all_ready().await;
    let link = member.link("web").await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    assert_eq!(browser.get("/").await.unwrap(), PLANTED, "the service has it");
    let link = member.link("other").await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    assert_eq!(browser.get("/other").await.unwrap(), "none", "its neighbour does not");
    let logs = the_box.envforge(&folder, &["logs", "web", "-w", "main"]).await;
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.contains("starting with [secret STRIPE_KEY]"), "{logs}");
    // In the environment of that service's processes alone: not of a shell, of the box's own programs, or in a process list.
    let holders = processes_with("environ");
    assert!(!holders.is_empty() && holders.iter().all(|line| line.contains("serve.mjs")), "{holders:?}");
    assert_eq!(processes_with("cmdline"), [""; 0]);
    // Asleep and awake, it is in no file: database with its write-ahead log, journals, captured logs, checkout.
    let mut found = Vec::new();
    files_with(&the_box.path(), &mut found);
    assert_eq!(found, [""; 0]);
    assert!(!the_box.words().contains(PLANTED));
    let used: Value = the_box.client().get("/v1/orgs/local/secrets").await.unwrap();
    assert!(used["secrets"][0]["last_used_at"].is_string() && !used.to_string().contains(PLANTED), "{used}");
    member.sleep("stopped").await;
    member.until("it sleeps", |workspace| workspace.runtime.readiness == ReadinessState::Asleep).await;
    assert_eq!(processes_with("environ"), [""; 0], "gone with the runtime");
}

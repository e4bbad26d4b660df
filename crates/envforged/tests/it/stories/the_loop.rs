//! The whole product once: up, wake, link, sleep, receipt.

use super::sample::commit;
use super::sample::{Member, repository};
use crate::support::TestBox;
use envforge_api::http::ledger::LedgerState;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Browser, Shell, wait_until};
use futures_util::StreamExt as _;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// What "within a second" may take here, where other tests use both cores.
const AT_ONCE: Duration = Duration::from_secs(3);

// proves UP-1 UP-2 UP-3 UP-5 UP-11 REPO-4 RUN-1 RUN-3 RUN-6 LINK-2 LINK-3 LINK-4 COST-1 COST-2 OPS-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_wake_link_sleep_receipt() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let opened = the_box.json(&repository, &["up", "--yes", "--no-attach"]).await;
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    let server = format!("http://{}", the_box.listen);

    // The shell: a real terminal on the checkout, with its context, and everything in it survives a detach.
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.answers().await.unwrap();
    shell.send("git branch --show-current; ls .envforge; whoami; export STAYS=$((20+3))\r").await.unwrap();
    shell.expect("context.json").await.unwrap();
    drop(shell);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.send("echo kept-$STAYS\r").await.unwrap();
    shell.expect("kept-23").await.unwrap();
    member.all_ready().await;

    // The link: a card without effect, then a session.
    let link = opened["link"]["url"].as_str().expect("`up` makes a link").to_owned();
    let mut browser = Browser::at(&link).unwrap();
    assert_eq!(browser.status("/").await.unwrap(), 401);
    browser.open(&link).await.unwrap();
    assert!(browser.get("/").await.unwrap().contains("Notes of the story"));
    let written = browser.post("/api/notes", &json!({ "text": "from the browser" })).await.unwrap();
    assert!(written.contains("from the browser"));
    assert!(browser.get("/api/count").await.unwrap().contains(":1"));
    let (code, rows) = member.run("psql \"$DATABASE_URL\" -qAtXc 'SELECT text FROM notes'").await;
    assert_eq!((code, rows.trim()), (0, "from the browser"), "the row is in the branch's own database");
    assert_eq!(member.run("exit 7").await.0, 7);
    let mut socket = browser.websocket("/api/live").await.unwrap();
    Browser::echo(&mut socket, "hello", "hello").await.unwrap();

    // A change in the shell shows through the gateway at once.
    shell.send("sed -i 's/of the story/changed in the shell/' page.html\r").await.unwrap();
    envforge_testkit::wait_until("the change shows", async || {
        browser.get("/").await.unwrap().contains("changed in the shell")
    })
    .await;

    // Sleep by pausing: the socket survives, a request wakes.
    member.sleep("frozen").await;
    shell.answers().await.unwrap();
    assert!(browser.get("/api/notes").await.unwrap().contains("from the browser"));
    Browser::echo(&mut socket, "again", "again").await.unwrap();

    // Sleep by ending: nothing runs, the link brings everything back. A command in the shell wakes nothing.
    member.sleep("stopped").await;
    let script = "cat page.html; echo told >&2; exit 7";
    let ended = the_box.envforge(&repository, &["exec", "-w", "main", "--", "sh", "-c", script]).await;
    let (output, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(output.contains("changed in the shell"), "{output}{errors}");
    assert_eq!((ended.status.code(), &*errors), (Some(7), "told\n"));
    assert_eq!(member.show().await.unwrap().runtime.state, RuntimeState::Asleep);
    assert!(browser.get("/").await.unwrap().contains("changed in the shell"));
    assert!(browser.get("/api/notes").await.unwrap().contains("from the browser"));

    // Revoked, the link is worth nothing at once, and what it opened is closed.
    let mut socket = browser.websocket("/api/live").await.unwrap();
    Browser::echo(&mut socket, "still here", "still here").await.unwrap();
    let begun = Instant::now();
    let id = opened["link"]["link"]["id"].as_str().expect("the link has an id");
    the_box.json(&repository, &["link", "revoke", id]).await;
    let closed = async { while matches!(socket.next().await, Some(Ok(message)) if !message.is_close()) {} };
    tokio::time::timeout(AT_ONCE, closed).await.expect("the open WebSocket of a revoked link is closed");
    println!("the WebSocket was closed {:?} after its link began to be revoked", begun.elapsed());
    wait_until("the page is refused", async || browser.status("/").await.unwrap() == 401).await;
    println!("the page was refused {:?} after the link began to be revoked", begun.elapsed());
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
    member.sleep("stopped").await;

    let usage = member.usage().await;
    assert!(usage.awake_since.is_none());
    assert!(usage.receipts.len() >= 2, "{:?}", usage.receipts);
    assert!(usage.receipts.iter().all(|receipt| receipt.is_final && receipt.unproven_seconds == 0));
    let text = the_box.envforge(&repository, &["workspace", "usage", "main"]).await;
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("link visit to /"),
        "{}",
        String::from_utf8_lossy(&text.stdout)
    );

    let export = the_box.scratch("ledger").join("export.jsonl");
    let path = export.to_str().unwrap();
    let state: LedgerState = the_box.client().get("/v1/orgs/local/ledger/state").await.unwrap();
    the_box.envforge(&repository, &["ledger", "export", path]).await;
    let text = the_box.envforge(&repository, &["ledger", "verify", path, "--key", &state.key.key]).await;
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("verified: "), "{text:?}");
}

// proves UP-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prompt_is_there_while_a_service_is_still_waited_for() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let manifest = fs_err::read_to_string(repository.join("envforge.yml")).unwrap();
    let late = "command: until test -e go; do sleep 0.05; done; exec node web.mjs";
    fs_err::write(repository.join("envforge.yml"), manifest.replace("command: node web.mjs", late)).unwrap();
    commit(&repository, "A service that takes its time");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;

    // Like a person who attaches at once: asked again until there is a shell to attach to.
    member.shell_ready().await;
    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.answers().await.unwrap();
    let is_waking = |state: ReadinessState| state == ReadinessState::Waking;
    member
        .until("the service is waited for", |workspace| {
            workspace.runtime.state == RuntimeState::Waking
                && workspace.parts.iter().any(|part| part.name == "web" && is_waking(part.state))
        })
        .await;
    shell.answers().await.unwrap();
    shell.send("touch go\r").await.unwrap();
    member.all_ready().await;
}

//! A box is saved while people work in it, dies, and is made again elsewhere.

use super::sample::{Member, page, repository, retry};
use crate::support::TestBox;
use envforge_api::http::accounts::Me;
use envforge_api::http::ledger::LedgerState;
use envforge_testkit::{Browser, Shell, wait_until};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The lines of the events, without those around them that say when it was asked.
async fn ledger(the_box: &TestBox) -> Vec<String> {
    let export = the_box.client().stream("/v1/orgs/local/ledger/export").await.unwrap();
    let lines: Vec<String> = export.text().await.unwrap().lines().map(str::to_owned).collect();
    lines[1..lines.len() - 1].to_vec()
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_died_is_restored_with_its_workspace_its_ledger_its_keys_and_its_rows() {
    let mut the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    browser.post("/api/notes", &json!({ "text": "saved while it ran" })).await.unwrap();
    let (code, said_there) = member.run("echo untracked > left-here; id -u").await;
    assert_eq!(code, 0, "{said_there}");
    let sealed = async || ledger(&the_box).await.iter().any(|line| line.contains("link.visited"));
    wait_until("the visit is sealed", sealed).await;
    let (before, key) = (ledger(&the_box).await, the_box.key());

    let (file, old) = (the_box.scratch("backups").join("one.backup"), the_box.path());
    let arguments = ["backup", file.to_str().unwrap(), "--json", "--data-dir", old.to_str().unwrap()];
    let begun = tokio::time::Instant::now();
    let saved = the_box.envforged(&arguments).await;
    assert!(saved.status.success(), "{}", said(&saved));
    println!("saved in {:?}", begun.elapsed());
    let report: serde_json::Value = serde_json::from_slice(&saved.stdout).unwrap();
    let names: Vec<&str> =
        report["manifest"]["members"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let wanted = ["control-plane.dump", "secrets.tar.zst", "host.tar", "workspaces.tar.zst", "databases.sql.zst"];
    assert_eq!(names, wanted);
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = the_box.envforged(&arguments).await;
    assert!(!again.status.success() && said(&again).contains("exists"), "nothing is overwritten");
    browser.get("/").await.expect("the box went on");
    browser.post("/api/notes", &json!({ "text": "too late" })).await.unwrap();

    // The machine dies, and its disk with it.
    the_box.lose_power().await;
    fs_err::remove_dir_all(&old).unwrap();
    the_box.moves_to("again");
    let target = the_box.path();
    let restore = ["restore", file.to_str().unwrap(), "--data-dir", target.to_str().unwrap()];
    let begun = tokio::time::Instant::now();
    let restored = the_box.envforged(&restore).await;
    assert!(restored.status.success(), "{}", said(&restored));
    println!("restored in {:?}", begun.elapsed());
    assert!(said(&the_box.envforged(&restore).await).contains("is not empty"));

    the_box.start().await;
    assert_eq!(the_box.key(), key);
    the_box.client().get::<Me>("/v1/me").await.expect("the owner's key works");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.shell_ready().await;
    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, key.expose(), "local", "main").await.unwrap();
    shell.send("cat left-here; git status --short; echo looked-$((1+1))\r").await.unwrap();
    shell.expect("untracked").await.unwrap();
    shell.expect("looked-2").await.unwrap();
    member.wake().await;
    member.all_ready().await;
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.expect("the link of before opens");
    let notes = page(&browser, "/api/notes").await;
    assert!(notes.contains("saved while it ran") && !notes.contains("too late"), "{notes}");
    member.sleep("stopped").await;

    let after = ledger(&the_box).await;
    assert_eq!(before, after[..before.len()], "the chain goes on where it was");
    let state: LedgerState = the_box.client().get("/v1/orgs/local/ledger/state").await.unwrap();
    let export = the_box.scratch("ledger").join("export.jsonl");
    let path = export.to_str().unwrap();
    the_box.envforge(&repository, &["ledger", "export", path]).await;
    let text = the_box.envforge(&repository, &["ledger", "verify", path, "--key", &state.key.key]).await;
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("verified: "), "{text:?}");
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_workspaces_accounts_and_ledger_come_back_and_a_workspace_is_made_again() {
    let mut the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.shell_ready().await;
    let (code, said_there) = member.run("echo untracked > left-here").await;
    assert_eq!(code, 0, "{said_there}");
    let sealed = async || ledger(&the_box).await.iter().any(|line| line.contains("workspace.created"));
    wait_until("what happened is sealed", sealed).await;
    let (before, key, old) = (ledger(&the_box).await, the_box.key(), the_box.path());
    let file = the_box.scratch("backups").join("accounts.backup");
    let (file, from) = (file.to_str().unwrap(), old.to_str().unwrap());
    let saved = the_box.envforged(&["backup", file, "--without-workspaces", "--json", "--data-dir", from]).await;
    assert!(saved.status.success(), "{}", said(&saved));
    let manifest = &serde_json::from_slice::<serde_json::Value>(&saved.stdout).unwrap()["manifest"];
    let names = manifest["members"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["control-plane.dump", "secrets.tar.zst", "host.tar"]);
    assert_eq!(manifest["with_workspaces"], false);

    the_box.lose_power().await;
    fs_err::remove_dir_all(&old).unwrap();
    the_box.moves_to("again");
    let target = the_box.path();
    let restored = the_box.envforged(&["restore", file, "--data-dir", target.to_str().unwrap()]).await;
    assert!(restored.status.success(), "{}", said(&restored));
    the_box.start().await;
    assert_eq!(the_box.key(), key);
    the_box.client().get::<Me>("/v1/me").await.expect("the owner's key works");
    let after = ledger(&the_box).await;
    assert_eq!(before, after[..before.len()], "the chain goes on where it was");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.show().await.expect("the workspace is known");
    retry("its deletion", async || {
        let path = "/v1/orgs/local/workspaces/main";
        the_box.client().delete::<serde_json::Value>(path).await.map(drop)
    })
    .await;
    wait_until("it is gone", async || member.show().await.is_err()).await;
    member.workspace(&repository, "main").await;
    member.shell_ready().await;
    let (code, said_there) = member.run("test ! -e left-here && test -e envforge.yml").await;
    assert_eq!(code, 0, "a fresh checkout: {said_there}");
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_saved_or_restored_is_refused_and_leaves_nothing() {
    let mut the_box = TestBox::started().await;
    let (folder, root) = (the_box.scratch("backups"), the_box.path());
    let file = folder.join("box.backup");
    let save = async |the_box: &TestBox, file: &std::path::Path| {
        the_box.envforged(&["backup", file.to_str().unwrap(), "--data-dir", root.to_str().unwrap()]).await
    };
    let restore = async |the_box: &TestBox, file: &std::path::Path, to: &std::path::Path| {
        let restored =
            the_box.envforged(&["restore", file.to_str().unwrap(), "--data-dir", to.to_str().unwrap()]).await;
        (restored.status.success(), said(&restored))
    };
    if rustix::process::geteuid().is_root() {
        let full = the_box.scratch("full");
        let mounted =
            nix::mount::mount(Some("tmpfs"), &full, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=16k"));
        mounted.unwrap();
        let refused = save(&the_box, &full.join("box.backup")).await;
        let left = fs_err::read_dir(&full).unwrap().count();
        nix::mount::umount(&full).unwrap();
        let words = said(&refused);
        assert!(!refused.status.success() && words.contains("fix: free space there"), "{words}");
        assert_eq!(left, 0, "a full disk leaves nothing");
    }
    // Stopped, it is saved as well.
    the_box.stop().await;
    let saved = save(&the_box, &file).await;
    assert!(saved.status.success(), "{}", said(&saved));
    assert_eq!(the_box.postmaster("postgres"), None, "what was started for it was stopped");

    let (whole, target) = (fs_err::read(&file).unwrap(), the_box.scratch("targets").join("new"));
    let broken = folder.join("broken");
    fs_err::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let (is_restored, words) = restore(&the_box, &broken, &target).await;
    assert!(!is_restored && words.contains("fix: use another backup"), "{words}");
    assert!(!target.exists(), "nothing was made");
    let (is_restored, words) = restore(&the_box, &file, &root).await;
    assert!(!is_restored && words.contains("is not empty") && words.contains("fix: give another"), "{words}");
}

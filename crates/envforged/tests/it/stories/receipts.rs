//! A session's receipt: seen, exported, checked; made also when the server dies as the session ends; found when it was changed.

use super::sample::{Member, PATIENCE, page, repository, stranger};
use crate::support::{TestBox, kill};
use envforge_api::http::receipts::{KeptReceipt, Receipts};
use envforge_core::usage::SessionReceipt;
use envforge_testkit::{Browser, wait_until_within};
use serde_json::Value;
use std::process::Output;

const RECEIPTS: &str = "/v1/orgs/local/workspaces/main/receipts";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn finals(the_box: &TestBox) -> Vec<String> {
    let found = the_box.client().get::<Receipts>(RECEIPTS).await;
    let finals = found.iter().flat_map(|found| &found.receipts).filter(|receipt| receipt.is_final);
    finals.map(|receipt| receipt.session.to_string()).collect()
}

// proves COST-1 COST-2 COST-5 ORG-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_told_on_a_receipt_that_nobody_can_change_unseen() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let workspace = Member { the_box: &the_box, slug: "main".to_owned() };
    workspace.workspace(&repository, "main").await;
    workspace.wake().await;
    workspace.all_ready().await;
    let link = workspace.link("web").await.url;
    workspace.sleep("stopped").await;
    let is_kept = async |count: usize| {
        wait_until_within("there is a receipt", PATIENCE * 2, async || finals(&the_box).await.len() == count).await;
    };
    is_kept(1).await;
    let cli = async |arguments: &[&str]| the_box.envforge(&repository, arguments).await;

    // A visitor wakes it, a job fails, a commit is made.
    let mut browser = Browser::at(&link).unwrap();
    browser.open(&link).await.unwrap();
    page(&browser, "/").await;
    workspace.all_ready().await;
    assert_eq!(workspace.run("exit 7").await.0, 7);
    let so_far = cli(&["receipt", "-w", "main"]).await;
    assert!(said(&so_far).contains("still open") && so_far.status.success(), "{}", said(&so_far));
    let unproven = cli(&["receipt", "--verify", "-w", "main"]).await;
    assert!(said(&unproven).contains("not final") && !unproven.status.success(), "{}", said(&unproven));
    let script =
        "git -c user.name=Ada -c user.email=ada@example.org commit --quiet --allow-empty -m told && git rev-parse HEAD";
    let made = cli(&["exec", "-w", "main", "--", "sh", "-c", script]).await;
    let commit = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert_eq!((commit.len(), made.status.code()), (40, Some(0)), "{}", said(&made));
    // Paused is not the end; the commit made before is told with it.
    workspace.sleep("frozen").await;
    assert_eq!(finals(&the_box).await.len(), 1);

    // The server is killed as the session ends.
    workspace.ask_for_sleep("stopped").await;
    kill(the_box.children()["server"]);
    is_kept(2).await;
    let session = finals(&the_box).await.remove(0);
    let kept: KeptReceipt = the_box.client().get(&format!("{RECEIPTS}/{session}")).await.unwrap();
    let receipt: SessionReceipt = serde_json::from_value(kept.receipt.clone()).unwrap();
    assert_eq!(kept.is_intact, Some(true));
    let opened = receipt.opened.expect("somebody opened it");
    assert!(opened.by.starts_with("link_session:") && opened.cause.contains("link visit"), "{opened:?}");
    assert_eq!((receipt.visits.len(), receipt.visits[0].count), (1, 1));
    assert!(receipt.ran.iter().any(|ran| ran.what == "run" && ran.exit_code == Some(7)), "{:?}", receipt.ran);
    assert!(receipt.ran.iter().any(|ran| ran.what == "exec" && ran.name == "sh"), "{:?}", receipt.ran);
    let commits = receipt.commits.expect("the host told of the checkout");
    assert_eq!((&commits.to, &commits.made), (&commit, &vec![commit.clone()]));
    assert_ne!(commits.from, commit);

    // As everybody sees it.
    let text = said(&cli(&["receipt", &session, "-w", "main"]).await);
    assert!(text.contains(&session) && text.contains("exit code 7") && text.contains(&commit), "{text}");
    let listed = the_box.json(&repository, &["receipts", "-w", "main"]).await;
    assert_eq!(listed["receipts"][0]["session"], *session);
    let csv = said(&cli(&["receipt", "--last", "--csv", "-w", "main"]).await);
    assert!(csv.starts_with("session,final,") && csv.contains(&session), "{csv}");
    let month = kept.recorded.as_ref().unwrap().at.to_string()[..7].to_owned();
    let month = said(&cli(&["receipts", "--month", &month, "--csv"]).await);
    assert_eq!(month.lines().filter(|line| line.starts_with(&session)).count(), receipt.windows.len(), "{month}");
    let shown = stranger()
        .get(format!("http://{}{RECEIPTS}/{session}.html", the_box.listen))
        .bearer_auth(the_box.key().expose())
        .send()
        .await
        .unwrap();
    let shown = shown.text().await.unwrap();
    assert!(shown.contains("Awake windows") && shown.contains(&commit) && !shown.contains("<script"), "{shown}");

    // Checked against the ledger, and again once somebody changed it who owns the database.
    let verified = cli(&["receipt", "--verify", "-w", "main", "--json"]).await;
    let answer: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&answer["holds"], verified.status.code()), (&Value::Bool(true), Some(0)), "{}", said(&verified));
    the_box.psql("UPDATE receipts SET document = replace(document, '\"exit_code\":7', '\"exit_code\":0')");
    let verified = cli(&["receipt", "--verify", "-w", "main"]).await;
    assert!(said(&verified).contains("CHANGED") && verified.status.code() == Some(1), "{}", said(&verified));
}

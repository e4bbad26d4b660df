//! A cap that is used up, and the override that lets work go on: as the command line and the API tell it.

use super::sample::{Member, repository};
use crate::support::TestBox;
use envforge_api::http::caps::{CapStanding, WorkspaceCaps};
use envforge_api::http::usage::OrgUsage;
use envforge_core::runtime::RuntimeState;
use envforge_core::usage::{CapLevel, CapPosture};
use std::path::Path;
use std::process::Output;

/// What it says to a person, if it ends as expected.
async fn said(the_box: &TestBox, at: &Path, arguments: &[&str], success: bool) -> String {
    let Output { status, stdout, stderr } = the_box.envforge(at, arguments).await;
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.success(), success, "{arguments:?}: {said}");
    said
}

// proves COST-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_is_used_up_stops_and_an_override_lets_work_go_on() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    let project = member.show().await.unwrap().project.to_string();
    let api = the_box.client();

    let wrong =
        said(&the_box, &repository, &["cap", "set", "main", "--mode", "stop", "--minutes", "50000"], false).await;
    assert!(wrong.contains("a cap has at most 44640 minutes") && wrong.contains("hint"), "{wrong}");
    let set = ["cap", "set", "--project", &project, "--mode", "stop", "--minutes", "0", "--grace", "0m"];
    let set = said(&the_box, &repository, &set, true).await;
    assert!(set.contains("100 % of the month's 0 minutes") && set.contains("stopped"), "{set}");
    let wake = said(&the_box, &repository, &["wake", "main"], false).await;
    assert!(wake.contains("the project's cap is used up") && wake.contains("envforge cap override"), "{wake}");
    let status = said(&the_box, &repository, &["status", "main"], true).await;
    assert!(status.contains("100 % of the month's 0 minutes"), "{status}");
    assert_eq!(member.show().await.unwrap().runtime.state, RuntimeState::Asleep);

    let no_reason = said(&the_box, &repository, &["cap", "override", "--project", &project], false).await;
    assert!(no_reason.contains("--reason"), "{no_reason}");
    let lift = ["cap", "override", "--project", &project, "--minutes", "30", "--reason", "the demo at noon"];
    let lifted = said(&the_box, &repository, &lift, true).await;
    assert!(lifted.contains("overridden by") && lifted.contains("the demo at noon"), "{lifted}");
    let woken = said(&the_box, &repository, &["wake", "main"], true).await;
    assert!(woken.contains("cap: ") && woken.contains("overridden by"), "{woken}");
    member.all_ready().await;
    let caps: WorkspaceCaps = api.get("/v1/orgs/local/workspaces/main/cap").await.unwrap();
    assert_eq!(caps.caps.len(), 1);
    assert_eq!(caps.caps[0].posture, Some(CapPosture::Warning { percent: 100 }));
    assert_eq!(caps.caps[0].overridden.as_ref().map(|given| given.up_to_seconds), Some(Some(1_800)));
    let usage: OrgUsage = api.get("/v1/orgs/local/usage").await.unwrap();
    assert_eq!(usage.caps.iter().map(|cap| cap.level).collect::<Vec<_>>(), [CapLevel::Project]);

    // The end of it is the end of the runtime's day.
    let _: CapStanding = api.delete(&format!("/v1/orgs/local/projects/{project}/cap/override")).await.unwrap();
    member.until("the cap puts it to sleep", |workspace| workspace.runtime.state == RuntimeState::Frozen).await;
    let usage = member.usage().await;
    let cause = usage.receipts[0].windows.last().and_then(|window| window.end_cause.clone()).unwrap_or_default();
    assert!(cause.contains("the project's cap is used up"), "{cause}");
    let ledger = said(&the_box, &repository, &["ledger", "list", "--verb", "cap.", "--oldest"], true).await;
    for verb in ["cap.set", "cap.reached", "cap.blocked", "cap.overridden", "cap.continued", "cap.override_ended"] {
        assert!(ledger.contains(verb), "{verb} is not in the ledger: {ledger}");
    }
}

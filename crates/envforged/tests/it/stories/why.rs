//! Why a runtime is awake, when it will sleep, why it sleeps, and what another rule would have made of it.

use super::sample::{Member, PATIENCE, repository};
use crate::support::TestBox;
use envforge_api::http::activity::{Replayed, Why};
use envforge_core::idle::{Holder, IdleSource, IdleVerdict};
use envforge_core::runtime::RuntimeState;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What a verb of the CLI says.
async fn says(the_box: &TestBox, folder: &Path, arguments: &[&str]) -> String {
    let output = the_box.envforge(folder, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same as a value.
async fn answers<T: DeserializeOwned>(the_box: &TestBox, folder: &Path, arguments: &[&str]) -> T {
    serde_json::from_str(&says(the_box, folder, &[arguments, &["--json"]].concat()).await).unwrap()
}

// proves RUN-4 COST-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_says_what_holds_it_when_it_sleeps_and_why_it_did() {
    let the_box = TestBox::started().await;
    let folder = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&folder, "main").await;
    assert!(says(&the_box, &folder, &["why", "main"]).await.contains("because      nobody woke it yet"));
    member.wake().await;
    member.all_ready().await;

    // A job holds it, and is named.
    let job = async { member.run("until test -e go; do sleep 0.1; done").await };
    let look = async {
        member
            .until("the server knows of the job", |workspace| {
                matches!(&workspace.runtime.idle, Some(IdleVerdict::Busy { holders, .. })
                    if holders.iter().any(|holder| matches!(holder, Holder::Jobs { .. })))
            })
            .await;
        let Some(IdleVerdict::Busy { reason, earliest, .. }) = member.why().await.idle else {
            panic!("a job holds it")
        };
        assert!(reason.starts_with("sh -c until test -e go") && reason.contains("running"), "{reason}");
        assert!(earliest.is_some());
        let said = says(&the_box, &folder, &["why", "main"]).await;
        for part in [
            "main is awake since",
            "woken by     member local owner",
            "at the earliest; it is held by sh -c until",
            "by envforge.yml",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        says(&the_box, &folder, &["exec", "-w", "main", "--", "touch", "go"]).await;
    };
    let ((code, said), ()) = tokio::join!(job, look);
    assert_eq!(code, 0, "{said}");

    // The forecast, by a project's limit.
    assert!(says(&the_box, &folder, &["org", "idle-limit", "9m"]).await.contains("after 9 min without work"));
    assert!(
        says(&the_box, &folder, &["project", "idle-limit", "notes", "5m"]).await.contains("after 5 min without work")
    );
    let idles = |idle: &Option<IdleVerdict>| matches!(idle, Some(IdleVerdict::Idle { .. }));
    member.until_within("nothing holds it", 2 * PATIENCE, |workspace| idles(&workspace.runtime.idle)).await;
    let told: Why = answers(&the_box, &folder, &["why", "main"]).await;
    assert_eq!((told.policy.freeze_after, told.rule_of), (300, IdleSource::Project));
    let Some(IdleVerdict::Idle { sleeps_at }) = told.idle else { panic!("{told:?}") };
    assert_eq!(sleeps_at, told.last_work.unwrap() + jiff::SignedDuration::from_mins(5));
    let said = says(&the_box, &folder, &["why", "main"]).await;
    assert!(said.contains("now          sleeps in 4 min") && said.contains("by the project's limit"), "{said}");

    // Shorter than a manifest may say, so that nobody waits for it.
    the_box.psql("UPDATE workspaces SET manifest = jsonb_set(manifest, '{runtime,idle}', '1')");
    member.until_within("it sleeps", 2 * PATIENCE, |workspace| workspace.runtime.state == RuntimeState::Frozen).await;
    let said = says(&the_box, &folder, &["why", "main"]).await;
    assert!(said.contains("main is asleep since") && said.contains("because      idle for "), "{said}");
    assert!(member.why().await.idle.is_none());

    // Another rule on what was.
    let replay: Replayed = answers(&the_box, &folder, &["why", "main", "--if-idle", "2h", "--days", "1"]).await;
    assert_eq!((replay.policy.freeze_after, replay.replay.wakes_were, replay.replay.wakes_would_be), (7_200, 1, 1));
    assert!(replay.replay.would_be_awake >= replay.replay.was_awake, "{replay:?}");
    let said = says(&the_box, &folder, &["why", "main", "--if-idle", "2h"]).await;
    assert!(said.contains("had it slept after 2 h without work") && said.contains("1, instead of 1"), "{said}");
}

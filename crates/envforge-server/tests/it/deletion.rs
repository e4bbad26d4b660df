//! A deletion against everything that may happen at the same time.

use crate::support::{TestServer, code, lock_waits, report};
use envforge_api::http::workspaces::Workspace;
use envforge_core::id::Id as _;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use sqlx::Connection as _;

const MAIN: &str = "/v1/orgs/acme/workspaces/main";

// proves UP-7
#[tokio::test]
async fn a_wake_that_waited_for_a_deletion_wakes_nothing() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let (mut holder, mut watcher) = (server.database_owner().await, server.database_owner().await);
    // A deletion that has done its work and not committed yet.
    let mut deletion = holder.begin().await.unwrap();
    for statement in [
        "UPDATE workspaces SET deleting_at = now() WHERE id = $1",
        "UPDATE runtimes SET generation = generation + 1 WHERE workspace_id = $1",
    ] {
        sqlx::query(statement).bind(workspace.id.uuid()).execute(&mut *deletion).await.unwrap();
    }
    let path = format!("{MAIN}/wake");
    let body = json!({});
    let wake = server.owner.post::<_, Workspace>(&path, &body);
    let commit = async {
        wait_until("the wake waits", async || lock_waits(&mut watcher).await > 0).await;
        deletion.commit().await.unwrap();
    };
    let (woken, ()) = tokio::join!(wake, commit);
    assert_eq!(code(woken), "workspace.deleting");
    assert_eq!(server.events("runtime.wake_asked").await, 0);
}

// proves UP-7
#[tokio::test]
async fn a_deletion_and_a_report_at_once_both_come_through() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let (mut holder, mut watcher) = (server.database_owner().await, server.database_owner().await);
    // Both come to wait for the runtime's row: whatever else they hold by then, they must not hold it against each other.
    let mut busy = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM runtimes WHERE workspace_id = $1 FOR UPDATE")
        .bind(workspace.id.uuid())
        .execute(&mut *busy)
        .await
        .unwrap();
    let report = host.report(report(workspace.id, start.generation, ObservedPhase::Up, true, ReadinessState::Ready));
    let deletion = async {
        wait_until("the report waits", async || lock_waits(&mut watcher).await == 1).await;
        server.owner.delete::<Value>(MAIN).await
    };
    let release = async {
        let mut watcher = server.database_owner().await;
        wait_until("both wait", async || lock_waits(&mut watcher).await == 2).await;
        busy.commit().await.unwrap();
    };
    let ((), deleted, ()) = tokio::join!(report, deletion, release);
    deleted.unwrap();
    let destroy = host.command("DESTROY_WORKSPACE").await;
    host.done(&destroy).await;
    wait_until("it is gone", async || server.owner.get::<Value>(MAIN).await.is_err()).await;
}

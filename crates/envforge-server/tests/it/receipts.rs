//! Receipts: made once, whatever dies; read in every form; found out when they were changed.

use crate::support::{FakeHost, TestServer, code, report};
use crate::usage::awake_for;
use envforge_api::http::receipts::{KeptReceipt, MonthReceipts, Receipts};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::id::UsageSessionId;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::usage::SessionReceipt;
use envforge_core::usage::receipt::{canonical_text, hash};
use envforge_testkit::wait_until;
use serde_json::{Value, json};

const RECEIPTS: &str = "/v1/orgs/acme/workspaces/main/receipts";

/// From frozen, or awake, to fully asleep: the session ends.
pub(crate) async fn stop(server: &TestServer, host: &mut FakeHost, workspace: &Workspace) {
    let path = format!("/v1/orgs/acme/workspaces/{}/sleep", workspace.slug);
    let _: Value = server.owner.post(&path, &json!({ "tier": "stopped" })).await.unwrap();
    let stop = host.command("STOP_RUNTIME").await;
    host.done(&stop).await;
    host.report(report(workspace.id, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
}

pub(crate) async fn receipts(server: &TestServer) -> Receipts {
    server.owner.get(RECEIPTS).await.unwrap()
}

pub(crate) async fn final_receipt(server: &TestServer) -> KeptReceipt {
    wait_until("there is a final receipt", async || receipts(server).await.receipts.iter().any(|one| one.is_final))
        .await;
    let session = receipts(server).await.receipts[0].session;
    server.owner.get(&format!("{RECEIPTS}/{session}")).await.unwrap()
}

fn typed(kept: &KeptReceipt) -> SessionReceipt {
    serde_json::from_value(kept.receipt.clone()).unwrap()
}

/// The answer to a request of the owner's: its type and text.
async fn text(server: &TestServer, path: &str, accept: Option<&str>) -> (u16, String, String) {
    let url = format!("http://{}{path}", server.server.local_addr);
    #[expect(clippy::disallowed_methods, reason = "what a browser would send")]
    let mut request = reqwest::Client::new().get(url).bearer_auth(server.owner.key().unwrap().expose());
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let answer = request.send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

// proves COST-2 COST-3 COST-5
#[tokio::test]
async fn a_session_has_a_receipt_so_far_and_a_final_one_that_the_ledger_proves() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    assert_eq!(receipts(&server).await.receipts, []);
    awake_for(&server, &mut host, &workspace, 60).await;
    let so_far = receipts(&server).await.receipts;
    assert_eq!((so_far.len(), so_far[0].is_final, so_far[0].cost_micros), (1, false, 60_000), "frozen is not the end");
    let session = so_far[0].session;
    let kept: KeptReceipt = server.owner.get(&format!("{RECEIPTS}/{session}")).await.unwrap();
    assert_eq!((kept.sha256, kept.is_intact, typed(&kept).is_final), (None, None, false));
    awake_for(&server, &mut host, &workspace, 30).await;
    stop(&server, &mut host, &workspace).await;
    let kept = final_receipt(&server).await;
    let receipt = typed(&kept);
    assert_eq!((receipt.session, receipt.windows.len(), receipt.awake_seconds), (session, 2, 90));
    assert_eq!((receipt.cost_micros, receipt.currency.as_str()), (90_000, "EUR"));
    assert!(receipt.opened.is_some() && receipt.ended.is_some() && receipt.windows[0].evidence.len() == 2);
    let verbs: Vec<_> = receipt.events.iter().map(|deed| deed.verb.as_str()).collect();
    assert!(verbs.contains(&"runtime.sleep_asked") && verbs.contains(&"runtime.frozen"), "{verbs:?}");
    assert_eq!(kept.is_intact, Some(true));
    let found = hash(&canonical_text(&kept.receipt));
    assert_eq!((kept.sha256, kept.recorded.map(|one| one.sha256)), (Some(found), Some(found.to_string())));
    assert_eq!(server.events("receipt.final").await, 1);
    // Whoever sees usage, and nobody else.
    let path = format!("{RECEIPTS}/{session}");
    let billing = server.member("acme", Role::Billing).await;
    assert_eq!(billing.get::<KeptReceipt>(&path).await.unwrap().receipt, kept.receipt);
    assert_eq!(code(server.member("other", Role::Owner).await.get::<Value>(&path).await), "org.not_found");
    let unknown = format!("{RECEIPTS}/us_{:032x}", 7);
    assert_eq!(code(server.owner.get::<Value>(&unknown).await), "receipt.not_found");
}

// proves COST-5
#[tokio::test]
async fn a_receipt_is_json_csv_and_a_page_and_a_month_is_exported() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let cause = "<script>alert(1)</script>";
    let mut connection = server.database_owner().await;
    awake_for(&server, &mut host, &workspace, 60).await;
    stop(&server, &mut host, &workspace).await;
    let session = typed(&final_receipt(&server).await).session;
    // A second one, of whose branch a spreadsheet would make a formula.
    sqlx::query("UPDATE workspaces SET branch = '=cmd|x'").execute(&mut connection).await.unwrap();
    awake_for(&server, &mut host, &workspace, 5).await;
    sqlx::query("UPDATE runtimes SET sleep_cause = $1").bind(cause).execute(&mut connection).await.unwrap();
    sqlx::query("UPDATE awake_windows SET wake_cause = $1 WHERE session_id <> $2")
        .bind(cause)
        .bind(envforge_core::id::Id::uuid(session))
        .execute(&mut connection)
        .await
        .unwrap();
    stop(&server, &mut host, &workspace).await;
    wait_until("there are two", async || {
        receipts(&server).await.receipts.iter().filter(|one| one.is_final).count() == 2
    })
    .await;
    let second = receipts(&server).await.receipts[0].session;
    let path = format!("{RECEIPTS}/{second}");
    for (path, accept) in [
        (format!("{path}.html"), None),
        (path.clone(), Some("text/html,*/*;q=0.1")),
        (format!("{path}?format=html"), None),
    ] {
        let (status, kind, page) = text(&server, &path, accept).await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "{page}");
    }
    for (path, accept) in
        [(format!("{path}.csv"), None), (path.clone(), Some("text/csv")), (format!("{path}?format=csv"), None)]
    {
        let (status, kind, text) = text(&server, &path, accept).await;
        assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8"), "{path}");
        assert!(text.contains(",\"'=cmd|x\",") && text.lines().count() == 2, "{text}");
    }
    let month = envforge_core::usage::Month::of(envforge_core::clock::Clock::now(&*server.clock));
    let (_, _, csv) = text(&server, &format!("/v1/orgs/acme/receipts?month={month}&format=csv"), None).await;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let all: MonthReceipts = server.owner.get(&format!("/v1/orgs/acme/receipts?month={month}")).await.unwrap();
    assert_eq!(all.receipts.len(), 2);
    let none: MonthReceipts =
        server.owner.get(&format!("/v1/orgs/acme/receipts?month={}", month.next())).await.unwrap();
    assert_eq!(none.receipts, [] as [Value; 0]);
    let first: Receipts = server.owner.get(&format!("{RECEIPTS}?limit=1")).await.unwrap();
    let rest: Receipts =
        server.owner.get(&format!("{RECEIPTS}?limit=1&cursor={}", first.next.clone().unwrap())).await.unwrap();
    assert_eq!((first.receipts[0].session, rest.receipts[0].session, rest.next), (second, session, None));
    assert_eq!(code(server.owner.get::<Value>(&format!("{RECEIPTS}?cursor=x")).await), "receipt.cursor");
}

// proves COST-2
#[tokio::test]
async fn a_receipt_that_was_changed_is_found_and_the_server_itself_can_not_change_one() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(&server, &mut host, &workspace, 60).await;
    stop(&server, &mut host, &workspace).await;
    assert_eq!(final_receipt(&server).await.is_intact, Some(true));
    let mut app = server.database_app().await;
    for statement in ["UPDATE receipts SET sha256 = ''", "DELETE FROM receipts"] {
        let refused = sqlx::query(statement).execute(&mut app).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
    }
    let mut owner = server.database_owner().await;
    let cheaper = "UPDATE receipts SET document = replace(document, '\"cost_micros\":60000', '\"cost_micros\":1')";
    sqlx::query(cheaper).execute(&mut owner).await.unwrap();
    assert_eq!(final_receipt(&server).await.is_intact, Some(false));
    // Who mends the hash beside it as well still has the ledger against them.
    let kept = final_receipt(&server).await;
    sqlx::query("UPDATE receipts SET sha256 = $1")
        .bind(hash(&canonical_text(&kept.receipt)).to_string())
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(final_receipt(&server).await.is_intact, Some(false));
    sqlx::query("UPDATE receipts SET document = 'nothing'").execute(&mut owner).await.unwrap();
    let session = typed(&kept).session;
    assert_eq!(code(server.owner.get::<Value>(&format!("{RECEIPTS}/{session}")).await), "receipt.broken");
}

// proves COST-4
#[tokio::test]
async fn a_receipt_is_made_once_whatever_dies_between() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(&server, &mut host, &workspace, 60).await;
    // Whoever makes it is held up in the middle of its transaction, and dies there.
    let mut connection = server.database_owner().await;
    let mut held = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("LOCK TABLE receipts IN SHARE ROW EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    stop(&server, &mut host, &workspace).await;
    let mut looking = server.database_owner().await;
    wait_until("it is being made", async || crate::support::lock_waits(&mut looking).await == 1).await;
    let killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    sqlx::query(killed).execute(&mut looking).await.unwrap();
    held.rollback().await.unwrap();
    server.restart().await;
    server.advance(61);
    let kept = final_receipt(&server).await;
    // Two that make it at once, again, and the one that catches up.
    let (app, scope) = (server.server.app(), server.scope("acme").await);
    let session: UsageSessionId = typed(&kept).session;
    let make = || envforge_server::receipts::ops::make(app, scope, workspace.id, session);
    let (one, two) = tokio::join!(make(), make());
    assert_eq!((one.unwrap(), two.unwrap()), (false, false));
    assert_eq!(envforge_server::receipts::ops::catch_up(app, scope).await.unwrap(), 0);
    assert_eq!(server.events("receipt.final").await, 1);
    // One that no job makes any more.
    sqlx::query("DELETE FROM receipts").execute(&mut looking).await.unwrap();
    sqlx::query("DELETE FROM jobs").execute(&mut looking).await.unwrap();
    let (one, two) = tokio::join!(make(), make());
    assert_eq!(usize::from(one.unwrap()) + usize::from(two.unwrap()), 1, "one of them makes it");
    sqlx::query("DELETE FROM receipts").execute(&mut looking).await.unwrap();
    assert_eq!(envforge_server::receipts::ops::catch_up(app, scope).await.unwrap(), 1);
}

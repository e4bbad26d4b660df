//! Sealed within a second, exported, verified offline.

use crate::support::TestServer;
use envforge_api::http::usage::LedgerExport;
use envforge_core::ledger::verify;
use envforge_core::token::Keyring;
use envforge_testkit::wait_until;

// proves ORG-6
#[tokio::test]
async fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let export = async || server.owner.get::<LedgerExport>("/v1/orgs/acme/ledger").await.unwrap();
    wait_until("the wake is sealed", async || {
        export().await.events.iter().any(|sealed| sealed.event.verb == "runtime.woken")
    })
    .await;
    let mut exported = export().await;
    let keys = Keyring::new(&exported.keys);
    let count = verify(&exported.events, &exported.checkpoint, &keys).unwrap();
    assert!(count >= 6);
    exported.events[2].event.actor = "somebody else".to_owned();
    assert!(verify(&exported.events, &exported.checkpoint, &keys).is_err());
}

// proves ORG-6
#[tokio::test]
async fn two_sealers_at_once_make_one_chain() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let app = server.server.app();
    let org = host.registered.org;
    let sealers = (0..8).map(|_| envforge_server::ledger::jobs::seal(app, Some(org)));
    for sealed in futures_util::future::join_all(sealers).await {
        sealed.unwrap();
    }
    wait_until("everything is sealed", async || {
        let mut connection = server.database_owner().await;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_events e LEFT JOIN ledger_seals s ON s.event_id = e.id WHERE s.event_id IS NULL")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        open == 0
    })
    .await;
    let exported: LedgerExport = server.owner.get("/v1/orgs/acme/ledger").await.unwrap();
    verify(&exported.events, &exported.checkpoint, &Keyring::new(&exported.keys)).unwrap();
}

//! What is sealed lies nowhere in clear, opens in its place only, and rides on key-encryption keys that change.

use crate::support::TestServer;
use envforge_core::secret::Secret;
use envforge_server::platform::db::Tx;
use envforge_server::vault::ops::{open, seal};

fn planted() -> Secret {
    Secret::new("planted-secret-value".to_owned())
}

// proves ORG-8
#[tokio::test]
async fn a_sealed_value_opens_in_its_own_place_only() {
    let mut server = TestServer::start().await;
    let (org, other) = (server.scope("acme").await, server.scope("rival").await);
    let begin = async |server: &TestServer, scope| -> Tx { server.server.app().db.begin(scope).await.unwrap() };
    let mut tx = begin(&server, org).await;
    let sealed = seal(server.server.app(), &mut tx, "secret/1", &planted()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains(planted().expose()));
    server.restart().await;
    let app = server.server.app();
    let mut tx = begin(&server, org).await;
    assert_eq!(open(app, &mut tx, "secret/1", &sealed).await.unwrap(), planted());
    assert!(open(app, &mut tx, "secret/2", &sealed).await.is_err(), "another place");
    drop(tx);
    let mut tx = begin(&server, other).await;
    assert!(open(app, &mut tx, "secret/1", &sealed).await.is_err(), "another org");
    assert_eq!(server.events("data_key.created").await, 2, "the org's, and the installation's");
}

// proves ORG-8
#[tokio::test]
async fn many_at_once_make_one_key() {
    let server = TestServer::start().await;
    let (app, scope) = (server.server.app(), server.scope("acme").await);
    let one = async || {
        let mut tx = app.db.begin(scope).await.unwrap();
        seal(app, &mut tx, "here", &planted()).await.unwrap();
        tx.commit().await.unwrap();
    };
    futures_util::future::join_all((0..8).map(|_| one())).await;
    assert_eq!(server.events("data_key.created").await, 2, "the org's, and the installation's");
}

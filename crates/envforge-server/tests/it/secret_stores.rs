//! Values of secrets in a store outside the database: crash points, refusals, and the change from one place to the other.

use crate::secrets::{SECRETS, as_host, ask, set, waking};
use crate::support::{TestServer, code};
use envforge_api::http::secrets::{SecretInfo, SecretVersions, Secrets};
use envforge_api::values::{SecretValues, ValueError, ValuePlace};
use envforge_core::secret::Secret;
use envforge_server::platform::secret_stores::SecretStores;
use envforge_server::secrets::jobs::{self, UNDER_WAY};
use envforge_testkit::wait_until;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A store in memory that can be out of reach, and that does something of the test's once it has put a value.
#[derive(Default)]
struct Memory {
    values: Mutex<BTreeMap<ValuePlace, Vec<String>>>,
    is_down: AtomicBool,
    after_put: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Memory {
    fn reach(&self) -> Result<(), ValueError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(ValueError::Unavailable("it is down".to_owned()));
        }
        Ok(())
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// What lies in it, over all secrets.
    fn all(&self) -> Vec<String> {
        self.values.lock().unwrap().values().flatten().cloned().collect()
    }
}

impl SecretValues for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn value_max(&self) -> usize {
        100
    }

    fn put<'a>(&'a self, place: ValuePlace, value: &'a Secret) -> BoxFuture<'a, Result<i64, ValueError>> {
        Box::pin(async move {
            self.reach()?;
            let version = {
                let mut values = self.values.lock().unwrap();
                let versions = values.entry(place).or_default();
                versions.push(value.expose().to_owned());
                i64::try_from(versions.len()).unwrap()
            };
            let then = self.after_put.lock().unwrap().take();
            if let Some(then) = then {
                then.await;
            }
            Ok(version)
        })
    }

    fn get(&self, place: ValuePlace, version: i64) -> BoxFuture<'_, Result<Secret, ValueError>> {
        Box::pin(async move {
            self.reach()?;
            let index = usize::try_from(version - 1).unwrap();
            let values = self.values.lock().unwrap();
            let value = values.get(&place).and_then(|versions| versions.get(index));
            value.cloned().map(Secret::new).ok_or(ValueError::Missing)
        })
    }

    fn delete(&self, place: ValuePlace) -> BoxFuture<'_, Result<(), ValueError>> {
        Box::pin(async move {
            self.reach()?;
            self.values.lock().unwrap().remove(&place);
            Ok(())
        })
    }
}

async fn with_store() -> (TestServer, Arc<Memory>) {
    let store = Arc::new(Memory::default());
    let stores = SecretStores::outside(Arc::clone(&store) as _);
    (TestServer::configured(|config| config.secret_stores = stores).await, store)
}

/// Lets every commit fail that adds a version.
const FAIL_COMMITS: &str = "
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
    CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON secret_versions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()";

async fn as_owner(server: &TestServer, statements: &'static str) {
    sqlx::raw_sql(statements).execute(&mut server.database_owner().await).await.unwrap();
}

fn leave_time(server: &TestServer) {
    server.clock.advance(UNDER_WAY);
    server.advance(1);
}

// proves ORG-5
#[tokio::test]
async fn values_lie_in_the_store_and_versions_refer_to_them() {
    let (server, store) = with_store().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    let key = set(&server.owner, SECRETS, "KEY", "one").await;
    set(&server.owner, SECRETS, "KEY", "two").await;
    set(&server.owner, SECRETS, "OTHER", "other").await;
    let services: &[(&str, &[&str])] = &[("web", &["KEY", "OTHER"])];
    let given = ask(&client, command.workspace, command.generation, services).await.unwrap();
    assert_eq!(given, BTreeMap::from([("KEY", "two"), ("OTHER", "other")].map(|(a, b)| (a.to_owned(), b.to_owned()))));
    assert_eq!(server.events("secret.used").await, 2);
    let path = format!("{SECRETS}/{}", key.id);
    let restored: SecretInfo = server.owner.post(&format!("{path}/restore"), &json!({ "version": 1 })).await.unwrap();
    assert_eq!(restored.version, 3);
    let given = ask(&client, command.workspace, command.generation, services).await.unwrap();
    assert_eq!(given["KEY"], "one");
    let mut owner = server.database_owner().await;
    let sealed: i64 = sqlx::query_scalar("SELECT count(*) FROM secret_versions WHERE sealed <> ''")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(sealed, 0, "nothing of it is in the database");
    let long = server.owner.post::<_, Value>(SECRETS, &json!({ "name": "LONG", "value": "x".repeat(101) })).await;
    assert_eq!(code(long), "secret.too_long_for_store");
    assert_eq!(server.owner.get::<Secrets>(SECRETS).await.unwrap().secrets.len(), 2);
    let _: SecretInfo = server.owner.delete(&path).await.unwrap();
    wait_until("its values are gone", async || store.all() == ["other"]).await;
}

// proves ORG-5
#[tokio::test]
async fn a_commit_that_fails_leaves_a_value_that_is_deleted_and_no_row() {
    let (server, store) = with_store().await;
    as_owner(&server, FAIL_COMMITS).await;
    let refused = server.owner.post::<_, Value>(SECRETS, &json!({ "name": "KEY", "value": "lost" })).await;
    assert_eq!(code(refused), "internal");
    assert_eq!(store.all(), ["lost"], "it was put first");
    assert_eq!(server.owner.get::<Secrets>(SECRETS).await.unwrap().secrets, []);
    as_owner(&server, "DROP TRIGGER fail ON secret_versions").await;
    // Once more, and this one stays when the other is taken away.
    set(&server.owner, SECRETS, "KEY", "kept").await;
    leave_time(&server);
    wait_until("what was left behind is gone", async || store.all() == ["kept"]).await;
}

// proves ORG-5
#[tokio::test]
async fn a_commit_that_fails_leaves_the_version_before_in_use() {
    let (server, store) = with_store().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    let given = async || {
        ask(&client, command.workspace, command.generation, &[("web", &["KEY"])]).await.unwrap()["KEY"].clone()
    };
    let key = set(&server.owner, SECRETS, "KEY", "one").await;
    as_owner(&server, FAIL_COMMITS).await;
    let refused = server.owner.post::<_, Value>(SECRETS, &json!({ "name": "KEY", "value": "lost" })).await;
    assert_eq!(code(refused), "internal");
    assert_eq!(given().await, "one");
    as_owner(&server, "DROP TRIGGER fail ON secret_versions").await;
    assert_eq!(set(&server.owner, SECRETS, "KEY", "two").await.version, 2);
    assert_eq!(given().await, "two");
    let restore = format!("{SECRETS}/{}/restore", key.id);
    let _: SecretInfo = server.owner.post(&restore, &json!({ "version": 1 })).await.unwrap();
    assert_eq!(given().await, "one");
    assert_eq!(store.all(), ["one", "lost", "two", "one"]);
}

// proves ORG-5
#[tokio::test]
async fn a_secret_deleted_while_its_value_is_under_way_stays_deleted() {
    let (server, store) = with_store().await;
    let key = set(&server.owner, SECRETS, "KEY", "one").await;
    let (owner, path) = (server.owner.clone(), format!("{SECRETS}/{}", key.id));
    *store.after_put.lock().unwrap() = Some(Box::pin(async move {
        let _: SecretInfo = owner.delete(&path).await.unwrap();
    }));
    let refused = server.owner.post::<_, Value>(SECRETS, &json!({ "name": "KEY", "value": "two" })).await;
    assert_eq!(code(refused), "secret.changing");
    assert_eq!(server.owner.get::<Secrets>(SECRETS).await.unwrap().secrets, []);
    leave_time(&server);
    wait_until("nothing of it is left", async || store.all().is_empty()).await;
}

// proves ORG-5
#[tokio::test]
async fn a_store_that_is_down_is_said_and_nothing_changes() {
    let (server, store) = with_store().await;
    let (host, command) = waking(&server).await;
    let client = as_host(&server, &host);
    let key = set(&server.owner, SECRETS, "KEY", "one").await;
    set(&server.owner, SECRETS, "KEY", "two").await;
    store.set_down(true);
    for name in ["KEY", "NEW"] {
        let refused = server.owner.post::<_, Value>(SECRETS, &json!({ "name": name, "value": "three" })).await;
        assert_eq!(code(refused), "secret.store_unavailable");
    }
    let path = format!("{SECRETS}/{}", key.id);
    let refused = server.owner.post::<_, Value>(&format!("{path}/restore"), &json!({ "version": 1 })).await;
    assert_eq!(code(refused), "secret.store_unavailable");
    let asked = ask(&client, command.workspace, command.generation, &[("web", &["KEY"])]).await;
    assert_eq!(code(asked), "secret.store_unavailable");
    assert_eq!(server.events("secret.used").await, 0);
    let listed: Secrets = server.owner.get(SECRETS).await.unwrap();
    assert_eq!(listed.secrets.iter().map(|secret| secret.version).collect::<Vec<_>>(), [2]);
    assert_eq!(store.all(), ["one", "two"]);
    // Deleting does not wait for it; its values go when it is back.
    let _: SecretInfo = server.owner.delete(&path).await.unwrap();
    store.set_down(false);
    wait_until("its values are gone", async || {
        server.advance(3_600);
        store.all().is_empty()
    })
    .await;
}

// proves ORG-5
#[tokio::test]
async fn an_installation_changes_to_a_store_and_back() {
    let mut server = TestServer::start().await;
    let (host, command) = waking(&server).await;
    let old = set(&server.owner, SECRETS, "OLD", "sealed").await;
    let store = Arc::new(Memory::default());
    let outside = SecretStores::outside(Arc::clone(&store) as _);
    server.restart_with(|config| config.secret_stores = outside).await;
    set(&server.owner, SECRETS, "NEW", "outside").await;
    set(&server.owner, SECRETS, "OLD", "outside too").await;
    let restore = format!("{SECRETS}/{}/restore", old.id);
    let _: SecretInfo = server.owner.post(&restore, &json!({ "version": 1 })).await.unwrap();
    let given = async |server: &TestServer| {
        let client = as_host(server, &host);
        ask(&client, command.workspace, command.generation, &[("web", &["NEW", "OLD"])]).await
    };
    let both = given(&server).await.unwrap();
    assert_eq!((both["NEW"].as_str(), both["OLD"].as_str()), ("outside", "sealed"));
    // A rotation seals anew what is sealed, and leaves the rest.
    let _: Value = server.owner.post("/v1/orgs/acme/data-key/rotate", &json!({})).await.unwrap();
    jobs::round(server.server.app()).await.unwrap();
    assert_eq!(given(&server).await.unwrap(), both);
    // Back: what lies outside still opens, and comes back when it is restored.
    let opened = SecretStores::opened(Arc::clone(&store) as _);
    server.restart_with(|config| config.secret_stores = opened).await;
    assert_eq!(given(&server).await.unwrap(), both);
    let _: SecretInfo = server.owner.post(&restore, &json!({ "version": 2 })).await.unwrap();
    let mut all = store.all();
    all.sort();
    assert_eq!(all, ["outside", "outside too", "sealed"], "nothing new is put there");
    assert_eq!(given(&server).await.unwrap()["OLD"], "outside too");
    let versions: SecretVersions = server.owner.get(&format!("{SECRETS}/{}/versions", old.id)).await.unwrap();
    assert_eq!(versions.versions.len(), 4);
    // With the store not configured any more, what lies there does not open.
    server.restart_with(|config| config.secret_stores = SecretStores::default()).await;
    assert_eq!(code(given(&server).await), "internal");
}

//! What an operator asks of a server: alive, ready, measured; and the schema under it.

use crate::support::{TestServer, code, raw};
use envforge_api::http::Ready;
use envforge_core::secret::Secret;
use envforge_server::schema::{self, SchemaError};
use envforge_server::{RunningServer, migrate};
use envforge_testkit::{TestDatabase, wait_until};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::BTreeSet;

async fn metrics(server: &RunningServer) -> String {
    envforge_server::system::ops::metrics(server.app()).await
}

/// The value of a line, by how it begins.
fn value(text: &str, begins: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(begins))?.rsplit(' ').next()?.parse().ok()
}

// proves OPS-4
#[tokio::test]
async fn a_server_is_alive_without_its_database_and_not_ready() {
    let server = TestServer::start().await;
    let ready: Ready = server.owner.get("/v1/ready").await.unwrap();
    assert_eq!(ready.schema, schema::newest());
    // Nobody gets in any more, and whoever is in is put out.
    let (mut owner, mut app) = (server.database_owner().await, server.database_app().await);
    let closed = format!("ALTER DATABASE {} CONNECTION LIMIT 0", server.database.name());
    sqlx::raw_sql(AssertSqlSafe(closed)).execute(&mut owner).await.unwrap();
    let put_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'envforge_app' AND datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(put_out).execute(&mut app).await.unwrap();
    let ready = async || code_or_ok(server.owner.get::<Ready>("/v1/ready").await);
    wait_until("it is not ready", async || ready().await == "database.unavailable").await;
    let url = format!("http://{}/v1/health", server.server.local_addr);
    assert_eq!(raw().get(url).send().await.unwrap().status(), 200, "it is alive");
    assert_eq!(value(&metrics(&server.server).await, "envforge_server_database_up"), Some(0.0));
}

// proves OPS-4
#[tokio::test]
async fn a_ledger_that_nobody_seals_is_not_ready() {
    let server = TestServer::start().await;
    // Another sealer has every chain and does not get on.
    let mut owner = server.database_owner().await;
    let mut app = server.database_app().await;
    sqlx::query("SELECT pg_advisory_lock(0)").execute(&mut app).await.unwrap();
    let orgs: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT org_id FROM orgs").fetch_all(&mut owner).await.unwrap();
    for org in orgs {
        let chain = org.as_u64_pair().1.cast_signed();
        sqlx::query("SELECT pg_advisory_lock($1)").bind(chain).execute(&mut app).await.unwrap();
    }
    let project = serde_json::json!({ "slug": "p", "repository": "https://example.org/p.git" });
    let _: serde_json::Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    server.owner.get::<Ready>("/v1/ready").await.expect("events may wait a moment");
    server.advance(120);
    let ready = async || code_or_ok(server.owner.get::<Ready>("/v1/ready").await);
    wait_until("it says so", async || ready().await == "server.ledger_stuck").await;
    let text = metrics(&server.server).await;
    assert!(value(&text, "envforge_server_ledger_unsealed ") >= Some(1.0), "{text}");
    assert!(value(&text, "envforge_server_ledger_unsealed_age_seconds") >= Some(120.0), "{text}");
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut app).await.unwrap();
    wait_until("it is ready again", async || server.owner.get::<Ready>("/v1/ready").await.is_ok()).await;
}

// proves OPS-4
#[tokio::test]
async fn a_drain_is_told_before_the_listener_closes() {
    let server = TestServer::configured(|config| config.drain_notice = std::time::Duration::from_hours(1)).await;
    server.owner.get::<Ready>("/v1/ready").await.unwrap();
    server.stop();
    assert_eq!(code(server.owner.get::<Ready>("/v1/ready").await), "server.draining");
    server.owner.get::<serde_json::Value>("/v1/me").await.expect("it still answers, on new connections too");
}

// proves OPS-4
#[tokio::test]
async fn metrics_count_by_templates_and_name_nobody() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    server.show("main").await;
    let _ = server.owner.get::<serde_json::Value>("/v1/orgs/nobodys/hosts").await;
    let _ = server.owner.get::<serde_json::Value>("/v1/no/such/path").await;
    let text = metrics(&server.server).await;
    let one = r#"envforge_server_request_seconds_count{route="/v1/orgs/{org}/workspaces/{workspace}",method="GET",status="2xx"}"#;
    assert!(value(&text, one) >= Some(1.0), "{text}");
    assert!(text.contains(r#"{route="other",method="GET",status="4xx"}"#), "{text}");
    assert_eq!(value(&text, r#"envforge_server_wakes_total{outcome="started"}"#), Some(1.0));
    assert_eq!(value(&text, "envforge_server_host_streams "), Some(1.0));
    assert_eq!(value(&text, "envforge_server_hosts_online "), Some(1.0));
    assert_eq!(value(&text, "envforge_server_runtimes_awake "), Some(1.0));
    assert_eq!(value(&text, "envforge_server_schema_version "), Some(schema::newest() as f64));
    assert!(value(&text, "envforge_server_ledger_appends_total") > Some(5.0));
    for secret in ["acme", "nobodys", "/no/such", "main", &workspace.id.to_string()] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
    wait_until("seals are timed", async || {
        value(&metrics(&server.server).await, "envforge_server_seal_lag_seconds_count") > Some(0.0)
    })
    .await;
}

/// What programs may rely on: columns with their types and functions with their arguments; and what an insert must give.
async fn offered(connection: &mut PgConnection) -> (BTreeSet<String>, BTreeSet<String>) {
    let lines = async |connection: &mut PgConnection, statement: &'static str| -> BTreeSet<String> {
        sqlx::query_scalar(statement).fetch_all(connection).await.unwrap().into_iter().collect()
    };
    let columns = "SELECT format('%s.%s %s', table_name, column_name, data_type) FROM information_schema.columns WHERE table_schema = 'public'";
    let functions = "SELECT format('%s(%s) %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace";
    let wanted = "SELECT format('%s.%s', table_name, column_name) FROM information_schema.columns WHERE table_schema = 'public' AND is_nullable = 'NO' AND column_default IS NULL";
    let mut offers = lines(connection, columns).await;
    offers.extend(lines(connection, functions).await);
    (offers, lines(connection, wanted).await)
}

/// Everything of a schema that a way back must restore.
async fn whole(connection: &mut PgConnection) -> BTreeSet<String> {
    let (mut all, _) = offered(connection).await;
    for statement in [
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace",
        "SELECT format('%s %s %s', grantee, table_name, privilege_type) FROM information_schema.role_table_grants WHERE table_schema = 'public'",
        "SELECT format('%s %s', sequencename, 'sequence') FROM pg_sequences WHERE schemaname = 'public'",
    ] {
        let lines: Vec<String> = sqlx::query_scalar(statement).fetch_all(&mut *connection).await.unwrap();
        all.extend(lines);
    }
    all
}

fn password(database: &TestDatabase) -> Secret {
    Secret::new(database.app_password().to_owned())
}

// proves OPS-4
#[tokio::test]
async fn every_expand_leaves_what_older_programs_use_and_every_way_back_restores_it() {
    let database = TestDatabase::empty().await;
    let owner = database.owner_url();
    let mut connection = PgConnection::connect(&owner).await.unwrap();
    let steps = schema::plan(&owner, None).await.unwrap().up;
    for step in &steps {
        let (before, was_wanted) = offered(&mut connection).await;
        let all_before = whole(&mut connection).await;
        schema::migrate_to(&owner, &password(&database), step.version).await.unwrap();
        let (after, is_wanted) = offered(&mut connection).await;
        if !step.is_contract && step.version > 1 {
            let is_kept = |line: &&String| {
                // A function may answer with further columns.
                let longer = line.strip_suffix(')').map(|line| format!("{line}, "));
                longer.is_some_and(|longer| after.iter().any(|other| other.starts_with(&longer)))
            };
            let gone: Vec<&String> = before.difference(&after).filter(|line| !is_kept(line)).collect();
            assert!(gone.is_empty(), "{} is an expand and took away {gone:?}", step.name);
            let tables: BTreeSet<&str> = before.iter().filter_map(|line| line.split('.').next()).collect();
            let asks = |column: &&String| column.split('.').next().is_some_and(|table| tables.contains(table));
            let asked: Vec<&String> = is_wanted.difference(&was_wanted).filter(asks).collect();
            assert!(asked.is_empty(), "{}: an older program's INSERT does not give {asked:?}", step.name);
        }
        let back = steps.iter().rev().find(|other| other.version < step.version).map_or(0, |other| other.version);
        match schema::migrate_to(&owner, &password(&database), back).await {
            Ok(plan) => {
                assert_eq!(plan.down.len(), 1);
                let all_after = whole(&mut connection).await;
                let differs: Vec<&String> = all_before.symmetric_difference(&all_after).collect();
                assert!(differs.is_empty(), "the way back of {} leaves {differs:#?}", step.name);
                schema::migrate_to(&owner, &password(&database), step.version).await.unwrap();
            }
            Err(SchemaError::NoWayBack { version, .. }) => assert_eq!(version, step.version),
            Err(error) => panic!("{}: {error}", step.name),
        }
    }
    assert_eq!(schema::plan(&owner, None).await.unwrap().up, []);
}

// proves OPS-4
#[tokio::test]
async fn two_migrations_at_once_are_one() {
    let database = TestDatabase::empty().await;
    let owner = database.owner_url();
    let (one, other) = (password(&database), password(&database));
    let (first, second) = tokio::join!(migrate(&owner, &one), migrate(&owner, &other));
    let done = [first.unwrap().up.len(), second.unwrap().up.len()];
    assert!(done.contains(&0) && done.iter().any(|steps| *steps > 1), "{done:?}");
}

// proves OPS-4
#[tokio::test]
async fn a_server_works_on_a_later_expand_and_refuses_what_it_can_not_work_on() {
    let mut server = TestServer::start().await;
    let mut owner = server.database_owner().await;
    let note = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, '', 0)";
    sqlx::query(note).bind(90_000_i64).bind("more").execute(&mut owner).await.unwrap();
    let ready = async |server: &TestServer| server.owner.get::<Ready>("/v1/ready").await;
    wait_until("it sees the newer schema", async || ready(&server).await.is_ok_and(|ready| ready.schema == 90_000))
        .await;
    server.restart().await;
    ready(&server).await.expect("it starts on a later expand");
    migrate(&server.database.owner_url(), &password(&server.database)).await.expect("and leaves it alone");

    sqlx::query(note).bind(90_001_i64).bind("contract: less").execute(&mut owner).await.unwrap();
    wait_until("what it uses is gone", async || code_or_ok(ready(&server).await) == "server.schema").await;
    let refused = server.try_restart().await.unwrap_err();
    let refused = refused.downcast_ref::<SchemaError>().expect("says why");
    assert!(matches!(refused, SchemaError::TooNew { oldest: 90_001, .. }), "{refused}");
    assert!(migrate(&server.database.owner_url(), &password(&server.database)).await.is_err());

    sqlx::query("DELETE FROM _sqlx_migrations WHERE version >= 9").execute(&mut owner).await.unwrap();
    let refused = server.try_restart().await.unwrap_err();
    assert!(refused.to_string().contains("this program needs version"), "{refused:#}");
}

fn code_or_ok<T: std::fmt::Debug>(result: Result<T, envforge_api::client::CallError>) -> String {
    result.map_or_else(|error| error.into_refusal().code, |_| "ok".to_owned())
}

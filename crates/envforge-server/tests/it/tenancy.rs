//! The database refuses what the application forgets.

use crate::gateways::FakeGateway;
use crate::support::TestServer;
use envforge_api::http::ledger::LedgerEvents;
use envforge_api::http::links::CreatedLink;
use envforge_core::access::Role;
use envforge_core::id::Id as _;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

async fn tenant_tables(connection: &mut sqlx::PgConnection) -> Vec<String> {
    sqlx::query("SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attname = 'org_id' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace")
        .fetch_all(connection)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

// proves ORG-2
#[tokio::test]
async fn every_tenant_table_has_row_level_security_and_an_index() {
    let server = TestServer::start().await;
    let mut owner = server.database_owner().await;
    let tables = tenant_tables(&mut owner).await;
    assert!(tables.len() >= 14, "{tables:?}");
    for table in tables {
        let secured: bool = sqlx::query_scalar("SELECT relrowsecurity FROM pg_class WHERE relname = $1")
            .bind(&table)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert!(secured, "{table} has org_id and no row-level security");
        let referenced: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) WHERE k.conrelid = $1::regclass AND k.contype IN ('f', 'p') AND a.attname = 'org_id')",
        )
        .bind(&table)
        .fetch_one(&mut owner)
        .await
        .unwrap();
        assert!(referenced, "{table}.org_id refers to nothing");
    }
    let can_bypass: bool =
        sqlx::query_scalar("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'envforge_app'")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert!(!can_bypass);
}

/// A row of acme's in every table: a workspace that ran, a run, a link and a visit, all of it sealed.
async fn something_of_everything(server: &TestServer) {
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let main = "/v1/orgs/acme/workspaces/main";
    let _: Value = server.owner.post(&format!("{main}/runs"), &json!({ "argv": ["true"] })).await.unwrap();
    let link: CreatedLink = server.owner.post(&format!("{main}/links"), &json!({ "service": "web" })).await.unwrap();
    server.exchange("web--main--acme", &link.token).await.unwrap();
    let mut browser = crate::sign_in::Browser::with_key(server, server.owner.key().unwrap().expose()).await;
    let state = envforge_core::entry::state_of("a nonce");
    assert_eq!(browser.get(&format!("/open/web--main--acme?state={state}")).await.status, 303);
    let key = json!({ "values": { "api_key": "k" }, "reason": "a test" });
    let _: Value = server.owner.put("/v1/orgs/acme/settings/connecteam", &key).await.unwrap();
    let _: Value = server.owner.post("/v1/orgs/acme/groups", &json!({ "name": "web" })).await.unwrap();
    let insider = TestServer::user(&server.member("acme", Role::Developer).await).await;
    let path = format!("/v1/orgs/acme/groups/web/members/{insider}");
    server.owner.put::<_, Value>(&path, &json!({})).await.unwrap();
    let _: Value = server.owner.post("/v1/orgs/acme/invitations", &json!({ "role": "reviewer" })).await.unwrap();
    let access = json!({ "is_restricted": true, "groups": ["web"] });
    let _: Value = server.owner.put("/v1/orgs/acme/projects/planner/access", &access).await.unwrap();
    let installed = json!({ "account": "acme", "installation": 1 });
    let _: Value = server.owner.put("/v1/git-installations/acme", &installed).await.unwrap();
    let policy = json!({ "policy": { "mode": "workspace", "max_minutes": 30 } });
    let _: Value = server.owner.put("/v1/orgs/acme/root-policy", &policy).await.unwrap();
    let _: Value = server.owner.post(&format!("{main}/elevations"), &json!({ "reason": "a row" })).await.unwrap();
    let entries = json!([{ "action": "wake", "days": ["mon"], "at": "08:30" }]);
    let schedule = json!({ "schedule": { "zone": "UTC", "entries": entries } });
    let _: Value = server.owner.put(&format!("{main}/schedule"), &schedule).await.unwrap();
    let gateway = FakeGateway::at(server, 7081).await;
    gateway.tell(server, workspace.id, 1).await;
    let (app, scope) = (server.server.app(), server.scope("acme").await);
    let mut tx = app.db.begin(scope).await.unwrap();
    envforge_server::vault::ops::seal(app, &mut tx, "here", &"value".to_owned().into()).await.unwrap();
    sqlx::query("INSERT INTO jobs (id, org_id, queue, kind, arguments, priority, max_attempts, run_at, created_at) VALUES (gen_random_uuid(), current_org(), 'default', 'test.none', '{}', 0, 1, now(), now())")
        .execute(tx.conn())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let secret = json!({ "name": "KEY", "value": "value" });
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/secrets", &secret).await.unwrap();
    wait_until("the visit is sealed", async || {
        let visits: LedgerEvents = server.owner.get("/v1/orgs/acme/ledger?verb=link.visited").await.unwrap();
        visits.events.first().is_some_and(|visit| visit.seal.is_some())
    })
    .await;
    envforge_server::ledger::jobs::verify(app, Some(scope.org())).await.unwrap();
    let anchor = "INSERT INTO ledger_anchors (org_id, position, hash, before, kept, kept_hash, key, signature) \
                  SELECT org_id, 0, '', now(), 0, '', '', '' FROM orgs WHERE slug = 'acme'";
    sqlx::query(anchor).execute(&mut server.database_owner().await).await.unwrap();
    for months in [
        "INSERT INTO usage_months (org_id, workspace_id, month) SELECT org_id, id, '2026-01-01' FROM workspaces ON CONFLICT DO NOTHING",
        "INSERT INTO org_usage_months (org_id, month) SELECT DISTINCT org_id, '2026-01-01'::date FROM workspaces ON CONFLICT DO NOTHING",
        "INSERT INTO receipts (session_id, org_id, workspace_id, ended_at, document, sha256) SELECT gen_random_uuid(), org_id, id, now(), '{}', '' FROM workspaces",
        "INSERT INTO billing_reports (session_id, org_id) SELECT session_id, org_id FROM receipts ON CONFLICT DO NOTHING",
        "INSERT INTO cap_steps (subject, org_id, workspace_id, month, step) SELECT id, org_id, id, '2026-01-01', 'warned' FROM workspaces ON CONFLICT DO NOTHING",
        "INSERT INTO cap_overrides (subject, org_id, workspace_id, until, reason, given_by, given_at) SELECT id, org_id, id, now(), 'test', created_by, now() FROM workspaces ON CONFLICT DO NOTHING",
    ] {
        sqlx::query(months).execute(&mut server.database_owner().await).await.unwrap();
    }
}

// proves ORG-2
#[tokio::test]
async fn a_forgotten_where_leaks_nothing() {
    let server = TestServer::start().await;
    server.member("rival", Role::Owner).await;
    something_of_everything(&server).await;
    let mut owner = server.database_owner().await;
    let acme: uuid::Uuid =
        sqlx::query_scalar("SELECT org_id FROM orgs WHERE slug = 'acme'").fetch_one(&mut owner).await.unwrap();
    let rival: uuid::Uuid =
        sqlx::query_scalar("SELECT org_id FROM orgs WHERE slug = 'rival'").fetch_one(&mut owner).await.unwrap();
    let mut app = server.database_app().await;
    for table in tenant_tables(&mut owner).await {
        let theirs = format!("SELECT count(*) FROM {table} WHERE org_id = '{acme}'");
        let there: i64 = sqlx::query_scalar(AssertSqlSafe(theirs.clone())).fetch_one(&mut owner).await.unwrap();
        assert!(there > 0, "{table} has no row that could leak");
        // Without an org named: nothing of any org.
        let count = format!("SELECT count(*) FROM {table} WHERE org_id IS NOT NULL");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(count.clone())).fetch_one(&mut app).await.unwrap();
        assert_eq!(seen, 0, "{table} shows rows without a scope");
        sqlx::query("SELECT set_config('envforge.org', $1, false)")
            .bind(rival.to_string())
            .execute(&mut app)
            .await
            .unwrap();
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(theirs)).fetch_one(&mut app).await.unwrap();
        assert_eq!(seen, 0, "{table} shows another org's rows");
        sqlx::query("SELECT set_config('envforge.org', '', false)").execute(&mut app).await.unwrap();
    }
    let visible: i64 = {
        sqlx::query("SELECT set_config('envforge.org', $1, false)")
            .bind(acme.to_string())
            .execute(&mut app)
            .await
            .unwrap();
        sqlx::query_scalar("SELECT count(*) FROM hosts").fetch_one(&mut app).await.unwrap()
    };
    assert_eq!(visible, 1, "the scope does show the org's own rows");
    let planted =
        sqlx::query("INSERT INTO memberships (org_id, user_id, role) SELECT $1, id, 'owner' FROM users LIMIT 1")
            .bind(rival)
            .execute(&mut app)
            .await;
    assert!(planted.unwrap_err().to_string().contains("row-level security"));
}

/// Tables whose rows are of a project, of a workspace, or of a link.
async fn project_tables(connection: &mut sqlx::PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT DISTINCT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace \
         AND (a.attname IN ('project_id', 'workspace_id', 'link_id') OR c.relname = 'projects')",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

async fn set(connection: &mut sqlx::PgConnection, name: &str, value: &str) {
    sqlx::query("SELECT set_config($1, $2, false)").bind(name).bind(value).execute(connection).await.unwrap();
}

// proves ORG-2
#[tokio::test]
async fn a_forgotten_check_shows_no_restricted_project() {
    let server = TestServer::start().await;
    something_of_everything(&server).await;
    let outsider = TestServer::user(&server.member("acme", Role::Developer).await).await;
    let stranger = TestServer::user(&server.member("rival", Role::Owner).await).await;
    let (mut owner, mut app) = (server.database_owner().await, server.database_app().await);
    let acme: uuid::Uuid =
        sqlx::query_scalar("SELECT org_id FROM orgs WHERE slug = 'acme'").fetch_one(&mut owner).await.unwrap();
    let insider: uuid::Uuid =
        sqlx::query_scalar("SELECT user_id FROM group_members").fetch_one(&mut owner).await.unwrap();
    let admin = TestServer::user(&server.member("acme", Role::Admin).await).await.uuid();
    set(&mut app, "envforge.org", &acme.to_string()).await;
    let tables = project_tables(&mut owner).await;
    assert!(tables.len() >= 9, "{tables:?}");
    for table in tables {
        let secured: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_policies WHERE tablename = $1 AND policyname = 'reader' AND permissive = 'RESTRICTIVE' AND cmd = 'ALL')",
        )
        .bind(&table)
        .fetch_one(&mut owner)
        .await
        .unwrap();
        assert!(secured, "{table} is of a project and has no policy `reader`; see migrations/0012_orgs.sql");
        let mut count = async |reader: &str| {
            set(&mut app, "envforge.reader", reader).await;
            let rows = format!("SELECT count(*) FROM {table}");
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(rows)).fetch_one(&mut app).await.unwrap()
        };
        let all = count("").await;
        assert!(all > 0, "{table} has no row that could leak");
        for member in [insider, admin] {
            assert_eq!(count(&member.to_string()).await, all, "{table}: who may see sees all");
        }
        for reader in [outsider.uuid(), stranger.uuid(), uuid::Uuid::nil()] {
            assert_eq!(count(&reader.to_string()).await, 0, "{table} shows rows to {reader}");
        }
    }
    // Nor can it be written to, or taken by a change of the row itself.
    set(&mut app, "envforge.reader", &outsider.uuid().to_string()).await;
    let changed = sqlx::query("UPDATE projects SET is_restricted = false").execute(&mut app).await.unwrap();
    assert_eq!(changed.rows_affected(), 0);
    let workspace: uuid::Uuid = sqlx::query_scalar("SELECT id FROM workspaces").fetch_one(&mut owner).await.unwrap();
    let planted = sqlx::query(
        "INSERT INTO runs (id, org_id, workspace_id, argv, created_by, created_at) VALUES (gen_random_uuid(), $1, $2, '[]', $3, now())",
    )
    .bind(acme)
    .bind(workspace)
    .bind(outsider.uuid())
    .execute(&mut app)
    .await;
    assert!(planted.unwrap_err().to_string().contains("row-level security"));
}

// proves ORG-3
#[tokio::test]
async fn nothing_of_one_org_can_be_moved_to_anothers_host() {
    let server = TestServer::start().await;
    server.member("rival", Role::Owner).await;
    something_of_everything(&server).await;
    let mut owner = server.database_owner().await;
    sqlx::query("INSERT INTO hosts (id, org_id, name, created_at) SELECT gen_random_uuid(), org_id, 'theirs', now() FROM orgs WHERE slug = 'rival'")
        .execute(&mut owner)
        .await
        .unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'host_id'",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(tables.len() >= 2, "{tables:?}");
    let mut statements = vec![
        "UPDATE hosts SET org_id = (SELECT org_id FROM orgs WHERE slug = 'rival') WHERE name <> 'theirs'".to_owned(),
        "UPDATE workspaces SET org_id = (SELECT org_id FROM orgs WHERE slug = 'rival')".to_owned(),
    ];
    statements.extend(
        tables.iter().map(|table| format!("UPDATE {table} SET host_id = (SELECT id FROM hosts WHERE name = 'theirs')")),
    );
    // The schema's owner, whom no policy binds; the application's role is refused all the more.
    for statement in statements {
        let moved = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut owner).await;
        assert!(moved.unwrap_err().to_string().contains("foreign key"), "{statement}");
    }
}

// proves ORG-3
#[tokio::test]
async fn the_schema_cant_place_a_second_org_on_a_host() {
    let server = TestServer::start().await;
    server.member("rival", Role::Owner).await;
    let mut owner = server.database_owner().await;
    sqlx::query("INSERT INTO projects (id, org_id, slug, repository, created_at) SELECT gen_random_uuid(), org_id, 'p', '/p', now() FROM orgs WHERE slug = 'rival'")
        .execute(&mut owner)
        .await
        .unwrap();
    // Even the schema's owner, whom no policy binds, can't express it.
    let placed = sqlx::query(
        "INSERT INTO workspaces (id, org_id, project_id, host_id, slug, branch, size, shell, created_by, created_at) \
         SELECT gen_random_uuid(), o.org_id, p.id, h.id, 'w', 'w', 'small', '{}', u.id, now() \
         FROM orgs o JOIN projects p ON p.org_id = o.org_id, hosts h, users u WHERE o.slug = 'rival' LIMIT 1",
    )
    .execute(&mut owner)
    .await;
    assert!(placed.unwrap_err().to_string().contains("foreign key"));
}

// proves ORG-6
#[tokio::test]
async fn an_org_changes_no_gateway() {
    let server = TestServer::start().await;
    let mut app = server.database_app().await;
    let (insert, id) =
        ("INSERT INTO gateways VALUES (gen_random_uuid(), '127.0.0.1:7080', now())", "SELECT id FROM gateways");
    sqlx::query(insert).execute(&mut app).await.unwrap();
    let gateway: uuid::Uuid = sqlx::query_scalar(id).fetch_one(&mut app).await.unwrap();
    assert!(sqlx::query("UPDATE gateways SET id = gen_random_uuid()").execute(&mut app).await.is_err());
    set(&mut app, "envforge.org", &uuid::Uuid::from_u128(1).to_string()).await;
    assert!(sqlx::query(insert).execute(&mut app).await.is_err());
    for statement in ["UPDATE gateways SET heard_at = now()", "DELETE FROM gateways"] {
        assert_eq!(sqlx::query(statement).execute(&mut app).await.unwrap().rows_affected(), 0, "{statement}");
    }
    assert_eq!(sqlx::query_scalar::<_, uuid::Uuid>(id).fetch_one(&mut app).await.unwrap(), gateway);
}

// proves ORG-6
#[tokio::test]
async fn the_ledger_can_only_grow() {
    let server = TestServer::start().await;
    let mut app = server.database_app().await;
    for statement in [
        "UPDATE ledger_events SET actor = 'x'",
        "DELETE FROM ledger_events",
        "UPDATE ledger_seals SET hash = 'x'",
        "DELETE FROM ledger_seals",
        "DELETE FROM ledger_checkpoints",
        "UPDATE ledger_anchors SET hash = 'x'",
        "DELETE FROM ledger_anchors",
        "TRUNCATE ledger_events CASCADE",
    ] {
        let refused = sqlx::query(statement).execute(&mut app).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
    }
}

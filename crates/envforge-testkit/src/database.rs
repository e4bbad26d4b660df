//! A real, private database per test, in milliseconds.
//!
//! The first test of a schema builds a template: an empty database, migrated once by the closure the test passes,
//! under a name made from the schema's fingerprint. Every test clones it (`CREATE DATABASE … TEMPLATE …`). A new
//! fingerprint makes a new template; a template is renamed into place only when it is whole, so a killed build
//! leaves nothing that is mistaken for one.
//!
//! As in production, the owner is not a superuser: role `envforge_owner`, which may create roles and owns its
//! database, so a migration that needs more fails here and not at a customer's. The application's role
//! `envforge_app` is the cluster's, shared by all databases, which is why its password is a constant.
//!
//! A clone is dropped with its handle; those of processes that died are dropped by later ones. Before that it is looked
//! through for planted secrets ([`crate::MARKER`]): what a test plants lies in its database sealed, or not at all.

use crate::cluster::Cluster;
use crate::leaks::Planted;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Password of `envforge_app` in every test database.
const APP_PASSWORD: &str = "testkit";
/// Dead processes' databases dropped per test process; the rest is left to the next.
const GARBAGE_MAX: usize = 16;

static NEXT: AtomicU32 = AtomicU32::new(0);
static COLLECTED: AtomicBool = AtomicBool::new(false);

/// A private database, dropped with this handle.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    cluster: Cluster,
}

impl TestDatabase {
    /// A private copy of the schema that `migrate` makes.
    ///
    /// `migrate` gets the owner's URL and the password to give to `envforge_app`; it runs only when no template
    /// with this `fingerprint` exists. The fingerprint is any text that changes when the schema does, such as all
    /// migrations' checksums.
    pub async fn new<M>(fingerprint: &str, migrate: M) -> Self
    where
        M: AsyncFnOnce(&str, &str) -> anyhow::Result<()>,
    {
        let cluster = Cluster::running().await;
        let mut admin = cluster.connect("postgres").await.expect("the test cluster answers");
        let template = ensure_template(&cluster, &mut admin, fingerprint, migrate).await;
        collect_garbage(&cluster, &mut admin).await;
        let name = format!("t_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Left by an earlier process with our number.
        execute(&mut admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        // Through the log it would take twice as long; before version 15 files were always copied.
        let strategy = if cluster.version >= 15 { "STRATEGY FILE_COPY" } else { "" };
        execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {template} OWNER envforge_owner {strategy}"))
            .await;
        let _ = admin.close().await;
        Self { name, cluster }
    }

    /// An empty private database, for tests of migrations themselves.
    pub async fn empty() -> Self {
        Self::new("empty", async |_, _| Ok(())).await
    }

    /// Runs statements as the schema's owner, whom row-level security does not bind.
    pub async fn fill(&self, statements: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.owner_url()).await?;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await?;
        Ok(())
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// URL as the owner: not a superuser, may create roles, owns this database.
    pub fn owner_url(&self) -> String {
        url(&self.cluster.sockets, "envforge_owner", &self.name)
    }

    /// URL as `envforge_app`, the role the server has.
    pub fn app_url(&self) -> String {
        url(&self.cluster.sockets, "envforge_app", &self.name)
    }

    /// The password of `envforge_app`.
    pub fn app_password(&self) -> &'static str {
        APP_PASSWORD
    }
}

impl Drop for TestDatabase {
    /// Best effort: what is left is collected by a later process.
    fn drop(&mut self) {
        let (cluster, name, is_failed) = (self.cluster.clone(), self.name.clone(), std::thread::panicking());
        // A thread of its own, because the test's runtime may be shutting down around us.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let found = if is_failed { None } else { planted_in(&cluster, &name).await };
                if let Ok(mut admin) = cluster.connect("postgres").await {
                    let _ = try_execute(&mut admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                }
                found
            })
        });
        if let Ok(Some(found)) = dropper.join() {
            panic!("a planted secret lies in the database: {found}");
        }
    }
}

/// The first row of a database that holds a planted secret, with its table. What a test that ends has locked is not waited for.
async fn planted_in(cluster: &Cluster, name: &str) -> Option<String> {
    let look = "SELECT relname || ': ' || found FROM pg_class, LATERAL (SELECT query_to_xml(format( \
        'SELECT t::text AS row FROM %I AS t WHERE t::text ~ %L LIMIT 1', relname, $1), false, true, '')::text AS found) AS looked \
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND found <> '' LIMIT 1";
    let mut connection = cluster.connect(name).await.ok()?;
    try_execute(&mut connection, "SET lock_timeout = '1s'").await.ok()?;
    sqlx::query_scalar(look).bind(Planted::marks()).fetch_optional(&mut connection).await.ok()?
}

fn url(sockets: &Path, role: &str, database: &str) -> String {
    format!("postgres://{role}:{APP_PASSWORD}@localhost:5432/{database}?host={}&sslmode=disable", sockets.display())
}

async fn ensure_template<M>(cluster: &Cluster, admin: &mut PgConnection, fingerprint: &str, migrate: M) -> String
where
    M: AsyncFnOnce(&str, &str) -> anyhow::Result<()>,
{
    let template = format!("tpl_{:016x}", fnv1a(fingerprint.as_bytes()));
    if exists(admin, &template).await {
        return template;
    }
    let _lock = cluster.lock("template").await;
    if exists(admin, &template).await {
        return template;
    }
    let owner =
        "DO $$ BEGIN CREATE ROLE envforge_owner LOGIN CREATEROLE; EXCEPTION WHEN duplicate_object THEN NULL; END $$";
    execute(admin, owner).await;
    let building = format!("{template}_building");
    execute(admin, &format!("DROP DATABASE IF EXISTS {building} WITH (FORCE)")).await;
    execute(admin, &format!("CREATE DATABASE {building} OWNER envforge_owner")).await;
    migrate(&url(&cluster.sockets, "envforge_owner", &building), APP_PASSWORD)
        .await
        .unwrap_or_else(|error| panic!("the template's migration failed: {error:#}"));
    // Closed to everybody, so that no left-over connection ever keeps it from being cloned.
    execute(admin, &format!("ALTER DATABASE {building} ALLOW_CONNECTIONS false")).await;
    let close = format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{building}'");
    execute(admin, &close).await;
    execute(admin, &format!("ALTER DATABASE {building} RENAME TO {template}")).await;
    template
}

async fn exists(admin: &mut PgConnection, database: &str) -> bool {
    sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(database)
        .fetch_optional(admin)
        .await
        .expect("the test cluster answers")
        .is_some()
}

/// Once per process, and in one process at a time: drops databases whose process is gone.
async fn collect_garbage(cluster: &Cluster, admin: &mut PgConnection) {
    if COLLECTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(_lock) = cluster.try_lock("garbage") else { return };
    let rows = sqlx::query(r"SELECT datname::text FROM pg_database WHERE datname LIKE 't\_%'")
        .fetch_all(&mut *admin)
        .await
        .unwrap_or_default();
    let names = rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok());
    let dead = names.filter(|name| {
        let pid = name.split('_').nth(1).unwrap_or_default();
        !Path::new("/proc").join(pid).exists()
    });
    for name in dead.take(GARBAGE_MAX) {
        let _ = try_execute(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    }
}

async fn try_execute(admin: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    // Names come from this module only.
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(admin).await.map(|_| ())
}

async fn execute(admin: &mut PgConnection, statement: &str) {
    try_execute(admin, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::TestDatabase;
    use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

    async fn migrated() -> TestDatabase {
        TestDatabase::new("testkit's own, version 1", async |owner, password| {
            let mut owner = PgConnection::connect(owner).await?;
            let role = format!("CREATE ROLE envforge_app LOGIN PASSWORD '{password}'");
            if let Err(error) = sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut owner).await {
                assert!(error.to_string().contains("already exists"), "{error}");
            }
            sqlx::raw_sql("CREATE TABLE note (text text); GRANT ALL ON note TO envforge_app")
                .execute(&mut owner)
                .await?;
            Ok(())
        })
        .await
    }

    #[tokio::test]
    async fn two_tests_do_not_see_each_other() {
        let (one, other) = tokio::join!(migrated(), migrated());
        let mut connection = PgConnection::connect(&one.app_url()).await.unwrap();
        sqlx::query("INSERT INTO note VALUES ('mine')").execute(&mut connection).await.unwrap();
        let mut connection = PgConnection::connect(&other.app_url()).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&mut connection).await.unwrap();
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn a_planted_secret_in_a_database_is_told_when_it_goes() {
        let value = format!("{}4711", crate::MARKER);
        for stored in [value, "\\x706c616e7465642d7365637265742d34373131".to_owned()] {
            let database = migrated().await;
            let mut connection = PgConnection::connect(&database.app_url()).await.unwrap();
            sqlx::query("INSERT INTO note VALUES ($1)").bind(&stored).execute(&mut connection).await.unwrap();
            drop(connection);
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(database))).unwrap_err();
            let told = told.downcast_ref::<String>().unwrap();
            assert!(told.contains("note: ") && told.contains(&stored), "{told}");
        }
    }

    #[tokio::test]
    async fn a_dropped_handle_takes_its_database_along() {
        let database = TestDatabase::empty().await;
        let url = database.owner_url();
        let open = PgConnection::connect(&url).await.unwrap();
        drop(database);
        assert!(PgConnection::connect(&url).await.is_err());
        drop(open);
    }
}

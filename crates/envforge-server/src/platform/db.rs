//! PostgreSQL: pool, the list of migrations, and the transaction that knows its org.
//!
//! [`OrgScope`] is the only key to tenant rows, and only signing in ([`crate::accounts`]) or a `system_…` look-up
//! gives one. [`Db::begin`] names the org, and the member it is read for, to PostgreSQL in the same round trip that
//! begins the transaction; row-level security does the rest even where a statement forgets its `WHERE`. Nudges are
//! collected while the transaction runs and told at commit.

use super::bus::{Bus, CHANNEL, Nudge};
use super::fault::Answer;
use envforge_core::id::{Id as _, OrgId, UserId};
use envforge_core::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, SqlSafeStr, Transaction};
use std::str::FromStr as _;
use std::time::Duration;

/// The right to an org's rows: all of them, or those a member may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrgScope {
    org: OrgId,
    reader: Option<UserId>,
}

impl OrgScope {
    /// For the system's own work in an org, by code that has established the right: `system_…` look-ups.
    pub(crate) fn established(org: OrgId) -> Self {
        Self { org, reader: None }
    }

    /// For a member, by sign-in: projects they may not see are not there.
    pub(crate) fn of_member(org: OrgId, reader: UserId) -> Self {
        Self { org, reader: Some(reader) }
    }

    /// The org.
    pub fn org(self) -> OrgId {
        self.org
    }
}

/// Connections of one server at most.
pub(crate) const CONNECTIONS_MAX: u32 = 16;
/// Of them, those that stay open however long nothing is asked.
const CONNECTIONS_KEPT: u32 = 4;

/// The database and the bus that tells of commits.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    bus: Bus,
}

impl Db {
    /// Connects as the application's role, waiting up to ten seconds for the database to come up.
    pub async fn connect(url: &Secret, bus: Bus) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url.expose())?.application_name("envforge-server");
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(10))
            // A wake that comes first in a while finds connections whose statements are planned.
            .min_connections(CONNECTIONS_KEPT)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Else the first five runs of each statement on each connection plan it anew, which takes longer
                    // than to run it.
                    sqlx::query("SET plan_cache_mode = force_generic_plan").execute(connection).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool, bus })
    }

    /// The pool, for statements that belong to no org.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Connections open, and those of them that nobody uses.
    pub(crate) fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Begins a transaction in an org.
    pub async fn begin(&self, scope: OrgScope) -> Answer<Tx> {
        let reader = scope.reader.map_or_else(String::new, |reader| reader.uuid().to_string());
        let begin =
            format!("BEGIN; SET LOCAL envforge.org = '{}'; SET LOCAL envforge.reader = '{reader}'", scope.org.uuid());
        let inner = self.begun(AssertSqlSafe(begin)).await?;
        Ok(Tx { inner, org: Some(scope.org), nudges: Vec::new(), bus: self.bus.clone() })
    }

    /// Begins a transaction of the installation that may see and change the jobs of every org.
    pub(crate) async fn begin_jobs(&self) -> Answer<Tx> {
        let inner = self.begun("BEGIN; SET LOCAL envforge.jobs = 'on'").await?;
        Ok(Tx { inner, org: None, nudges: Vec::new(), bus: self.bus.clone() })
    }

    /// Begins a transaction of the installation, outside any org.
    pub async fn begin_installation(&self) -> Answer<Tx> {
        let inner = self.begun("BEGIN").await?;
        Ok(Tx { inner, org: None, nudges: Vec::new(), bus: self.bus.clone() })
    }

    /// Begins in a task of its own, whoever goes meanwhile: what sqlx has begun and not heard the answer to is rolled back by nobody
    /// when it is dropped, and a request ends with its client. The next one would find itself in that one's transaction, and org.
    async fn begun(&self, statement: impl SqlSafeStr + Send + 'static) -> Answer<Transaction<'static, Postgres>> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(statement).await });
        Ok(begun.await.map_err(anyhow::Error::new)??)
    }
}

/// A transaction in one org, or of the installation.
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    org: Option<OrgId>,
    nudges: Vec<Nudge>,
    bus: Bus,
}

impl Tx {
    /// The org; a transaction of the installation has none.
    pub fn org(&self) -> Option<OrgId> {
        self.org
    }

    /// The connection, for a `store.rs`.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Tells of a change once it is committed.
    pub fn nudge(&mut self, nudge: Nudge) {
        if !self.nudges.contains(&nudge) {
            self.nudges.push(nudge);
        }
    }

    /// Names another org for what follows: whoever makes an org, or comes into one, acts in it then.
    pub(crate) async fn enter(&mut self, org: OrgId) -> Answer<()> {
        sqlx::query("SELECT set_config('envforge.org', $1, true)")
            .bind(org.uuid().to_string())
            .execute(&mut *self.inner)
            .await?;
        self.org = Some(org);
        Ok(())
    }

    /// Commits, and tells.
    pub async fn commit(mut self) -> Answer<()> {
        let for_others = self.nudges.iter().filter(|nudge| nudge.is_for_others());
        let payloads: Vec<String> =
            for_others.map(|nudge| serde_json::to_string(nudge).expect("a nudge is plain data")).collect();
        if !payloads.is_empty() {
            sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
                .bind(CHANNEL)
                .bind(payloads)
                .execute(&mut *self.inner)
                .await?;
        }
        self.inner.commit().await?;
        for nudge in self.nudges {
            self.bus.send(nudge);
        }
        Ok(())
    }
}

/// All migrations, oldest first; their text is in the binary.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "foundation", include_str!("../../migrations/0001_foundation.sql")),
    (2, "orders_again", include_str!("../../migrations/0002_orders_again.sql")),
    (3, "order_and_presence", include_str!("../../migrations/0003_order_and_presence.sql")),
    (4, "link_limits", include_str!("../../migrations/0004_link_limits.sql")),
    (5, "sleep_cause", include_str!("../../migrations/0005_sleep_cause.sql")),
    (6, "credentials", include_str!("../../migrations/0006_credentials.sql")),
    (7, "ledger_proof", include_str!("../../migrations/0007_ledger_proof.sql")),
    (8, "jobs", include_str!("../../migrations/0008_jobs.sql")),
    (9, "operating", include_str!("../../migrations/0009_operating.sql")),
    (10, "elevations", include_str!("../../migrations/0010_elevations.sql")),
    (11, "sign_in", include_str!("../../migrations/0011_sign_in.sql")),
    (12, "orgs", include_str!("../../migrations/0012_orgs.sql")),
    (13, "secrets", include_str!("../../migrations/0013_secrets.sql")),
    (14, "git_credentials", include_str!("../../migrations/0014_git_credentials.sql")),
    (15, "settings", include_str!("../../migrations/0015_settings.sql")),
    (16, "egress", include_str!("../../migrations/0016_egress.sql")),
    (17, "invitations_by_mail", include_str!("../../migrations/0017_invitations_by_mail.sql")),
    (18, "secret_stores", include_str!("../../migrations/0018_secret_stores.sql")),
    (19, "rights_once", include_str!("../../migrations/0019_rights_once.sql")),
    (20, "session_standings", include_str!("../../migrations/0020_session_standings.sql")),
    (21, "sign_in_mail", include_str!("../../migrations/0021_sign_in_mail.sql")),
    (22, "health_report", include_str!("../../migrations/0022_health_report.sql")),
    (23, "git_keys", include_str!("../../migrations/0023_git_keys.sql")),
    (24, "keys_and_labels", include_str!("../../migrations/0024_keys_and_labels.sql")),
    (25, "member_sessions", include_str!("../../migrations/0025_member_sessions.sql")),
    (26, "gateways", include_str!("../../migrations/0026_gateways.sql")),
    (27, "gateway_reads", include_str!("../../migrations/0027_gateway_reads.sql")),
    (28, "forks", include_str!("../../migrations/0028_forks.sql")),
    (29, "host_trouble", include_str!("../../migrations/0029_host_trouble.sql")),
    (30, "memory", include_str!("../../migrations/0030_memory.sql")),
    (31, "recorded_terminals", include_str!("../../migrations/0031_recorded_terminals.sql")),
    (32, "activity", include_str!("../../migrations/0032_activity.sql")),
    (33, "schedules", include_str!("../../migrations/0033_schedules.sql")),
    (34, "awake_windows", include_str!("../../migrations/0034_awake_windows.sql")),
    (35, "caps", include_str!("../../migrations/0035_caps.sql")),
    (36, "prices", include_str!("../../migrations/0036_prices.sql")),
    (37, "receipts", include_str!("../../migrations/0037_receipts.sql")),
];

/// What takes a migration back, where that loses nothing anybody relies on.
pub(super) const DOWNS: &[(i64, &str)] = &[
    (2, include_str!("../../migrations/0002_orders_again.down.sql")),
    (3, include_str!("../../migrations/0003_order_and_presence.down.sql")),
    (5, include_str!("../../migrations/0005_sleep_cause.down.sql")),
    (9, include_str!("../../migrations/0009_operating.down.sql")),
    (19, include_str!("../../migrations/0019_rights_once.down.sql")),
    (21, include_str!("../../migrations/0021_sign_in_mail.down.sql")),
    (22, include_str!("../../migrations/0022_health_report.down.sql")),
    (26, include_str!("../../migrations/0026_gateways.down.sql")),
    (34, include_str!("../../migrations/0034_awake_windows.down.sql")),
    (35, include_str!("../../migrations/0035_caps.down.sql")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_testkit::TestDatabase;

    // proves ORG-2
    #[tokio::test]
    async fn whoever_goes_while_a_transaction_begins_leaves_nobody_in_it() {
        let database = TestDatabase::empty().await;
        let db = Db::connect(&Secret::new(database.owner_url()), Bus::default()).await.unwrap();
        for patience in [20, 40, 60, 80] {
            let slow = db.begun("BEGIN; SELECT pg_sleep(0.1); SET LOCAL envforge.org = 'somebody'");
            drop(tokio::time::timeout(Duration::from_millis(patience), slow).await);
            // All at once: it is one of them, as soon as it is back.
            let mut all = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                let mut connection = db.pool().acquire().await.unwrap();
                let org = sqlx::query_scalar("SELECT nullif(current_setting('envforge.org', true), '')");
                let org: Option<String> = org.fetch_one(&mut *connection).await.unwrap();
                assert_eq!(org, None, "a transaction in which nobody is goes on");
                all.push(connection);
            }
        }
    }
}

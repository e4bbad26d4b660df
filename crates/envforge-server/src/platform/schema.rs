//! The schema: what a program needs of it, and how it changes under programs that run.
//!
//! A migration either adds (*expand*) or takes away (*contract*), and its first line says which. A server works on any
//! schema that has all its own steps and no later contract, so an upgrade without an outage is: migrate, start the new
//! servers, stop the old ones. What takes something away comes with a later release, when nobody uses it any more.
//!
//! ```text
//!            needs its own newest step                no contract it does not know
//!   older ◄────────────────────────── fits ──────────────────────────────────────► too new
//! ```
//!
//! A step may bring its way back, `NNNN_name.down.sql`. Everything runs under one lock, so that two at once are safe:
//! the second waits, and finds nothing to do. Each step is one transaction with the row that notes it.

use super::db::{DOWNS, MIGRATIONS};
use envforge_core::secret::Secret;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, SqlStr};
use std::str::FromStr as _;

/// How often a change of the application's role is tried while others change it too.
const ROLE_TRIES: u32 = 50;
/// The advisory lock of whoever changes the schema: `envforge` in ASCII.
const LOCK: i64 = 0x656e_7666_6f72_6765;
/// How the note of a contract begins; `schema_state` looks for it.
const CONTRACT: &str = "contract: ";

/// Why a schema was not changed, or can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Steps are missing.
    #[error("the database's schema is {}, this program needs version {wanted}", known(*found))]
    Older {
        /// Its version, where it says one.
        found: Option<i64>,
        /// What is needed.
        wanted: i64,
    },
    /// Something this program uses is gone.
    #[error("step {oldest} of the database's schema took away what this program, which knows version {wanted}, uses")]
    TooNew {
        /// The last contract.
        oldest: i64,
        /// What this program knows.
        wanted: i64,
    },
    /// A step has no way back.
    #[error("step {version} `{name}` has no way back: what it added may hold what nothing older can keep")]
    NoWayBack {
        /// Its version.
        version: i64,
        /// Its name.
        name: String,
    },
    /// A step of a newer program.
    #[error("step {version} was made by a newer program, which alone knows its way back")]
    Unknown {
        /// Its version.
        version: i64,
    },
    /// There is no such version.
    #[error("there is no version {0} of the schema")]
    NoSuchVersion(i64),
    /// A step failed, or another program's steps are not ours.
    #[error("migrating: {0}")]
    Migrate(#[from] MigrateError),
    /// The database said no.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

fn known(version: Option<i64>) -> String {
    version.map_or_else(|| "older than version 9".to_owned(), |version| format!("at version {version}"))
}

impl SchemaError {
    /// What helps.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Older { .. } => "run `envforged migrate` with this program; what runs now goes on working meanwhile",
            Self::TooNew { .. } => "use the program that migrated it, or a later one",
            Self::NoWayBack { .. } => "restore a backup made before it, or keep the schema: older programs work on it",
            Self::Unknown { .. } => "run `envforged migrate --to` with the newer program",
            Self::NoSuchVersion(_) => "`envforged migrate --plan` lists them",
            Self::Migrate(_) | Self::Database(_) => "nothing was changed half-way; it may be run again",
        }
    }
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// Whether it takes something away.
    pub is_contract: bool,
}

/// What a migration does, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The version before it.
    pub from: i64,
    /// Steps to go forward, in order.
    pub up: Vec<Step>,
    /// Steps to take back, in order.
    pub down: Vec<Step>,
}

/// The newest version this program knows, and needs.
pub fn newest() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

/// A text that changes whenever a migration does; test kits name their template database by it.
pub fn schema_fingerprint() -> String {
    let all: Vec<String> = MIGRATIONS.iter().map(|(version, name, sql)| format!("{version} {name} {sql}")).collect();
    envforge_core::token::digest(&all.concat())[..16].to_owned()
}

/// Whether a migration's first line says that it takes something away.
fn is_contract(sql: &str) -> bool {
    sql.lines().next().is_some_and(|line| line.contains("(contract)"))
}

fn migrator() -> Migrator {
    let mut migrations = Vec::new();
    for (version, name, sql) in MIGRATIONS {
        let down = DOWNS.iter().find(|(down, _)| down == version);
        let description = if is_contract(sql) { format!("{CONTRACT}{name}") } else { (*name).to_owned() };
        let step =
            |kind, sql| Migration::new(*version, description.clone().into(), kind, SqlStr::from_static(sql), false);
        let kind = if down.is_some() { MigrationType::ReversibleUp } else { MigrationType::Simple };
        migrations.push(step(kind, sql));
        migrations.extend(down.map(|(_, sql)| step(MigrationType::ReversibleDown, sql)));
    }
    // Later expands of newer programs are no reason to refuse; a later contract is, and is looked for before.
    Migrator { migrations: migrations.into(), ignore_missing: true, ..Migrator::DEFAULT }
}

/// Whether a program that knows `wanted` works on a schema of version `found` whose last contract is `oldest`.
fn check_fit(found: i64, oldest: i64, wanted: i64) -> Result<(), SchemaError> {
    if oldest > wanted {
        return Err(SchemaError::TooNew { oldest, wanted });
    }
    if found < wanted {
        return Err(SchemaError::Older { found: Some(found), wanted });
    }
    Ok(())
}

/// Whether this program works on the database's schema; asked as the application's role. Returns the schema's version.
pub(crate) async fn check(pool: &PgPool) -> Result<i64, SchemaError> {
    let state = sqlx::query_as::<_, (i64, i64)>("SELECT version, oldest FROM schema_state").fetch_one(pool).await;
    let (found, oldest) = match state {
        // Made before there was such a view (`undefined_table`), or nothing is made yet.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
            return Err(SchemaError::Older { found: None, wanted: newest() });
        }
        state => state?,
    };
    check_fit(found, oldest, newest()).map(|()| found)
}

/// Prepares the database as its owner: the role of the application with the password given, and all migrations.
/// May run again at any time, and beside others that do.
pub async fn migrate(owner_url: &str, app_password: &Secret) -> Result<Plan, SchemaError> {
    let mut connection = locked(owner_url).await?;
    let plan = plan_for(&mut connection, newest()).await?;
    app_role(&mut connection, app_password).await?;
    migrator().run(&mut connection).await?;
    connection.close().await?;
    Ok(plan)
}

/// Brings the schema to an older version by the steps' ways back, or forward to one; nothing if a step has none.
pub async fn migrate_to(owner_url: &str, app_password: &Secret, version: i64) -> Result<Plan, SchemaError> {
    let mut connection = locked(owner_url).await?;
    let plan = plan_for(&mut connection, version).await?;
    app_role(&mut connection, app_password).await?;
    if plan.down.is_empty() {
        migrator().run_to(version, &mut connection).await?;
    } else {
        migrator().undo(&mut connection, version).await?;
    }
    connection.close().await?;
    Ok(plan)
}

/// What [`migrate`] would do, or [`migrate_to`] with a version.
pub async fn plan(owner_url: &str, version: Option<i64>) -> Result<Plan, SchemaError> {
    let mut connection = connect(owner_url).await?;
    plan_for(&mut connection, version.unwrap_or_else(newest)).await
}

/// A connection whose statements are in no log: one of them holds a password.
async fn connect(owner_url: &str) -> Result<PgConnection, SchemaError> {
    let mut connection = PgConnectOptions::from_str(owner_url)?.disable_statement_logging().connect().await?;
    // What is there already is no news.
    sqlx::query("SET client_min_messages = warning").execute(&mut connection).await?;
    Ok(connection)
}

/// A connection that holds the lock until it ends.
async fn locked(owner_url: &str) -> Result<PgConnection, SchemaError> {
    let mut connection = connect(owner_url).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    Ok(connection)
}

async fn plan_for(connection: &mut PgConnection, target: i64) -> Result<Plan, SchemaError> {
    let is_made: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    let applied: Vec<(i64, String)> = if is_made {
        sqlx::query_as("SELECT version, description FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut *connection)
            .await?
    } else {
        Vec::new()
    };
    plan_of(&applied, target)
}

fn plan_of(applied: &[(i64, String)], target: i64) -> Result<Plan, SchemaError> {
    let from = applied.last().map_or(0, |(version, _)| *version);
    if target != 0 && !MIGRATIONS.iter().any(|(version, ..)| *version == target) {
        return Err(SchemaError::NoSuchVersion(target));
    }
    let contracts = applied.iter().filter(|(_, description)| description.starts_with(CONTRACT));
    if let Some(oldest) = contracts.map(|(version, _)| *version).max().filter(|oldest| *oldest > newest()) {
        return Err(SchemaError::TooNew { oldest, wanted: newest() });
    }
    let is_applied = |version: i64| applied.iter().any(|(applied, _)| *applied == version);
    let step = |(version, name, sql): &(i64, &'static str, &str)| Step {
        version: *version,
        name,
        is_contract: is_contract(sql),
    };
    let up = MIGRATIONS.iter().filter(|(version, ..)| *version <= target && !is_applied(*version)).map(step).collect();
    let mut down = Vec::new();
    // Whoever asks for the newest goes forward, whatever newer programs added.
    for (version, _) in applied.iter().rev().filter(|(version, _)| target < newest() && *version > target) {
        let known = MIGRATIONS.iter().find(|(ours, ..)| ours == version);
        let known = known.ok_or(SchemaError::Unknown { version: *version })?;
        if is_contract(known.2) || !DOWNS.iter().any(|(down, _)| down == version) {
            return Err(SchemaError::NoWayBack { version: *version, name: known.1.to_owned() });
        }
        down.push(step(known));
    }
    let up = if down.is_empty() { up } else { Vec::new() };
    Ok(Plan { from, up, down })
}

/// The application's role with this password. A role belongs to the cluster: somebody may be making the same one for
/// another database of it this very moment, and no lock of one database keeps them out.
async fn app_role(connection: &mut PgConnection, password: &Secret) -> Result<(), SchemaError> {
    const CREATE: &str = "DO $$ BEGIN \
         CREATE ROLE envforge_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    sqlx::query(CREATE).execute(&mut *connection).await?;
    let statement: String = sqlx::query_scalar("SELECT format('ALTER ROLE envforge_app PASSWORD %L', $1::text)")
        .bind(password.expose())
        .fetch_one(&mut *connection)
        .await?;
    let mut tries = 0;
    loop {
        match sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *connection).await {
            Err(sqlx::Error::Database(error)) if error.message().contains("concurrently") && tries < ROLE_TRIES => {
                tries += 1;
            }
            done => return Ok(done.map(drop)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SchemaError, Step, check_fit, is_contract, newest, plan_of};

    fn at(versions: &[(i64, &str)]) -> Vec<(i64, String)> {
        versions.iter().map(|(version, text)| (*version, (*text).to_owned())).collect()
    }

    // proves OPS-4
    #[test]
    fn a_program_works_on_later_expands_and_on_no_later_contract() {
        assert!(check_fit(9, 0, 9).is_ok());
        assert!(check_fit(12, 9, 9).is_ok(), "later expands");
        assert!(matches!(check_fit(12, 11, 9), Err(SchemaError::TooNew { oldest: 11, wanted: 9 })));
        assert!(matches!(check_fit(8, 0, 9), Err(SchemaError::Older { found: Some(8), wanted: 9 })));
        assert!(
            is_contract("-- Old columns go (contract).\nALTER …") && !is_contract("-- More (expand).\n-- (contract)")
        );
    }

    #[test]
    fn a_plan_goes_forward_or_back_and_never_both() {
        let plan = plan_of(&at(&[(1, "foundation"), (2, "orders_again")]), 3).unwrap();
        let third = Step { version: 3, name: "order_and_presence", is_contract: false };
        assert_eq!((plan.from, plan.up, plan.down), (2, vec![third.clone()], vec![]));
        let applied = at(&[(1, "foundation"), (2, "orders_again"), (3, "order_and_presence")]);
        let plan = plan_of(&applied, 2).unwrap();
        assert_eq!((plan.up, plan.down), (vec![], vec![third]));
        assert!(matches!(plan_of(&applied, 0), Err(SchemaError::NoWayBack { version: 1, .. })));
        assert!(matches!(plan_of(&applied, 4711), Err(SchemaError::NoSuchVersion(4711))));
    }

    #[test]
    fn steps_of_newer_programs_are_left_alone() {
        let later = newest() + 100;
        assert!(plan_of(&at(&[(1, "foundation"), (later, "more")]), newest()).is_ok());
        assert!(matches!(plan_of(&at(&[(1, "foundation"), (later, "more")]), 1), Err(SchemaError::Unknown { .. })));
        let taken = at(&[(1, "foundation"), (later, "contract: less")]);
        assert!(matches!(plan_of(&taken, newest()), Err(SchemaError::TooNew { .. })));
    }
}

//! A query of the workspace's database, for a console.
//!
//! It runs as the workspace's own role and changes nothing:
//!
//! - The transaction is read-only. A snapshot is taken before the query is said, after which PostgreSQL lets nobody make it anything
//!   else; and it is never committed.
//! - The query is a cursor's, said by the extended protocol: one statement, and none that is no query.
//! - The cursor is read once, so many rows and bytes, within the limits of time that were set before.

use envforge_api::console::Answer;
use envforge_api::http::consoles::DatabaseRows;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _};
use sqlx::{SqlSafeStr as _, Statement as _, ValueRef as _};
use std::io;
use std::time::Duration;

/// The variable that holds the database's address.
const ADDRESS: &str = "DATABASE_URL";
/// What a session of a console begins with; its user's own settings don't win over these.
const SETTINGS: [(&str, &str); 5] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("application_name", "envforge-console"),
];
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(15);
/// Bytes of all cells. JSON makes six of one at most, and all of them fit [`ANSWER_MAX`](envforge_api::console::ANSWER_MAX).
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one cell.
const CELL_MAX: usize = 64 * 1024;
/// What a cell costs beside its bytes.
const CELL: usize = 8;
/// Characters of what PostgreSQL says of a mistake.
const SAID_MAX: usize = 2_000;

/// Asks the database at the address in the environment; a mistake in the query is an answer too.
pub(crate) fn query(query: String, limit: usize) -> io::Result<Answer> {
    let address = std::env::var(ADDRESS).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async { tokio::time::timeout(LIMIT, ask(&address, query, limit)).await });
    Ok(match asked {
        Ok(Ok(rows)) => Answer::Rows(rows),
        Ok(Err(error)) => refused(&error),
        Err(_) => Answer::Refused { message: "the database did not answer in time".to_owned(), hint: None },
    })
}

async fn ask(address: &str, query: String, limit: usize) -> Result<DatabaseRows, sqlx::Error> {
    let options: PgConnectOptions = address.parse()?;
    let options = options.ssl_mode(PgSslMode::Disable).options(SETTINGS).disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options).await?;
    // The second statement takes the snapshot.
    connection.execute(sqlx::raw_sql("BEGIN READ ONLY; SELECT 1")).await?;
    // For the names of columns, and for mistakes to be told at their place.
    let prepared = (&mut connection).prepare(AssertSqlSafe(query.clone()).into_sql_str()).await?;
    let columns: Vec<String> = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let cursor = format!("DECLARE console NO SCROLL CURSOR FOR {query}");
    sqlx::query(AssertSqlSafe(cursor)).persistent(false).execute(&mut connection).await?;
    let fetch = format!("FETCH FORWARD {} FROM console", limit + 1);
    let mut found = connection.fetch(sqlx::raw_sql(AssertSqlSafe(fetch)));
    let (mut rows, mut left, mut is_cut) = (Vec::new(), BYTES_MAX, false);
    while let Some(row) = found.try_next().await? {
        if rows.len() == limit || left == 0 {
            is_cut = true;
            break;
        }
        rows.push(cells(&row, &mut left, &mut is_cut)?);
    }
    Ok(DatabaseRows { columns, rows, is_cut })
}

/// The cells of a row, as far as there are bytes left for them.
fn cells(row: &PgRow, left: &mut usize, is_cut: &mut bool) -> Result<Vec<Option<String>>, sqlx::Error> {
    let cell = |index| {
        let value = row.try_get_raw(index)?;
        *left = left.saturating_sub(CELL);
        if value.is_null() {
            return Ok(None);
        }
        let text = value.as_str().map_err(sqlx::Error::Decode)?;
        let shown = &text[..text.floor_char_boundary(CELL_MAX.min(*left))];
        *is_cut |= shown.len() < text.len();
        *left -= shown.len();
        Ok(Some(shown.to_owned()))
    };
    (0..row.len()).map(cell).collect()
}

fn refused(error: &sqlx::Error) -> Answer {
    let cut = |text: &str| text.chars().take(SAID_MAX).collect::<String>();
    let Some(said) = error.as_database_error() else {
        let message = format!("the database can't be asked: {}", cut(&error.to_string()));
        return Answer::Refused { message, hint: Some("`envforge status` says how it is".to_owned()) };
    };
    let hint = match said.code().as_deref() {
        // A statement that can't be a cursor's, or a mistake in one that could.
        Some("42601") => Some("a query is one SELECT, VALUES, TABLE or WITH".to_owned()),
        Some("57014") => Some("a query has ten seconds; ask for less".to_owned()),
        _ => said.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint).map(cut),
    };
    Answer::Refused { message: cut(said.message()), hint }
}

//! Databases dumped and restored, against the real PostgreSQL.

use super::machine::{Machine, Ws};
use super::resources::{STORES, has_programs, run};
use crate::support::{LIMIT, wait_until};
use envforge_api::host::{Order, Outcome};
use envforge_api::uplink::transfer::{self, PIECE_MAX, Piece, Pieces};
use envforge_api::uplink::{Open, OpenError};
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use envforge_core::ticket::TicketKind;
use envforge_host::sys::command::std_command;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// A workspace with a database.
async fn prepared() -> (Machine, Ws) {
    let machine = Machine::new(STORES, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "postgres", ReadinessState::Ready).await;
    (machine, ws)
}

/// What SQL answers a job.
async fn sql(machine: &Machine, ws: Ws, generation: u64, text: &str) -> String {
    let (code, said) =
        run(machine, ws, generation, &format!("psql -XqAt -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -c \"{text}\"")).await;
    assert_eq!(code, Some(0), "{said}");
    said.lines().filter_map(|line| line.split_once(" stdout ")).flat_map(|(_, text)| [text, "\n"]).collect()
}

async fn opened(machine: &Machine, ws: Ws, open: Open) -> Result<UnixStream, OpenError> {
    let ticket = machine.server.ticket(ws.id, TicketKind::Database, "");
    let socket = UnixStream::from(machine.server.open(&ticket, open).await?);
    socket.set_nonblocking(false).expect("blocking");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    Ok(socket)
}

/// What comes, and how it ended; nothing if it broke off.
fn heard(mut socket: UnixStream) -> (Vec<u8>, Option<Result<(), Refusal>>) {
    let (mut pieces, mut bytes, mut buffer) = (Pieces::default(), Vec::new(), vec![0; PIECE_MAX]);
    loop {
        while let Some(piece) = pieces.take().expect("such a stream") {
            match piece {
                Piece::Data(data) => bytes.extend(data),
                Piece::End(result) => return (bytes, Some(result)),
            }
        }
        match socket.read(&mut buffer).expect("in time") {
            0 => return (bytes, None),
            length => pieces.push(&buffer[..length]),
        }
    }
}

async fn dump(machine: &Machine, ws: Ws) -> Vec<u8> {
    let socket = opened(machine, ws, Open::DatabaseDump).await.expect("opened");
    let (bytes, ended) = tokio::task::spawn_blocking(|| heard(socket)).await.expect("read");
    assert_eq!(ended, Some(Ok(())));
    bytes
}

/// Sends a dump, and its end if it has one.
async fn restore(machine: &Machine, ws: Ws, bytes: Vec<u8>, end: bool) -> Option<Result<(), Refusal>> {
    let mut socket = opened(machine, ws, Open::DatabaseRestore).await.expect("opened");
    tokio::task::spawn_blocking(move || {
        // A host that has heard enough reads no more.
        let sent = socket.write_all(&transfer::data(&bytes));
        if sent.is_ok() && end {
            let _ = socket.write_all(&transfer::end(&Ok(())));
        } else if !end {
            socket.shutdown(std::net::Shutdown::Write).expect("cut");
        }
        heard(socket).1
    })
    .await
    .expect("restored")
}

/// The databases and roles there are, and the cluster's programs that are at work.
async fn names(machine: &Machine) -> String {
    let socket = machine.config.data_dir.join("resources/postgres/socket");
    let sql = "SELECT datname FROM pg_database WHERE datname LIKE 'ws%' UNION ALL \
               SELECT rolname FROM pg_roles WHERE rolname LIKE 'ws%' ORDER BY 1";
    let mut command = std_command("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "psql", "-XqAt", "-U", "envforge"]);
    command.args(["-d", "postgres", "-p", "5432", "-c", sql]).arg("-h").arg(socket).current_dir("/");
    let output = tokio::task::spawn_blocking(move || command.stderr(Stdio::inherit()).output()).await.expect("a task");
    String::from_utf8(output.expect("psql runs").stdout).expect("text")
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_dumped_and_restored_while_services_are_connected() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = prepared().await;
    let before = names(&machine).await;
    sql(&machine, ws, 2, "CREATE TABLE notes (id int PRIMARY KEY, text text CHECK (length(text) > 0)); INSERT INTO notes SELECT n, repeat('x', 200) FROM generate_series(1, 3000) n; ALTER DATABASE CURRENT SET lock_timeout TO '4s'".replace("CURRENT", &ws.id.to_string()).as_str()).await;
    let bytes = dump(&machine, ws).await;
    assert!(bytes.starts_with(b"PGDMP"), "{} bytes", bytes.len());
    sql(&machine, ws, 2, "DELETE FROM notes; CREATE TABLE later ()").await;
    // A pool that is connected, and comes again.
    let (_, pool) =
        machine.job(ws, 2, &["sh", "-c", "while :; do psql -XqAt \"$DATABASE_URL\" -c 'SELECT pg_sleep(60)'; done"]);
    assert_eq!(machine.server.obeyed(&pool).await, Outcome::Done);
    assert_eq!(restore(&machine, ws, bytes, true).await, Some(Ok(())));
    let said = sql(&machine, ws, 2, "SELECT count(*), to_regclass('later') IS NULL, current_setting('lock_timeout'), pg_get_userbyid(relowner) = current_user FROM notes, pg_class WHERE relname = 'notes' GROUP BY 2, 3, 4").await;
    assert_eq!(said, "3000|t|4s|t\n");
    sql(&machine, ws, 2, "DROP TABLE notes").await;
    assert_eq!(names(&machine).await, before, "nothing is left of how it was done");
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_dump_changes_nothing() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = prepared().await;
    let before = names(&machine).await;
    sql(
        &machine,
        ws,
        2,
        "CREATE TABLE notes AS SELECT n, md5(n::text) || md5((n + 1)::text) AS text FROM generate_series(1, 20000) n",
    )
    .await;
    let bytes = dump(&machine, ws).await;
    sql(&machine, ws, 2, "DELETE FROM notes WHERE n > 7").await;
    let half = bytes[..bytes.len() / 2].to_vec();
    let code = |result: Option<Result<(), Refusal>>| {
        let refusal = result.expect("an answer").expect_err("a refusal");
        assert!(refusal.hint.is_some(), "{refusal:?}");
        refusal.code
    };
    assert_eq!(code(restore(&machine, ws, half.clone(), false).await), "restore.cut_off", "its sender went away");
    assert_eq!(code(restore(&machine, ws, half, true).await), "restore.failed", "its end is told and it is not whole");
    assert_eq!(code(restore(&machine, ws, b"DROP TABLE notes;".to_vec(), true).await), "restore.not_a_dump");
    assert_eq!(sql(&machine, ws, 2, "SELECT count(*) FROM notes").await, "7\n");
    assert_eq!(names(&machine).await, before);
    // Who wants a dump and goes away does not leave the program behind.
    let locker = "psql -XqAt \"$DATABASE_URL\" -c 'BEGIN' -c 'LOCK notes' -c 'SELECT pg_sleep(60)'";
    let (_, locking) = machine.job(ws, 2, &["sh", "-c", locker]);
    assert_eq!(machine.server.obeyed(&locking).await, Outcome::Done);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait_until("the lock", async || {
        sql(&machine, ws, 2, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'").await == "1\n"
    })
    .await;
    let socket = opened(&machine, ws, Open::DatabaseDump).await.expect("opened");
    wait_until("the dump waits", async || sql(&machine, ws, 2, waits).await == "1\n").await;
    drop(socket);
    wait_until("the dump has ended", async || sql(&machine, ws, 2, waits).await == "0\n").await;
}

// proves RUN-3 RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_wakes_a_runtime_and_sleep_ends_both() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = prepared().await;
    sql(&machine, ws, 2, "CREATE TABLE notes (n int)").await;
    let mut socket = opened(&machine, ws, Open::DatabaseRestore).await.expect("opened");
    socket.write_all(&transfer::data(&dump(&machine, ws).await[..100])).expect("sent");
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    let (_, ended) = tokio::task::spawn_blocking(|| heard(socket)).await.expect("read");
    assert_eq!(ended.expect("told").expect_err("it sleeps").code, "dump.asleep");
    for open in [Open::DatabaseDump, Open::DatabaseRestore] {
        let Err(OpenError::Refused(refusal)) = opened(&machine, ws, open).await else { panic!("it sleeps") };
        assert_eq!(refusal.code, "dump.asleep");
        assert!(refusal.hint.is_some_and(|hint| hint.contains("envforge wake")));
    }
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(sql(&machine, ws, 4, "SELECT count(*) FROM notes").await, "0\n");
    assert!(dump(&machine, ws).await.starts_with(b"PGDMP"));
}

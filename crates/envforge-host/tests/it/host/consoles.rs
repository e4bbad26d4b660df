//! Consoles: what a workspace's resources hold, and what is never done for one.

use super::machine::{Machine, Ws};
use super::resources::{MAIL, STORES, has_programs, own_s3, run, send_mail};
use super::server::mint;
use crate::support::is_root;
use envforge_api::console::{self, Answer, Question};
use envforge_api::host::{Order, Outcome};
use envforge_api::uplink::Open;
use envforge_core::readiness::ReadinessState;
use envforge_core::ticket::TicketKind;
use envforge_host::sys::cgroup::Layer;
use std::io::{BufRead as _, Read as _};

/// What the workspace's console answers: the first line, and what is behind it.
async fn asked(machine: &Machine, ws: Ws, question: &Question) -> (Answer, Vec<u8>) {
    let question = serde_json::to_string(question).expect("JSON");
    let ticket = machine.server.ticket(ws.id, TicketKind::Console, &console::digest(&question));
    let pipe = machine.server.open(&ticket, Open::Console { question }).await.expect("an answer");
    let read = move || {
        let mut pipe = std::io::BufReader::new(std::fs::File::from(pipe));
        let (mut line, mut rest) = (String::new(), Vec::new());
        pipe.read_line(&mut line).expect("a line");
        pipe.read_to_end(&mut rest).expect("the rest");
        (serde_json::from_str(&line).expect("an answer"), rest)
    };
    tokio::task::spawn_blocking(read).await.expect("read")
}

// proves RUN-6 DASH-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_reads_mail_and_objects_of_its_own_workspace_while_that_sleeps() {
    if !is_root() {
        return;
    }
    let manifest = format!("{MAIL}  object_storage: branch_scoped\n");
    let machine = Machine::new(&manifest, &[]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    machine.wake(one, 2).await;
    machine.part(one, "mail", ReadinessState::Ready).await;
    machine.part(one, "object_storage", ReadinessState::Ready).await;
    for subject in ["first", "second"] {
        let (code, log) = run(&machine, one, 2, &send_mail(subject)).await;
        assert_eq!(code, Some(0), "{log}");
    }
    let put = own_s3("--data-binary of-one $S3_ENDPOINT/$S3_BUCKET/a/key -X PUT");
    let (code, log) = run(&machine, one, 2, &put).await;
    assert_eq!(code, Some(0), "{log}");
    machine.order(one, 3, Order::StopRuntime).await;

    let (Answer::Mails(page), _) = asked(&machine, one, &Question::Mails { before: None, limit: 1 }).await else {
        panic!("a page of mail");
    };
    assert_eq!(page.mails[0].subject.as_deref(), Some("second"), "the newest first");
    let before = page.more_before;
    assert_eq!(before, Some(page.mails[0].id));
    let (Answer::Mails(page), _) = asked(&machine, one, &Question::Mails { before, limit: 9 }).await else {
        panic!("a page of mail");
    };
    let id = page.mails[0].id;
    assert_eq!((page.mails.len(), &*page.mails[0].from, page.more_before), (1, "a@b", None));
    let (Answer::Mail(mail), _) = asked(&machine, one, &Question::Mail { id }).await else { panic!("a message") };
    assert_eq!(mail.text.as_deref().map(str::trim), Some("x"));
    let raw = asked(&machine, one, &Question::RawMail { id }).await;
    assert_eq!(raw, (Answer::Content { size: 21 }, b"Subject: first\r\n\r\nx\r\n".to_vec()));
    let object = |key: &str| Question::Object { bucket: "workspace".to_owned(), key: key.to_owned() };
    assert_eq!(asked(&machine, one, &object("a/key")).await, (Answer::Content { size: 6 }, b"of-one".to_vec()));
    assert_eq!(asked(&machine, one, &object("a")).await.0, Answer::Nothing);
    let outside = Question::Object { bucket: "../../mail".to_owned(), key: "a/key".to_owned() };
    assert_eq!(asked(&machine, one, &outside).await.0, Answer::Nothing);
    let (Answer::Buckets(buckets), _) = asked(&machine, one, &Question::Buckets).await else { panic!("buckets") };
    assert_eq!(buckets.buckets, ["workspace"]);
    let list = |prefix: &str| {
        let (bucket, prefix, after) = ("workspace".to_owned(), prefix.to_owned(), String::new());
        Question::Objects { bucket, prefix, after, limit: 10 }
    };
    let (Answer::Objects(objects), _) = asked(&machine, one, &list("a/")).await else { panic!("objects") };
    assert_eq!((objects.objects.len(), &*objects.objects[0].key, objects.objects[0].size), (1, "a/key", 6));
    let (Answer::Objects(objects), _) = asked(&machine, one, &list("b")).await else { panic!("objects") };
    assert!(objects.objects.is_empty());

    // Another workspace's console knows nothing of it, and a ticket is for one question of one workspace.
    assert_eq!(asked(&machine, two, &Question::Mail { id }).await.0, Answer::Nothing);
    let ticket = machine.server.ticket(one.id, TicketKind::Console, &console::digest("{\"ask\":\"buckets\"}"));
    let other = Open::Console { question: "{\"ask\":\"mails\",\"limit\":1}".to_owned() };
    assert_eq!(machine.server.refused(&ticket, other).await, "ticket.other_question");
    let unknown = "{\"ask\":\"everything\"}".to_owned();
    let ticket = machine.server.ticket(one.id, TicketKind::Console, &console::digest(&unknown));
    assert_eq!(machine.server.refused(&ticket, Open::Console { question: unknown }).await, "console.unknown_question");

    let runtime = machine.group(&one.id.to_string(), Layer::Runtime).pids().unwrap_or_default();
    assert!(runtime.is_empty(), "nothing of it was woken");
}

/// What somebody who works there may have left for whoever looks.
const PLANTED: &str = "create type mood as enum ('ok');
create sequence s;
create table t (n int, name text, m mood);
insert into t values (1, null, 'ok'), (2, E'\\x01\u{fc}', null);
create function plant() returns int language plpgsql as 'begin insert into t values (9); return 1; end';
create function open_up() returns text language sql immutable as
    $$ select set_config('transaction_read_only', 'off', true) $$;
do $$ begin execute 'alter database ' || current_database() || ' set default_transaction_read_only to off'; end $$;
do $$ begin execute 'alter role ' || current_user || ' set statement_timeout to 0'; end $$;
";

fn query(query: &str, limit: u32) -> Question {
    Question::Query { query: query.to_owned(), limit }
}

/// What the database says to a query that it does not do.
async fn not_done(machine: &Machine, ws: Ws, text: &str) -> String {
    match asked(machine, ws, &query(text, 10)).await.0 {
        Answer::Refused { message, .. } => message,
        other => panic!("{text}: {other:?}"),
    }
}

/// The code with which a query is not even begun.
async fn refused(machine: &Machine, ws: Ws) -> String {
    let question = serde_json::to_string(&query("select 1", 1)).expect("JSON");
    let ticket = machine.server.ticket(ws.id, TicketKind::Console, &console::digest(&question));
    machine.server.refused(&ticket, Open::Console { question }).await
}

// proves RUN-6 DASH-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_queries_the_database_and_can_change_nothing() {
    if !has_programs() {
        return;
    }
    let machine = Machine::new(STORES, &[]).await;
    let ws = machine.workspace().await;
    assert_eq!(refused(&machine, ws).await, "console.asleep", "before it was ever awake");
    machine.wake(ws, 2).await;
    machine.part(ws, "postgres", ReadinessState::Ready).await;
    machine.edit(ws, "plant.sql", PLANTED);
    let (code, log) = run(&machine, ws, 2, "psql -v ON_ERROR_STOP=1 -qf plant.sql $DATABASE_URL").await;
    assert_eq!(code, Some(0), "{log}");
    let rows = async |text: &str, limit| match asked(&machine, ws, &query(text, limit)).await.0 {
        Answer::Rows(rows) => rows,
        other => panic!("{text}: {other:?}"),
    };

    let found = rows("select * from t order by n -- all of it", 10).await;
    assert_eq!(found.columns, ["n", "name", "m"]);
    let cell = |text: &str| Some(text.to_owned());
    assert_eq!(found.rows, [[cell("1"), None, cell("ok")], [cell("2"), cell("\u{1}\u{fc}"), None]]);
    assert!(!found.is_cut);
    let found = rows("select n from t where false;", 10).await;
    assert_eq!((found.columns, found.rows.len()), (vec!["n".to_owned()], 0));
    // So many rows and bytes, and so long.
    let found = rows("select generate_series(1, 100000)", 7).await;
    assert_eq!((found.rows.len(), found.is_cut), (7, true));
    let found = rows("select repeat('\u{fc}', 1000000) from generate_series(1, 500)", 500).await;
    let length = |found: &[Vec<Option<String>>]| found.iter().flatten().flatten().map(String::len).sum::<usize>();
    assert!(found.is_cut && (1_000_000..3_000_000).contains(&length(&found.rows)), "{}", length(&found.rows));
    let found = rows("select current_setting('statement_timeout'), current_setting('transaction_read_only')", 1).await;
    assert_eq!(found.rows, [[cell("10s"), cell("on")]]);

    // Whatever is asked, nothing is changed.
    for text in [
        "insert into t values (3)",
        "with x as (insert into t values (3) returning n) select n from x",
        "select 1; insert into t values (3)",
        "select 1; commit; insert into t values (3)",
        "commit",
        "create table u (n int)",
        "do $$ begin insert into t values (3); end $$",
        "copy t to program 'id'",
        "select nextval('s')",
        "select plant()",
        "select open_up(), plant()",
        "select set_config('transaction_read_only', 'off', true), plant()",
        "select n from t for update",
        "\\! id",
        "",
    ] {
        let said = not_done(&machine, ws, text).await;
        assert!(!said.is_empty() && !said.contains("can't be asked"), "{text}: {said}");
    }
    assert!(not_done(&machine, ws, "select * from nowhere").await.contains("nowhere"));
    // What a session does beside its transaction ends with it too.
    rows("select set_config('default_transaction_read_only', 'off', false)", 1).await;
    let found = rows("select count(*), (select last_value from s), (select is_called from s) from t", 1).await;
    assert_eq!(found.rows, [[cell("2"), cell("1"), cell("f")]]);

    for (generation, order) in [(3, Order::FreezeRuntime), (4, Order::StopRuntime)] {
        assert_eq!(machine.order(ws, generation, order).await, Outcome::Done);
        assert_eq!(refused(&machine, ws).await, "console.asleep");
    }
    let runtime = machine.group(&ws.id.to_string(), Layer::Runtime).pids().unwrap_or_default();
    assert!(runtime.is_empty(), "nothing of it was woken");
}

//! Copies: whole or not there, of everything, and nobody is disturbed.

use super::{Bench, postmaster};
use crate::place::Place;
use envforge_api::ambient::SystemEntropy;
use std::sync::Arc;
use std::time::Duration;

/// One of everything that a workspace's user can own.
const EVERYTHING: &str = "
    CREATE EXTENSION pg_trgm;
    CREATE SCHEMA shop;
    ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    CREATE TYPE shop.state AS ENUM ('new', 'sold');
    CREATE DOMAIN shop.price AS integer CHECK (VALUE >= 0);
    CREATE SEQUENCE shop.number START 41;
    CREATE TABLE shop.item (id bigint PRIMARY KEY DEFAULT nextval('shop.number'), state shop.state, price shop.price);
    INSERT INTO shop.item (state, price) SELECT 'new', n FROM generate_series(1, 1000) n;
    CREATE INDEX ON shop.item (price);
    CREATE VIEW shop.sold AS SELECT * FROM shop.item WHERE state = 'sold';
    CREATE MATERIALIZED VIEW shop.total AS SELECT sum(price) FROM shop.item;
    CREATE FUNCTION shop.mark() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.state := ''sold''; RETURN NEW; END';
    CREATE TRIGGER mark BEFORE UPDATE ON shop.item FOR EACH ROW EXECUTE FUNCTION shop.mark();
    ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY;
    ALTER TABLE shop.item FORCE ROW LEVEL SECURITY;
    CREATE POLICY all_of_it ON shop.item USING (true);
    SELECT lo_from_bytea(4711, 'large');
";

/// Settings, which can't be made together with the rest.
const SETTINGS: [&str; 3] = [
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO shop, \"$user\", public', current_database()); END $$",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle TO %L', current_database(), 'German, DMY'); END $$",
    "ALTER ROLE CURRENT_USER SET timezone TO 'Europe/Vienna'",
];

async fn full(bench: &Bench) -> Place {
    let source = bench.with(EVERYTHING).await;
    for setting in SETTINGS {
        bench.ok(&source, setting);
    }
    source
}

/// Everything is there, and is the workspace's own.
fn check_is_whole(bench: &Bench, place: &Place, source: &Place) {
    let name = place.workspace.to_string();
    assert_eq!(bench.ok(place, "SELECT count(*), sum(price) FROM item"), "1000|500500", "by the search path");
    assert_eq!(bench.ok(place, "SELECT nextval('shop.number')"), "1041");
    assert_eq!(bench.ok(place, "SHOW datestyle"), "German, DMY");
    assert_eq!(bench.ok(place, "SHOW timezone"), "Europe/Vienna");
    assert_eq!(bench.ok(place, "SELECT lo_get(4711)"), r"\x6c61726765");
    assert_eq!(bench.ok(place, "SELECT similarity('word', 'words') > 0.5"), "t");
    assert_eq!(bench.ok(place, "UPDATE item SET price = 0 WHERE id = 41 RETURNING state"), "sold");
    // To be the owner is to be able to change and drop.
    bench.ok(place, "ALTER TABLE shop.item ADD note text; ALTER TYPE shop.state ADD VALUE 'lost'");
    bench.ok(place, "REFRESH MATERIALIZED VIEW shop.total; ALTER FUNCTION shop.mark() RENAME TO mark_it");
    let owners = "SELECT DISTINCT o FROM (SELECT relowner::regrole FROM pg_class WHERE oid >= 16384 AND relkind <> 'c' \
        UNION ALL SELECT typowner::regrole FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = 'shop' \
        UNION ALL SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'shop' \
        UNION ALL SELECT extowner::regrole FROM pg_extension WHERE extname = 'pg_trgm' \
        UNION ALL SELECT proowner::regrole FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'shop' \
        UNION ALL SELECT datdba::regrole FROM pg_database WHERE datname = current_database() \
        UNION ALL SELECT lomowner::regrole FROM pg_largeobject_metadata) AS all_of_them(o)";
    assert_eq!(bench.ok(place, owners), name);
    let privileges = "SELECT defaclrole::regrole, defaclobjtype, defaclacl FROM pg_default_acl ORDER BY defaclobjtype";
    assert_eq!(bench.ok(place, privileges), format!("{name}|f|{{{name}=X/{name}}}\n{name}|r|{{=r/{name}}}"));
    let others = format!(
        "SELECT count(*) FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = '{name}') \
        AND refclassid = 'pg_authid'::regclass AND refobjid NOT IN (SELECT oid FROM pg_roles WHERE rolname = '{name}')"
    );
    assert_eq!(bench.ok(place, &others), "0", "nobody else is named in it");
    // The source is as it was.
    assert_eq!(bench.ok(source, "SELECT count(*) FROM item WHERE state = 'new'"), "1000");
    let owner = "SELECT datdba::regrole FROM pg_database WHERE datname = current_database()";
    assert_eq!(bench.ok(source, owner), source.workspace.to_string());
}

// proves RUN-6, UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_database_nobody_uses_is_whole_and_its_own() {
    let Some(bench) = Bench::new() else { return };
    let source = full(&bench).await;
    let target = bench.place();
    bench.cluster.copy(&source, &target, &SystemEntropy).await.expect("copied");
    bench.cluster.provision(&target, false, &SystemEntropy).await.expect("provisioned");
    check_is_whole(&bench, &target, &source);
    // Again does nothing, also once it has a life of its own.
    bench.cluster.copy(&source, &target, &SystemEntropy).await.expect("copied");
    assert_eq!(bench.ok(&target, "SELECT count(note), count(*) FROM item"), "0|1000");
    // The source can go, and the copy stays.
    bench.cluster.remove(&source, &SystemEntropy).await.expect("removed");
    assert_eq!(bench.names().await, [target.workspace.to_string(), target.workspace.to_string()]);
    assert_eq!(bench.ok(&target, "SELECT count(*) FROM item"), "1000");
}

// proves RUN-6, UP-8, RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_database_in_use_disturbs_nobody() {
    let Some(bench) = Bench::new() else { return };
    let source = full(&bench).await;
    let mut pool = bench.session(&source);
    let pid = pool.say("SELECT pg_backend_pid();");
    // What is not committed is in no copy, and what locks it holds stay.
    assert_eq!(pool.say("BEGIN; DELETE FROM item; SELECT count(*) FROM item;"), "0");
    let target = bench.place();
    bench.cluster.copy(&source, &target, &SystemEntropy).await.expect("copied");
    assert_eq!(pool.say("SELECT pg_backend_pid();"), pid, "it is still connected");
    assert_eq!(pool.say("ROLLBACK; SELECT count(*) FROM item;"), "1000");
    check_is_whole(&bench, &target, &source);
    bench.cluster.copy(&source, &target, &SystemEntropy).await.expect("copied");
    let mut expected =
        [source.workspace.to_string(), target.workspace.to_string()].map(|name| [name.clone(), name]).concat();
    expected.sort();
    assert_eq!(bench.names().await, expected, "the role that filled it is gone");
    bench.cluster.remove(&source, &SystemEntropy).await.expect("removed");
    assert_eq!(bench.ok(&target, "SELECT count(*) FROM item"), "1000");
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_workspace_planted_in_its_database_is_never_run_by_the_administrator() {
    let Some(bench) = Bench::new() else { return };
    // Each of these would tell who runs it; one who may would stay.
    let source = bench
        .with(
            "CREATE FUNCTION public.who(anyelement) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user) THEN
                    EXECUTE 'ALTER ROLE ' || pg_catalog.current_database()::text || ' SUPERUSER';
                    CREATE ROLE ws_planted SUPERUSER;
                END IF;
                RETURN true; END $$;
             CREATE TABLE t (x integer CHECK (public.who(x)), y integer);
             INSERT INTO t SELECT n, n FROM generate_series(1, 10) n;
             CREATE FUNCTION public.format(text, name, name, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                PERFORM public.who(1); RETURN 'SELECT 1;'; END $$",
        )
        .await;
    let by_files = bench.place();
    bench.cluster.copy(&source, &by_files, &SystemEntropy).await.expect("copied");
    let _pool = bench.session(&source);
    let by_dump = bench.place();
    bench.cluster.copy(&source, &by_dump, &SystemEntropy).await.expect("copied");
    for place in [&by_files, &by_dump] {
        assert_eq!(bench.ok(place, "SELECT count(*) FROM t"), "10");
    }
    assert_eq!(bench.admin("SELECT rolname FROM pg_roles WHERE rolsuper;").await, "envforge");
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_of_one_source_are_made_at_once() {
    let Some(bench) = Bench::new() else { return };
    let source = full(&bench).await;
    for session in [None, Some(bench.session(&source))] {
        let targets: Vec<Place> = (0..6).map(|_| bench.place()).collect();
        let copies = targets.iter().map(|target| bench.cluster.copy(&source, target, &SystemEntropy));
        for copied in futures_util::future::join_all(copies).await {
            copied.expect("copied");
        }
        for target in &targets {
            check_is_whole(&bench, target, &source);
        }
        drop(session);
    }
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_cut_off_leaves_nothing_that_matters() {
    let Some(bench) = Bench::new() else { return };
    let bench = Arc::new(bench);
    let source =
        bench.with("CREATE TABLE t AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 60000) n").await;
    let target = bench.place();
    let name = target.workspace.to_string();
    for session in [None, Some(bench.session(&source))] {
        // At ever later moments, until one is done.
        let mut cut = 0;
        for wait in (0..).map(|n| Duration::from_millis(n * n * 20)) {
            let copy = bench.cluster.copy(&source, &target, &SystemEntropy);
            if let Ok(copied) = tokio::time::timeout(wait, copy).await {
                copied.expect("copied");
                break;
            }
            cut += 1;
            // It may have got its name in the very moment it was cut off; then all of it is there.
            let found = bench.ask(&target, "SELECT count(*) FROM t");
            assert!(found.as_ref().map_or(true, |count| count == "60000"), "half a database: {found:?}");
        }
        assert!(cut > 1, "it was cut off on the way");
        assert_eq!(bench.ok(&target, "SELECT count(*) FROM t"), "60000");
        drop(session);
        // Cut off once more, and deleted then.
        let other = bench.place();
        let copy = bench.cluster.copy(&source, &other, &SystemEntropy);
        drop(tokio::time::timeout(Duration::from_millis(100), copy).await);
        bench.cluster.sql(&format!("DROP DATABASE {name} WITH (FORCE);\nDROP ROLE {name};\n")).await.expect("dropped");
    }
    // The cluster is killed with everything beneath it.
    let copying = tokio::spawn({
        let (bench, source, target) = (Arc::clone(&bench), source.clone(), target.clone());
        async move { bench.cluster.copy(&source, &target, &SystemEntropy).await }
    });
    let begun =
        async || bench.ask(&source, "SELECT 1").is_ok() && bench.names().await.iter().any(|n| n.starts_with(&name));
    while !begun().await {}
    let postmaster = postmaster(&bench.cluster).expect("it runs");
    rustix::process::kill_process(postmaster, rustix::process::Signal::KILL).expect("killed");
    copying.await.expect("no panic").expect("copied, by a cluster that was started again");
    // One that was finished just before had no need of the cluster any more.
    bench.cluster.ensure_running(&SystemEntropy).await.expect("started again");
    assert_eq!(bench.ok(&target, "SELECT count(*) FROM t"), "60000");
}

// proves UP-8, UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_does_not_wait_for_a_copy() {
    let Some(bench) = Bench::new() else { return };
    let source =
        bench.with("CREATE TABLE t AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 60000) n").await;
    let target = bench.place();
    let copy = bench.cluster.copy(&source, &target, &SystemEntropy);
    let remove = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bench.cluster.remove(&target, &SystemEntropy).await
    };
    let (copied, removed) = tokio::join!(copy, remove);
    assert_eq!(copied.expect_err("cut off").code, "workspace.deleting");
    removed.expect("removed");
    let late = bench.cluster.copy(&source, &target, &SystemEntropy).await;
    assert_eq!(late.expect_err("too late").code, "workspace.deleting");
    assert_eq!(bench.names().await, [source.workspace.to_string(), source.workspace.to_string()]);

    // The same of the source.
    let _pool = bench.session(&source);
    let target = bench.place();
    let copy = bench.cluster.copy(&source, &target, &SystemEntropy);
    let remove = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bench.cluster.remove(&source, &SystemEntropy).await
    };
    let (copied, removed) = tokio::join!(copy, remove);
    assert_eq!(copied.expect_err("cut off").code, "resource.source_deleted");
    removed.expect("removed");
    assert!(bench.names().await.iter().all(|name| *name == target.workspace.to_string()), "{:?}", bench.names().await);
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_made_says_why_and_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    // Nobody ever had a database: nothing is to be done.
    let (nothing, target) = (bench.place(), bench.place());
    bench.cluster.copy(&nothing, &target, &SystemEntropy).await.expect("nothing to do");
    assert!(!bench.cluster.exists());
    // A database of its own is never replaced.
    let source = bench.with("CREATE TABLE t (x integer)").await;
    let other = bench.with("CREATE TABLE mine (x integer)").await;
    let refused = bench.cluster.copy(&source, &other, &SystemEntropy).await.expect_err("refused");
    assert_eq!(refused.code, "resource.database_exists");
    assert_eq!(bench.ok(&other, "SELECT count(*) FROM mine"), "0");
    // Not even by who remarks its own as a copy.
    bench.ok(
        &other,
        &format!("COMMENT ON DATABASE {} IS 'its database began as a copy of {}'", other.workspace, source.workspace),
    );
    let refused = bench.cluster.copy(&source, &other, &SystemEntropy).await.expect_err("refused");
    assert_eq!(refused.code, "resource.database_exists");
}

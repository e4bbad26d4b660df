//! Extensions: those of the list and no others, for whoever asks.

use super::Bench;
use envforge_api::ambient::SystemEntropy;
use envforge_core::manifest::EXTENSIONS;

const INSTALLED: &str = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_of_the_list_are_installed_and_used_by_an_owner_without_rights() {
    let Some(bench) = Bench::new() else { return };
    // In its way are functions that would tell whoever runs them.
    let place = bench
        .with(
            "CREATE FUNCTION public.hashint4(integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
                IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user) THEN
                    CREATE ROLE ws_planted SUPERUSER;
                END IF;
                RETURN 1; END $$",
        )
        .await;
    let asked = names(&["bloom", "uuid-ossp", "moddatetime", "dblink", "file_fdw", "nothing\"; DROP TABLE t; --"]);
    bench.cluster.install(&place, &asked, &SystemEntropy).await.expect("installed");
    bench.cluster.install(&place, &asked, &SystemEntropy).await.expect("again");
    assert_eq!(bench.ok(&place, INSTALLED), "bloom\nmoddatetime\nuuid-ossp", "no other name is said to the cluster");
    bench.ok(
        &place,
        "CREATE TABLE t AS SELECT n AS x FROM generate_series(1, 100) n; CREATE INDEX ON t USING bloom (x)",
    );
    assert_eq!(bench.ok(&place, "SELECT length(uuid_generate_v4()::text)"), "36");
    assert_eq!(bench.admin("SELECT rolname FROM pg_roles WHERE rolsuper;").await, "envforge");
    // A copy has them too, by either way.
    let by_files = bench.place();
    bench.cluster.copy(&place, &by_files, &SystemEntropy).await.expect("copied");
    let _pool = bench.session(&place);
    let by_dump = bench.place();
    bench.cluster.copy(&place, &by_dump, &SystemEntropy).await.expect("copied");
    for copy in [&by_files, &by_dump] {
        assert_eq!(bench.ok(copy, INSTALLED), "bloom\nmoddatetime\nuuid-ossp");
        bench.cluster.install(copy, &asked, &SystemEntropy).await.expect("nothing to do");
    }
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_that_reach_beyond_the_database_are_refused() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("SELECT 1").await;
    for name in ["file_fdw", "dblink", "postgres_fdw", "adminpack", "plpython3u", "pg_stat_statements", "pageinspect"] {
        assert!(!EXTENSIONS.contains(&name));
        bench.cluster.install(&place, &names(&[name]), &SystemEntropy).await.expect("not said");
        // By hand neither, where the host has it at all.
        let said = bench.ask(&place, &format!("CREATE EXTENSION {name}")).expect_err("refused");
        assert!(
            ["permission denied", "is not available", "No such file"].iter().any(|part| said.contains(part)),
            "{said}"
        );
    }
    assert_eq!(bench.ok(&place, INSTALLED), "");
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_extension_of_the_list_installs_or_is_told_to_be_missing() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("SELECT 1").await;
    let available = bench.admin("SELECT name FROM pg_available_extensions;").await;
    for name in EXTENSIONS {
        let installed = bench.cluster.install(&place, &names(&[name]), &SystemEntropy).await;
        if available.lines().any(|line| line == name) {
            installed.expect("installed");
        } else {
            let block = installed.expect_err("missing");
            assert_eq!(block.code, "resource.extension_missing");
            assert!(block.cause.contains(name) && block.fix.contains("installed"), "{block:?}");
        }
    }
}

//! Stopped when nobody needs it, and only then; a share of the connections for each.

use super::{Bench, postmaster};
use crate::databases::Databases;
use crate::resources::postgres::{LOGGING_IN, SHARE};
use envforge_api::ambient::SystemEntropy;
use std::time::Duration;

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_nobody_needs_is_stopped_and_starts_again_at_need() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("CREATE TABLE t AS SELECT 41 AS x").await;
    let before = postmaster(&bench.cluster).expect("it runs");
    let stop = async |has_runtimes: bool| bench.cluster.stop_unneeded(|| has_runtimes).await.expect("no trouble");
    // A runtime, awake or paused.
    assert!(!stop(true).await);
    // Something is being done, here or by a backup's own process, and by several at once.
    let (one, two) = (bench.cluster.in_use().await.expect("held"), bench.cluster.in_use().await.expect("held"));
    drop(one);
    assert!(!stop(false).await);
    drop(two);
    let backup = Databases::of(&bench.config);
    let dump = backup.dump().await.expect("begins").wait_with_output().await.expect("ends");
    assert!(dump.status.success() && String::from_utf8_lossy(&dump.stdout).contains("CREATE TABLE"), "{dump:?}");
    assert!(!stop(false).await, "the backup may go on");
    drop(backup);
    assert_eq!(postmaster(&bench.cluster), Some(before), "it ran all the while");
    // Nobody any more; again is no error.
    assert!(stop(false).await);
    assert!(!bench.cluster.answers().await && postmaster(&bench.cluster).is_none());
    assert!(stop(false).await);
    // The next who needs it starts it, be it only to drop something.
    bench.cluster.provision(&place, true, &SystemEntropy).await.expect("provisioned");
    assert_eq!(bench.ok(&place, "SELECT x FROM t"), "41");
    assert!(stop(false).await);
    bench.cluster.remove(&place, &SystemEntropy).await.expect("removed");
    assert!(bench.names().await.is_empty());
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_it_is_being_stopped_finds_it_started() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("CREATE TABLE t AS SELECT 41 AS x").await;
    for round in 0..5 {
        let (stopped, provisioned) = tokio::join!(bench.cluster.stop_unneeded(|| false), async {
            tokio::time::sleep(Duration::from_millis(round * 20)).await;
            bench.cluster.provision(&place, true, &SystemEntropy).await
        });
        stopped.expect("no trouble");
        provisioned.expect("provisioned");
        assert_eq!(bench.ok(&place, "SELECT x FROM t"), "41");
    }
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_its_share_of_connections_is_told_and_leaves_the_others_theirs() {
    let Some(bench) = Bench::new() else { return };
    let (one, two) = (bench.with("SELECT 1").await, bench.with("SELECT 1").await);
    let mut sessions: Vec<_> = (0..SHARE - LOGGING_IN).map(|_| bench.session(&one)).collect();
    let said = bench.ask(&one, "SELECT 1").expect_err("one too many");
    assert!(said.contains(&format!("too many connections for role \"{}\"", one.workspace)), "{said}");
    assert_eq!(bench.ok(&two, "SELECT 1"), "1");
    assert_eq!(bench.admin("SELECT 1;").await, "1");
    // What ends is free again.
    drop(sessions.pop());
    let mut asked = bench.ask(&one, "SELECT 1");
    for _ in 0..200 {
        if asked.is_ok() {
            break;
        }
        // The cluster notices a client's end on its own time.
        tokio::time::sleep(Duration::from_millis(20)).await;
        asked = bench.ask(&one, "SELECT 1");
    }
    assert_eq!(asked.as_deref(), Ok("1"));
    // Twenty such fit, and the administrator beside them.
    let sql =
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int;";
    assert!(bench.admin(sql).await.parse::<u32>().expect("a number") >= 20 * SHARE);
}

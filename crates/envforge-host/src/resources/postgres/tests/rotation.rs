//! A password that becomes another one.

use super::{Bench, Session};
use crate::place::Place;
use crate::resources::{mark_of, next};
use envforge_api::ambient::SystemEntropy;

const PENDING: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

fn saved(place: &Place) -> String {
    fs_err::read_to_string(place.postgres_password()).expect("a password").trim().to_owned()
}

/// Whether this password opens the workspace's database.
fn opens(bench: &Bench, place: &Place, password: &str) -> bool {
    let mut command = bench.client(place, &place.workspace.to_string());
    let output = command.env("PGPASSWORD", password).args(["-c", "SELECT 1"]).output().expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("password authentication failed"), "{said}");
    output.status.success()
}

fn mark(place: &Place) -> String {
    mark_of(&place.postgres_password()).expect("read").expect("a password")
}

/// Whether a session that was connected is still there.
fn is_over(mut session: Session) -> bool {
    session.say("SELECT 2;") != "2"
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_from_before_opens_nothing_and_who_came_with_it_is_out() {
    let Some(bench) = Bench::new() else { return };
    let (place, other) = (bench.with("CREATE TABLE t AS SELECT 41 AS x").await, bench.with("SELECT 1").await);
    let (before, of_other) = (saved(&place), saved(&other));
    // The cluster is down; it is started for it.
    let old = mark(&place);
    bench.cluster.stop().await.expect("stopped");
    bench.cluster.rotate(&place, &old, &SystemEntropy).await.expect("rotated");
    let after = saved(&place);
    assert!(after != before && after.len() == 48);
    assert!(!opens(&bench, &place, &before) && opens(&bench, &place, &after));
    assert_eq!(bench.ok(&place, "SELECT x FROM t"), "41", "what is in it stays");
    assert!(!next(&place.postgres_password()).exists());
    // The same again is done already.
    bench.cluster.rotate(&place, &old, &SystemEntropy).await.expect("done");
    assert_eq!(saved(&place), after);
    let (session, mut others) = (bench.session(&place), bench.session(&other));
    bench.cluster.rotate(&place, &mark(&place), &SystemEntropy).await.expect("rotated");
    assert!(!opens(&bench, &place, &after));
    assert!(is_over(session), "it had come with the one from before");
    assert_eq!(others.say("SELECT 3;"), "3", "nobody else notices");
    assert_eq!(saved(&other), of_other);
}

// proves RUN-6 OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_cut_off_is_finished_by_whoever_comes_next() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("SELECT 1").await;
    let (before, old) = (saved(&place), mark(&place));
    let cut_off = || fs_err::write(next(&place.postgres_password()), PENDING).expect("written");
    // Before the role knew of it: the order that comes again makes no third one.
    cut_off();
    assert!(crate::resources::postgres::owner(&place).is_err(), "nobody can say which of the two it is");
    assert!(crate::resources::postgres::known(&place).expect("read").is_none());
    bench.cluster.rotate(&place, &old, &SystemEntropy).await.expect("rotated");
    assert_eq!(saved(&place), PENDING);
    assert!(opens(&bench, &place, PENDING) && !opens(&bench, &place, &before));
    // After it; and nobody orders it again.
    let role = format!("ALTER ROLE {} PASSWORD '{before}';\n", place.workspace);
    bench.admin(&role).await;
    fs_err::write(place.postgres_password(), PENDING).expect("written");
    fs_err::write(next(&place.postgres_password()), &before).expect("written");
    let session =
        bench.client(&place, &place.workspace.to_string()).env("PGPASSWORD", &before).args(["-c", "SELECT 1"]).output();
    assert!(session.expect("psql runs").status.success());
    let values = bench.cluster.provision(&place, true, &SystemEntropy).await.expect("provisioned");
    assert_eq!(values["postgres_password"].expose(), before);
    assert_eq!(saved(&place), before);
    assert!(opens(&bench, &place, &before) && !opens(&bench, &place, PENDING));
    assert!(!next(&place.postgres_password()).exists());
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_has_a_password_of_its_own_whatever_becomes_of_the_others() {
    let Some(bench) = Bench::new() else { return };
    let from = bench.with("CREATE TABLE t AS SELECT 41 AS x").await;
    fs_err::write(next(&from.postgres_password()), PENDING).expect("written");
    let to = bench.place();
    bench.cluster.copy(&from, &to, &SystemEntropy).await.expect("copied");
    assert_eq!(bench.ok(&to, "SELECT x FROM t"), "41");
    let own = saved(&to);
    bench.cluster.rotate(&from, &mark(&from), &SystemEntropy).await.expect("rotated");
    assert_eq!((saved(&from), saved(&to)), (PENDING.to_owned(), own));
    assert_eq!(bench.ok(&to, "SELECT x FROM t"), "41");
    // A copy whose own is just changing is finished with that one.
    fs_err::write(next(&to.postgres_password()), "f".repeat(48)).expect("written");
    bench.cluster.provision_as_copy(&from, &to, &SystemEntropy).await.expect("there");
    assert!(saved(&to) == "f".repeat(48) && opens(&bench, &to, &saved(&to)));
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_is_not_waited_for() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("SELECT 1").await;
    let (before, change) = (mark(&place), bench.cluster.change(place.workspace));
    let restoring = change.one.lock().await;
    let refused = bench.cluster.rotate(&place, &before, &SystemEntropy).await.expect_err("busy");
    assert_eq!(refused.code, "resource.busy");
    assert!(mark(&place) == before && !next(&place.postgres_password()).exists(), "nothing was changed");
    drop(restoring);
    bench.cluster.rotate(&place, &before, &SystemEntropy).await.expect("rotated");
}

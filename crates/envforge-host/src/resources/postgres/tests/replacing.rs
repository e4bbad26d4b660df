//! A database that becomes what somebody fills another with.

use super::{Bench, PORT};
use crate::resources::postgres::{Ended, Filler};
use crate::sys::command::std_command;
use envforge_api::ambient::SystemEntropy;

/// Says this in the database that is being filled, as what reads a dump does.
fn fill(bench: &Bench, filler: &Filler, sql: &str) -> Ended {
    let mut command = std_command("psql");
    command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", &filler.name, "-d", &filler.name, "-c", sql]);
    command.arg("-h").arg(bench.cluster.socket_dir()).args(["-p", &PORT.to_string()]);
    let output = command.env("PGPASSWORD", filler.password.expose()).output().expect("psql runs");
    Ended { is_ok: output.status.success(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_change_in_one_step_or_not_at_all() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.with("CREATE TABLE t AS SELECT 'before' AS x").await;
    let names = bench.names().await;
    let failed = bench.cluster.replace(&place, &SystemEntropy, async |filler: &Filler| {
        // What is its role's elsewhere keeps that from being dropped, the last that is done of it.
        let name = &filler.name;
        bench.admin(&format!("CREATE TABLE kept ();\nALTER TABLE kept OWNER TO {name};\n")).await;
        Ok(fill(&bench, filler, "CREATE TABLE t AS SELECT 'after' AS x"))
    });
    failed.await.expect_err("the role can't be dropped");
    assert_eq!(bench.ok(&place, "SELECT x FROM t"), "before");
    bench.admin("DROP TABLE kept;\n").await;

    let done = bench.cluster.replace(&place, &SystemEntropy, async |filler: &Filler| {
        let more = "(rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication)";
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}' AND {more};\n", filler.name);
        assert_eq!(bench.admin(&sql).await, "0", "a dump says what it likes, as nobody who may more");
        Ok(fill(&bench, filler, "CREATE TABLE t AS SELECT 'after' AS x"))
    });
    done.await.expect("replaced");
    assert_eq!(bench.ok(&place, "SELECT x FROM t"), "after");
    assert_eq!(bench.names().await, names, "nothing is left of either");
}

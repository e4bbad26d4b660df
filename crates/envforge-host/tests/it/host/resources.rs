//! Databases and caches of a branch's own.

use super::machine::{Machine, Ws};
use super::server::mint;
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome};
use envforge_api::http::runs::RunState;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use std::path::Path;

const STORES: &str = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\n    inputs: { database_url: required, redis_url: required }\n    environment: { DATABASE_URL: input.database_url, REDIS_URL: input.redis_url }\nresources:\n  postgres: branch_scoped\n  redis: branch_scoped\n";

fn has_programs() -> bool {
    is_root() && Path::new("/usr/lib/postgresql").exists() && Path::new("/usr/bin/redis-server").exists()
}

/// Runs a job to its end; its code and log.
async fn run(machine: &Machine, ws: Ws, generation: u64, line: &str) -> (Option<i32>, String) {
    let (job, command) = machine.job(ws, generation, &["sh", "-c", line]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    let find = || {
        let reports = machine.server.reports(ws.id);
        reports.iter().rev().flat_map(|report| &report.jobs).find(|report| report.job == job).cloned()
    };
    wait_until("the job's end", async || {
        find().is_some_and(|report| matches!(report.state, RunState::Ended | RunState::Failed))
    })
    .await;
    let report = find().expect("reported");
    assert_eq!(report.state, RunState::Ended, "{report:?}");
    // The last lines follow the exit by a moment.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    (report.exit_code, machine.server.log(ws.id, &job.to_string(), 50).await)
}

// proves RUN-6, ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_databases_password_is_in_no_statement_that_is_logged() {
    if !has_programs() {
        return;
    }
    let machine = Machine::new(STORES, &[]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    machine.wake(one, 2).await;
    machine.part(one, "postgres", ReadinessState::Ready).await;
    // Somebody looks for a fault.
    let cluster = machine.config.data_dir.join("resources/postgres");
    std::fs::write(cluster.join("data/postgresql.auto.conf"), "log_statement = 'all'\n").expect("written");
    let pid = std::fs::read_to_string(cluster.join("data/postmaster.pid")).expect("it runs");
    let pid = pid.lines().next().and_then(|line| line.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::HUP).expect("told");
    let log = || std::fs::read_to_string(cluster.join("postgres.log")).unwrap_or_default();
    wait_until("it was told", async || log().contains("reloading")).await;
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    machine.wake(two, 2).await;
    machine.part(two, "postgres", ReadinessState::Ready).await;
    let (code, said) = run(&machine, two, 2, "psql $DATABASE_URL -c 'select 4711'").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(log().contains("select 4711"), "statements are logged");
    assert!(!log().contains(&machine.read(two, "postgres.password")), "{}", log());
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_branch_has_a_database_and_a_cache_of_its_own() {
    if !has_programs() {
        return;
    }
    let mut machine = Machine::new(STORES, &[]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    for ws in [one, two] {
        machine.wake(ws, 2).await;
        machine.phase(ws, ObservedPhase::Up).await;
        machine.part(ws, "postgres", ReadinessState::Ready).await;
        machine.part(ws, "redis", ReadinessState::Ready).await;
    }
    let (code, log) = run(&machine, one, 2, "psql $DATABASE_URL -c 'create table t(x int)' -c 'insert into t values (41)' && redis-cli -u $REDIS_URL set key one").await;
    assert_eq!(code, Some(0), "{log}");
    let (code, log) = run(&machine, two, 2, "psql $DATABASE_URL -c 'select * from t'").await;
    assert_ne!(code, Some(0), "{log}");
    let (_, log) = run(&machine, two, 2, "redis-cli -u $REDIS_URL get key").await;
    assert!(!log.contains("one"), "{log}");
    // Even with the other's address written by hand, and with its own password for the other's database.
    let name = one.id.to_string();
    let (code, log) =
        run(&machine, two, 2, &format!("psql \"$(echo $DATABASE_URL | sed 's#/{}$#/{name}#')\" -c 'select 1'", two.id))
            .await;
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains("no pg_hba.conf entry") || log.contains("rejects"), "{log}");
    let (code, log) =
        run(&machine, two, 2, "psql \"$(echo $DATABASE_URL | sed 's#/ws_[0-9a-f]*$#/postgres#')\" -c 'select 1'").await;
    assert_ne!(code, Some(0), "{log}");
    // The password is nobody's to read but the services'.
    let url = machine.server.get(one.id, "web", "/env/DATABASE_URL").await;
    assert!(url.starts_with(&format!("postgres://{name}:")), "{url}");
    let password = machine.read(one, "postgres.password");
    assert!(url.contains(&password));
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(machine.place(one).join("postgres.password")).expect("there"),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(!machine.read(one, "state.recent.json").contains(&password), "the journal does not hold it");

    // Asleep and awake again, with a new daemon: everything is still there.
    machine.order(one, 3, Order::StopRuntime).await;
    machine.stop().await;
    machine.start().await;
    machine.wake(one, 4).await;
    machine.phase(one, ObservedPhase::Up).await;
    let (code, log) =
        run(&machine, one, 4, "psql $DATABASE_URL -Atc 'select x + 1 from t' && redis-cli -u $REDIS_URL get key").await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("42") && log.contains("one"), "{log}");
    // Two's services were adopted and their database works on.
    let (code, log) = run(&machine, two, 2, "psql $DATABASE_URL -c 'select 1'").await;
    assert_eq!(code, Some(0), "{log}");

    // Deleted: database, role, password and data are gone; the other's are not.
    assert_eq!(machine.order(one, 5, Order::DestroyWorkspace).await, Outcome::Done);
    let (_, log) = run(
        &machine,
        two,
        2,
        "psql $DATABASE_URL -Atc 'select datname from pg_database' -c 'select rolname from pg_roles'",
    )
    .await;
    assert!(!log.contains(&name) && log.contains(&two.id.to_string()), "{log}");
    assert!(!machine.place(one).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_programs_block_with_what_to_install() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(STORES, &[]).await;
    machine.stop().await;
    machine.config.postgres_bin = Some("/nowhere".into());
    machine.config.redis_server = "/nowhere/redis-server".into();
    machine.start().await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    for name in ["postgres", "redis"] {
        let part = machine.part(ws, name, ReadinessState::Blocked).await;
        assert!(part.fix.is_some_and(|fix| fix.contains("apt-get install")));
    }
    let part = machine.blocked(ws, "web", "service.input_blocked").await;
    assert!(part.cause.is_some_and(|cause| cause.contains("resource postgres")));
    let report = machine.phase(ws, ObservedPhase::Blocked).await;
    assert!(!report.process_runs, "nothing of the service ever ran");
}

// proves RUN-6 UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_the_making_goes_with_its_workspace() {
    if !has_programs() {
        return;
    }
    let machine = Machine::new(STORES, &[]).await;
    // The first one is deleted while the cluster itself is being made, the others while their databases are; each
    // preparation is followed by a wake, which asks for the same database again.
    for _ in 0..6 {
        let ws = Ws { id: mint() };
        let command = machine.server.command(ws.id, 1, machine.prepare_order("main"));
        assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
        machine.wake(ws, 2).await;
        assert_eq!(machine.order(ws, 3, Order::DestroyWorkspace).await, Outcome::Done);
    }
    let last = machine.workspace().await;
    machine.wake(last, 2).await;
    machine.part(last, "postgres", ReadinessState::Ready).await;
    let (code, log) = run(
        &machine,
        last,
        2,
        "psql $DATABASE_URL -Atc \"select count(*) from pg_database where datname like 'ws_%'\" -c \"select count(*) from pg_roles where rolname like 'ws_%'\"",
    )
    .await;
    assert_eq!(code, Some(0), "{log}");
    let counts: Vec<&str> = log.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(counts, ["1", "1"], "{log}");
}

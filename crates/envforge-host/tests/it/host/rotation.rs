//! Credentials of resources that become others, against the real PostgreSQL and the object storage's own process.

use super::machine::{Machine, Ws};
use super::resources::{has_programs, run};
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome, RotateCredential};
use envforge_api::http::runs::RunState;
use envforge_core::manifest::ResourceKind;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_host::sys::cgroup::Layer;
use std::path::PathBuf;

const STORES: &str = "services:
  web:
    command: echo $$ > web.pid; exec python3 serve.py web
    port: 3000
    inputs: { database_url: required, s3_secret_access_key: optional }
    environment: { DATABASE_URL: input.database_url, SECRET: input.s3_secret_access_key }
  keeper:
    command: echo $$ > keeper.pid; exec python3 serve.py keeper
    port: 4000
    inputs: { s3_secret_access_key: optional }
    environment: { SECRET: input.s3_secret_access_key }
  apart:
    command: echo $$ > apart.pid; exec python3 serve.py apart
    port: 5000
resources:
  postgres: branch_scoped
  object_storage: branch_scoped
  mail: branch_scoped
";

fn rotate(resource: ResourceKind) -> Order {
    Order::RotateCredential(RotateCredential { resource })
}

fn password(machine: &Machine, ws: Ws) -> String {
    machine.read(ws, "postgres.password")
}

async fn failure(machine: &Machine, ws: Ws, generation: u64, resource: ResourceKind) -> String {
    match machine.order(ws, generation, rotate(resource)).await {
        Outcome::Failed(trouble) => trouble.code,
        other => panic!("{other:?}"),
    }
}

/// A workspace that is awake, with everything ready.
async fn awake() -> (Machine, Ws) {
    let machine = Machine::new(STORES, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    for part in ["postgres", "object_storage", "web", "keeper", "apart"] {
        machine.part(ws, part, ReadinessState::Ready).await;
    }
    (machine, ws)
}

fn pids(machine: &Machine, ws: Ws) -> [String; 3] {
    ["web", "keeper", "apart"].map(|service| machine.read(ws, &format!("checkout/{service}.pid")))
}

/// Whether a password opens the database, from within.
async fn opens(machine: &Machine, ws: Ws, generation: u64, password: &str) -> bool {
    let name = ws.id.to_string();
    // Not in the command, which the journal remembers.
    machine.edit(ws, "tried", password);
    let line = format!("PGPASSWORD=$(cat tried) psql -h 127.0.0.1 -U {name} -d {name} -Atc 'select 4711'");
    let (code, log) = run(machine, ws, generation, &line).await;
    assert!(code == Some(0) || log.contains("password authentication failed"), "{log}");
    code == Some(0)
}

// proves RUN-6 RUN-1 RUN-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_asks_for_another_password_and_who_uses_it_starts_again_with_that() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = awake().await;
    let (before, started) = (password(&machine, ws), pids(&machine, ws));
    // A job that is connected, and keeps what it was given.
    let (job, connected) = machine.job(
        ws,
        2,
        &["sh", "-c", "psql $DATABASE_URL -c 'select pg_sleep(600)'; psql $DATABASE_URL -c 'select 1'"],
    );
    assert_eq!(machine.server.obeyed(&connected).await, Outcome::Done);
    wait_until("it is connected", async || {
        let (_, log) = run(&machine, ws, 2, "psql $DATABASE_URL -Atc \"select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()\"").await;
        log.ends_with(" 1\n")
    })
    .await;
    let command = machine.server.command(ws.id, 2, rotate(ResourceKind::Postgres));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    let after = password(&machine, ws);
    assert!(after != before && after.len() == 48);
    let url = machine.server.get(ws.id, "web", "/env/DATABASE_URL").await;
    assert!(url.contains(&after), "{url}");
    let [web, keeper, apart] = pids(&machine, ws);
    assert!(web != started[0], "it was started again");
    assert_eq!([&keeper, &apart], [&started[1], &started[2]], "those that have nothing of it go on");
    assert!(!opens(&machine, ws, 2, &before).await && opens(&machine, ws, 2, &after).await);
    let ended = || {
        let reports = machine.server.reports(ws.id);
        reports.iter().flat_map(|report| &report.jobs).any(|it| it.job == job && it.state == RunState::Ended)
    };
    wait_until("the job's end", async || ended()).await;
    let log = machine.server.log(ws.id, &job.to_string(), 50).await;
    assert!(log.contains("terminating connection") && log.contains("password authentication failed"), "{log}");
    let env = format!(
        "/proc/{}/root/run/user/{}/envforge/env/web.env",
        machine.init_pid(ws, Layer::Runtime).expect("init"),
        machine.config.uid_base
    );
    wait_until("the env file", async || std::fs::read_to_string(&env).is_ok_and(|text| text.contains(&after))).await;
    // The same order again, also to a daemon that comes after, is answered and changes nothing.
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    assert_eq!(password(&machine, ws), after);
    // Neither of the two is anywhere but where it is used.
    for secret in [&before, &after] {
        assert!(!machine.read(ws, "state.recent.json").contains(secret.as_str()), "the journal does not hold it");
        assert!(!machine.read(ws, "state.json").contains(secret.as_str()), "the journal does not hold it");
        assert!(!machine.server.heard().contains(secret.as_str()), "the server is not told");
    }
    assert!(!machine.place(ws).join("postgres.password.next").exists());
}

/// What the object storage answers to the keys of a job, or to others.
async fn stored(machine: &Machine, ws: Ws, generation: u64, secret: &str) -> String {
    machine.edit(ws, "tried", secret);
    let line = "curl -sS -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:$S3_REGION:s3 --user $S3_ACCESS_KEY_ID:$(cat tried) $S3_ENDPOINT/$S3_BUCKET/key";
    run(machine, ws, generation, line).await.1
}

// proves RUN-6 RUN-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_storage_takes_other_keys_and_keeps_what_it_has() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = awake().await;
    // Services that could do without are given it from here on.
    assert_eq!(machine.order(ws, 2, rotate(ResourceKind::ObjectStorage)).await, Outcome::Done);
    let secret = || machine.read(ws, "object_storage.secret");
    let before = secret();
    for service in ["web", "keeper"] {
        machine.part(ws, service, ReadinessState::Ready).await;
        assert_eq!(machine.server.get(ws.id, service, "/env/SECRET").await, before, "not without it");
    }
    let put = super::resources::own_s3("--data-binary of-one $S3_ENDPOINT/$S3_BUCKET/key -X PUT -w '%{http_code}'");
    let (_, log) = run(&machine, ws, 2, &put).await;
    assert!(log.ends_with("200\n"), "{log}");
    let started = pids(&machine, ws);
    assert_eq!(machine.order(ws, 2, rotate(ResourceKind::ObjectStorage)).await, Outcome::Done);
    let after = secret();
    assert!(after != before && after.len() == 48);
    assert!(stored(&machine, ws, 2, &before).await.contains("SignatureDoesNotMatch"));
    assert!(stored(&machine, ws, 2, &after).await.contains("of-one"));
    for service in ["web", "keeper"] {
        machine.part(ws, service, ReadinessState::Ready).await;
        assert_eq!(machine.server.get(ws.id, service, "/env/SECRET").await, after);
    }
    assert_eq!(pids(&machine, ws)[2], started[2]);
    let parts = machine.server.reports(ws.id).pop().expect("a report").parts;
    assert!(parts.iter().all(|part| part.restarts == 0), "nothing failed: {parts:?}");
}

// proves RUN-6 RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sleeps_is_changed_without_being_woken_and_what_is_paused_is_stopped_first() {
    if !has_programs() {
        return;
    }
    let (machine, ws) = awake().await;
    let first = password(&machine, ws);
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    assert_eq!(failure(&machine, ws, 3, ResourceKind::Postgres).await, "resource.paused");
    assert_eq!(password(&machine, ws), first, "nothing was changed");
    assert!(!machine.place(ws).join("postgres.password.next").exists());
    // As the server orders it: both at once.
    machine.server.send(&machine.server.command(ws.id, 4, Order::StopRuntime)).await;
    assert_eq!(machine.order(ws, 4, rotate(ResourceKind::Postgres)).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Absent).await;
    let second = password(&machine, ws);
    assert_ne!(second, first);
    assert_eq!(machine.order(ws, 4, rotate(ResourceKind::Postgres)).await, Outcome::Done);
    let secret = machine.read(ws, "object_storage.secret");
    assert_eq!(machine.order(ws, 4, rotate(ResourceKind::ObjectStorage)).await, Outcome::Done);
    assert!(machine.init_pid(ws, Layer::Runtime).is_none(), "nothing was woken");
    let third = password(&machine, ws);
    assert!(third != second && machine.read(ws, "object_storage.secret") != secret);
    machine.wake(ws, 5).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert!(machine.server.get(ws.id, "web", "/env/DATABASE_URL").await.contains(&third));
    for (password, is_it) in [(&first, false), (&second, false), (&third, true)] {
        assert_eq!(opens(&machine, ws, 5, password).await, is_it);
    }
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_credential_or_was_never_made_is_left_alone() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(super::shell::PLAIN, &[]).await;
    let ws = Ws { id: super::server::mint() };
    assert_eq!(failure(&machine, ws, 1, ResourceKind::Postgres).await, "workspace.not_prepared");
    let ws = machine.workspace().await;
    for kind in [ResourceKind::Redis, ResourceKind::Mail] {
        assert_eq!(failure(&machine, ws, 1, kind).await, "resource.no_credential");
    }
    for kind in [ResourceKind::Postgres, ResourceKind::ObjectStorage] {
        assert_eq!(machine.order(ws, 1, rotate(kind)).await, Outcome::Done, "nobody was given one");
    }
    assert!(!machine.place(ws).join("postgres.password").exists());
    assert!(!machine.config.data_dir.join("resources/postgres/data").exists(), "no cluster is made for it");
}

/// The pending password of a daemon that died.
const PENDING: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

// proves RUN-6 OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_finishes_what_a_daemon_had_begun() {
    if !has_programs() {
        return;
    }
    let (mut machine, ws) = awake().await;
    let before = password(&machine, ws);
    machine.order(ws, 3, Order::StopRuntime).await;
    machine.stop().await;
    let next: PathBuf = machine.place(ws).join("postgres.password.next");
    std::fs::write(&next, PENDING).expect("written");
    machine.start().await;
    machine.wake(ws, 4).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert!(password(&machine, ws) == PENDING && !next.exists());
    assert!(machine.server.get(ws.id, "web", "/env/DATABASE_URL").await.contains(PENDING));
    assert!(opens(&machine, ws, 4, PENDING).await && !opens(&machine, ws, 4, &before).await);
}

//! Databases and caches of a branch's own.

use super::machine::{Machine, Ws};
use super::server::mint;
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome};
use envforge_api::http::runs::RunState;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_host::sys::cgroup::Layer;
use std::path::Path;

pub(crate) const STORES: &str = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\n    inputs: { database_url: required, redis_url: required }\n    environment: { DATABASE_URL: input.database_url, REDIS_URL: input.redis_url }\nresources:\n  postgres: branch_scoped\n  redis: branch_scoped\n";

pub(crate) fn has_programs() -> bool {
    is_root() && Path::new("/usr/lib/postgresql").exists() && Path::new("/usr/bin/redis-server").exists()
}

/// Runs a job to its end; its code and log.
pub(crate) async fn run(machine: &Machine, ws: Ws, generation: u64, line: &str) -> (Option<i32>, String) {
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

const STORAGE: &str = "services:
  web:
    command: python3 serve.py web
    port: 3000
    inputs: { s3_endpoint: required, s3_bucket: required, s3_secret_access_key: required }
    environment: { ENDPOINT: input.s3_endpoint, BUCKET: input.s3_bucket, SECRET: input.s3_secret_access_key }
resources:
  object_storage: branch_scoped
";

/// Asks the object storage of the job's workspace, signed as these.
fn s3(id: &str, secret: &str, what: &str) -> String {
    format!(
        "curl -sS -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:$S3_REGION:s3 --user {id}:{secret} {what}"
    )
}

/// The same with the workspace's own keys.
pub(crate) fn own_s3(what: &str) -> String {
    s3("$S3_ACCESS_KEY_ID", "$S3_SECRET_ACCESS_KEY", what)
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_branch_has_a_bucket_and_keys_of_its_own() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(STORAGE, &[]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    for ws in [one, two] {
        machine.wake(ws, 2).await;
        machine.part(ws, "object_storage", ReadinessState::Ready).await;
        machine.part(ws, "web", ReadinessState::Ready).await;
    }
    let endpoint = machine.server.get(one.id, "web", "/env/ENDPOINT").await;
    assert_eq!(endpoint, "http://127.0.0.1:9000", "the same in every branch");
    let secret = machine.read(one, "object_storage.secret");
    assert_eq!(machine.server.get(one.id, "web", "/env/SECRET").await, secret);
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(machine.place(one).join("object_storage.secret")).expect("there"),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(!machine.read(one, "state.recent.json").contains(&secret), "the journal does not hold it");
    let put = own_s3("--data-binary of-one $S3_ENDPOINT/$S3_BUCKET/key -X PUT -w '%{http_code}'");
    let (code, log) = run(&machine, one, 2, &put).await;
    assert!(code == Some(0) && log.ends_with("200\n"), "{log}");

    // The other has nothing of that name, and the one's keys open nothing there.
    let (_, log) = run(&machine, two, 2, &own_s3("$S3_ENDPOINT/$S3_BUCKET/key")).await;
    assert!(log.contains("NoSuchKey"), "{log}");
    let id = one.id.to_string();
    let (_, log) = run(&machine, two, 2, &s3(&id, &secret, "$S3_ENDPOINT/$S3_BUCKET/key")).await;
    assert!(log.contains("InvalidAccessKeyId"), "{log}");
    let (_, log) = run(&machine, one, 2, &s3(&id, &"0".repeat(48), "$S3_ENDPOINT/$S3_BUCKET/key")).await;
    assert!(log.contains("SignatureDoesNotMatch"), "{log}");
    // No address of the one's network leads there either: it listens on the loopback alone.
    let addresses = "for a in $(hostname -I); do curl -sS -m 2 http://$a:9000/ && exit 9; done; exit 0";
    let (code, log) = run(&machine, one, 2, addresses).await;
    assert_eq!(code, Some(0), "{log}");

    // Paused and resumed, with a new daemon meanwhile: the same process goes on.
    let pids = |machine: &Machine| machine.group(&one.id.to_string(), Layer::Runtime).pids().expect("pids");
    let storage = |machine: &Machine| {
        let is_storage = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("object_storage")
        };
        pids(machine).into_iter().find(is_storage).expect("it runs")
    };
    let process = storage(&machine);
    machine.order(one, 3, Order::FreezeRuntime).await;
    machine.stop().await;
    machine.start().await;
    machine.wake(one, 4).await;
    machine.part(one, "object_storage", ReadinessState::Ready).await;
    assert_eq!(storage(&machine), process);
    let (_, log) = run(&machine, one, 4, &own_s3("$S3_ENDPOINT/$S3_BUCKET/key")).await;
    assert!(log.contains("of-one"), "{log}");
    // Killed, it is started again; stopped and woken, it has what it had.
    let pid = rustix::process::Pid::from_raw(process).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    wait_until("another process", async || pids(&machine).iter().all(|pid| *pid != process)).await;
    machine.part(one, "object_storage", ReadinessState::Ready).await;
    machine.order(one, 5, Order::StopRuntime).await;
    machine.wake(one, 6).await;
    machine.part(one, "object_storage", ReadinessState::Ready).await;
    let (_, log) = run(&machine, one, 6, &own_s3("$S3_ENDPOINT/$S3_BUCKET/key")).await;
    assert!(log.contains("of-one"), "{log}");

    assert_eq!(machine.order(one, 7, Order::DestroyWorkspace).await, Outcome::Done);
    assert!(!machine.place(one).exists(), "objects and keys are gone");
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_begins_as_a_copy_of_the_branch_that_the_file_names() {
    if !has_programs() {
        return;
    }
    let copied = STORES.replace("postgres: branch_scoped", "postgres: { from: main }");
    let machine = Machine::new(&copied, &[]).await;
    // Before that branch has a workspace.
    let early = machine.workspace().await;
    machine.wake(early, 2).await;
    let part = machine.part(early, "postgres", ReadinessState::Blocked).await;
    assert_eq!(part.code.as_deref(), Some("resource.source_missing"));
    assert!(part.cause.is_some_and(|cause| cause.contains("branch main")) && part.fix.is_some());
    // The branch itself begins empty.
    let main = Ws { id: mint() };
    let command = machine.server.command(main.id, 1, machine.prepare_order("main"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    machine.wake(main, 2).await;
    machine.part(main, "postgres", ReadinessState::Ready).await;
    let (code, log) = run(&machine, main, 2, "psql $DATABASE_URL -c 'create table t as select 41 as x'").await;
    assert_eq!(code, Some(0), "{log}");
    // Everybody else with what it had then, also who was too early.
    machine.wake(early, 3).await;
    machine.part(early, "postgres", ReadinessState::Ready).await;
    let (code, log) = run(&machine, early, 3, "psql $DATABASE_URL -Atc 'update t set x = x + 1 returning x'").await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("42"), "{log}");
    // Once: what comes later comes to one of them.
    machine.order(early, 4, Order::StopRuntime).await;
    machine.wake(early, 5).await;
    machine.part(early, "postgres", ReadinessState::Ready).await;
    let (_, log) = run(&machine, early, 5, "psql $DATABASE_URL -Atc 'select x from t'").await;
    assert!(log.contains("42"), "{log}");
    let (_, log) = run(&machine, main, 2, "psql $DATABASE_URL -Atc 'select x from t'").await;
    assert!(log.contains("41"), "{log}");
}

/// The cluster's process, if it runs.
fn cluster(machine: &Machine) -> Option<String> {
    let path = machine.config.data_dir.join("resources/postgres/data/postmaster.pid");
    std::fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned))
}

// proves RUN-6, RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_stopped_when_no_runtime_is_awake_or_paused() {
    if !has_programs() {
        return;
    }
    let mut machine = Machine::new(STORES, &[]).await;
    let one = machine.workspace().await;
    machine.wake(one, 2).await;
    machine.part(one, "postgres", ReadinessState::Ready).await;
    let (code, log) = run(&machine, one, 2, "psql $DATABASE_URL -c 'create table t as select 41 as x'").await;
    assert_eq!(code, Some(0), "{log}");
    let before = cluster(&machine).expect("it runs");
    machine.order(one, 3, Order::FreezeRuntime).await;
    machine.stop().await;
    machine.start().await;
    machine.wake(one, 4).await;
    let (code, log) = run(&machine, one, 4, "psql $DATABASE_URL -Atc 'select x + 1 from t'").await;
    assert!(code == Some(0) && log.contains("42"), "{log}");
    assert_eq!(cluster(&machine).as_ref(), Some(&before), "a paused runtime keeps it");
    machine.order(one, 5, Order::StopRuntime).await;
    machine.stop().await;
    assert_eq!(cluster(&machine), Some(before), "it outlives the daemon");
    machine.start().await;
    wait_until("the end of the cluster", async || cluster(&machine).is_none()).await;
    // The wake path starts it.
    machine.wake(one, 6).await;
    machine.part(one, "web", ReadinessState::Ready).await;
    let (code, log) = run(&machine, one, 6, "psql $DATABASE_URL -Atc 'select x + 1 from t'").await;
    assert!(code == Some(0) && log.contains("42"), "{log}");
}

/// Opens many connections to the database without logging in, and holds them until the runtime ends.
const HOLD: &str = "import os, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
held = []
for _ in range(1500):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(('127.0.0.1', 5432))
    held.append(s)
print('holding', flush=True)
if os.fork():
    os._exit(0)
import signal
signal.pause()
";

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_one_branch_holds_are_its_own_share() {
    if !has_programs() {
        return;
    }
    let machine = Machine::new(STORES, &[("hold.py", HOLD)]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("main"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    for ws in [one, two] {
        machine.wake(ws, 2).await;
        machine.part(ws, "postgres", ReadinessState::Ready).await;
    }
    // All that one may, and more than the cluster has, before any password is asked for.
    let (_, command) = machine.job(one, 2, &["python3", "hold.py"]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    let backends = || {
        let parent = cluster(&machine).unwrap_or_default();
        let is_child = |status: &str| status.lines().any(|line| line == format!("PPid:\t{parent}"));
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        processes.filter(|it| std::fs::read_to_string(it.path().join("status")).is_ok_and(|s| is_child(&s))).count()
    };
    let ask_as_one = "PGCONNECT_TIMEOUT=2 psql $DATABASE_URL -Atc 'select 41 + 1'";
    wait_until("its own share is held", async || run(&machine, one, 2, ask_as_one).await.0 != Some(0)).await;
    let (code, log) = run(&machine, two, 2, "psql $DATABASE_URL -Atc 'select 41 + 1'").await;
    assert!(code == Some(0) && log.contains("42"), "{log}");
    // A share is 49; the cluster's own are a handful.
    assert!(backends() < 70, "{} processes", backends());
    // The socket itself is seen by nobody.
    let (code, log) = run(&machine, one, 2, "test -e /run/envforge/postgres").await;
    assert_eq!(code, Some(1), "{log}");
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_come_with_the_file_that_lists_them() {
    if !has_programs() {
        return;
    }
    let listed = STORES.replace("postgres: branch_scoped", "postgres: { extensions: [bloom] }");
    let machine = Machine::new(&listed, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "postgres", ReadinessState::Ready).await;
    let find = "psql $DATABASE_URL -Atc 'select extname from pg_extension order by 1'";
    let (code, log) = run(&machine, ws, 2, find).await;
    assert!(code == Some(0) && log.contains("bloom") && !log.contains("hstore"), "{log}");
    // Listed later, they come with the next wake, also of a runtime that is awake.
    machine.edit(ws, "envforge.yml", &listed.replace("[bloom]", "[hstore]"));
    machine.wake(ws, 3).await;
    machine.part(ws, "postgres", ReadinessState::Ready).await;
    let (code, log) = run(&machine, ws, 3, find).await;
    assert!(code == Some(0) && log.contains("bloom") && log.contains("hstore"), "{log}");
}

pub(crate) const MAIL: &str = "services:
  web:
    command: python3 serve.py web
    port: 3000
    inputs: { smtp_url: required, smtp_host: required, smtp_port: required }
    environment: { SMTP: input.smtp_url, SMTP_HOST: input.smtp_host, SMTP_PORT: input.smtp_port }
resources:
  mail: branch_scoped
";

/// Sends a message from a job of the workspace.
pub(crate) fn send_mail(subject: &str) -> String {
    format!(
        "python3 -c 'import os,smtplib; smtplib.SMTP(os.environ[\"SMTP_HOST\"], int(os.environ[\"SMTP_PORT\"])).sendmail(\"a@b\", [\"c@d\"], \"Subject: {subject}\\n\\nx\")'"
    )
}

/// The files of a workspace's messages, the oldest first.
fn mails(machine: &Machine, ws: Ws) -> Vec<String> {
    let entries = std::fs::read_dir(machine.place(ws).join("data/mail/messages")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("read")).into_owned()).collect()
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_branch_has_an_inbox_of_its_own() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(MAIL, &[]).await;
    let (one, two) = (machine.workspace().await, Ws { id: mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    for ws in [one, two] {
        machine.wake(ws, 2).await;
        machine.part(ws, "mail", ReadinessState::Ready).await;
        machine.part(ws, "web", ReadinessState::Ready).await;
    }
    assert_eq!(machine.server.get(one.id, "web", "/env/SMTP").await, "smtp://127.0.0.1:1025");
    let (code, log) = run(&machine, one, 2, &send_mail("first")).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(mails(&machine, one)[0].starts_with("Subject: first\r\n"));
    assert!(mails(&machine, two).is_empty());
    // No address of the one's network leads there: it listens on the loopback alone.
    let addresses = "for a in $(hostname -I); do curl -sS -m 2 telnet://$a:1025/ </dev/null && exit 9; done; exit 0";
    let (code, log) = run(&machine, one, 2, addresses).await;
    assert_eq!(code, Some(0), "{log}");

    // Asleep and awake again, with a new daemon meanwhile.
    machine.order(one, 3, Order::FreezeRuntime).await;
    machine.stop().await;
    machine.start().await;
    machine.order(one, 4, Order::StopRuntime).await;
    assert_eq!(mails(&machine, one).len(), 1);
    machine.wake(one, 5).await;
    machine.part(one, "mail", ReadinessState::Ready).await;
    let (code, log) = run(&machine, one, 5, &send_mail("second")).await;
    assert_eq!(code, Some(0), "{log}");
    let kept = mails(&machine, one);
    assert!(kept.len() == 2 && kept[1].starts_with("Subject: second\r\n"), "{kept:?}");

    assert_eq!(machine.order(one, 6, Order::DestroyWorkspace).await, Outcome::Done);
    assert!(!machine.place(one).exists(), "its mail is gone");
}

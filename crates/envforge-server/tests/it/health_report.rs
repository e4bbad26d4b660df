//! What an operator is told of an installation: each check seen fine, and wrong because something really is.

use crate::gateways::FakeGateway;
use crate::jobs::{How, enqueue, until, work};
use crate::mail_by_queue::at;
use crate::provider::Provider;
use crate::support::TestServer;
use envforge_api::ambient::SystemClock;
use envforge_api::http::system::{Check, HealthReport, Verdict};
use envforge_core::clock::Clock as _;
use envforge_core::job::JobState;
use envforge_core::login::SignUp;
use envforge_core::secret::Secret;
use envforge_server::ledger::jobs::verify;
use envforge_server::platform::keys::KeyWrappers;
use envforge_server::vault;
use envforge_testkit::{MailSink, wait_until};
use jiff::SignedDuration;
use std::time::Duration;
use tokio::time::Instant;

async fn report(server: &TestServer) -> HealthReport {
    server.owner.get("/v1/operator/health-report").await.unwrap()
}

/// The one check of this name.
async fn check(server: &TestServer, name: &str) -> Check {
    let report = report(server).await;
    let found = report.checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {report:?}")).clone()
}

/// Its verdict and code.
async fn verdict(server: &TestServer, name: &str) -> (Verdict, Option<String>) {
    let Check { verdict, code, fix, .. } = check(server, name).await;
    assert_eq!(fix.is_some(), verdict != Verdict::Fine, "what is not fine says what helps");
    (verdict, code)
}

fn fine() -> (Verdict, Option<String>) {
    (Verdict::Fine, None)
}

fn note(code: &str) -> (Verdict, Option<String>) {
    (Verdict::Note, Some(code.to_owned()))
}

fn wrong(code: &str) -> (Verdict, Option<String>) {
    (Verdict::Wrong, Some(code.to_owned()))
}

/// The clock that stands still stands at what time it is.
fn now(server: &TestServer) {
    server.clock.advance(SystemClock.now().duration_since(server.clock.now()));
}

// proves OPS-4
#[tokio::test]
async fn all_is_fine_where_nothing_is_wrong() {
    let (sink, provider) = (MailSink::start().await.unwrap(), Provider::start().await);
    let server = TestServer::configured(|config| {
        config.mail = Some(at(sink.address.port()));
        config.identity_providers = vec![provider.config(SignUp::Closed)];
        config.disk_folders.clear();
    })
    .await;
    now(&server);
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let mut owner = server.database_owner().await;
    wait_until("everything is sealed and verified once", async || {
        let done = "SELECT NOT EXISTS (SELECT FROM ledger_unsealed) AND (SELECT count(*) = 2 FROM ledger_states)";
        sqlx::query_scalar(done).fetch_one(&mut owner).await.unwrap()
    })
    .await;
    now(&server);
    let _gateways = (FakeGateway::at(&server, 7081).await, FakeGateway::at(&server, 7091).await);
    let checks = report(&server).await.checks;
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    let all = [
        "schema",
        "clock",
        "hosts",
        "gateways",
        "ledger",
        "ledger seals",
        "jobs",
        "dead letters",
        "keys",
        "mail",
        "sign-in test",
    ];
    assert_eq!(names, all);
    let not: Vec<&Check> = checks.iter().filter(|check| check.verdict != Verdict::Fine).collect();
    assert!(not.is_empty(), "{not:?}");
    assert_eq!(checks[2].found, "1 of 1 online");
    assert_eq!(checks[3].found, "2 connected: 127.0.0.1:7081, 127.0.0.1:7091");
    assert!(checks[4].found.contains("2 chains verified"), "{}", checks[4].found);
    assert!(provider.asked("discovery") >= 1, "asked now, whatever is remembered");
}

// proves OPS-4
#[tokio::test]
async fn a_host_that_left_is_named_with_since_when() {
    let server = TestServer::start().await;
    let host = server.host().await;
    server.advance(10);
    assert_eq!(verdict(&server, "hosts").await, fine());
    let heard = server.clock.now();
    drop(host);
    server.advance(60);
    wait_until("its end is noticed", async || verdict(&server, "hosts").await == wrong("host.lost")).await;
    let found = check(&server, "hosts").await.found;
    let since = heard - SignedDuration::from_secs(10);
    assert!(found.contains(&format!("of acme is lost since {since:.0}")), "{found}");
}

// proves OPS-4
#[tokio::test]
async fn an_installation_without_a_gateway_is_told() {
    let server = TestServer::start().await;
    assert_eq!(verdict(&server, "gateways").await, fine(), "it has just begun to listen");
    server.advance(21);
    assert_eq!(verdict(&server, "gateways").await, wrong("gateway.none"));
    let _gateway = FakeGateway::at(&server, 7081).await;
    assert_eq!(verdict(&server, "gateways").await, fine());
}

// proves OPS-4 ORG-6
#[tokio::test]
async fn a_ledger_changed_past_the_product_is_wrong() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let (app, org) = (server.server.app(), host.registered.org);
    let mut owner = server.database_owner().await;
    wait_until("it is verified whole", async || {
        verify(app, Some(org)).await.unwrap();
        let whole = "SELECT EXISTS (SELECT FROM ledger_states WHERE org_id IS NOT NULL AND whole_at IS NOT NULL) AND NOT EXISTS (SELECT FROM ledger_unsealed)";
        sqlx::query_scalar(whole).fetch_one(&mut owner).await.unwrap()
    })
    .await;
    assert_eq!(verdict(&server, "ledger").await, fine());
    let change = "UPDATE ledger_events SET actor = actor || '!' WHERE id = (SELECT event_id FROM ledger_seals WHERE org_id IS NOT NULL AND position = 2)";
    sqlx::query(change).execute(&mut owner).await.unwrap();
    server.advance(3_700);
    wait_until("it is found", async || {
        verify(app, Some(org)).await.unwrap();
        verdict(&server, "ledger").await == wrong("ledger.broken")
    })
    .await;
    let found = check(&server, "ledger").await.found;
    assert!(found.starts_with("1 of 2 chains broken; of acme, at position 2, since 2025-"), "{found}");
}

// proves OPS-4
#[tokio::test]
async fn events_that_nobody_seals_and_chains_that_nobody_verifies_are_told() {
    let server = TestServer::start().await;
    wait_until("all is sealed", async || check(&server, "ledger seals").await.found == "every event is sealed").await;
    // Another sealer has every chain and does not get on.
    let (mut owner, mut app) = (server.database_owner().await, server.database_app().await);
    sqlx::query("SELECT pg_advisory_lock(0)").execute(&mut app).await.unwrap();
    let orgs: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT org_id FROM orgs").fetch_all(&mut owner).await.unwrap();
    for org in orgs {
        let chain = org.as_u64_pair().1.cast_signed();
        sqlx::query("SELECT pg_advisory_lock($1)").bind(chain).execute(&mut app).await.unwrap();
    }
    // And another verifier holds every state.
    let mut verifier = sqlx::Connection::begin(&mut owner).await.unwrap();
    sqlx::query("SELECT * FROM ledger_states FOR UPDATE").execute(&mut *verifier).await.unwrap();
    let project = serde_json::json!({ "slug": "p", "repository": "https://example.org/p.git" });
    let _: serde_json::Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    assert_eq!(verdict(&server, "ledger seals").await, fine(), "events may wait a moment");
    server.advance(10);
    assert_eq!(verdict(&server, "ledger seals").await, note("ledger.seal_late"));
    server.advance(60);
    assert_eq!(verdict(&server, "ledger seals").await, wrong("server.ledger_stuck"));
    server.advance(7_200);
    let has_state = check(&server, "ledger").await.found != "not verified yet: the first round has begun";
    assert_eq!(verdict(&server, "ledger").await, if has_state { note("ledger.verify_late") } else { fine() });
}

// proves OPS-3 OPS-4
#[tokio::test]
async fn jobs_that_wait_and_dead_letters_are_told() {
    let server = TestServer::start().await;
    assert_eq!((verdict(&server, "jobs").await, verdict(&server, "dead letters").await), (fine(), fine()));
    let id = enqueue(&server, "reported", How::Fail(3)).await;
    server.advance(61);
    assert_eq!(verdict(&server, "jobs").await, note("job.late"), "nobody runs it");
    server.advance(600);
    assert_eq!(verdict(&server, "jobs").await, wrong("job.stuck"));
    work(server.server.app());
    for attempt in 1..3 {
        until(&server, id, JobState::Waiting, attempt).await;
        server.advance(10);
    }
    until(&server, id, JobState::Dead, 3).await;
    assert_eq!((verdict(&server, "jobs").await, verdict(&server, "dead letters").await), (fine(), note("job.dead")));
}

// proves OPS-4
#[tokio::test]
async fn clocks_that_differ_are_told() {
    let server = TestServer::start().await;
    now(&server);
    assert_eq!(verdict(&server, "clock").await, fine());
    server.advance(5);
    assert_eq!(verdict(&server, "clock").await, note("clock.off"));
    server.advance(60);
    assert_eq!(verdict(&server, "clock").await, wrong("clock.wrong"));
    server.clock.advance(SignedDuration::from_secs(-120));
    assert_eq!(verdict(&server, "clock").await, wrong("clock.wrong"), "behind as well");
}

// proves OPS-4 ORG-8
#[tokio::test]
async fn a_key_that_is_missed_is_told() {
    let mut server = TestServer::start().await;
    let scope = server.scope("acme").await;
    let app = server.server.app();
    let mut tx = app.db.begin(scope).await.unwrap();
    vault::ops::seal(app, &mut tx, "here", &Secret::new("planted".to_owned())).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(verdict(&server, "keys").await, fine());
    let other = Secret::new("33".repeat(32));
    server.restart_with(|config| config.key_wrappers = KeyWrappers::local(&[other]).unwrap()).await;
    assert_eq!(verdict(&server, "keys").await, wrong("vault.key_missing"));
}

// proves OPS-4
#[tokio::test]
async fn whom_it_depends_on_and_who_does_not_answer_is_told_in_time() {
    let provider = Provider::start().await;
    let mut gone = provider.config(SignUp::Closed);
    gone.issuer = "http://127.0.0.1:1".to_owned();
    let mut server = TestServer::configured(|config| {
        config.mail = Some(at(1));
        config.identity_providers = vec![gone];
        config.disk_folders.push("/no/such/folder".into());
    })
    .await;
    assert_eq!(verdict(&server, "mail").await, wrong("mail.unavailable"));
    assert_eq!(verdict(&server, "sign-in test").await, wrong("sign_in.provider_unreachable"));
    assert_eq!(verdict(&server, "disk /no/such/folder").await, note("disk.unknown"));
    assert!(check(&server, &format!("disk {}", server.folder.path().display())).await.found.ends_with(" GB free"));
    // It takes connections and says nothing.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = hung.local_addr().unwrap().port();
    server.restart_with(|config| config.mail = Some(at(port))).await;
    let began = Instant::now();
    assert_eq!(verdict(&server, "mail").await, wrong("check.timeout"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

// proves OPS-4
#[tokio::test]
async fn a_schema_that_is_ahead_is_told() {
    let server = TestServer::start().await;
    assert_eq!(verdict(&server, "schema").await, fine());
    let mut owner = server.database_owner().await;
    let steps = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, '', 0)";
    sqlx::query(steps).bind(90_000_i64).bind("more").execute(&mut owner).await.unwrap();
    assert_eq!(verdict(&server, "schema").await, note("schema.newer"));
    sqlx::query(steps).bind(90_001_i64).bind("contract: less").execute(&mut owner).await.unwrap();
    assert_eq!(verdict(&server, "schema").await, wrong("server.schema"));
}

//! Windows and months as they are kept for reading, what an org used, and its cap.

use crate::support::{FakeHost, TestServer, code, lock_waits, report};
use envforge_api::http::usage::OrgUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::{Clock as _, Entropy as _};
use envforge_core::id::{Id as _, UsageSessionId, WindowId, WorkspaceId};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::size::Size;
use envforge_core::usage::{CapPosture, Month, SizeSeconds, WindowFact, fold, months};
use envforge_testkit::wait_until;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Numbers below `end`, one after the other.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let mut bytes = [0; 8];
        envforge_api::ambient::SystemEntropy.fill(&mut bytes);
        Self(u64::from_le_bytes(bytes) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

async fn write(connection: &mut PgConnection, workspace: WorkspaceId, fact: &WindowFact) {
    let verb = match fact {
        WindowFact::Opened { .. } => "window.opened",
        WindowFact::Closed { .. } => "window.closed",
    };
    sqlx::query(
        "INSERT INTO ledger_events (id, org_id, at, actor, verb, subject, cause, details) \
         SELECT gen_random_uuid(), org_id, now(), 'host:test', $2, $3, 'test', $4 FROM workspaces WHERE id = $1",
    )
    .bind(workspace.uuid())
    .bind(verb)
    .bind(workspace.to_string())
    .bind(serde_json::to_value(fact).unwrap())
    .execute(connection)
    .await
    .unwrap();
}

/// Windows as they are kept: id, opened, closed, why, unproven.
type Kept = (Uuid, Timestamp, Option<Timestamp>, Option<String>, i64);

async fn kept(connection: &mut PgConnection, workspace: WorkspaceId) -> Vec<Kept> {
    let rows = sqlx::query_as(
        "SELECT window_id, opened_at, closed_at, end_cause, unproven_seconds FROM awake_windows WHERE workspace_id = $1 \
         ORDER BY opened_at, closed_at, window_id",
    )
    .bind(workspace.uuid())
    .fetch_all(connection)
    .await
    .unwrap();
    let kept =
        |(id, opened, closed, cause, unproven): (_, jiff_sqlx::Timestamp, Option<jiff_sqlx::Timestamp>, _, _)| {
            (id, opened.to_jiff(), closed.map(jiff_sqlx::Timestamp::to_jiff), cause, unproven)
        };
    rows.into_iter().map(kept).collect()
}

/// Seconds of each month that has some.
async fn kept_months(connection: &mut PgConnection, statement: &'static str) -> BTreeMap<Month, SizeSeconds> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(statement).fetch_all(connection).await.unwrap();
    let month = |(month, small, medium, large): (String, i64, i64, i64)| {
        let seconds = SizeSeconds { small: small as u64, medium: medium as u64, large: large as u64 };
        (month.parse().unwrap(), seconds)
    };
    rows.into_iter().map(month).filter(|(_, seconds): &(Month, SizeSeconds)| seconds.total() > 0).collect()
}

const OF_WORKSPACES: &str = "SELECT to_char(month, 'YYYY-MM'), sum(small)::bigint, sum(medium)::bigint, sum(large)::bigint FROM usage_months GROUP BY month";
const OF_ORG: &str = "SELECT to_char(month, 'YYYY-MM'), small, medium, large FROM org_usage_months";

/// Whether what is kept is what the facts of each workspace say.
async fn compare(connection: &mut PgConnection, facts: &BTreeMap<WorkspaceId, Vec<WindowFact>>, seed: u64) {
    let mut sums: BTreeMap<Month, SizeSeconds> = BTreeMap::new();
    for (workspace, facts) in facts {
        let windows = fold(facts);
        let expected: Vec<Kept> = windows
            .iter()
            .map(|window| {
                let unproven = window.unproven_seconds as i64;
                (window.window.uuid(), window.opened_at, window.closed_at, window.end_cause.clone(), unproven)
            })
            .collect();
        assert_eq!(kept(connection, *workspace).await, expected, "seed {seed}: {facts:#?}");
        let closed: Vec<_> = windows.into_iter().filter(|window| window.closed_at.is_some()).collect();
        for (month, seconds) in months(&closed, Timestamp::MAX) {
            sums.entry(month).or_default().add_all(seconds);
        }
    }
    sums.retain(|_, seconds| seconds.total() > 0);
    assert_eq!(kept_months(connection, OF_WORKSPACES).await, sums, "seed {seed}");
    assert_eq!(kept_months(connection, OF_ORG).await, sums, "seed {seed}");
}

// proves COST-4
#[tokio::test]
async fn what_is_kept_for_reading_is_what_the_ledger_says() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspaces = [server.workspace(&mut host).await.id, server.named_workspace(&mut host, "other").await.id];
    let mut connection = server.database_owner().await;
    let mut random = Random::seeded();
    let seed = random.0;
    let mut facts: BTreeMap<WorkspaceId, Vec<WindowFact>> = BTreeMap::new();
    let mut at = server.clock.now();
    for step in 0..240 {
        let workspace = workspaces[random.below(2) as usize];
        let of = facts.entry(workspace).or_default();
        let opened: Vec<WindowId> = of
            .iter()
            .filter_map(|fact| match fact {
                WindowFact::Opened { window, .. } => Some(*window),
                WindowFact::Closed { .. } => None,
            })
            .collect();
        // Mostly on, over months sometimes; and back, which a ledger of before may have.
        at += match random.below(12) {
            0 => SignedDuration::from_hours(24 * 40),
            1 => -SignedDuration::from_secs(random.below(5_000) as i64),
            _ => SignedDuration::from_millis(random.below(9_000_000) as i64),
        };
        let fact = match (random.below(8), opened.last()) {
            (0, Some(_)) => of[random.below(of.len() as u64) as usize].clone(),
            (1..=3, Some(last)) => {
                let window =
                    if random.below(6) == 0 { opened[random.below(opened.len() as u64) as usize] } else { *last };
                WindowFact::Closed { window, at, cause: format!("end {step}"), unproven_seconds: random.below(9) }
            }
            _ => WindowFact::Opened {
                window: WindowId::from_uuid(Uuid::from_u64_pair(random.below(u64::MAX), step)),
                session: UsageSessionId::from_uuid(Uuid::from_u128(u128::from(step))),
                at,
                size: Size::ALL[random.below(3) as usize],
                cause: "test".to_owned(),
            },
        };
        of.push(fact.clone());
        write(&mut connection, workspace, &fact).await;
        if step % 20 == 19 {
            compare(&mut connection, &facts, seed).await;
        }
    }
    let round = async || envforge_server::usage::jobs::round(server.server.app()).await.unwrap();
    assert_eq!(round().await, 0);
    for (statement, mended) in [
        (
            "UPDATE awake_windows SET closed_at = closed_at + interval '1 hour' WHERE window_id = (SELECT window_id FROM awake_windows WHERE closed_at IS NOT NULL LIMIT 1)",
            1,
        ),
        ("DELETE FROM awake_windows", 2),
        (
            "UPDATE usage_months SET small = small + 1 WHERE (workspace_id, month) = (SELECT workspace_id, month FROM usage_months LIMIT 1)",
            2,
        ),
        ("UPDATE org_usage_months SET large = large + 7", 1),
        ("DELETE FROM org_usage_months", 1),
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        assert_eq!(round().await, mended, "{statement}");
        compare(&mut connection, &facts, seed).await;
        assert_eq!(round().await, 0, "{statement}");
    }
    assert!(server.events("usage.rebuilt").await >= 4);
}

// proves ORG-2
#[tokio::test]
async fn the_server_only_reads_what_is_kept() {
    let server = TestServer::start().await;
    let mut app = server.database_app().await;
    for statement in [
        "DELETE FROM awake_windows",
        "UPDATE usage_months SET small = 0",
        "INSERT INTO org_usage_months (org_id, month) VALUES (gen_random_uuid(), '2026-01-01')",
    ] {
        let refused = sqlx::query(statement).execute(&mut app).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
    }
}

/// Awake for some seconds, then frozen.
pub(crate) async fn awake_for(server: &TestServer, host: &mut FakeHost, workspace: &Workspace, seconds: i64) {
    server.awake(host, workspace).await;
    server.advance(seconds);
    let path = format!("/v1/orgs/acme/workspaces/{}/sleep", workspace.slug);
    let _: Value = server.owner.post(&path, &json!({ "tier": "frozen" })).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Asleep)).await;
}

// proves COST-2 COST-5 ORG-2
#[tokio::test]
async fn an_org_sees_what_each_workspace_used_and_only_whoever_may_what_is_hidden() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let open = server.workspace(&mut host).await;
    let project = json!({ "slug": "secret", "repository": "https://example.org/secret.git" });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
    let hidden = server.named_workspace_of(&mut host, "secret", "hidden").await;
    let access = json!({ "is_restricted": true, "groups": [] });
    let _: Value = server.owner.put("/v1/orgs/acme/projects/secret/access", &access).await.unwrap();
    awake_for(&server, &mut host, &open, 60).await;
    awake_for(&server, &mut host, &hidden, 30).await;
    server.awake(&mut host, &hidden).await;
    server.advance(10);
    let all: OrgUsage = server.owner.get("/v1/orgs/acme/usage").await.unwrap();
    let told = |usage: &OrgUsage| -> Vec<(String, u64, u64)> {
        let told = usage.workspaces.iter();
        told.map(|used| (used.slug.to_string(), used.awake_seconds, used.cost_micros)).collect()
    };
    assert_eq!(told(&all), [("main".to_owned(), 60, 60_000), ("hidden".to_owned(), 40, 40_000)]);
    assert_eq!((all.awake_seconds, all.cost_micros, all.is_over), (100, 100_000, false));
    assert_eq!(all.cap_posture, Some(CapPosture::None));
    let billing: OrgUsage = server.member("acme", Role::Billing).await.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!(
        (told(&billing).len(), billing.awake_seconds),
        (1, 100),
        "the sum is whole, what is hidden is not named"
    );
    let outsider: OrgUsage = server.member("acme", Role::Developer).await.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!((told(&outsider).len(), outsider.awake_seconds, outsider.cap_posture), (1, 60, None));
    let stranger = server.member("other", Role::Owner).await.get::<Value>("/v1/orgs/acme/usage").await;
    assert_eq!(code(stranger), "org.not_found");
    let this = Month::of(server.clock.now());
    let later: OrgUsage = server.owner.get(&format!("/v1/orgs/acme/usage?month={}", this.next())).await.unwrap();
    assert_eq!((later.awake_seconds, later.workspaces.len()), (0, 2), "what is there is listed");
    let wrong = server.owner.get::<Value>("/v1/orgs/acme/usage?month=november").await;
    assert_eq!(code(wrong), "request.query");
}

// proves COST-3
#[tokio::test]
async fn two_wakes_at_once_and_a_window_that_closes_can_not_slip_under_an_orgs_cap() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let first = server.workspace(&mut host).await;
    server.named_workspace(&mut host, "second").await;
    let mut connection = server.database_owner().await;
    sqlx::query("UPDATE orgs SET cap_mode = 'stop', cap_minutes = 2").execute(&mut connection).await.unwrap();
    awake_for(&server, &mut host, &first, 60).await;
    // A third workspace's window is about to be counted.
    let mut closing = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("UPDATE org_usage_months SET small = small + 60").execute(&mut *closing).await.unwrap();
    let wake = |slug: &'static str| {
        let client = server.owner.clone();
        tokio::spawn(async move {
            client.post::<_, Value>(&format!("/v1/orgs/acme/workspaces/{slug}/wake"), &json!({})).await
        })
    };
    let wakes = [wake("main"), wake("second")];
    let mut looking = server.database_owner().await;
    wait_until("both wait for the sum", async || lock_waits(&mut looking).await == 2).await;
    closing.commit().await.unwrap();
    for wake in wakes {
        assert_eq!(code(wake.await.unwrap()), "cap.stopped");
    }
    assert_eq!(server.events("runtime.wake_asked").await, 1);
}

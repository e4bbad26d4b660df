//! What a big org used in a month: 1,000 workspaces, each awake three times a day for a year.
//!
//! Asked through the API of a server whose PostgreSQL is the test kit's; its disk is memory.

use super::ledger::alone;
use super::report::{Better, Record, Target};
use super::world::told;
use anyhow::ensure;
use envforge_api::ambient::SystemClock;
use envforge_api::client::{Address, Client};
use envforge_api::http::usage::OrgUsage;
use envforge_core::clock::Clock as _;
use envforge_core::secret::Secret;
use envforge_core::usage::Month;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const REQUESTS: usize = 300;
/// Not counted: the first on each connection plan their statements.
const WARM: usize = 50;
const WORKSPACES: usize = 1_000;

/// As a year of events leaves it behind; of the windows of ten workspaces the last is open.
const FILL: &str = "
    INSERT INTO hosts (id, org_id, name, created_at) SELECT md5('host')::uuid, org_id, 'bench', now() FROM orgs;
    INSERT INTO projects (id, org_id, slug, repository, created_at)
        SELECT md5('project' || i)::uuid, org_id, 'bench-' || i, 'https://example.org/x.git', now() FROM orgs, generate_series(1, 20) i;
    INSERT INTO workspaces (id, org_id, project_id, host_id, slug, branch, size, shell, created_by, created_at)
        SELECT md5('workspace' || i)::uuid, org_id, md5('project' || 1 + i % 20)::uuid, md5('host')::uuid, 'bench-' || i, 'bench-' || i, 'small', '{}',
        (SELECT id FROM users LIMIT 1), now() FROM orgs, generate_series(1, 1000) i;
    INSERT INTO runtimes (workspace_id, org_id, size, changed_at, cap_mode, cap_minutes)
        SELECT md5('workspace' || i)::uuid, org_id, 'small', now(), 'warn', 6000 FROM orgs, generate_series(1, 1000) i;
    INSERT INTO awake_windows (window_id, org_id, workspace_id, session_id, opened_at, closed_at, size, wake_cause, end_cause, unproven_seconds, opened_seq, closed_seq)
        SELECT gen_random_uuid(), org_id, md5('workspace' || i)::uuid, gen_random_uuid(), now() - n * interval '8 hours',
        CASE WHEN n = 1 AND i <= 10 THEN NULL ELSE now() - n * interval '8 hours' + interval '1 hour' + i * interval '1 second' END,
        CASE i % 3 WHEN 0 THEN 'small' WHEN 1 THEN 'medium' ELSE 'large' END, 'a link visit to /', 'idle for 600 s', 0, 0, 0
        FROM orgs, generate_series(1, 1000) i, generate_series(1, 1095) n;
    INSERT INTO usage_months (org_id, workspace_id, month, small, medium, large)
        SELECT a.org_id, a.workspace_id, m.month, coalesce(sum(m.seconds) FILTER (WHERE a.size = 'small'), 0),
        coalesce(sum(m.seconds) FILTER (WHERE a.size = 'medium'), 0), coalesce(sum(m.seconds) FILTER (WHERE a.size = 'large'), 0)
        FROM awake_windows a CROSS JOIN LATERAL seconds_of_months(a.opened_at, a.closed_at) m WHERE a.closed_at IS NOT NULL
        GROUP BY a.org_id, a.workspace_id, m.month;
    INSERT INTO org_usage_months SELECT org_id, month, sum(small), sum(medium), sum(large) FROM usage_months GROUP BY org_id, month;
    ANALYZE;";

/// Each from the request to the whole answer.
pub(super) async fn usage() -> anyhow::Result<Vec<Record>> {
    let folder = tempfile::tempdir()?;
    let cancel = CancellationToken::new();
    let (database, server) = alone(folder.path(), &cancel).await?;
    database.fill(FILL).await?;
    let key = fs_err::read_to_string(folder.path().join("owner.key"))?.trim().to_owned();
    let client = told(Client::new(&Address::Url(format!("http://{}", server.local_addr)), Some(Secret::new(key))))?;
    let month = Month::of(SystemClock.now());
    let mut samples = Vec::new();
    for number in 0..WARM + REQUESTS {
        let begun = Instant::now();
        let usage: OrgUsage = told(client.get(&format!("/v1/orgs/acme/usage?month={month}")).await)?;
        if number >= WARM {
            samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        let sum: u64 = usage.workspaces.iter().map(|used| used.awake_seconds).sum();
        ensure!(usage.workspaces.len() == WORKSPACES && sum == usage.awake_seconds, "not all of it was told");
    }
    cancel.cancel();
    server.wait().await;
    let target = Target { p50: None, p99: Some(100.0), text: "< 100 at 1,000 workspaces" };
    Ok(vec![Record::of("usage", "ms", Better::Less, &samples, target)])
}

//! What asking "may they, and what do they see?" adds to a request in a large org.

use super::report::{Better, Record, Target};
use super::world::{World, timed, told};
use anyhow::ensure;
use envforge_api::client::{Address, Client};
use envforge_api::http::workspaces::Workspace;
use envforge_core::secret::Secret;
use envforge_core::token::digest;

const REQUESTS: usize = 1_000;
/// Not counted: each of the server's connections plans its statements anew for a database that has become another.
const WARM: usize = 200;
/// Of the developer who is measured.
const KEY: &str = "efk_bench-authorize";

/// 10,000 members in 50 groups, 100 projects of which half are restricted to two groups each.
const FILL: &str = "
    INSERT INTO users (id, name, created_at) SELECT md5('bench user' || i)::uuid, 'bench authorize', now() FROM generate_series(1, 10000) i;
    INSERT INTO memberships SELECT :'org', md5('bench user' || i)::uuid, 'developer' FROM generate_series(1, 10000) i;
    INSERT INTO api_keys (id, user_id, name, prefix, digest, created_at) VALUES (md5('bench key')::uuid, md5('bench user1')::uuid, 'bench', 'efk_bench-au', :'digest', now());
    INSERT INTO groups SELECT md5('bench group' || i)::uuid, :'org', 'authorize-' || i, now() FROM generate_series(0, 49) i;
    INSERT INTO group_members SELECT :'org', md5('bench group' || i % 50)::uuid, md5('bench user' || i)::uuid FROM generate_series(1, 10000) i;
    INSERT INTO projects (id, org_id, slug, repository, created_at, is_restricted)
        SELECT md5('bench project' || i)::uuid, :'org', 'authorize-' || i, 'https://example.org/x.git', now(), i % 2 = 0 FROM generate_series(1, 100) i;
    INSERT INTO project_groups SELECT :'org', md5('bench project' || i * 2)::uuid, md5('bench group' || (i + n) % 50)::uuid FROM generate_series(1, 50) i, generate_series(1, 2) n;
    INSERT INTO workspaces (id, org_id, project_id, host_id, slug, branch, size, shell, created_by, created_at, deleted_at)
        SELECT md5('bench workspace' || i)::uuid, :'org', md5('bench project' || 1 + i % 100)::uuid, (SELECT id FROM hosts WHERE org_id = :'org' LIMIT 1),
        'authorize-' || i, 'authorize-' || i, 'small', '{}', md5('bench user1')::uuid, now(), NULL FROM generate_series(1, 498) i;
    INSERT INTO runtimes (workspace_id, org_id, size, changed_at) SELECT md5('bench workspace' || i)::uuid, :'org', 'small', now() FROM generate_series(1, 498) i;
    ANALYZE;";

const EMPTY: &str = "
    DELETE FROM runtimes WHERE workspace_id IN (SELECT id FROM workspaces WHERE slug LIKE 'authorize-%');
    DELETE FROM workspaces WHERE slug LIKE 'authorize-%';
    DELETE FROM projects WHERE slug LIKE 'authorize-%';
    DELETE FROM groups WHERE name LIKE 'authorize-%';
    DELETE FROM users WHERE name = 'bench authorize';";

/// The same request by the only member and by one of 10,000.
pub(super) async fn authorize(world: &World) -> anyhow::Result<Vec<Record>> {
    let alone = requests(world, &world.client).await?;
    let org = world.workspace.org.to_string();
    let org = org.trim_start_matches("org_");
    let key = digest(KEY);
    let variables = ["-v".to_owned(), format!("org={org}"), "-v".to_owned(), format!("digest={key}")];
    let filled = world.installation.psql(&variables, FILL).await;
    let developer = Client::new(&Address::Url(world.installation.url.clone()), Some(Secret::new(KEY.to_owned())));
    let crowded = async {
        filled?;
        requests(world, &told(developer)?).await
    }
    .await;
    world.installation.psql(&[], EMPTY).await?;
    let mut usual = alone.clone();
    usual.sort_by(f64::total_cmp);
    let usual = usual[usual.len() / 2];
    let added: Vec<f64> = crowded?.into_iter().map(|sample| (sample - usual).max(0.0)).collect();
    let target = Target { p50: Some(0.2), p99: None, text: "< 0.2 at 10,000 members" };
    let record = Record::of("authorize", "ms", Better::Less, &added, target);
    Ok(vec![record.along("request of the only member", Better::Less, &alone)])
}

async fn requests(world: &World, client: &Client) -> anyhow::Result<Vec<f64>> {
    let mut samples = Vec::with_capacity(REQUESTS);
    for number in 0..WARM + REQUESTS {
        let (milliseconds, workspace) = timed(async { told(client.get::<Workspace>(&world.path("")).await) }).await?;
        ensure!(workspace.id == world.workspace.id, "another workspace answered");
        if number >= WARM {
            samples.push(milliseconds);
        }
    }
    Ok(samples)
}

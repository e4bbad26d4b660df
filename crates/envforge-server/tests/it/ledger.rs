//! Sealed within a second, searched, exported, verified offline and again and again, pruned.

use crate::support::{FakeHost, TestServer, code, report};
use envforge_api::client::Client;
use envforge_api::http::ledger::{LedgerEvents, LedgerState};
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::id::OrgId;
use envforge_core::ledger::{Chain, ExportError, Trust, Verified, Verifier};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_server::ledger::jobs::{prune, seal, verify};
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::Duration;

const LEDGER: &str = "/v1/orgs/acme/ledger";

/// The lines of an export.
async fn export(client: &Client, path: &str) -> Vec<String> {
    let text = client.stream(&format!("{path}/export")).await.unwrap().text().await.unwrap();
    text.lines().map(str::to_owned).collect()
}

fn verified(lines: &[String], trust: Trust) -> Result<Verified, ExportError> {
    let mut verifier = Verifier::new(trust);
    for line in lines {
        verifier.line(line.as_bytes())?;
    }
    verifier.finish()
}

/// Exports and verifies with the key that the server says is its own.
async fn whole(server: &TestServer, path: &str) -> Verified {
    let key = server.owner.get::<LedgerState>(&format!("{path}/state")).await.unwrap().key;
    verified(&export(&server.owner, path).await, Trust::Keys(vec![key])).unwrap()
}

async fn state(server: &TestServer) -> LedgerState {
    server.owner.get(&format!("{LEDGER}/state")).await.unwrap()
}

async fn events(client: &Client, query: &str) -> LedgerEvents {
    client.get(&format!("{LEDGER}?{query}")).await.unwrap()
}

async fn count(connection: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(connection).await.unwrap()
}

async fn all_sealed(server: &TestServer) {
    let mut connection = server.database_owner().await;
    wait_until("everything is sealed", async || {
        count(&mut connection, "SELECT count(*) FROM ledger_unsealed").await == 0
    })
    .await;
}

/// Wakes and puts to sleep, so that there is a receipt.
async fn session(server: &TestServer, host: &mut FakeHost, workspace: &Workspace) {
    server.awake(host, workspace).await;
    server.advance(60);
    let _: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({ "tier": "stopped" })).await.unwrap();
    let stop = host.command("STOP_RUNTIME").await;
    host.done(&stop).await;
    host.report(report(workspace.id, stop.generation, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    all_sealed(server).await;
}

/// Looks until the state is as wanted; the server's own verifier may hold the chain meanwhile.
async fn until_state(
    server: &TestServer,
    org: OrgId,
    what: &str,
    wanted: impl Fn(&LedgerState) -> bool,
) -> LedgerState {
    wait_until(what, async || {
        verify(server.server.app(), Some(org)).await.unwrap();
        wanted(&state(server).await)
    })
    .await;
    state(server).await
}

// proves ORG-6
#[tokio::test]
async fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    all_sealed(&server).await;
    let proof = whole(&server, LEDGER).await;
    assert_eq!((proof.org, proof.anchor), (Some(host.registered.org), None));
    let mut lines = export(&server.owner, LEDGER).await;
    assert!(lines.len() as u64 == proof.events + 2 && lines.iter().any(|line| line.contains("runtime.woken")));
    let installation = whole(&server, "/v1/installation/ledger").await;
    assert!(installation.org.is_none() && installation.events >= 1);
    lines[2] = lines[2].replace("system:", "system;");
    assert_eq!(verified(&lines, Trust::Export).unwrap_err().line, 3);
}

// proves ORG-6
#[tokio::test]
async fn two_sealers_at_once_make_one_chain() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let (app, org) = (server.server.app(), host.registered.org);
    for sealed in futures_util::future::join_all((0..8).map(|_| seal(app, Some(org)))).await {
        sealed.unwrap();
    }
    all_sealed(&server).await;
    whole(&server, LEDGER).await;
}

// proves ORG-6
#[tokio::test]
async fn search_filters_pages_and_shows_one_org_only() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let begun = server.clock.now();
    server.advance(60);
    session(&server, &mut host, &workspace).await;
    let owner = &server.owner;
    let all = events(owner, "limit=500").await.events;
    assert!(all.is_sorted_by(|a, b| a.event.at >= b.event.at) && all.iter().all(|listed| listed.seal.is_some()));
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = events(owner, &format!("order=oldest&limit=2{cursor}")).await;
        paged.splice(0..0, page.events.into_iter().rev());
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all, "pages make the whole, in either order");
    let verbs = async |query: String| -> Vec<String> {
        events(owner, &query).await.events.into_iter().map(|listed| listed.event.verb).collect()
    };
    assert_eq!(verbs("verb=runtime.woken".to_owned()).await, ["runtime.woken"]);
    let runtime = verbs("verb=runtime.&order=oldest".to_owned()).await;
    assert!(runtime.len() > 1 && runtime.iter().all(|verb| verb.starts_with("runtime.")), "{runtime:?}");
    assert_eq!(verbs(format!("subject={}&verb=window.", workspace.id)).await, ["window.closed", "window.opened"]);
    let actor = all.iter().find(|listed| listed.event.verb == "workspace.created").unwrap().event.actor.clone();
    assert!(verbs(format!("actor={actor}")).await.contains(&"workspace.created".to_owned()));
    assert!(
        verbs(format!("since={}", begun + jiff::SignedDuration::from_secs(1)))
            .await
            .contains(&"runtime.woken".to_owned())
    );
    let before = verbs(format!("until={}", begun + jiff::SignedDuration::from_secs(1))).await;
    assert!(before.contains(&"workspace.created".to_owned()) && !before.contains(&"runtime.woken".to_owned()));
    for (query, refused) in [
        ("limit=0", "ledger.limit"),
        ("limit=501", "ledger.limit"),
        ("cursor=x", "ledger.cursor"),
        ("actor=", "ledger.filter"),
        ("text=x", "request.query"),
        ("since=soon", "request.query"),
    ] {
        assert_eq!(code(owner.get::<LedgerEvents>(&format!("{LEDGER}?{query}")).await), refused, "{query}");
    }
    let rival = server.member("rival", Role::Owner).await;
    for query in [String::new(), format!("subject={}", workspace.id), format!("actor={actor}")] {
        let seen: LedgerEvents = rival.get(&format!("/v1/orgs/rival/ledger?{query}")).await.unwrap();
        assert_eq!(seen.events, [], "{query}");
    }
}

/// The indexes of search under the policies: a page never sorts or reads the whole ledger.
// proves ORG-6
#[tokio::test]
async fn search_reads_its_indexes_at_any_size() {
    let server = TestServer::start().await;
    let mut owner = server.database_owner().await;
    sqlx::query(
        "INSERT INTO ledger_events (id, org_id, at, actor, verb, subject, cause, details) \
         SELECT gen_random_uuid(), org_id, now() - n * interval '1 second', 'user:' || n % 50, 'a' || n % 20 || '.b', 'ws_' || n % 50, '', '{}' \
         FROM orgs, generate_series(1, 20000) n WHERE slug = 'acme'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    sqlx::query("ANALYZE ledger_events").execute(&mut owner).await.unwrap();
    let org: uuid::Uuid =
        sqlx::query_scalar("SELECT org_id FROM orgs WHERE slug = 'acme'").fetch_one(&mut owner).await.unwrap();
    let mut app = server.database_app().await;
    sqlx::query("SELECT set_config('envforge.org', $1, false)").bind(org.to_string()).execute(&mut app).await.unwrap();
    for (condition, index) in [
        ("true", "ledger_events_time"),
        ("at >= now() - interval '1 minute'", "ledger_events_time"),
        ("actor = 'user:1'", "ledger_events_actor"),
        ("verb = 'a1.b' AND (at, id) < (now(), gen_random_uuid())", "ledger_events_verb"),
        ("area = 'a1'", "ledger_events_area"),
        ("subject = 'ws_1'", "ledger_events_subject_time"),
    ] {
        let statement = format!(
            "EXPLAIN SELECT * FROM ledger_events WHERE org_id = current_org() AND {condition} ORDER BY at DESC, id DESC LIMIT 101"
        );
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(&mut app).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(&format!("using {index} ")) && !plan.contains("Sort"), "{condition}:\n{plan}");
    }
}

// proves ORG-6
#[tokio::test]
async fn a_row_changed_in_the_database_is_found_and_a_restored_one_too() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    all_sealed(&server).await;
    let org = host.registered.org;
    let well = until_state(&server, org, "it is verified whole", |state| state.whole_at.is_some()).await;
    assert_eq!((well.broken, well.verified_position), (None, well.head.position));
    assert_eq!(well.checkpoint.unwrap().position, well.head.position);
    let mut owner = server.database_owner().await;
    let change = "UPDATE ledger_events SET actor = actor || $1 WHERE id = (SELECT event_id FROM ledger_seals WHERE org_id IS NOT NULL AND position = 2)";
    sqlx::query(change).bind("!").execute(&mut owner).await.unwrap();
    server.advance(3_600);
    let found = until_state(&server, org, "the change is found", |state| state.broken.is_some()).await.broken.unwrap();
    assert_eq!(found.position, 2);
    assert!(found.reason.contains("does not fit its event"), "{}", found.reason);
    let refused = verified(&export(&server.owner, LEDGER).await, Trust::Export).unwrap_err();
    assert_eq!(refused.line, 3, "an export of it verifies as little");
    sqlx::query("UPDATE ledger_events SET actor = rtrim(actor, '!')").execute(&mut owner).await.unwrap();
    until_state(&server, org, "it is whole again", |state| state.broken.is_none()).await;
}

/// What an owner of the database can do who knows how chains are made, but has no key.
async fn rewrite(server: &TestServer, owner: &mut PgConnection) {
    sqlx::query("UPDATE ledger_events SET cause = 'never' WHERE id = (SELECT event_id FROM ledger_seals WHERE org_id IS NOT NULL AND position = 2)")
        .execute(&mut *owner)
        .await
        .unwrap();
    let mut chain = Chain::genesis();
    let mut all = events(&server.owner, "limit=500").await.events;
    all.sort_by_key(|listed| listed.seal.unwrap().position);
    for listed in all {
        let seal = chain.append(&listed.event);
        sqlx::query("UPDATE ledger_seals SET hash = $1 WHERE org_id IS NOT NULL AND position = $2")
            .bind(seal.hash.to_string())
            .bind(seal.position as i64)
            .execute(&mut *owner)
            .await
            .unwrap();
    }
}

// proves ORG-6
#[tokio::test]
async fn a_chain_rewritten_with_fresh_hashes_is_found_by_its_checkpoints() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    all_sealed(&server).await;
    let org = host.registered.org;
    let mut owner = server.database_owner().await;
    rewrite(&server, &mut owner).await;
    let found = until_state(&server, org, "it is found", |state| state.broken.is_some()).await.broken.unwrap();
    assert!(found.reason.contains("rewritten"), "{}", found.reason);
    // Nor is what comes after it signed, which would make it look right.
    let before = state(&server).await.head;
    let link = json!({ "name": "another" });
    let _: Value = server.owner.post("/v1/orgs/acme/host-tokens", &link).await.unwrap();
    seal(server.server.app(), Some(org)).await.unwrap_err();
    assert_eq!(state(&server).await.head, before);
    sqlx::query("DELETE FROM ledger_checkpoints WHERE org_id IS NOT NULL").execute(&mut owner).await.unwrap();
    until_state(&server, org, "it is found without them too", |state| {
        state.broken.as_ref().is_some_and(|broken| broken.reason.contains("no signed checkpoint"))
    })
    .await;
    let refused = code(server.owner.get::<Value>(&format!("{LEDGER}/export")).await);
    assert_eq!(refused, "ledger.broken");
}

// proves ORG-6
#[tokio::test]
async fn a_chain_never_becomes_shorter_unnoticed() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    all_sealed(&server).await;
    let early = state(&server).await.head.position;
    session(&server, &mut host, &workspace).await;
    let org = host.registered.org;
    until_state(&server, org, "it is verified", |state| state.verified_position == state.head.position).await;
    let mut owner = server.database_owner().await;
    // Back to an earlier checkpoint, whose signature holds; and whoever does that forges the state as well.
    for statement in [
        "DELETE FROM ledger_seals WHERE org_id IS NOT NULL AND position > $1",
        "DELETE FROM ledger_checkpoints WHERE org_id IS NOT NULL AND position > $1",
        "DELETE FROM ledger_states WHERE org_id IS NOT NULL AND $1 > 0",
    ] {
        sqlx::query(statement).bind(early as i64).execute(&mut owner).await.unwrap();
    }
    let found = until_state(&server, org, "it is found", |state| state.broken.is_some()).await.broken.unwrap();
    assert!(found.position > early && found.reason.contains("cut off"), "{found:?}");
}

// proves ORG-6 COST-4
#[tokio::test]
async fn what_is_pruned_leaves_an_anchor_and_every_receipt() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    session(&server, &mut host, &workspace).await;
    let (app, org) = (server.server.app(), host.registered.org);
    let usage = async || server.owner.get::<WorkspaceUsage>("/v1/orgs/acme/workspaces/main/usage").await.unwrap();
    let receipts = usage().await.receipts;
    assert_eq!(receipts.len(), 1);
    wait_until("its receipt is written", async || server.events("receipt.final").await == 1).await;
    let old = until_state(&server, org, "it is verified", |state| state.verified_position == state.head.position).await;
    assert_eq!(prune(app, Some(org), 30).await.unwrap(), 0, "nothing is old");
    server.advance(86_400 * 31);
    host.reconnect().await;
    session(&server, &mut host, &workspace).await;
    until_state(&server, org, "it is verified", |state| state.verified_position == state.head.position).await;

    // Killed half-way as often as one likes, in two replicas at once, while more is sealed.
    for micros in [0, 500, 1_000, 2_000, 4_000] {
        let _ = tokio::time::timeout(Duration::from_micros(micros), prune(app, Some(org), 30)).await;
    }
    let (one, other, sealed) = tokio::join!(prune(app, Some(org), 30), prune(app, Some(org), 30), seal(app, Some(org)));
    one.unwrap();
    other.unwrap();
    sealed.unwrap();
    // A chain that somebody is at is left to them: one that was cut off may be, for a moment.
    wait_until("it is pruned", async || {
        prune(app, Some(org), 30).await.unwrap();
        state(&server).await.anchor.is_some()
    })
    .await;
    all_sealed(&server).await;

    let anchor = state(&server).await.anchor.unwrap();
    assert_eq!((anchor.position, anchor.kept), (old.head.position, 3));
    let proof = whole(&server, LEDGER).await;
    assert_eq!(proof.anchor.as_ref(), Some(&anchor));
    assert_eq!(proof.events, proof.head.position - anchor.position, "what is left is all there");
    assert_eq!(events(&server.owner, "verb=ledger.pruned").await.events.len(), 1);
    assert!(events(&server.owner, "verb=org.created").await.events.is_empty());
    let left = usage().await.receipts;
    assert_eq!(left.len(), 2);
    assert!(left.contains(&receipts[0]), "receipts are made from what is kept");

    server.advance(3_601);
    let whole_at = server.clock.now();
    until_state(&server, org, "it is whole", |state| state.whole_at == Some(whole_at) && state.broken.is_none()).await;
    let mut owner = server.database_owner().await;
    sqlx::query("UPDATE ledger_events SET details = details || '{\"size\": \"small\", \"forged\": 1}' WHERE verb = 'window.opened' AND seq = (SELECT min(seq) FROM ledger_events WHERE verb = 'window.opened')")
        .execute(&mut owner)
        .await
        .unwrap();
    server.advance(3_601);
    let found = until_state(&server, org, "a changed receipt is found", |state| state.broken.is_some()).await;
    assert!(found.broken.unwrap().reason.contains("meter's events"));
    assert!(verified(&export(&server.owner, LEDGER).await, Trust::Export).is_err());
}

// proves ORG-6
#[tokio::test]
async fn the_database_itself_prunes_nothing_young_unsigned_or_of_others() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    all_sealed(&server).await;
    let head = state(&server).await.head;
    let mut app = server.database_app().await;
    let org = envforge_core::id::Id::uuid(host.registered.org);
    sqlx::query("SELECT set_config('envforge.org', $1, false)").bind(org.to_string()).execute(&mut app).await.unwrap();
    let mut prune = async |position: u64| {
        let pruned = sqlx::query("SELECT system_prune_ledger($1)").bind(position as i64).execute(&mut app).await;
        pruned.unwrap_err().to_string()
    };
    assert!(prune(1).await.contains("no checkpoint and anchor"));
    let mut owner = server.database_owner().await;
    let anchor = "INSERT INTO ledger_anchors (org_id, position, hash, before, kept, kept_hash, key, signature) \
                  SELECT org_id, position, hash, BEFORE, 0, hash, '', '' FROM ledger_checkpoints WHERE org_id IS NOT NULL";
    let set = async |owner: &mut PgConnection, before: &'static str| {
        sqlx::query("DELETE FROM ledger_anchors").execute(&mut *owner).await.unwrap();
        let anchor = anchor.replace("BEFORE", before);
        sqlx::query(sqlx::AssertSqlSafe(anchor)).execute(owner).await.unwrap();
    };
    set(&mut owner, "now()").await;
    assert!(prune(head.position).await.contains("younger than 30 days"));
    set(&mut owner, "now() - interval '31 days'").await;
    assert!(prune(head.position).await.contains("the head of a chain"));
    set(&mut owner, "'2001-01-01'").await;
    let _: Value = server.owner.post("/v1/orgs/acme/host-tokens", &json!({ "name": "another" })).await.unwrap();
    all_sealed(&server).await;
    assert!(prune(head.position).await.contains("younger than its anchor"));
    let mut stranger = server.database_app().await;
    let pruned = sqlx::query("SELECT system_prune_ledger($1)").bind(head.position as i64).execute(&mut stranger).await;
    assert!(pruned.unwrap_err().to_string().contains("no checkpoint and anchor"), "of the installation's chain");
}

// proves ORG-6
#[tokio::test]
async fn a_denied_action_is_recorded_once_a_minute_with_a_count() {
    let server = TestServer::start().await;
    let reviewer = server.member("acme", Role::Reviewer).await;
    let denied = async || {
        let refused = reviewer.post::<_, Value>("/v1/orgs/acme/host-tokens", &json!({ "name": "mine" })).await;
        assert_eq!(code(refused), "access.denied");
    };
    let recorded = async || events(&server.owner, "verb=access.denied").await.events;
    denied().await;
    wait_until("it is recorded", async || recorded().await.len() == 1).await;
    for _ in 0..5 {
        denied().await;
    }
    server.advance(61);
    denied().await;
    wait_until("the others are", async || recorded().await.len() == 2).await;
    let counts: Vec<Value> = recorded().await.iter().map(|listed| listed.event.details["count"].clone()).collect();
    assert_eq!(counts, [json!(6), json!(1)], "newest first");
    let event = &recorded().await[0].event;
    assert!(event.actor.starts_with("user:user_") && event.cause == "as reviewer: host.manage", "{event:?}");
    denied().await;
    envforge_server::ledger::ops::write_refusals(server.server.app(), true).await;
    assert_eq!(recorded().await.len(), 3, "a server that stops has a last word");
    let installation = reviewer.get::<Value>("/v1/installation/ledger/state").await;
    assert_eq!(code(installation), "access.operator_only");
    let mut owner = server.database_owner().await;
    wait_until("that is the installation's", async || {
        count(&mut owner, "SELECT count(*) FROM ledger_events WHERE org_id IS NULL AND verb = 'access.denied'").await
            == 1
    })
    .await;
}

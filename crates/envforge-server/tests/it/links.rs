//! Signed links at the server: issue, exchange, wake within budgets, revoke.

use crate::support::{FakeHost, TestServer, code, report, unknown};
use envforge_api::gateway::{ACTIVITY_PATH, ROUTES_PATH, Route, UnverifiedCount, WAKE_PATH, WakeAnswer, WakeRequest};
use envforge_api::host::Pulse;
use envforge_api::http::links::{CreatedLink, Links, Visits};
use envforge_api::http::workspaces::Workspace;
use envforge_core::id::{GatewayId, LinkId, LinkSessionId};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_server::gateways::jobs::{Unverified, summarize};
use envforge_testkit::wait_until;
use serde_json::{Value, json};

const LINKS: &str = "/v1/orgs/acme/workspaces/main/links";
const LABEL: &str = "web--main--acme";

// proves LINK-7
#[tokio::test]
async fn a_link_waits_until_its_service_is_known_good() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let early = server.owner.post::<_, Value>(LINKS, &json!({ "service": "web" })).await;
    assert_eq!(code(early), "link.service_not_ready");
    assert_eq!(code(server.owner.post::<_, Value>(LINKS, &json!({ "service": "nope" })).await), "service.not_found");
    let start = server.awake(&mut host, &workspace).await;
    let awake: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web" })).await.unwrap();
    assert!(awake.url.starts_with("http://web--main--acme.localhost:7081/share/efl1."), "{}", awake.url);
    let _: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({ "tier": "stopped" })).await.unwrap();
    let stop = host.command("STOP_RUNTIME").await;
    host.done(&stop).await;
    host.report(report(workspace.id, start.generation + 1, ObservedPhase::Absent, false, ReadinessState::Asleep)).await;
    let asleep: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web" })).await.unwrap();
    assert_eq!(asleep.link.service, "web");
}

// proves LINK-2
#[tokio::test]
async fn exchange_checks_host_budget_expiry_and_revocation() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server
        .owner
        .post(LINKS, &json!({ "service": "web", "visit_budget": 2, "expires_in_minutes": 5 }))
        .await
        .unwrap();
    assert_eq!(server.exchange("api--main--acme", &link.token).await.unwrap_err().code, "link.wrong_host");
    assert_eq!(server.exchange(LABEL, "efl1.x.y").await.unwrap_err().code, "link.invalid");
    server.exchange(LABEL, &link.token).await.unwrap();
    server.exchange(LABEL, &link.token).await.unwrap();
    assert_eq!(server.exchange(LABEL, &link.token).await.unwrap_err().code, "link.visits_spent");
    let other: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web" })).await.unwrap();
    let _: Value = server.owner.delete(&format!("/v1/orgs/acme/links/{}", other.link.id)).await.unwrap();
    let _: Value = server.owner.delete(&format!("/v1/orgs/acme/links/{}", other.link.id)).await.unwrap();
    assert_eq!(server.exchange(LABEL, &other.token).await.unwrap_err().code, "link.revoked");
    assert_eq!(server.events("link.revoked").await, 1, "revoking twice is one event");
    server.advance(301);
    assert_eq!(
        server.exchange(LABEL, &link.token).await.unwrap_err().code,
        "link.invalid",
        "expired tokens don't verify"
    );
}

// proves LINK-4
#[tokio::test]
async fn a_session_wakes_within_its_links_budget() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web", "wake_budget": 1 })).await.unwrap();
    let session = server.exchange(LABEL, &link.token).await.unwrap().session;
    let request =
        WakeRequest { session: session.clone(), session_id: unknown::<LinkSessionId>(), path: "/".to_owned() };
    let sleep = async |host: &mut crate::support::FakeHost, generation| {
        let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
        let freeze = host.command("FREEZE_RUNTIME").await;
        host.done(&freeze).await;
        host.report(report(workspace.id, generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    };
    sleep(&mut host, start.generation + 1).await;
    let woken: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
    assert_eq!(woken.runtime.state, RuntimeState::Waking);
    let thaw = host.command("START_RUNTIME").await;
    host.done(&thaw).await;
    host.up(&thaw).await;
    sleep(&mut host, thaw.generation + 1).await;
    let spent = server.gateway().post::<_, Value>(WAKE_PATH, &request).await;
    assert_eq!(code(spent), "link.wakes_spent");
    let forged = WakeRequest { session: session.replace("efs1.", "efs1.A"), ..request };
    assert_eq!(code(server.gateway().post::<_, Value>(WAKE_PATH, &forged).await), "session.invalid");
}

// proves LINK-3 LINK-1
#[tokio::test]
async fn a_label_leads_to_the_application_and_a_direct_host_to_its_service() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let route: Route = server.gateway().get(&format!("{ROUTES_PATH}/{LABEL}")).await.unwrap();
    let rules: Vec<_> = route.rules.iter().map(|rule| (rule.prefix.as_str(), rule.service.as_str())).collect();
    assert_eq!(rules, [("/api", "api"), ("/", "web")]);
    let direct: Route = server.gateway().get(&format!("{ROUTES_PATH}/api--main--acme")).await.unwrap();
    let rules: Vec<_> = direct.rules.iter().map(|rule| (rule.prefix.as_str(), rule.service.as_str())).collect();
    assert_eq!(rules, [("/", "api")]);
    assert_eq!(code(server.gateway().get::<Value>(&format!("{ROUTES_PATH}/web--other--acme")).await), "label.unknown");
}

// proves LINK-4 ORG-6
#[tokio::test]
async fn unverified_traffic_is_summed_up_also_when_the_server_stops() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let count = |label: &str, count: u64| json!({ "label": label, "reason": "no_session", "count": count });
    let counts = [count(LABEL, 2), count("made--up--acme", 3), count("other--up--acme", 4), count(LABEL, 5)];
    let _: Value = server
        .gateway()
        .post(ACTIVITY_PATH, &json!({ "gateway": unknown::<GatewayId>(), "workspaces": [], "unverified": counts }))
        .await
        .unwrap();
    server.server.app().cancel.cancel();
    wait_until("the summaries are written", async || server.events("traffic.unverified").await == 2).await;
    let mut owner = server.database_owner().await;
    let told: Vec<(String, Value)> = sqlx::query_as(
        "SELECT subject, details FROM ledger_events WHERE verb = 'traffic.unverified' ORDER BY subject = 'unknown'",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let known = json!({ "label": LABEL, "reason": "no_session", "count": 7 });
    let unknown = json!({ "label": "", "reason": "no_session", "count": 7 });
    assert_eq!(told, [(workspace.id.to_string(), known), ("unknown".to_owned(), unknown)]);
}

// proves ORG-6
#[tokio::test]
async fn a_summary_that_could_not_be_written_is_written_later() {
    let server = TestServer::start().await;
    let mut owner = server.database_owner().await;
    let unverified = Unverified::default();
    let count = UnverifiedCount { label: LABEL.to_owned(), reason: "forged".to_owned(), count: 3 };
    unverified.add(std::slice::from_ref(&count));
    sqlx::query("REVOKE INSERT ON ledger_events FROM envforge_app").execute(&mut owner).await.unwrap();
    summarize(server.server.app(), &unverified).await;
    assert_eq!(server.events("traffic.unverified").await, 0);
    sqlx::query("GRANT INSERT ON ledger_events TO envforge_app").execute(&mut owner).await.unwrap();
    summarize(server.server.app(), &unverified).await;
    assert_eq!(server.events("traffic.unverified").await, 1);
    summarize(server.server.app(), &unverified).await;
    assert_eq!(server.events("traffic.unverified").await, 1, "and once only");
}

// proves LINK-2 COST-1
#[tokio::test]
async fn a_links_awake_minutes_run_out() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web", "minute_budget": 2 })).await.unwrap();
    let session = server.exchange(LABEL, &link.token).await.unwrap().session;
    let request = WakeRequest { session, session_id: unknown::<LinkSessionId>(), path: "/".to_owned() };
    let frozen = async |host: &mut FakeHost| {
        let freeze = host.command("FREEZE_RUNTIME").await;
        host.done(&freeze).await;
        host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    };
    let sleep = async |host: &mut FakeHost| {
        let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
        frozen(host).await;
    };
    let visit = async |host: &mut FakeHost| {
        let _: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
        let start = host.command("START_RUNTIME").await;
        host.done(&start).await;
        host.up(&start).await;
    };
    let minutes = async || {
        let links: Links = server.owner.get(LINKS).await.unwrap();
        (links.links[0].minutes, links.links[0].minute_budget)
    };
    sleep(&mut host).await;
    // A minute of the two, by a window that is closed.
    visit(&mut host).await;
    server.advance(15);
    sleep(&mut host).await;
    assert_eq!(minutes().await, (1, 2));
    // The rest in a window that is open: when it is over, the runtime sleeps although its visitor is still there. Time goes
    // in steps, or the host would count as lost.
    visit(&mut host).await;
    for _ in 0..7 {
        server.advance(15);
        host.pulse(pulse(&workspace)).await;
    }
    frozen(&mut host).await;
    assert_eq!(code(server.gateway().post::<_, Value>(WAKE_PATH, &request).await), "link.minutes_spent");
    assert_eq!(minutes().await, (2, 2));
    // What a member wakes is not the link's to pay, also when its visitor woke it first.
    server.awake(&mut host, &workspace).await;
    server.advance(15);
    sleep(&mut host).await;
    assert_eq!(minutes().await, (2, 2));
}

#[tokio::test]
async fn odd_routes_and_budgets_are_refused() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let create = async |body: Value| server.owner.post::<_, CreatedLink>(LINKS, &body).await;
    for route in ["docs", "//evil.example", "/a/../b", "/a?b", "/a%2fb", "/a b", ""] {
        let refused = create(json!({ "service": "web", "routes": [route] })).await;
        assert_eq!(code(refused), "link.routes", "{route}");
    }
    for budget in [0, 43_201] {
        assert_eq!(code(create(json!({ "service": "web", "minute_budget": budget })).await), "link.budget");
    }
    let link = create(json!({ "service": "web", "routes": ["/docs", "/api/"] })).await.unwrap();
    assert_eq!(link.link.routes, ["/docs", "/api/"]);
    assert_eq!((link.link.minutes, link.link.minute_budget), (0, 240), "a limit is there unless another is asked for");
}

fn pulse(workspace: &Workspace) -> Pulse {
    Pulse {
        workspace: workspace.id,
        generation: 0,
        process_runs: true,
        service_milli_cpu: 0,
        memory: 0,
        jobs_running: 0,
        work: None,
    }
}

// proves LINK-8
#[tokio::test]
async fn the_visit_log_says_who_came_what_that_woke_and_what_it_cost() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let start = server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server.owner.post(LINKS, &json!({ "service": "web" })).await.unwrap();
    let visits = format!("/v1/orgs/acme/links/{}/visits", link.link.id);
    let read = async |query: &str| server.owner.get::<Visits>(&format!("{visits}{query}")).await;
    assert_eq!(read("").await.unwrap().visits, []);
    server.advance(1);
    server.exchange(LABEL, &link.token).await.unwrap();
    server.advance(1);
    let session = server.exchange(LABEL, &link.token).await.unwrap().session;
    let sleep = async |host: &mut FakeHost, generation| {
        let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
        let freeze = host.command("FREEZE_RUNTIME").await;
        host.done(&freeze).await;
        host.report(report(workspace.id, generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    };
    let wake = async |host: &mut FakeHost, session: &str| {
        let request = WakeRequest { session: session.to_owned(), session_id: unknown(), path: "/".to_owned() };
        let _: WakeAnswer = server.gateway().post(WAKE_PATH, &request).await.unwrap();
        let thaw = host.command("START_RUNTIME").await;
        host.done(&thaw).await;
        host.up(&thaw).await;
        thaw.generation
    };
    sleep(&mut host, start.generation + 1).await;
    let generation = wake(&mut host, &session).await;
    server.advance(30);
    sleep(&mut host, generation + 1).await;
    server.advance(100);
    let generation = wake(&mut host, &session).await;
    server.advance(20);
    // From here on it is the member's.
    let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    assert_eq!(server.events("runtime.taken_over").await, 1);
    server.advance(500);
    sleep(&mut host, generation + 1).await;
    server.awake(&mut host, &workspace).await;

    let page = read("").await.unwrap();
    let woken: Vec<_> = page
        .visits
        .iter()
        .map(|visit| (visit.windows.iter().map(|window| window.awake_seconds).collect::<Vec<_>>(), visit.awake_seconds))
        .collect();
    assert_eq!((woken, page.next), (vec![(vec![30, 20], 50), (vec![], 0)], None), "the newest first");
    // Small costs 3.6 an hour.
    assert_eq!((page.visits[0].cost_micros, page.currency.as_str()), (50_000, "EUR"));
    assert_eq!(page.visits[1].user_agent.as_deref(), Some("test"));
    let shown: Links = server.owner.get(LINKS).await.unwrap();
    assert_eq!((shown.links[0].visits, shown.links[0].minutes), (2, 1), "as its budgets say");

    let first = read("?limit=1").await.unwrap();
    assert_eq!((first.visits.len(), first.next), (1, Some(page.visits[0].session)));
    let rest = read(&format!("?limit=1&before={}", page.visits[0].session)).await.unwrap();
    assert_eq!((rest.visits, rest.next), (vec![page.visits[1].clone()], None));
    assert_eq!(code(read("?limit=0").await), "visit.limit");
    assert_eq!(code(read("?before=ls_x").await), "request.query");
    let none = server.owner.get::<Visits>(&format!("/v1/orgs/acme/links/{}/visits", unknown::<LinkId>())).await;
    assert_eq!(code(none), "link.not_found");
}

//! Longest prefixes, and what wins when feed and answers cross.

use super::*;
use envforge_api::gateway::RouteRule;
use envforge_core::id::Id as _;
use envforge_core::runtime::RuntimeState;
use std::collections::BTreeSet;

fn id(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(uuid::Uuid::from_u128(n))
}

fn runtime(state: RuntimeState, generation: u64) -> RouteRuntime {
    RouteRuntime { state, generation, blocked_cause: None, blocked_fix: None, parts: Vec::new() }
}

fn route(prefixes: &[(&str, &str)], runtime: RouteRuntime) -> Route {
    Route {
        label: "web--a--b".to_owned(),
        org: OrgId::from_uuid(uuid::Uuid::from_u128(1)),
        workspace: id(1),
        workspace_slug: "a".to_owned(),
        service: "web".to_owned(),
        rules: prefixes
            .iter()
            .map(|(prefix, service)| RouteRule {
                prefix: (*prefix).to_owned(),
                service: (*service).to_owned(),
                ticket: "t".to_owned(),
                ticket_expires_at: Timestamp::from_second(100).expect("in range"),
                protocol: Protocol::Http,
                rewrite: BTreeSet::new(),
                port: None,
            })
            .collect(),
        host: HostId::from_uuid(uuid::Uuid::from_u128(1)),
        runtime,
    }
}

fn state(workspace: &Workspace) -> Option<(RuntimeState, u64)> {
    match workspace.status() {
        Status::Known(runtime) => Some((runtime.state, runtime.generation)),
        _ => None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

// proves LINK-3
#[tokio::test]
async fn the_longest_prefix_of_whole_segments_wins() {
    let routes = Routes::new(8, 8, 1);
    let rules = [("/", "web"), ("/api", "api"), ("/api/files/", "files")];
    let found = routes.learn_route(route(&rules, runtime(RuntimeState::Awake, 1)), 0);
    let service = |path: &str| found.rule(path).map(|rule| found.rule_at(rule).service.as_str());
    for (path, wanted) in [
        ("/", "web"),
        ("/apiary", "web"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/api/files", "files"),
        ("/api/files/1", "files"),
        ("/api/filesystem", "api"),
        ("//api", "web"),
    ] {
        assert_eq!(service(path), Some(wanted), "{path}");
    }
    let narrow = routes.learn_route(route(&[("/api", "api")], runtime(RuntimeState::Awake, 1)), 0);
    assert!(narrow.rule("/").is_none());
}

#[tokio::test]
async fn an_item_that_came_in_since_the_question_wins_over_the_answer() {
    let routes = Routes::new(8, 8, 1);
    let asked_at = routes.epoch();
    routes.apply(id(1), Some(runtime(RuntimeState::Awake, 5)));
    let found = routes.learn_route(route(&[("/", "web")], runtime(RuntimeState::Waking, 5)), asked_at);
    assert_eq!(state(&found.workspace), Some((RuntimeState::Awake, 5)));
    assert!(found.is_stale(), "its rules may be older than the item");
    assert!(routes.find("web--a--b", at(1)).is_none());

    routes.learn_runtime(&found.workspace, runtime(RuntimeState::Waking, 6), asked_at);
    assert_eq!(state(&found.workspace), Some((RuntimeState::Waking, 6)), "a higher generation is newer still");
}

#[tokio::test]
async fn items_make_labels_stale_and_a_lost_feed_makes_everything_unknown() {
    let routes = Routes::new(8, 8, 1);
    let ask = || routes.learn_route(route(&[("/", "web")], runtime(RuntimeState::Awake, 5)), routes.epoch());
    let first = ask();
    assert!(routes.find("web--a--b", at(1)).is_some());
    assert!(routes.find("web--a--b", at(91)).is_none(), "a ticket with less than ten seconds left is not used");
    routes.apply(id(1), Some(runtime(RuntimeState::Frozen, 6)));
    assert_eq!(state(&first.workspace), Some((RuntimeState::Frozen, 6)));
    assert!(routes.find("web--a--b", at(1)).is_none());
    ask();
    assert!(routes.find("web--a--b", at(1)).is_some());
    routes.forget();
    assert!(routes.find("web--a--b", at(1)).is_none());
    assert_eq!(state(&first.workspace), None);
    routes.apply(id(1), None);
    assert!(matches!(first.workspace.status(), Status::Deleted));
}

#[tokio::test]
async fn missing_labels_are_remembered_for_a_moment() {
    tokio::time::pause();
    let routes = Routes::new(8, 8, 1);
    routes.set_missing("web--a--b");
    assert!(routes.is_missing("web--a--b"));
    tokio::time::advance(NEGATIVE).await;
    assert!(!routes.is_missing("web--a--b"));
}

#[tokio::test]
async fn what_nobody_uses_goes() {
    let routes = Routes::new(8, 8, 1);
    drop(routes.learn_route(route(&[("/", "web")], runtime(RuntimeState::Awake, 5)), 0));
    routes.sweep(at(1), Duration::from_secs(1));
    assert_eq!(routes.workspaces().len(), 1);
    routes.sweep(at(95), Duration::from_secs(1));
    assert!(routes.workspaces().is_empty());
}

//! Which service answers, and when the server is asked about it.

use crate::support::{LABEL, World, awake, awake_again, id, until};
use envforge_api::gateway::FeedItem;
use futures_util::future::join_all;
use jiff::SignedDuration;

// proves LINK-3
#[tokio::test]
async fn paths_go_to_their_services() {
    let world = World::awake().await;
    for (path, service) in
        [("/", "web"), ("/api", "api"), ("/api/users?x=/", "api"), ("/apiary", "web"), ("/assets/app.js", "web")]
    {
        assert_eq!(world.visit(path).await.body, format!("{service}:GET:{path}:"));
    }
    assert_eq!(world.server.calls().len(), 1, "the route is asked for once");
    let at_api: Vec<String> = world.api.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(at_api, ["/api", "/api/users?x=/"]);
}

// proves LINK-4
#[tokio::test]
async fn many_who_ask_for_a_label_cause_one_question() {
    let world = World::awake().await;
    let paths: Vec<String> = (0..30).map(|n| format!("/{n}")).collect();
    let answers = join_all(paths.iter().map(|path| world.visit(path))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.server.calls().len(), 1);
}

// proves LINK-3
#[tokio::test]
async fn changed_rules_count_from_the_next_request_on() {
    let world = World::awake().await;
    assert_eq!(world.visit("/docs").await.body, "web:GET:/docs:");
    let mut route = world.route(awake_again(2));
    route.rules[1].prefix = "/docs".to_owned();
    world.server.set_route(route);
    world.server.feed(&FeedItem::Workspace { workspace: id(1), runtime: Some(awake_again(2)) });
    let mut answer = world.visit("/docs").await;
    for _ in 0..1000 {
        if answer.body.starts_with("api") {
            break;
        }
        answer = world.visit("/docs").await;
    }
    assert_eq!(answer.body, "api:GET:/docs:");
}

#[tokio::test]
async fn tickets_are_renewed_before_they_end() {
    let world = World::awake().await;
    assert_eq!(world.visit("/").await.status, 200);
    world.clock.advance(SignedDuration::from_secs(280));
    assert_eq!(world.visit("/").await.status, 200);
    assert_eq!(world.server.calls().len(), 1);
    world.clock.advance(SignedDuration::from_secs(11));
    world.server.set_route(world.route(awake()));
    assert_eq!(world.visit("/").await.status, 200);
    assert_eq!(world.server.calls().len(), 2, "nine seconds are too few");
}

// proves LINK-1
#[tokio::test]
async fn a_label_that_leads_nowhere_is_asked_about_once() {
    let world = World::awake().await;
    world.server.drop_route(LABEL);
    for _ in 0..5 {
        assert_eq!(world.visit("/").await.status, 404);
    }
    assert_eq!(world.server.calls().len(), 1);
}

// proves LINK-1
#[tokio::test]
async fn a_deleted_workspace_is_gone_at_once() {
    let world = World::awake().await;
    assert_eq!(world.visit("/").await.status, 200);
    world.server.drop_route(LABEL);
    world.server.feed(&FeedItem::Workspace { workspace: id(1), runtime: None });
    let cookie = world.cookie(1);
    world.until_refused(&[("cookie", &cookie)]).await;
    assert_eq!(world.visit("/").await.status, 404);
}

// proves LINK-1
#[tokio::test]
async fn a_label_given_to_somebody_else_does_not_take_the_session_along() {
    let world = World::awake().await;
    let mut route = world.route(awake());
    route.workspace = id(2);
    world.server.set_route(route);
    assert_eq!(world.visit("/").await.status, 401);
    until("it is counted", || world.server.unverified(LABEL, "wrong_host") == 1).await;
    assert!(world.web.seen().is_empty());
}

#[tokio::test]
async fn a_path_without_a_service_is_nobodys() {
    let world = World::awake().await;
    let mut route = world.route(awake());
    route.rules.remove(0);
    world.server.set_route(route);
    assert_eq!(world.visit("/").await.status, 404);
    assert_eq!(world.visit("/api").await.status, 200);
}

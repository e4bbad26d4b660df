//! Creating, waking, sleeping, deleting; one wake for many.

use crate::support::{FakeHost, TestServer, code, report};
use envforge_api::host::{ManifestReport, Order, Outcome, Trouble};
use envforge_api::http::accounts::{HostState, Hosts};
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::id::Id as _;
use envforge_core::readiness::{PartKind, ReadinessState};
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_testkit::wait_until;
use serde_json::{Value, json};

// proves UP-5 (the server's part)
#[tokio::test]
async fn asking_twice_for_a_branch_is_one_workspace_and_one_command() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let first = server.workspace(&mut host).await;
    let request = json!({ "project": "planner", "branch": "main" });
    let second: Workspace = server.owner.post("/v1/orgs/acme/workspaces", &request).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(second.shell.state, ReadinessState::Ready);
    assert_eq!(host.pending(), 0);
    let hosts: Vec<_> = second.dev_hosts.iter().map(|host| host.url.as_str()).collect();
    assert_eq!(hosts, ["http://api--main--acme.localhost:7081", "http://web--main--acme.localhost:7081"]);
}

// proves UP-5 (the server's part)
#[tokio::test]
async fn a_branch_is_found_whatever_its_workspace_is_called() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let first = server.workspace(&mut host).await;
    let create = async |body: Value| server.owner.post::<_, Workspace>("/v1/orgs/acme/workspaces", &body).await;
    let named = json!({ "project": "planner", "branch": "feature/x", "slug": "mine" });
    let named = create(named).await.unwrap();
    let found = create(json!({ "project": "planner", "branch": "feature/x" })).await.unwrap();
    assert_eq!((found.id, found.slug.as_str()), (named.id, "mine"));
    let renamed = create(json!({ "project": "planner", "branch": "feature/x", "slug": "other" })).await;
    assert_eq!(code(renamed), "workspace.branch_taken");
    let taken = create(json!({ "project": "planner", "branch": "fix", "slug": first.slug })).await;
    assert_eq!(code(taken), "workspace.name_taken");
}

// proves UP-5 (the server's part)
#[tokio::test]
async fn asking_at_once_for_the_same_is_one_project_and_one_workspace() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let project = json!({ "slug": "planner", "repository": "https://example.org/planner.git" });
    let asked = (0..8).map(|_| server.owner.post::<_, Value>("/v1/orgs/acme/projects", &project));
    let projects: Vec<_> = futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert!(projects.iter().all(|made| made["id"] == projects[0]["id"]));
    let request = json!({ "project": "planner", "branch": "main" });
    let asked = (0..8).map(|_| server.owner.post::<_, Workspace>("/v1/orgs/acme/workspaces", &request));
    let made: Vec<_> = futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|workspace| workspace.id == made[0].id));
    host.command("PREPARE_SHELL").await;
    assert_eq!((host.pending(), server.events("workspace.created").await), (0, 1));
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong_and_change_nothing() {
    let server = TestServer::start().await;
    let workspaces = "/v1/orgs/acme/workspaces";
    let post = async |path: &str, body: Value| code(server.owner.post::<_, Value>(path, &body).await);
    assert_eq!(post(workspaces, json!({ "project": "none", "branch": "main" })).await, "project.not_found");
    assert_eq!(post(workspaces, json!({ "project": "none", "branch": "a..b" })).await, "workspace.branch");
    assert_eq!(post(workspaces, json!({ "project": "none", "branch": "-x" })).await, "workspace.branch");
    assert_eq!(post(workspaces, json!({ "project": "A B", "branch": "main" })).await, "request.body");
    assert_eq!(post(workspaces, json!({ "project": "p", "branch": "main", "colour": 1 })).await, "request.body");
    let project = |repository: &str| json!({ "slug": "p", "repository": repository });
    for bad in ["", "file:///etc", "ext::sh -c id", "https://u:p@example.org/x", "/srv/../etc", "--upload-pack=x"] {
        assert_eq!(post("/v1/orgs/acme/projects", project(bad)).await, "project.repository", "{bad}");
    }
    let missing = server.owner.get::<Value>("/v1/orgs/acme/workspaces/none").await;
    assert_eq!(code(missing), "workspace.not_found");
    assert_eq!(server.events("workspace.created").await, 0);
}

// proves RUN-3 LINK-4
#[tokio::test]
async fn fifty_wakes_at_once_are_one_command() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let body = json!({});
    let wakes = (0..50).map(|_| server.owner.post::<_, Workspace>("/v1/orgs/acme/workspaces/main/wake", &body));
    for answer in futures_util::future::join_all(wakes).await {
        assert_eq!(answer.unwrap().runtime.generation, 1);
    }
    let command = host.command("START_RUNTIME").await;
    host.done(&command).await;
    host.up(&command).await;
    assert_eq!(host.pending(), 0);
    assert_eq!(server.events("runtime.wake_asked").await, 1);
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Awake);
}

// proves RUN-1
#[tokio::test]
async fn a_runtime_that_cant_start_is_blocked_with_cause_and_fix() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    let command = host.command("START_RUNTIME").await;
    let trouble = Trouble {
        code: "host.disk_full".to_owned(),
        cause: "the disk is full".to_owned(),
        fix: "free some space".to_owned(),
    };
    host.answer(&command, Outcome::Failed(trouble)).await;
    wait_until("the runtime is blocked", async || server.show("main").await.runtime.state == RuntimeState::Blocked)
        .await;
    let view = server.show("main").await.runtime;
    assert_eq!(
        (view.blocked_code.as_deref(), view.blocked_fix.as_deref()),
        (Some("host.disk_full"), Some("free some space"))
    );
    let again: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    assert_eq!(again.runtime.generation, 2, "a blocked runtime can be woken again");
}

// proves RUN-3
#[tokio::test]
async fn a_host_that_is_away_for_a_moment_wakes_what_was_asked_meanwhile_a_lost_one_nothing() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let registered = host.registered.clone();
    drop(host);
    let gone = async || {
        let hosts: Hosts = server.owner.get("/v1/orgs/acme/hosts").await.unwrap();
        hosts.hosts[0].state == HostState::Lost
    };
    wait_until("the host is seen to be gone", gone).await;
    server.advance(21);
    let wake = server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/wake", &json!({})).await;
    assert_eq!(code(wake), "host.lost");
    assert_eq!(server.show("main").await.runtime.state, RuntimeState::Asleep, "a refused wake changes nothing");

    drop(FakeHost::connect(server.path("server.sock"), registered.clone()).await);
    wait_until("the host is seen to be gone again", gone).await;
    let asked: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/wake", &json!({})).await.unwrap();
    assert_eq!(asked.runtime.state, RuntimeState::Waking);
    FakeHost::connect(server.path("server.sock"), registered).await.command("START_RUNTIME").await;
}

// proves REPO-3
#[tokio::test]
async fn a_broken_manifest_keeps_the_last_good_one_and_says_why() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let mut broken = report(workspace.id, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
    broken.manifest =
        Some(ManifestReport::Broken { diagnostics: vec!["envforge.yml:3:5: unknown key `comand`".to_owned()] });
    host.report(broken).await;
    let view = server.show("main").await;
    assert_eq!(view.dev_hosts.len(), 2, "the last good manifest stays in force");
    assert_eq!(view.diagnostics, ["envforge.yml:3:5: unknown key `comand`"]);
    host.prepared(workspace.id).await;
    assert!(server.show("main").await.diagnostics.is_empty(), "a good one ends them");
}

// proves UP-7
#[tokio::test]
async fn a_workspace_lives_until_it_is_deleted_and_its_name_is_free_again() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let first = server.workspace(&mut host).await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    let command = host.command("DESTROY_WORKSPACE").await;
    assert_eq!(command.generation, 1);
    let wake = server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/wake", &json!({})).await;
    assert_eq!(code(wake), "workspace.deleting");
    host.done(&command).await;
    wait_until("it is gone", async || server.owner.get::<Value>("/v1/orgs/acme/workspaces/main").await.is_err()).await;
    let second = server.workspace(&mut host).await;
    assert_ne!(first.id, second.id);
    assert_eq!(
        server.show("main").await.dev_hosts.len(),
        2,
        "the labels of the same org's deleted workspace are taken over"
    );
}

// proves UP-7
#[tokio::test]
async fn what_a_host_could_not_destroy_is_ordered_again_and_shown() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    let first = host.command("DESTROY_WORKSPACE").await;
    host.answer(&first, Outcome::Failed(trouble("workspace.not_destroyed"))).await;
    wait_until("the cause is shown", async || {
        server.show("main").await.shell.code.as_deref() == Some("workspace.not_destroyed")
    })
    .await;
    assert_eq!(host.pending(), 0, "not at once");
    server.advance(6);
    let again = host.command("DESTROY_WORKSPACE").await;
    assert_eq!((again.workspace, again.generation), (workspace.id, first.generation));
    assert_ne!(again.id, first.id, "a host answers the same order the same for ever");
    host.done(&again).await;
    wait_until("it is gone", async || server.owner.get::<Value>("/v1/orgs/acme/workspaces/main").await.is_err()).await;
}

// proves RUN-4 COST-1
#[tokio::test]
async fn what_can_not_be_frozen_is_stopped_instead() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.answer(&freeze, Outcome::Failed(trouble("runtime.not_frozen"))).await;
    server.answered(&freeze).await;
    server.advance(6);
    let stop = host.command("STOP_RUNTIME").await;
    assert_eq!(stop.generation, freeze.generation + 1);
    host.answer(&stop, Outcome::Failed(trouble("runtime.not_stopped"))).await;
    server.answered(&stop).await;
    server.advance(6);
    let again = host.command("STOP_RUNTIME").await;
    assert_eq!(again.generation, stop.generation);
    host.done(&again).await;
}

fn trouble(code: &str) -> Trouble {
    Trouble { code: code.to_owned(), cause: "it is busy".to_owned(), fix: "wait".to_owned() }
}

// proves UP-2
#[tokio::test]
async fn readiness_streams_as_it_changes() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let mut stream = server.owner.stream("/v1/orgs/acme/workspaces/main/events").await.unwrap();
    let mut text = String::new();
    let mut until = async |what: &str| {
        while !text.contains(what) {
            let chunk = tokio::time::timeout(std::time::Duration::from_secs(5), stream.chunk())
                .await
                .expect(what)
                .unwrap()
                .expect(what);
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    until(r#""state":"asleep""#).await;
    // One change at a time: what follows quickly is told as one.
    let path = format!("/v1/orgs/acme/workspaces/{}/wake", workspace.slug);
    let _: Workspace = server.owner.post(&path, &json!({})).await.unwrap();
    until(r#""state":"waking""#).await;
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    host.up(&start).await;
    until(r#""state":"awake""#).await;
}

// proves RUN-3
#[tokio::test]
async fn a_run_wakes_and_returns_its_exit_code() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let run: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/runs", &json!({ "argv": ["npm", "test"] })).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    let command = host.command("RUN_JOB").await;
    assert_eq!(command.generation, start.generation);
    let Order::RunJob(job) = &command.order else { panic!("a job") };
    host.done(&start).await;
    host.done(&command).await;
    let mut up = report(workspace.id, 1, ObservedPhase::Up, true, ReadinessState::Ready);
    up.jobs = vec![
        serde_json::from_value(json!({ "job": job.job, "state": "ended", "exit_code": 3, "cause": null })).unwrap(),
    ];
    host.report(up.clone()).await;
    let path = format!("/v1/orgs/acme/workspaces/main/runs/{}", run["id"].as_str().unwrap());
    let ended: Value = server.owner.get(&path).await.unwrap();
    assert_eq!((ended["state"].as_str(), ended["exit_code"].as_i64()), (Some("ended"), Some(3)));
    host.report(up).await;
    assert_eq!(server.events("run.ended").await, 1, "a repeated report is one end");
}

// proves COST-1
#[tokio::test]
async fn deleting_an_awake_workspace_closes_its_window() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    let destroy = host.command("DESTROY_WORKSPACE").await;
    host.done(&destroy).await;
    wait_until("the window is closed", async || server.events("window.closed").await == 1).await;
    wait_until("the session ended", async || server.events("session.ended").await == 1).await;
}

#[tokio::test]
async fn parts_sleep_when_the_runtime_does() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let _: Workspace = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
    let freeze = host.command("FREEZE_RUNTIME").await;
    host.done(&freeze).await;
    host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    let view = server.show("main").await;
    assert_eq!(view.runtime.readiness, ReadinessState::Asleep);
    assert!(
        view.parts
            .iter()
            .filter(|part| part.kind == PartKind::Service)
            .all(|part| part.state == ReadinessState::Asleep)
    );
    assert_eq!(view.shell.state, ReadinessState::Ready, "the shell is always there");
}

// proves RUN-3
#[tokio::test]
async fn runs_without_end_are_refused_and_starve_nobody() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let run = json!({ "argv": ["sleep", "1000"] });
    let ask = async || server.owner.post::<_, Value>("/v1/orgs/acme/workspaces/main/runs", &run).await;
    for _ in 0..20 {
        ask().await.unwrap();
    }
    assert_eq!(code(ask().await), "run.too_many");
    server.advance(24 * 3_600);
    ask().await.expect("what was never told to have ended does not count for ever");
    // However many are open of one workspace, another's first command is among those sent.
    let mut owner = server.database_owner().await;
    sqlx::query(
        "INSERT INTO host_commands (id, org_id, host_id, workspace_id, generation, verb, command, created_at) \
         SELECT gen_random_uuid(), org_id, host_id, workspace_id, generation, verb, command, created_at \
         FROM host_commands, generate_series(1, 300) WHERE workspace_id = $1 AND verb = 'START_RUNTIME'",
    )
    .bind(workspace.id.uuid())
    .execute(&mut owner)
    .await
    .unwrap();
    server.named_workspace(&mut host, "other").await;
}

// proves ORG-2 RUN-1
#[tokio::test]
async fn log_lines_in_causes_are_for_those_who_may_read_logs() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let run: Value =
        server.owner.post("/v1/orgs/acme/workspaces/main/runs", &json!({ "argv": ["npm", "test"] })).await.unwrap();
    let start = host.command("START_RUNTIME").await;
    host.done(&start).await;
    let cause = "`npm run dev` ended with 1\nlast lines of its log:\na secret";
    let mut blocked = report(workspace.id, start.generation, ObservedPhase::Blocked, true, ReadinessState::Blocked);
    blocked.trouble = Some(Trouble { cause: cause.to_owned(), ..trouble("service.exited") });
    blocked.parts.iter_mut().for_each(|part| part.cause = Some(cause.to_owned()));
    let job = json!({ "job": run["id"], "state": "failed", "exit_code": null, "cause": cause });
    blocked.jobs = vec![serde_json::from_value(job).unwrap()];
    host.report(blocked).await;
    let run = format!("/v1/orgs/acme/workspaces/main/runs/{}", run["id"].as_str().unwrap());
    for (role, reads) in [(Role::Developer, true), (Role::Reviewer, false), (Role::Billing, false)] {
        let member = server.member("acme", role).await;
        for path in ["/v1/orgs/acme/workspaces", "/v1/orgs/acme/workspaces/main", &run] {
            let seen = member.get::<Value>(path).await.unwrap().to_string();
            assert!(seen.contains("ended with 1"), "{role}: {path} tells the cause");
            assert_eq!(seen.contains("a secret"), reads, "{role}: {path}");
        }
        let mut events = member.stream("/v1/orgs/acme/workspaces/main/events").await.unwrap();
        let first = events.chunk().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&first).contains("a secret"), reads, "{role}: events");
    }
    let route = server.gateway().get::<Value>("/internal/gateway/routes/web--main--acme").await.unwrap().to_string();
    assert!(route.contains("ended with 1") && !route.contains("a secret"), "a gateway");
    let ledger = server.owner.get::<Value>("/v1/orgs/acme/ledger?limit=500").await.unwrap().to_string();
    assert!(!ledger.contains("a secret"), "the ledger");
}

// proves ORG-2
#[tokio::test]
async fn only_an_owner_makes_a_project_of_a_path() {
    let server = TestServer::start().await;
    let path = json!({ "slug": "local", "repository": "/srv/planner" });
    for role in [Role::Admin, Role::Developer] {
        let member = server.member("acme", role).await;
        assert_eq!(code(member.post::<_, Value>("/v1/orgs/acme/projects", &path).await), "project.path_forbidden");
    }
    let made: Value = server.owner.post("/v1/orgs/acme/projects", &path).await.unwrap();
    let developer = server.member("acme", Role::Developer).await;
    let found: Value = developer.post("/v1/orgs/acme/projects", &path).await.unwrap();
    assert_eq!(made["id"], found["id"], "one that exists is for every developer");
}

// proves UP-7
#[tokio::test]
async fn an_order_that_goes_on_failing_is_given_more_rarely_and_forgotten_in_time() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    for wait in [6, 11, 21] {
        let destroy = host.command("DESTROY_WORKSPACE").await;
        host.answer(&destroy, Outcome::Failed(trouble("workspace.not_destroyed"))).await;
        server.answered(&destroy).await;
        server.advance(wait - 2);
        server.reconcile().await;
        let mut owner = server.database_owner().await;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM host_commands WHERE answered_at IS NULL")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(open, 0, "not yet after {wait} s");
        server.advance(2);
        server.reconcile().await;
    }
    host.command("DESTROY_WORKSPACE").await;
    server.advance(24 * 3_600 + 1);
    let mut owner = server.database_owner().await;
    wait_until("only what waits for an answer is kept", async || {
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM host_commands").fetch_one(&mut owner).await.unwrap();
        kept == 1
    })
    .await;
}

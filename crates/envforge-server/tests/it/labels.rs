//! Dev hosts: each label leads to one service, and what gets none is told why.

use crate::support::{FakeHost, TestServer, code, report};
use envforge_api::host::ManifestReport;
use envforge_api::http::links::CreatedLink;
use envforge_api::http::workspaces::Workspace;
use envforge_core::access::Role;
use envforge_core::hostname::label;
use envforge_core::id::WorkspaceId;
use envforge_core::manifest;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::ObservedPhase;
use serde_json::{Value, json};
use std::collections::HashMap;

const WORKSPACES: &str = "/v1/orgs/acme/workspaces";
const LONG: &str = "a-service-of-a-very-long-name";

async fn project(server: &TestServer, slug: &str) {
    let project = json!({ "slug": slug, "repository": format!("https://example.org/{slug}.git") });
    let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
}

async fn create(
    server: &TestServer,
    project: &str,
    branch: &str,
) -> Result<Workspace, envforge_api::client::CallError> {
    server.owner.post(WORKSPACES, &json!({ "project": project, "branch": branch })).await
}

/// The host reports a manifest with these services, all ready.
async fn reads(host: &mut FakeHost, workspace: WorkspaceId, services: &[&str]) {
    let lines = services.iter().zip(3_000..);
    let lines = lines.map(|(name, port)| format!("  {name}: {{ command: run, port: {port} }}\n"));
    let text = lines.collect::<Vec<_>>().concat();
    let parsed = manifest::parse(format!("services:\n{text}").as_bytes(), "envforge.yml").unwrap();
    let mut seen = report(workspace, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
    seen.parts = vec![Part::new(PartKind::Shell, "shell", ReadinessState::Ready)];
    seen.parts.extend(services.iter().map(|name| Part::new(PartKind::Service, *name, ReadinessState::Ready)));
    seen.manifest = Some(ManifestReport::Valid { manifest: Box::new(parsed) });
    host.report(seen).await;
}

fn hosts(workspace: &Workspace) -> Vec<(&str, &str)> {
    workspace.dev_hosts.iter().map(|host| (host.service.as_str(), host.label.as_str())).collect()
}

/// The first two of these names that get the same label; with 24 bits of digest they are found at once.
fn colliding(name: impl Fn(u32) -> String, made: impl Fn(&str) -> String) -> [String; 2] {
    let mut seen = HashMap::new();
    for name in (0..).map(name) {
        if let Some(before) = seen.insert(made(&name), name.clone()) {
            return [before, name];
        }
    }
    unreachable!("24 bits are used up before")
}

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

// proves LINK-1
#[tokio::test]
async fn names_that_collide_are_refused_and_said() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    project(&server, "planner").await;
    project(&server, "other").await;
    let of = |branch: &str| label(&slug(LONG), &Slug::from_text(branch), &slug("acme"));
    let [one, two] = colliding(|n| format!("a-branch-about-everything-there-is-{n}"), of);
    let first = create(&server, "planner", &one).await.unwrap();
    reads(&mut host, first.id, &[LONG]).await;
    let held = server.show(first.slug.as_str()).await.dev_hosts[0].label.clone();

    // In a project whose services are known, at its creation.
    let refused = create(&server, "planner", &two).await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "workspace.label_taken");
    assert!(refused.message.contains(&held) && refused.message.contains(first.slug.as_str()), "{}", refused.message);
    assert!(refused.hint.unwrap().contains("--slug"));
    let asked = json!({ "project": "planner", "branch": two, "slug": "another" });
    let _: Workspace = server.owner.post(WORKSPACES, &asked).await.unwrap();

    // In another, when its services become known.
    let second = create(&server, "other", &two).await.unwrap();
    reads(&mut host, second.id, &[LONG, "web"]).await;
    let shown = server.show(second.slug.as_str()).await;
    assert_eq!(hosts(&shown).iter().map(|(service, _)| *service).collect::<Vec<_>>(), ["web"]);
    let told = shown.diagnostics.concat();
    assert!(
        told.contains(&held) && told.contains(first.slug.as_str()) && told.contains("rename the service"),
        "{told}"
    );
    let path = format!("{WORKSPACES}/{}/links", second.slug);
    let refused = server.owner.post::<_, CreatedLink>(&path, &json!({ "service": LONG })).await.unwrap_err();
    let refused = refused.into_refusal();
    assert_eq!(refused.code, "link.no_label");
    assert!(refused.message.contains(&held) && refused.message.contains(first.slug.as_str()), "{}", refused.message);
    // It leads where it led.
    let route: Value = server.gateway().get(&format!("/internal/gateway/routes/{held}")).await.unwrap();
    assert_eq!(route["workspace"], first.id.to_string());
    // What helps, helps.
    reads(&mut host, second.id, &["shop", "web"]).await;
    let shown = server.show(second.slug.as_str()).await;
    assert_eq!((shown.dev_hosts.len(), shown.diagnostics), (2, Vec::<String>::new()));
}

// proves LINK-1
#[tokio::test]
async fn two_services_of_one_workspace_never_share_a_label() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    project(&server, "planner").await;
    let branch = "a-branch-about-everything-there-is";
    let workspace = create(&server, "planner", branch).await.unwrap();
    let of = |service: &str| label(&slug(service), &slug(branch), &slug("acme"));
    let [one, two] = colliding(|n| format!("a-service-of-name-{n}"), of);
    let mut both = [one.as_str(), two.as_str()];
    both.sort_unstable();
    let [first, second] = both;
    for _ in 0..2 {
        reads(&mut host, workspace.id, &both).await;
        let shown = server.show(branch).await;
        assert_eq!(hosts(&shown), [(first, &*of(first))]);
        let told = shown.diagnostics.concat();
        assert!(told.contains(&format!("service `{second}` has no dev host")), "{told}");
        assert!(told.contains(&format!("service `{first}` of workspace `{branch}`")), "{told}");
    }
    // The first is gone: the other one may have it.
    reads(&mut host, workspace.id, &[second]).await;
    assert_eq!(hosts(&server.show(branch).await), [(second, &*of(second))]);
}

// proves LINK-1
#[tokio::test]
async fn a_label_of_another_org_is_never_given_away() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    project(&server, "planner").await;
    // Another org's, whose workspace is deleted long ago.
    server.member("rival", Role::Owner).await;
    let mut owner = server.database_owner().await;
    sqlx::raw_sql(
        "INSERT INTO hosts (id, org_id, name, created_at) SELECT gen_random_uuid(), org_id, 'h', now() FROM orgs WHERE slug = 'rival';
         INSERT INTO projects (id, org_id, slug, repository, created_at) SELECT gen_random_uuid(), org_id, 'p', 'https://x', now() FROM orgs WHERE slug = 'rival';
         INSERT INTO workspaces (id, org_id, project_id, host_id, slug, branch, size, shell, created_by, created_at, deleting_at, deleted_at)
           SELECT gen_random_uuid(), o.org_id, p.id, h.id, 'gone', 'gone', 'small', '{}', (SELECT id FROM users LIMIT 1), now(), now(), now()
           FROM orgs o JOIN projects p ON p.org_id = o.org_id JOIN hosts h ON h.org_id = o.org_id WHERE o.slug = 'rival';
         INSERT INTO labels (label, org_id, workspace_id, service, created_at)
           SELECT 'web--main--acme', org_id, id, 'web', now() FROM workspaces WHERE slug = 'gone'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let workspace = create(&server, "planner", "main").await.unwrap();
    reads(&mut host, workspace.id, &["api", "web"]).await;
    let shown = server.show("main").await;
    assert_eq!(hosts(&shown), [("api", "api--main--acme")]);
    let told = shown.diagnostics.concat();
    assert!(told.contains("`web--main--acme` is held by another organization") && !told.contains("gone"), "{told}");
    // Nor can the org go and leave them behind, nor the server delete one.
    assert!(sqlx::query("DELETE FROM orgs WHERE slug = 'rival'").execute(&mut owner).await.is_err());
    let mut app = server.database_app().await;
    let denied = sqlx::query("DELETE FROM labels").execute(&mut app).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
}

// proves LINK-1
#[tokio::test]
async fn an_org_is_not_called_what_another_is_abbreviated_to() {
    let server = TestServer::start().await;
    let make = async |slug: &str| server.owner.post::<_, Value>("/v1/orgs", &json!({ "slug": slug })).await;
    make("the-company-with-the-longest-name").await.unwrap();
    let refused = make("the-company-with-t").await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "org.label_ambiguous");
    assert!(refused.message.contains("--the-company-with-t"), "{}", refused.message);
    make("the-company-with-t2").await.unwrap();
    make("the-company-with").await.unwrap();
    make("first").await.unwrap();
    make("acme-of-the-longest").await.unwrap();
    make("exactly-this-short").await.unwrap();
    assert_eq!(code(make("exactly-this-short-and-more").await), "org.label_ambiguous", "the other way round");
    // A hyphen where it is cut goes.
    make("a-long-name-which-is-cut").await.unwrap();
    assert_eq!(code(make("a-long-name-which").await), "org.label_ambiguous");
}

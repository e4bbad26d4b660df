//! Two orgs on one installation, each on a host of its own; the second one's has a network of its own.
//!
//! The data uplink passes descriptors over local sockets, so the network namespace parts the networks and the sockets
//! are shared, as they are between the processes of one box.

use super::sample::{Member, PATIENCE, repository, retry};
use crate::support::{TestBox, is_alive};
use envforge_api::client::Client;
use envforge_api::http::accounts::{CreatedHostToken, HostState, Hosts};
use envforge_api::http::orgs::Org;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_testkit::{Shell, Slot, wait_until_within};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MAIN: &str = "/v1/orgs/globex/workspaces/main";

async fn hosts(client: &Client, org: &str) -> Vec<(String, HostState)> {
    let hosts: Hosts = client.get(&format!("/v1/orgs/{org}/hosts")).await.unwrap();
    hosts.hosts.into_iter().map(|host| (host.name, host.state)).collect()
}

fn network(pid: i32) -> PathBuf {
    fs_err::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

/// The project, the workspace `main` of it, and its services up.
async fn awake(client: &Client, repository: &Path) -> Workspace {
    let project = json!({ "slug": "notes", "repository": repository });
    let _: Value = client.post("/v1/orgs/globex/projects", &project).await.unwrap();
    let request = json!({ "project": "notes", "branch": "main" });
    let _: Workspace = client.post("/v1/orgs/globex/workspaces", &request).await.unwrap();
    wait_until_within("the shell is ready", PATIENCE, async || {
        client.get::<Workspace>(MAIN).await.is_ok_and(|workspace| workspace.shell.state == ReadinessState::Ready)
    })
    .await;
    retry("a wake", async || client.post::<_, Workspace>(&format!("{MAIN}/wake"), &json!({})).await).await;
    wait_until_within("everything is ready", PATIENCE, async || {
        client.get::<Workspace>(MAIN).await.is_ok_and(|workspace| {
            workspace.runtime.state == RuntimeState::Awake
                && workspace.parts.iter().all(|part| part.state == ReadinessState::Ready)
        })
    })
    .await;
    client.get(MAIN).await.unwrap()
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_org_runs_on_a_host_and_a_network_of_its_own() {
    let the_box = TestBox::started().await;
    let (client, repository) = (the_box.client(), repository(&the_box.scratch("notes")));
    let first = Member { the_box: &the_box, slug: "main".to_owned() };
    first.workspace(&repository, "main").await;
    first.wake().await;
    let _: Org = client.post("/v1/orgs", &json!({ "slug": "globex" })).await.unwrap();
    // An org without a host has nowhere to be placed, however much room the other's has.
    let project = json!({ "slug": "notes", "repository": repository });
    let refused = client.post::<_, Value>("/v1/orgs/globex/projects", &project).await.unwrap_err();
    assert_eq!(refused.into_refusal().code, "project.path_without_local_host");
    let token: CreatedHostToken =
        client.post("/v1/orgs/globex/host-tokens", &json!({ "name": "theirs" })).await.unwrap();
    let slot = Slot::take(40);
    let mut second = the_box.second_host(&token.token, &slot);
    wait_until_within("their host is online", PATIENCE, async || {
        hosts(&client, "globex").await == [("theirs".to_owned(), HostState::Online)]
    })
    .await;
    assert_eq!(hosts(&client, "local").await, [("this-box".to_owned(), HostState::Online)]);
    let pid = second.id().unwrap().cast_signed();
    assert_ne!(network(pid), network(the_box.children()["host"]));
    // It is on this machine, so it can read what is here.
    the_box.psql("UPDATE hosts SET is_local = true WHERE name = 'theirs'");
    let theirs = awake(&client, &repository).await;
    first.all_ready().await;
    // Each on its own: the other's daemon ends, and only its org's host is lost.
    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "globex", "main").await.unwrap();
    shell.answers().await.unwrap();
    assert!(theirs.dev_hosts.iter().all(|dev_host| dev_host.label.ends_with("--globex")), "{:?}", theirs.dev_hosts);
    second.kill().await.unwrap();
    assert!(!is_alive(pid));
    wait_until_within("their host is lost", PATIENCE, async || {
        hosts(&client, "globex").await == [("theirs".to_owned(), HostState::Lost)]
    })
    .await;
    assert_eq!(hosts(&client, "local").await, [("this-box".to_owned(), HostState::Online)]);
    assert_eq!(first.run("echo $((40+2))").await, (0, "42\n".to_owned()));
}

//! People and machines of one org against another's: each attack for real, each refused, each in the ledger.
//!
//! The org that is attacked is the box's own, `local`, with a workspace that runs. The attackers are an admin and a
//! developer of `globex`, whoever holds a link, and a host of theirs: a program of this test that registered as one; and a
//! gateway that somebody took.
//! A file for each kind of attacker; what they share is here.

mod gateway;
mod hosts;
mod ledger;
mod limits;
mod links;
mod people;

use super::sample::{Member, PATIENCE, client, nobody, on_socket, repository, stranger};
use crate::support::TestBox;
use envforge_api::client::{CallError, Client};
use envforge_api::http::accounts::Me;
use envforge_api::http::elevations::Elevation;
use envforge_api::http::orgs::{AcceptedInvitation, CreatedInvitation, Org};
use envforge_api::http::runs::Run;
use envforge_api::http::secrets::SecretInfo;
use envforge_core::id::WorkspaceId;
use hosts::TheirHost;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::time::{Duration, Instant};

const OF_NOBODY: &str = "00000000000070008000000000000000";

/// A box with two orgs, and what there is to steal.
struct World {
    the_box: TestBox,
    attacked: Attacked,
    theirs: TheirHost,
    noted: Mutex<Vec<(String, Vec<String>)>>,
}

/// Of `local`.
struct Attacked {
    workspace: WorkspaceId,
    secret: String,
    link: String,
    invitation: String,
    owner: String,
    elevation: String,
    run: String,
}

impl World {
    async fn new() -> Self {
        let the_box = TestBox::started().await;
        let repository = repository(&the_box.scratch("notes"));
        let first = Member { the_box: &the_box, slug: "main".to_owned() };
        first.workspace(&repository, "main").await;
        first.wake().await;
        let owner = the_box.client();
        let _: Org = owner.post("/v1/orgs", &json!({ "slug": "globex" })).await.unwrap();
        let secret = json!({ "name": "STRIPE_KEY", "value": "planted-secret-worth-stealing" });
        let secret: SecretInfo = owner.post("/v1/orgs/local/secrets", &secret).await.unwrap();
        let invited = json!({ "role": "reviewer" });
        let invited: CreatedInvitation = owner.post("/v1/orgs/local/invitations", &invited).await.unwrap();
        let theirs = TheirHost::come(&the_box).await;
        first.all_ready().await;
        let run = json!({ "argv": ["true"] });
        let run: Run = owner.post("/v1/orgs/local/workspaces/main/runs", &run).await.unwrap();
        let attacked = Attacked {
            workspace: first.show().await.unwrap().id,
            secret: secret.id.to_string(),
            link: first.link("web").await.link.id.to_string(),
            invitation: invited.invitation.id.to_string(),
            owner: owner.get::<Me>("/v1/me").await.unwrap().user.to_string(),
            elevation: asked_for_root(&the_box).await.id.to_string(),
            run: run.id.to_string(),
        };
        Self { the_box, attacked, theirs, noted: Mutex::default() }
    }

    fn owner(&self) -> Client {
        self.the_box.client()
    }

    /// The workspace that is attacked.
    fn first(&self) -> Member<'_> {
        Member { the_box: &self.the_box, slug: "main".to_owned() }
    }

    /// Somebody who accepts an invitation into `globex`.
    async fn member(&self, role: &str) -> Attacker {
        let made: CreatedInvitation =
            self.owner().post("/v1/orgs/globex/invitations", &json!({ "role": role })).await.unwrap();
        let body = json!({ "token": made.token, "name": role });
        let accepted: AcceptedInvitation = nobody(&self.the_box).post("/v1/invitations/accept", &body).await.unwrap();
        let key = accepted.api_key.unwrap().value;
        let client = client(&self.the_box, &key);
        let me: Me = client.get("/v1/me").await.unwrap();
        Attacker { client, key, id: me.user.to_string(), actor: format!("user:{}", me.user) }
    }

    /// A chain has an event whose line holds all of these, by the end of the story.
    fn noted(&self, chain: &str, words: &[&str]) {
        let words = words.iter().map(ToString::to_string).collect();
        self.noted.lock().unwrap().push((chain.to_owned(), words));
    }

    /// Waits until everything that was refused is in a ledger.
    async fn all_noted(&self) {
        let mut missing = std::mem::take(&mut *self.noted.lock().unwrap());
        let end = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            assert!(Instant::now() < end, "not in a ledger: {missing:#?}");
            let mut chains = BTreeMap::new();
            for chain in ["installation", "orgs/local", "orgs/globex"] {
                let export = self.owner().stream(&format!("/v1/{chain}/ledger/export")).await.unwrap();
                chains.insert(chain, export.text().await.unwrap());
            }
            let is_there = |chain: &str, words: &[String]| {
                chains[chain].lines().any(|line| words.iter().all(|word| line.contains(word)))
            };
            missing.retain(|(chain, words)| !is_there(chain, words));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What of the attacked org must stay as it is.
    async fn estate(&self) -> Vec<Value> {
        let owner = self.owner();
        let mut found = Vec::new();
        for rest in
            ["", "/members", "/invitations", "/secrets", "/root-policy", "/elevations", "/settings", "/projects"]
        {
            found.push(owner.get(&format!("/v1/orgs/local{rest}")).await.unwrap());
        }
        let workspace: Value = owner.get("/v1/orgs/local/workspaces/main").await.unwrap();
        found.extend([workspace["runtime"]["state"].clone(), workspace["runtime"]["generation"].clone()]);
        let secrets = found[3]["secrets"].as_array_mut().unwrap();
        for secret in secrets.iter_mut() {
            secret["last_used_at"] = Value::Null;
        }
        found
    }
}

/// Somebody of `globex`.
struct Attacker {
    client: Client,
    key: String,
    id: String,
    /// As ledgers name them.
    actor: String,
}

/// An elevation of `local` that waits for its approval. A box's own host opens root terminals only where its operator
/// and the machine allow it; for the request it does.
async fn asked_for_root(the_box: &TestBox) -> Elevation {
    let owner = the_box.client();
    let policy = json!({ "policy": { "mode": "break_glass", "max_minutes": 60 } });
    let _: Value = owner.put("/v1/orgs/local/root-policy", &policy).await.unwrap();
    the_box.psql("UPDATE hosts SET allows_elevation = true, is_local = false WHERE name = 'this-box'");
    let reason = json!({ "reason": "the disk is full" });
    let asked = owner.post("/v1/orgs/local/workspaces/main/elevations", &reason).await.unwrap();
    the_box.psql("UPDATE hosts SET allows_elevation = false, is_local = true WHERE name = 'this-box'");
    asked
}

fn code<T>(answer: Result<T, CallError>) -> String {
    answer.err().map_or_else(|| "it was allowed".to_owned(), |error| error.into_refusal().code)
}

/// `METHOD /path`, with a body where the method has one; the code it is refused with.
async fn ask(client: &Client, what: &str, body: &Value) -> String {
    let (method, path) = what.split_once(' ').unwrap();
    code(match method {
        "GET" => client.get::<Value>(path).await,
        "PUT" => client.put::<_, Value>(path, body).await,
        "DELETE" => client.delete::<Value>(path).await,
        _ => client.post::<_, Value>(path, body).await,
    })
}

/// Asks for all of them, below a path, and complains of each that is not refused as it should be.
async fn each_refused<const N: usize>(client: &Client, below: &str, wanted: &str, attempts: [(&str, Value); N]) {
    for (what, body) in attempts {
        let what = what.replacen(' ', &format!(" {below}"), 1);
        assert_eq!(ask(client, &what, &body).await, wanted, "{what}");
    }
}

async fn status_and_code(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.header("accept", "application/json").send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

// proves ORG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attack_is_refused_and_in_the_ledger() {
    let mut world = World::new().await;
    let before = world.estate().await;
    people::over_the_api(&world).await;
    people::with_root(&world).await;
    people::with_worn_keys(&world).await;
    people::from_another_page(&world).await;
    limits::with_requests_that_mean_two_things(&world).await;
    hosts::as_a_host(&mut world).await;
    hosts::over_an_uplink(&world).await;
    hosts::with_a_replayed_command(&world);
    gateway::as_a_gateway(&world).await;
    people::after_being_removed(&world).await;
    links::with_a_stolen_link(&world).await;
    ledger::with_a_tampered_export(&world).await;
    world.first().all_ready().await;
    assert_eq!(world.estate().await, before, "nothing of it changed");
    links::with_a_spent_link(&world).await;
    world.all_noted().await;
}

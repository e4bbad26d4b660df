//! The API under an even load: a fixed number of requests each second, whether or not those before are answered.
//!
//! A request is timed from when it was due, not from when it was sent, so that a server that falls behind can't hide it.

use super::report::{Better, Record, Target};
use super::world::World;
use anyhow::{Context as _, ensure};
use envforge_api::client::{CallError, Client};
use envforge_api::http::links::{CreateLink, CreatedLink};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Requests a second.
const RATE: u32 = 500;
const SECONDS: u32 = 20;
/// The first seconds warm up and are not counted.
const WARM: u32 = 3;

/// What is asked, in turn: mostly looking, one change in ten.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Me,
    Workspaces,
    Workspace,
    Usage,
    Links,
    Cap,
    IssueLink,
}

const MIX: [Ask; 20] = [
    Ask::Workspace,
    Ask::Me,
    Ask::Workspaces,
    Ask::Workspace,
    Ask::Links,
    Ask::Workspace,
    Ask::Usage,
    Ask::Me,
    Ask::Workspace,
    Ask::Cap,
    Ask::Workspaces,
    Ask::Workspace,
    Ask::Links,
    Ask::Me,
    Ask::Workspace,
    Ask::Usage,
    Ask::Workspaces,
    Ask::Workspace,
    Ask::Me,
    Ask::IssueLink,
];

/// Latency of mixed requests at a fixed rate, with everything on one machine.
pub(super) async fn api(world: &World) -> anyhow::Result<Vec<Record>> {
    let paths = Arc::new(Paths { org: format!("/v1/orgs/{}", world.workspace.org_slug), workspace: world.path("") });
    let begin = Instant::now() + Duration::from_millis(100);
    let mut asked = JoinSet::new();
    for number in 0..RATE * SECONDS {
        let due = begin + Duration::from_secs(1) * number / RATE;
        sleep_until(due).await;
        let (client, paths, ask) = (world.client.clone(), Arc::clone(&paths), MIX[number as usize % MIX.len()]);
        asked.spawn(async move {
            let outcome = paths.ask(&client, ask).await;
            let took = due.elapsed();
            // Not timed; a workspace has so many open links and no more.
            let outcome = match outcome {
                Ok(Some(made)) => {
                    client.delete::<Value>(&format!("{}/links/{}", paths.org, made.link.id)).await.map(drop)
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            (number, took, outcome.map_err(CallError::into_refusal))
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = asked.join_next().await {
        let (number, took, outcome) = done.context("a request")?;
        outcome?;
        if number >= RATE * WARM {
            samples.push(took.as_secs_f64() * 1_000.0);
        }
    }
    ensure!(samples.len() as u32 == RATE * (SECONDS - WARM), "every request was answered");
    let target = Target { p50: None, p99: Some(20.0), text: "p99 < 20 at 500/s" };
    Ok(vec![Record::of("api", "ms", Better::Less, &samples, target)])
}

struct Paths {
    org: String,
    workspace: String,
}

impl Paths {
    /// Asks once; answers the link made, if one was.
    async fn ask(&self, client: &Client, ask: Ask) -> Result<Option<CreatedLink>, CallError> {
        let Self { org, workspace } = self;
        let read = match ask {
            Ask::Me => "/v1/me".to_owned(),
            Ask::Workspaces => format!("{org}/workspaces"),
            Ask::Workspace => workspace.clone(),
            Ask::Usage => format!("{workspace}/usage"),
            Ask::Links => format!("{workspace}/links"),
            Ask::Cap => {
                let cap = json!({ "cap": { "mode": "none", "minutes": 0 } });
                return client.put::<_, Value>(&format!("{workspace}/cap"), &cap).await.map(|_| None);
            }
            Ask::IssueLink => {
                let body = CreateLink {
                    service: "web".to_owned(),
                    expires_in_minutes: Some(1),
                    visit_budget: None,
                    wake_budget: None,
                    minute_budget: None,
                    routes: Vec::new(),
                };
                return client.post::<_, CreatedLink>(&format!("{workspace}/links"), &body).await.map(Some);
            }
        };
        client.get::<Value>(&read).await.map(|_| None)
    }
}

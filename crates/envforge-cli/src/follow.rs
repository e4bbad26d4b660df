//! Following a workspace: its server-sent events, across dropped connections.
//!
//! Each event is the whole workspace, and the first one after connecting is its present state, so a reconnect
//! can't miss anything. Silence is not trusted: after a minute without a byte the connection is made anew.

use crate::context::{Context, UNREACHABLE, refusal_at};
use crate::sse::Parser;
use envforge_api::client::{Address, CallError, Client};
use envforge_api::http::workspaces::{Workspace, WorkspaceChanged};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Without a byte for this long, the connection counts as dead.
const SILENCE: Duration = Duration::from_mins(1);
/// How long a server may be away before following gives up.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Waiting times between attempts: quick first, then patient.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The next pause: 100 ms, doubled up to 5 s.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = Duration::from_millis(100 << self.attempt.min(6)).min(Duration::from_secs(5));
        self.attempt += 1;
        pause
    }

    /// It worked: start over the next time.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// A followed workspace.
pub(crate) struct Follow {
    client: Client,
    path: String,
    connection: Option<(reqwest::Response, Parser)>,
    ready: VecDeque<WorkspaceChanged>,
    backoff: Backoff,
    away_since: Option<Instant>,
}

impl Follow {
    /// Follows `workspace`.
    pub(crate) async fn new(ctx: &Context<'_>, workspace: &Slug) -> Result<Self, Refusal> {
        Ok(Self::with(ctx.client()?.clone(), ctx.workspace_path(workspace, "/events").await?))
    }

    /// The same with a connection of its own.
    pub(crate) fn of(server: &str, key: &Secret, org: &Slug, workspace: &Slug) -> Result<Self, CallError> {
        let client = Client::new(&Address::Url(server.to_owned()), Some(key.clone()))?;
        Ok(Self::with(client, format!("/v1/orgs/{org}/workspaces/{workspace}/events")))
    }

    fn with(client: Client, path: String) -> Self {
        Self { client, path, connection: None, ready: VecDeque::new(), backoff: Backoff::default(), away_since: None }
    }

    /// The next state of the workspace. Ends with a refusal when it is deleted, or the server stays away.
    pub(crate) async fn next(&mut self) -> Result<Workspace, Refusal> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change
                    .workspace
                    .ok_or_else(|| Refusal::not_found("workspace.deleted", "the workspace was deleted"));
            }
            match self.read().await {
                Ok(()) => {}
                Err(refusal) if refusal.kind == RefusalKind::Unavailable => self.wait(refusal).await?,
                Err(refusal) => return Err(refusal),
            }
        }
    }

    async fn wait(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        self.connection = None;
        if self.away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
            return Err(refusal);
        }
        tokio::time::sleep(self.backoff.pause()).await;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Refusal> {
        let base = self.client.base();
        let (response, parser) = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let response = self.client.stream(&self.path).await.map_err(|error| refusal_at(base, error))?;
                none.insert((response, Parser::default()))
            }
        };
        let lost =
            |cause: &str| Refusal::unavailable(UNREACHABLE, format!("the connection to {base} was lost: {cause}"));
        let chunk = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Err(lost("closed")),
            Ok(Err(error)) => return Err(lost(&CallError::from(error).to_string())),
            Err(_) => return Err(lost("silence")),
        };
        self.backoff.reset();
        self.away_since = None;
        let unexpected = |what: String| Refusal::new(RefusalKind::Internal, "server.unexpected_answer", what);
        for event in parser.push(&chunk).map_err(|_| unexpected("an event of the server is too large".to_owned()))? {
            let change =
                serde_json::from_str(&event).map_err(|error| unexpected(format!("unexpected event: {error}")))?;
            self.ready.push_back(change);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 100);
    }
}

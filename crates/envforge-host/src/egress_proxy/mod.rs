//! Lends credentials to requests on their way out, so that they are used in a workspace and can't be read there.
//!
//! ```text
//!   agent ── http://127.0.0.1:7079/api.example.org/v1/… ──► daemon ── https://api.example.org/v1/… + credential ──►
//! ```
//!
//! Each workspace with a network of its own has the proxy's end on its loopback; the daemon serves it from outside, so no
//! process in the workspace ever holds the value. Where a credential goes is the secret's rule
//! ([`envforge_core::egress`]) and never the workspace's choice: a destination no rule names is refused, a name that leads to
//! this machine or its link is refused too, and the connection is TLS with the name checked. Redirects are handed back and
//! not followed. What comes back is looked through for the value, in case the other side repeats it.
//!
//! A credential is asked for when it is needed and kept for [`KEPT`]; so long may one that was removed still be used.

mod forward;
mod names;

use crate::config::HostConfig;
use crate::ctx::HostContext;
use crate::redact::Redactor;
use crate::tasks::Owned;
use crate::workspace::driver::Driver;
use envforge_api::client::Client;
use envforge_api::host::{AskEgress, EGRESS_PATH, GivenEgress, Lent};
use envforge_core::egress::PROXY_PORT;
use envforge_core::id::WorkspaceId;
use envforge_core::refusal::Refusal;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Where a workspace finds it.
pub(crate) const URL: &str = "http://127.0.0.1:7079";
const _: () = assert!(PROXY_PORT == 7079, "the URL names the port");

/// How long a credential is kept.
const KEPT: Duration = Duration::from_secs(30);
/// Most credentials kept over all workspaces.
const KEPT_MAX: usize = 10_000;

/// What is lent for one destination.
pub(crate) struct Loan {
    lent: Vec<Lent>,
    /// Finds the values in what comes back.
    redactor: Redactor,
}

/// By workspace and destination, each until when it is kept.
type Loans = HashMap<(WorkspaceId, String), (Arc<Loan>, Instant)>;

/// The daemon's part of all workspaces' proxies.
pub(crate) struct EgressProxy {
    /// To the server.
    server: Client,
    /// To destinations.
    outside: reqwest::Client,
    loans: Mutex<Loans>,
}

impl EgressProxy {
    pub(crate) fn new(config: &HostConfig, server: Client) -> io::Result<Self> {
        Ok(Self { server, outside: forward::client(config)?, loans: Mutex::default() })
    }

    /// What is lent to a workspace's requests for a destination.
    async fn loan(&self, workspace: WorkspaceId, host: &str) -> Result<Arc<Loan>, Refusal> {
        let key = (workspace, host.to_owned());
        if let Some((loan, until)) = self.loans.lock().expect("no panic while held").get(&key)
            && *until > Instant::now()
        {
            return Ok(Arc::clone(loan));
        }
        let asked = AskEgress { workspace, host: host.to_owned() };
        let given: GivenEgress =
            self.server.post(EGRESS_PATH, &asked).await.map_err(envforge_api::client::CallError::into_refusal)?;
        if given.lent.is_empty() {
            return Err(Refusal::not_found("egress.destination", format!("no secret is lent to {host} here"))
                .hint(format!("an admin sets one with `envforge secret set NAME --egress-host {host}`")));
        }
        let values = given.lent.iter().map(|lent| (lent.name.as_str(), lent.value.0.expose()));
        let loan = Arc::new(Loan { redactor: Redactor::new(values), lent: given.lent });
        let mut loans = self.loans.lock().expect("no panic while held");
        loans.retain(|_, (_, until)| *until > Instant::now());
        if loans.len() < KEPT_MAX {
            loans.insert(key, (Arc::clone(&loan), Instant::now() + KEPT));
        }
        Ok(loan)
    }
}

impl Driver {
    /// Opens the workspace's end of the proxy where it is not open.
    pub(crate) async fn keep_egress_proxy(&mut self) {
        if self.egress.as_ref().is_some_and(Owned::is_running)
            || (self.shell.sandbox.is_none() && self.layer.sandbox.is_none())
            || !self.ctx.engine.has_own_network()
        {
            return;
        }
        let workspace = self.place.workspace;
        match self.ctx.engine.listen(&self.place, PROXY_PORT).await {
            Ok(listener) => {
                let ctx: Arc<HostContext> = Arc::clone(&self.ctx);
                let serving = async move { forward::serve(&ctx, workspace, listener).await };
                self.egress = Some(self.ctx.tasks.spawn_owned("egress-proxy", serving));
            }
            // A program of the workspace may have the port; it is tried again at the next beat.
            Err(error) => tracing::debug!(%workspace, %error, "the egress proxy is not open"),
        }
    }
}

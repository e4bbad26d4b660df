//! What every verb is given: printer, settings, and a client made only when it is needed.
//!
//! A setting comes from its flag, else the environment, else what is remembered, else what the one box on this
//! machine says, in that order; a box is never remembered, because what it says is newer. Nothing here asks the server unless the answer can't be known otherwise: the fast
//! path of `attach` must be able to go straight to the terminal's WebSocket. Making the HTTP client reads the
//! system's certificates, so that too waits for the first call.

use crate::args::Global;
use crate::config::{self, Config, branch_key};
use crate::onebox;
use crate::printer::Printer;
use crate::repository::Repository;
use envforge_api::client::{Address, CallError, Client};
use envforge_api::http::accounts::Me;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::OnceCell;

/// Where a server listens when nothing says otherwise.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7080";

/// Who said which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerSource {
    /// A flag, the environment, or `envforge login`.
    Chosen,
    /// Nobody: the one box on this machine, or its default address.
    Here,
}

/// What every verb is given.
pub(crate) struct Context<'a> {
    /// Where results go.
    pub(crate) printer: &'a Printer,
    /// Base URL without a trailing slash.
    pub(crate) server: String,
    /// Who said so.
    pub(crate) server_source: ServerSource,
    config: Config,
    key_override: Option<Secret>,
    org: Option<Slug>,
    workspace: Option<String>,
    /// The workspace that a flag names, not the environment.
    pub(crate) workspace_flag: Option<String>,
    repository: OnceCell<Option<Repository>>,
    client: OnceCell<Client>,
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A base URL as it is compared and stored: scheme and host, no trailing slash.
pub(crate) fn base_url(text: &str) -> Result<String, Refusal> {
    let url = text.trim().trim_end_matches('/');
    let is_url = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if is_url {
        return Ok(url.to_owned());
    }
    Err(Refusal::invalid("server.bad_url", format!("`{text}` is not the URL of a server"))
        .hint("it looks like `https://envforge.example.com` or `http://127.0.0.1:7080`"))
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl<'a> Context<'a> {
    /// Reads flags, environment and configuration.
    pub(crate) fn new(global: Global, printer: &'a Printer) -> Result<Self, Refusal> {
        let config = config::load()?;
        // Whoever says where the box's data is means that box.
        let names_box = variable("ENVFORGE_DATA_DIR").is_some();
        let remembered = || config.server.clone().filter(|url| !names_box && !onebox::is_here(url));
        let chosen = global.server.or_else(|| variable("ENVFORGE_SERVER")).or_else(remembered);
        let (server, server_source) = match chosen {
            Some(url) => (base_url(&url)?, ServerSource::Chosen),
            None => (onebox::url().unwrap_or_else(|| DEFAULT_SERVER.to_owned()), ServerSource::Here),
        };
        let org = match (global.org, variable("ENVFORGE_ORG")) {
            (Some(org), _) => Some(org),
            (None, Some(text)) => Some(
                text.parse()
                    .map_err(|error| Refusal::invalid("org.bad_name", format!("ENVFORGE_ORG is `{text}`: {error}")))?,
            ),
            (None, None) => None,
        };
        Ok(Self {
            printer,
            server,
            server_source,
            org,
            workspace_flag: global.workspace_flag.clone(),
            workspace: global.workspace_flag.or_else(|| variable("ENVFORGE_WORKSPACE")),
            key_override: variable("ENVFORGE_KEY").map(Secret::new),
            config,
            repository: OnceCell::new(),
            client: OnceCell::new(),
        })
    }

    /// The same, once another server is known: the one box was just started and says where it listens.
    pub(crate) fn at_server(&mut self, url: String) {
        self.server = url;
        self.client = OnceCell::new();
    }

    /// The key for this server, and no other's. A box on this machine says itself what opens it: what is remembered may
    /// be of a box that was there before.
    pub(crate) fn key(&self) -> Option<Secret> {
        self.key_override
            .clone()
            .or_else(|| onebox::key(&self.server))
            .or_else(|| self.config.servers.get(&self.server).and_then(config::Account::key))
    }

    /// Whether the key in use is one that is remembered here.
    pub(crate) fn is_key_remembered(&self) -> bool {
        let remembered = self.config.servers.get(&self.server).and_then(config::Account::key);
        remembered.is_some() && remembered == self.key()
    }

    /// The key, or what to do without one.
    pub(crate) fn require_key(&self) -> Result<Secret, Refusal> {
        self.key().ok_or_else(|| {
            Refusal::new(RefusalKind::Unauthenticated, "auth.no_key", format!("not signed in to {}", self.server))
                .hint("`envforge login` signs in; ENVFORGE_KEY gives an API key for a single call")
        })
    }

    /// Uses this key from now on.
    pub(crate) fn use_key(&mut self, key: Secret) {
        self.key_override = Some(key);
        self.client = OnceCell::new();
    }

    /// The client, signed in.
    pub(crate) fn client(&self) -> Result<&Client, Refusal> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&Address::Url(self.server.clone()), Some(self.require_key()?))
            .map_err(|error| self.refusal(error))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// A client that shows no key, for what anyone may ask.
    pub(crate) fn anonymous(&self) -> Result<Client, Refusal> {
        Client::new(&Address::Url(self.server.clone()), None).map_err(|error| self.refusal(error))
    }

    /// Asks the server, and says so when the answer takes a while.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        self.asking(self.client()?.get(path)).await
    }

    /// The same with a body.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Refusal> {
        self.asking(self.client()?.post(path, body)).await
    }

    /// The same, replacing something.
    pub(crate) async fn put<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Refusal> {
        self.asking(self.client()?.put(path, body)).await
    }

    /// The same, ending something.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        self.asking(self.client()?.delete(path)).await
    }

    async fn asking<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, Refusal> {
        let what = format!("waiting for {}", self.server);
        self.printer.slow(&what, call).await.map_err(|error| self.refusal(error))
    }

    /// What a failed call becomes on this surface.
    pub(crate) fn refusal(&self, error: CallError) -> Refusal {
        let refusal = refusal_at(&self.server, error);
        if refusal.code == UNREACHABLE && self.server_source == ServerSource::Here {
            return refusal
                .hint("`envforge up` starts the one box here; `envforge login --server URL` uses another server");
        }
        refusal
    }

    /// The repository one stands in.
    pub(crate) fn repository(&self) -> Option<&Repository> {
        self.repository.get_or_init(Repository::here).as_ref()
    }

    /// The org named, or remembered.
    pub(crate) fn known_org(&self) -> Option<&Slug> {
        self.org.as_ref().or_else(|| self.config.servers.get(&self.server)?.org.as_ref())
    }

    /// The org named, remembered, or the only one there is.
    pub(crate) async fn org(&self) -> Result<Slug, Refusal> {
        if let Some(org) = self.known_org() {
            return Ok(org.clone());
        }
        let me: Me = self.get("/v1/me").await?;
        self.choose_org(&me)
    }

    /// The org to use out of one's memberships.
    pub(crate) fn choose_org(&self, me: &Me) -> Result<Slug, Refusal> {
        if let Some(org) = self.known_org() {
            return Ok(org.clone());
        }
        let slugs: Vec<_> = me.orgs.iter().map(|membership| membership.slug.clone()).collect();
        match slugs.as_slice() {
            [] => Err(Refusal::new(RefusalKind::Forbidden, "org.none", "you are not a member of any org")
                .hint("ask an owner or admin of the org to add you")),
            [only] => Ok(only.clone()),
            several if self.printer.is_interactive() => crate::ask::choose("Org:", several.to_vec()),
            several => {
                let names: Vec<_> = several.iter().map(Slug::as_str).collect();
                Err(Refusal::invalid(
                    "org.ambiguous",
                    format!("you are a member of several orgs: {}", names.join(", ")),
                )
                .hint("name one with `--org`, or ENVFORGE_ORG"))
            }
        }
    }

    /// Uses and remembers an org, so that the next command need not ask. A configuration that can't be written
    /// costs a round trip each time, no more.
    pub(crate) fn remember_org(&mut self, org: &Slug) {
        if self.known_org().is_none() && self.key_override.is_none() {
            let _ =
                config::update(|config| config.servers.entry(self.server.clone()).or_default().org = Some(org.clone()));
        }
        self.org = Some(org.clone());
    }

    /// Uses an org from now on, whatever was remembered.
    pub(crate) fn use_org(&mut self, org: &Slug) -> Result<(), Refusal> {
        config::update(|config| config.servers.entry(self.server.clone()).or_default().org = Some(org.clone()))?;
        self.org = Some(org.clone());
        Ok(())
    }

    /// Makes a server that was chosen the one used from now on, with the key that opened it, when none was used before:
    /// after the first `up` nothing more need be said, in any shell. The box on this machine is found without.
    pub(crate) fn remember_server(&self) {
        if self.server_source == ServerSource::Here || self.config.server.is_some() || self.key_override.is_some() {
            return;
        }
        let key = self.key();
        let _ = config::update(|config| {
            config.server.get_or_insert_with(|| self.server.clone());
            if let Some(key) = &key {
                config.servers.entry(self.server.clone()).or_default().set_key(key);
            }
        });
    }

    /// Remembers which workspace a branch of a repository belongs to, where its slug does not already say so.
    pub(crate) fn remember_workspace(&self, repository: &Repository, branch: &str, workspace: &Slug) {
        let key = branch_key(&repository.root, branch);
        let known = self.config.servers.get(&self.server).and_then(|account| account.workspaces.get(&key));
        if known == Some(workspace) || (known.is_none() && Slug::from_text(branch) == *workspace) {
            return;
        }
        let _ = config::update(|config| {
            config.servers.entry(self.server.clone()).or_default().workspaces.insert(key, workspace.clone());
        });
    }

    /// Forgets a workspace that is no more.
    pub(crate) fn forget_workspace(&self, workspace: &Slug) {
        let is_known = self
            .config
            .servers
            .get(&self.server)
            .is_some_and(|account| account.workspaces.values().any(|slug| slug == workspace));
        if is_known {
            let _ = config::update(|config| {
                if let Some(account) = config.servers.get_mut(&self.server) {
                    account.workspaces.retain(|_, slug| slug != workspace);
                }
            });
        }
    }

    /// The workspace someone named, if anyone did.
    pub(crate) fn named_workspace(&self, argument: Option<&str>) -> Result<Option<Slug>, Refusal> {
        match argument.or(self.workspace.as_deref()) {
            None => Ok(None),
            Some(text) if text.trim().is_empty() => {
                Err(Refusal::invalid("workspace.bad_name", "a workspace's name can't be empty"))
            }
            Some(text) => Ok(Some(Slug::from_text(text))),
        }
    }

    /// The workspace of the branch one stands on.
    pub(crate) fn workspace_here(&self) -> Option<Slug> {
        let repository = self.repository()?;
        let branch = repository.branch.as_deref()?;
        let remembered = self
            .config
            .servers
            .get(&self.server)
            .and_then(|account| account.workspaces.get(&branch_key(&repository.root, branch)));
        Some(remembered.cloned().unwrap_or_else(|| Slug::from_text(branch)))
    }

    /// The workspace meant: named, or the one of this branch.
    pub(crate) fn workspace(&self, argument: Option<&str>) -> Result<Slug, Refusal> {
        match self.named_workspace(argument)? {
            Some(slug) => Ok(slug),
            None => self.workspace_here().ok_or_else(no_workspace),
        }
    }

    /// Path of an org's collection.
    pub(crate) async fn org_path(&self, rest: &str) -> Result<String, Refusal> {
        Ok(format!("/v1/orgs/{}{rest}", self.org().await?))
    }

    /// Path of a workspace.
    pub(crate) async fn workspace_path(&self, workspace: &Slug, rest: &str) -> Result<String, Refusal> {
        self.org_path(&format!("/workspaces/{workspace}{rest}")).await
    }
}

/// Code of the refusal that nothing answered at all.
pub(crate) const UNREACHABLE: &str = "server.unreachable";

/// What a failed call to `server` becomes.
pub(crate) fn refusal_at(server: &str, error: CallError) -> Refusal {
    match error {
        CallError::Transport { message, is_connect: true } => {
            let cause = message.rsplit(": ").next().unwrap_or(&message);
            Refusal::unavailable(UNREACHABLE, format!("no answer from {server}: {cause}"))
                .hint("is it running? `envforge doctor` looks")
        }
        CallError::Refused(refusal) if refusal.kind == RefusalKind::Unauthenticated && refusal.hint.is_none() => {
            refusal.hint("`envforge login` stores another API key")
        }
        other => other.into_refusal(),
    }
}

/// Nobody said which workspace.
pub(crate) fn no_workspace() -> Refusal {
    Refusal::invalid(
        "workspace.not_named",
        "no workspace is named, and this folder is not on a branch of a Git repository",
    )
    .hint("name one: `-w <workspace>`; `envforge workspace list` shows them")
}

/// A name as a path segment: services are checked by the server, so here nothing may change the path.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_base_url() {
        assert_eq!(base_url("https://envforge.example.com/").expect("fine"), "https://envforge.example.com");
        assert!(base_url("envforge.example.com").is_err());
        assert!(base_url("ftp://x").is_err());
        assert!(is_loopback("http://[::1]:7080") && is_loopback("http://localhost") && !is_loopback("http://10.0.0.1"));
    }

    #[test]
    fn a_name_never_changes_the_path() {
        assert_eq!(segment("web-1"), "web-1");
        assert_eq!(segment("../x?y"), "%2E%2E%2Fx%3Fy");
    }
}

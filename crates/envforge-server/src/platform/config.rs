//! What a server is told when it starts. `envforged` fills it from flags, files and environment.

use super::keys::KeyWrappers;
use super::secret_stores::SecretStores;
use crate::providers::identity::ProviderConfig;
use crate::providers::mail::MailConfig;
use envforge_core::job::Queue;
use envforge_core::login::SignUp;
use envforge_core::secret::Secret;
use envforge_core::usage::Prices;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Configuration of a server process.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// PostgreSQL, as the role `envforge_app`.
    pub database_url: Secret,
    /// Where the public API listens.
    pub listen: SocketAddr,
    /// Socket on which gateways and hosts of this box speak to the server.
    pub internal_socket: PathBuf,
    /// Socket on which hosts dial the terminal relay.
    pub uplink_path: PathBuf,
    /// Sockets on which hosts dial gateways, one of each; handed on to them.
    pub gateway_uplink_paths: Vec<PathBuf>,
    /// The domain of the dev hosts.
    pub dev_domain: String,
    /// `http` or `https`, as browsers reach the gateway.
    pub gateway_url_scheme: String,
    /// The port browsers reach the gateway on, when it is not the scheme's own.
    pub gateway_url_port: Option<u16>,
    /// How people reach the public API.
    pub public_url: String,
    /// 32 bytes in hexadecimal: the seed of the signing key.
    pub signing_seed: Secret,
    /// Key-encryption keys: the one in use first, then older ones that still open values.
    pub key_wrappers: KeyWrappers,
    /// Where values of secrets lie.
    pub secret_stores: SecretStores,
    /// What gateways show.
    pub gateway_key: Secret,
    /// Days after which ledger events are pruned, at least 30; for ever when absent.
    pub ledger_retention_days: Option<u32>,
    /// Whether everybody with an account may make an org, or only the operator.
    pub open_orgs: bool,
    /// Prices in force; by default a box of one's own costs nothing.
    pub prices: Prices,
    /// How many jobs of a queue this server runs at a time, where it is not the queue's default; 0 leaves them to others.
    pub queue_concurrency: BTreeMap<Queue, usize>,
    /// The GitHub App that mints tokens for repositories, if there is one.
    pub github_app: Option<GithubApp>,
    /// Folders on this machine whose disks must not get full: the box's data, and its database's.
    pub disk_folders: Vec<PathBuf>,
    /// How long a server that is told to end says so before it stops to accept: as long as whoever balances load takes to
    /// notice.
    pub drain_notice: Duration,
    /// The mail server; without one, whatever needs mail is refused.
    pub mail: Option<MailConfig>,
    /// Identity providers.
    pub identity_providers: Vec<ProviderConfig>,
    /// Who may make an account by a link in a mail.
    pub sign_up: SignUp,
    /// What to make on the first start, so that the one box needs no sign-up.
    pub bootstrap: Option<Bootstrap>,
}

/// A GitHub App of the installation.
#[derive(Debug, Clone)]
pub struct GithubApp {
    /// Its id or client id, as its settings show it.
    pub app_id: String,
    /// Its private key, PEM.
    pub private_key: Secret,
    /// Where people see repositories: `https://github.com`, or an Enterprise server's address.
    pub url: String,
    /// Where its API is: `https://api.github.com`.
    pub api_url: String,
}

/// What the first start of a one-box installation makes.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Slug of the org.
    pub org: String,
    /// Where the local owner's API key is written.
    pub owner_key_file: PathBuf,
    /// Where the one-time token of this box's host is written.
    pub host_token_file: PathBuf,
}

impl ServerConfig {
    /// How many jobs of a queue this server runs at a time.
    pub fn concurrency(&self, queue: Queue) -> usize {
        self.queue_concurrency.get(&queue).copied().unwrap_or_else(|| queue.concurrency())
    }

    /// The origin of a dev host.
    pub fn dev_url(&self, label: &str) -> String {
        let port = self.gateway_url_port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{label}.{}{port}", self.gateway_url_scheme, self.dev_domain)
    }
}

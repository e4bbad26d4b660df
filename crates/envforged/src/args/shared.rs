//! Flags that several roles or tools have in common.

use crate::operator::ListenAt;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the box is.
#[derive(Debug, Args)]
pub(crate) struct BoxDirectory {
    /// Where everything is kept [default: /var/lib/envforge as root, else ~/.local/share/envforge]
    #[arg(long, value_name = "DIR", env = "ENVFORGE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Where a process speaks with its operator.
#[derive(Debug, Args)]
pub(crate) struct OperatorArguments {
    /// Serve /metrics, /health and /ready at an address or a socket's path [without a value: 127.0.0.1:7082]
    #[arg(long, value_name = "ADDRESS", env = "ENVFORGE_METRICS_LISTEN", num_args = 0..=1, default_missing_value = "127.0.0.1:7082")]
    pub(crate) metrics_listen: Option<ListenAt>,
}

/// How the end of a role is announced.
#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// Seconds to answer readiness with 503 before the listener closes: what a load balancer takes to notice
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub(crate) drain_notice: u64,
}

/// Key-encryption keys in AWS KMS; credentials and region are found by AWS's own chain (`AWS_…`, profile, instance).
#[derive(Debug, Args)]
pub(crate) struct KmsArguments {
    /// The key in AWS KMS that encrypts the keys of secrets from now on, by id or ARN; those in files still open theirs
    #[arg(long, value_name = "KEY")]
    pub(crate) aws_kms_key: Option<String>,
    /// A key in AWS KMS that only opens what it encrypted before, until nothing is left
    #[arg(long = "aws-kms-key-before", value_name = "KEY")]
    pub(crate) aws_kms_keys_before: Vec<String>,
}

/// Where values of secrets lie.
#[derive(Debug, Args)]
pub(crate) struct SecretStoreArguments {
    /// Where values of secrets are put from now on; those that lie in the other place still open
    #[arg(long, value_enum, value_name = "STORE", default_value = "built-in", requires_if("ssm", "ssm_prefix"))]
    pub(crate) secret_store: SecretStore,
    /// Under which path values lie in AWS SSM Parameter Store, such as /envforge; it stays as long as values lie there
    #[arg(long, value_name = "PATH", requires = "ssm_kms_key")]
    pub(crate) ssm_prefix: Option<String>,
    /// The key in AWS KMS that encrypts parameters from now on, by id or ARN
    #[arg(long, value_name = "KEY", requires = "ssm_prefix")]
    pub(crate) ssm_kms_key: Option<String>,
}

/// A place for values of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SecretStore {
    /// Sealed in the database
    BuiltIn,
    /// AWS SSM Parameter Store, as SecureString parameters
    Ssm,
}

/// The installation's GitHub App.
#[derive(Debug, Clone, Args)]
pub(crate) struct GithubArguments {
    /// The id of a GitHub App that mints tokens for repositories
    #[arg(long = "github-app-id", value_name = "ID", requires = "app_key_file")]
    pub(crate) app_id: Option<String>,
    /// File with the App's private key, as GitHub gave it out; the server's user reads it
    #[arg(long = "github-app-key-file", value_name = "FILE", requires = "app_id")]
    pub(crate) app_key_file: Option<PathBuf>,
    /// Where the App is registered: github.com, or an Enterprise server
    #[arg(long = "github-url", value_name = "URL", default_value = GITHUB)]
    pub(crate) url: String,
}

/// Its API has a name of its own; that of an Enterprise server is below the server's address.
pub(crate) const GITHUB: &str = "https://github.com";

/// What tells several host daemons on one machine apart.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArguments {
    /// Name of this host daemon among those on this machine: lower-case letters, digits and `_`
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) instance: String,
    /// First Linux user id of workspaces; each takes one
    #[arg(long, value_name = "UID", default_value_t = 200_000)]
    pub(crate) uid_base: u32,
    /// First two bytes of the private network that workspaces' addresses come from
    #[arg(long, value_name = "A.B", default_value = "10.213", value_parser = network_pool)]
    pub(crate) network_pool: [u8; 2],
    /// Open root terminals in workspaces for elevations that the org's root policy grants; needs root
    #[arg(long)]
    pub(crate) allow_elevation: bool,
}

pub(super) fn network_pool(text: &str) -> Result<[u8; 2], String> {
    let bytes = text.split_once('.').and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
    bytes.ok_or_else(|| "give two numbers from 0 to 255: `10.213`".to_owned())
}

/// The mail server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MailArguments {
    /// The mail server: `smtps://user@host:465`, or `smtp://user@host:587` for STARTTLS
    #[arg(
        id = "mail_server",
        long = "mail-server",
        value_name = "URL",
        env = "ENVFORGE_MAIL_SERVER",
        requires = "mail_from"
    )]
    pub(crate) server: Option<String>,
    /// From whom mail comes
    #[arg(id = "mail_from", long = "mail-from", value_name = "ADDRESS", env = "ENVFORGE_MAIL_FROM")]
    pub(crate) from: Option<envforge_core::email::EmailAddress>,
    /// File with the mail server's password; else ENVFORGE_MAIL_PASSWORD
    #[arg(
        id = "mail_password_file",
        long = "mail-password-file",
        value_name = "FILE",
        env = "ENVFORGE_MAIL_PASSWORD_FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
}

/// Who may sign in, and by whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignInArguments {
    /// File with identity providers (OpenID Connect), as in docs/sign-in.md; AUTH0_… adds one named auth0
    #[arg(long, value_name = "FILE", env = "ENVFORGE_IDENTITY_PROVIDERS_FILE")]
    pub(crate) identity_providers_file: Option<PathBuf>,
    /// Who may make an account by signing in: `closed`, `invited`, `domain:example.org,…` or `open`
    #[arg(long, value_name = "WHO", env = "ENVFORGE_SIGN_UP", default_value = "closed")]
    pub(crate) sign_up: String,
}

/// TLS, ended by the gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct TlsArguments {
    /// File with a certificate for *.DOMAIN and its chain (PEM); the gateway ends TLS with it, and takes a new one without
    /// a restart
    #[arg(id = "tls_certificate", long = "tls-certificate", value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// File with its private key (PEM), closed to other users and readable for the gateway's [default: the certificate's]
    #[arg(id = "tls_key", long = "tls-key", value_name = "FILE", requires = "tls_certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Where plain HTTP is redirected to HTTPS, and nothing else is done, such as 0.0.0.0:80
    #[arg(long, value_name = "ADDRESS", requires = "tls_certificate")]
    pub(crate) redirect_listen: Option<SocketAddr>,
    /// How long a browser that was here comes back over HTTPS only; 0 makes it forget that
    #[arg(long, value_name = "SECONDS", requires = "tls_certificate", value_parser = clap::value_parser!(u64).range(0..=63_072_000))]
    pub(crate) hsts_max_age: Option<u64>,
}

impl TlsArguments {
    /// How browsers reach the gateway: over TLS where it ends it, else as said.
    pub(crate) fn scheme(&self, said: Scheme) -> Scheme {
        if self.certificate.is_some() { Scheme::Https } else { said }
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scheme {
    /// Plain, for `*.localhost`
    Http,
    /// TLS, ended in front of the gateway; with --tls-certificate it always is
    Https,
}

impl Scheme {
    /// As in a URL.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How long the ledger is kept.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LedgerArguments {
    /// Prune ledger events older than this many days, but those that receipts are made from; without it they are kept
    /// for ever
    #[arg(long, value_name = "DAYS", env = "ENVFORGE_LEDGER_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(30..=36_500))]
    pub(crate) ledger_retention_days: Option<u32>,
}

/// Given by the supervisor to its children.
#[derive(Debug, Args)]
pub(crate) struct Supervised {
    /// End when this process ends
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) supervisor: Option<i32>,
}

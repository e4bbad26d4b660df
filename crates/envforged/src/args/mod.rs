//! The command line: roles, tools, flags and their help; no logic.
//!
//! A secret is never a flag: flags are in every process list. It comes from a file that only the role's user can read,
//! or from the environment where the product honours a name (`DATABASE_URL`).

mod shared;

pub(crate) use shared::{
    BoxDirectory, DrainArguments, GITHUB, GithubArguments, KmsArguments, LedgerArguments, MachineArguments,
    MailArguments, OperatorArguments, Scheme, SecretStore, SecretStoreArguments, SignInArguments, Supervised,
    TlsArguments,
};

use crate::traffic::TrafficArguments;
use clap::{Args, Parser, Subcommand};
use envforge_core::job::Queue;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A path as it was meant where the command was given: children of a box work in `/`.
pub(crate) fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Runs EnvForge: one box with everything, or its roles one by one.
#[derive(Debug, Parser)]
#[command(name = "envforged", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// What to run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Environment: ENVFORGE_LOG filters the log (`info`, `debug`, `envforge_gateway=debug,info`), ENVFORGE_LOG_FORMAT=json \
makes it JSON.";

/// Roles and tools.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this box: PostgreSQL, server, gateway and host, each a process of its own
    All(Box<AllArguments>),
    /// Run the control plane
    Server(Box<ServerArguments>),
    /// Run a gateway
    Gateway(GatewayArguments),
    /// Run a host daemon
    Host(HostArguments),
    /// Obtain and renew the gateway's wildcard certificate, proven by DNS (ACME)
    Acme(AcmeArguments),
    /// Bring a database's schema up to date, as its owner; or show what that would do, or take steps back
    Migrate(MigrateArguments),
    /// Save the whole box, while it runs, in one file
    Backup(BackupArguments),
    /// Make a box from a backup, in an empty directory
    Restore(RestoreArguments),
    /// Look at this machine for what is missing or broken, and say what helps
    Doctor(DoctorArguments),
    /// Operate an installation
    Admin(AdminArguments),
}

/// `envforged all`.
#[derive(Debug, Args)]
pub(crate) struct AllArguments {
    #[command(flatten)]
    pub(crate) place: BoxDirectory,
    #[command(flatten)]
    pub(crate) kms: KmsArguments,
    #[command(flatten)]
    pub(crate) secret_store: SecretStoreArguments,
    /// Where the server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7080")]
    pub(crate) listen: SocketAddr,
    /// Where the gateway listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7081")]
    pub(crate) gateway_listen: SocketAddr,
    /// The domain whose direct subdomains are dev hosts
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    pub(crate) dev_domain: String,
    /// How browsers reach the gateway
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) gateway_scheme: Scheme,
    /// The port browsers reach the gateway on, when it is not the one it listens on
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// Socket on which hosts dial a further gateway, beside the box's own; may be given again
    #[arg(long = "gateway-uplink", value_name = "SOCKET")]
    pub(crate) gateway_uplinks: Vec<PathBuf>,
    /// How people reach the server, when it is not where it listens
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// A PostgreSQL to use, as the owner of the database, instead of running one; better given as DATABASE_URL,
    /// which no process list shows
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// Directory of PostgreSQL's programs [default: the newest in /usr/lib/postgresql, else on PATH]
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// The org that the first start makes
    #[arg(long, value_name = "SLUG", default_value = "local")]
    pub(crate) org: String,
    /// Let everybody with an account make an org, not only the operator
    #[arg(long)]
    pub(crate) open_orgs: bool,
    /// As root: the user the server runs as, a name or a number
    #[arg(long, value_name = "USER", default_value = "61190")]
    pub(crate) server_user: String,
    /// As root: the user the gateway runs as, a name or a number
    #[arg(long, value_name = "USER", default_value = "61191")]
    pub(crate) gateway_user: String,
    /// As root: the user PostgreSQL runs as
    #[arg(long, value_name = "USER", default_value = "postgres")]
    pub(crate) postgres_user: String,
    #[command(flatten)]
    pub(crate) traffic: TrafficArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
    #[command(flatten)]
    pub(crate) github: GithubArguments,
    #[command(flatten)]
    pub(crate) operator: OperatorArguments,
    #[command(flatten)]
    pub(crate) mail: MailArguments,
    #[command(flatten)]
    pub(crate) sign_in: SignInArguments,
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// `envforged server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Where the public API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7080")]
    pub(crate) listen: SocketAddr,
    /// File with the URL of PostgreSQL, as role envforge_app; else DATABASE_URL
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// Socket for gateways and hosts of this box
    #[arg(long, value_name = "SOCKET")]
    pub(crate) internal_socket: PathBuf,
    /// Socket on which hosts dial the terminal relay
    #[arg(long, value_name = "SOCKET")]
    pub(crate) uplink: PathBuf,
    /// Socket on which hosts dial a gateway, told to them; given again for each further gateway
    #[arg(long = "gateway-uplink", value_name = "SOCKET", required = true)]
    pub(crate) gateway_uplinks: Vec<PathBuf>,
    /// A folder whose disk must not get full, such as the database's if it is on this machine; may be given again
    #[arg(long = "disk-folder", value_name = "DIR")]
    pub(crate) disk_folders: Vec<PathBuf>,
    /// The domain whose direct subdomains are dev hosts
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    pub(crate) dev_domain: String,
    /// How browsers reach the gateway
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) gateway_scheme: Scheme,
    /// The port browsers reach the gateway on, when it is not the scheme's own
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// How people reach the public API
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: String,
    /// File with the seed of the signing key: 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub(crate) signing_seed_file: PathBuf,
    /// File with a key that encrypts the keys of secrets: 64 hexadecimal digits; the one in use first; else SECRET_KEY_BASE
    #[arg(long = "key-encryption-key-file", value_name = "FILE")]
    pub(crate) key_encryption_key_files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) kms: KmsArguments,
    #[command(flatten)]
    pub(crate) secret_store: SecretStoreArguments,
    /// File with the key gateways show
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway_key_file: PathBuf,
    /// How many background jobs of a queue run at a time, such as `ai=2`; 0 leaves them to other servers
    #[arg(long, value_name = "QUEUE=N", value_parser = queue_concurrency)]
    pub(crate) queue_concurrency: Vec<(Queue, usize)>,
    /// Let everybody with an account make an org, not only the operator
    #[arg(long)]
    pub(crate) open_orgs: bool,
    #[command(flatten)]
    pub(crate) github: GithubArguments,
    /// On the first start make this org, its owner and a host
    #[arg(long, value_name = "SLUG", requires = "owner_key_file", requires = "host_token_file")]
    pub(crate) bootstrap_org: Option<String>,
    /// Where the first start writes the owner's API key
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_key_file: Option<PathBuf>,
    /// Where the first start writes the host's registration token
    #[arg(long, value_name = "FILE")]
    pub(crate) host_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
    #[command(flatten)]
    pub(crate) operator: OperatorArguments,
    #[command(flatten)]
    pub(crate) drain: DrainArguments,
    #[command(flatten)]
    pub(crate) mail: MailArguments,
    #[command(flatten)]
    pub(crate) sign_in: SignInArguments,
    #[command(flatten)]
    pub(crate) supervised: Supervised,
}

/// Most jobs of one queue that one server runs at a time.
const CONCURRENCY_MAX: usize = 1_000;

fn queue_concurrency(text: &str) -> Result<(Queue, usize), String> {
    let (queue, number) = text.split_once('=').ok_or("write a queue and a number: `ai=2`")?;
    match number.parse() {
        Ok(number) if number <= CONCURRENCY_MAX => Ok((queue.parse()?, number)),
        _ => Err(format!("`{number}` is not a number from 0 to {CONCURRENCY_MAX}")),
    }
}

/// `envforged gateway`.
#[derive(Debug, Args)]
pub(crate) struct GatewayArguments {
    /// Where it listens, unless it is started with a listening socket (systemd's socket activation)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7081")]
    pub(crate) listen: SocketAddr,
    /// The domain whose direct subdomains are dev hosts
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    pub(crate) dev_domain: String,
    /// How browsers reach it
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) scheme: Scheme,
    /// The port browsers reach it on, when it is not the one it listens on
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// How people reach the server, where members sign in to dev hosts; without it these open by links alone
    #[arg(long, value_name = "URL")]
    pub(crate) product_url: Option<String>,
    /// The server's socket
    #[arg(long, value_name = "SOCKET")]
    pub(crate) server_socket: PathBuf,
    /// Socket on which hosts dial in
    #[arg(long, value_name = "SOCKET")]
    pub(crate) uplink: PathBuf,
    /// File with the key to show to the server
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    #[command(flatten)]
    pub(crate) traffic: TrafficArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) operator: OperatorArguments,
    #[command(flatten)]
    pub(crate) drain: DrainArguments,
    #[command(flatten)]
    pub(crate) supervised: Supervised,
}

/// `envforged host`.
#[derive(Debug, Args)]
pub(crate) struct HostArguments {
    /// Where everything of this host is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/envforge/host")]
    pub(crate) data_dir: PathBuf,
    /// The server's socket on this box
    #[arg(long, value_name = "SOCKET", conflicts_with = "server_url", required_unless_present = "server_url")]
    pub(crate) server_socket: Option<PathBuf>,
    /// The server's URL
    #[arg(long, value_name = "URL")]
    pub(crate) server_url: Option<String>,
    /// File with the one-time registration token; not needed once registered
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Directory of PostgreSQL's programs, for workspaces' databases
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// The user workspaces' PostgreSQL runs as
    #[arg(long, value_name = "USER", default_value = "postgres")]
    pub(crate) resource_user: String,
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    #[command(flatten)]
    pub(crate) operator: OperatorArguments,
    #[command(flatten)]
    pub(crate) supervised: Supervised,
}

/// Let's Encrypt's production directory.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `envforged acme`.
#[derive(Debug, Args)]
pub(crate) struct AcmeArguments {
    /// The domain whose direct subdomains are dev hosts; the certificate is for *.DOMAIN
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dev_domain: String,
    /// Program that sets and removes a TXT record: `PROGRAM present|cleanup NAME VALUE`, also in ENVFORGE_ACME_VERB,
    /// …_NAME, …_VALUE and …_DOMAIN
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) hook: PathBuf,
    /// Folder for the certificate with its key, DOMAIN.pem, and the account's key
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// The CA's terms of service were read and are agreed to
    #[arg(long, required = true)]
    pub(crate) agree_to_terms: bool,
    /// A mail address the CA may write to; may be given again
    #[arg(long = "contact", value_name = "ADDRESS")]
    pub(crate) contacts: Vec<envforge_core::email::EmailAddress>,
    /// The CA's ACME directory
    #[arg(long, value_name = "URL", default_value = LETS_ENCRYPT)]
    pub(crate) directory: String,
    /// File with the root certificate (PEM) of the CA's own HTTPS, instead of the public ones
    #[arg(long, value_name = "FILE")]
    pub(crate) directory_root: Option<PathBuf>,
    /// Seconds between the hook's end and the CA's look: what a record takes to reach every name server
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) propagation: u64,
    /// Renew if it is due, and end: for cron
    #[arg(long)]
    pub(crate) once: bool,
}

/// `envforged migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    /// File with the URL of the database, as its owner; else DATABASE_URL, else the one box's own
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// File with the password that role envforge_app gets [default: the one box's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) app_password_file: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Bring the schema to this version: forward, or back by the ways that steps bring
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<i64>,
    /// Answer with JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: BoxDirectory,
}

/// `envforged backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// The file to make; it holds every secret of the box
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: BoxDirectory,
    /// Leave out checkouts, homes and databases of workspaces
    #[arg(long)]
    pub(crate) without_workspaces: bool,
    /// Directory of PostgreSQL's programs
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// As root: the user PostgreSQL runs as
    #[arg(long, value_name = "USER", default_value = "postgres")]
    pub(crate) postgres_user: String,
    /// Answer with JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `envforged restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The backup
    pub(crate) file: PathBuf,
    /// The box's new directory: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Only check that the backup is whole and can be restored by this program
    #[arg(long)]
    pub(crate) check: bool,
    /// Directory of PostgreSQL's programs
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// As root: the user PostgreSQL runs as
    #[arg(long, value_name = "USER", default_value = "postgres")]
    pub(crate) postgres_user: String,
    /// Answer with JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `envforged doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) place: BoxDirectory,
    /// Where the server listens, or is to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7080")]
    pub(crate) listen: SocketAddr,
    /// Where the gateway listens, or is to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7081")]
    pub(crate) gateway_listen: SocketAddr,
    /// Directory of PostgreSQL's programs
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// Answer with JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `envforged admin`.
#[derive(Debug, Args)]
pub(crate) struct AdminArguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: AdminVerb,
}

/// Verbs of `admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminVerb {
    /// Print the API key of the one box's owner
    OwnerKey(BoxDirectory),
    /// Stop the one box: requests end, PostgreSQL stops, shells and services stay
    Stop(BoxDirectory),
    /// End every shell, service and database process the stopped box left running; files and databases stay
    Clear(BoxDirectory),
    /// Open `psql` on the one box's own database, as its owner
    Psql(PsqlArguments),
}

/// `envforged admin psql`.
#[derive(Debug, Args)]
pub(crate) struct PsqlArguments {
    #[command(flatten)]
    pub(crate) place: BoxDirectory,
    /// Arguments of `psql`
    #[arg(last = true)]
    pub(crate) rest: Vec<std::ffi::OsString>,
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use super::shared::network_pool;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_network_pool_is_two_bytes() {
        assert_eq!(network_pool("10.213"), Ok([10, 213]));
        assert!(network_pool("10").is_err() && network_pool("10.213.0").is_err() && network_pool("10.256").is_err());
    }
}

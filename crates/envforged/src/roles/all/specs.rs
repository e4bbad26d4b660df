//! What each child is given: flags, files, user, environment. And the secrets of the box, made once.
//!
//! A child's environment is chosen, not inherited: the gateway, which strangers talk to, gets what a program needs to
//! run and log; the server its settings too; the host whatever we have but the product's secrets, because it runs the
//! machine's own programs (`git`, proxies).

use super::FrontPorts;
use super::children::Spec;
use super::layout::{Accounts, Layout};
use crate::args::{
    AllArguments, GithubArguments, MachineArguments, Scheme, SecretStore, SecretStoreArguments, TlsArguments, whole,
};
use crate::{listen, private};
use envforge_core::secret::Secret;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// What any program needs.
const PLAIN: [&str; 9] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "ENVFORGE_LOG",
    "ENVFORGE_LOG_FORMAT",
];
/// Names that belong to the server alone, whatever follows them.
const SERVERS: [&str; 7] = [
    "DATABASE_URL",
    "SECRET_KEY_BASE",
    "TOKEN_SIGNING_SECRET",
    "AUTH0_",
    "ANTHROPIC_API_KEY",
    "AWS_",
    "ENVFORGE_MAIL_PASSWORD",
];
/// Names that are the supervisor's own.
const OURS: [&str; 4] = ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "SUDO_"];

/// Makes the secrets of the box that are not the database's, where they are missing.
pub(crate) fn make_secrets(arguments: &AllArguments, layout: &Layout, accounts: &Accounts) -> anyhow::Result<()> {
    // The server's user can't read what only root can: it gets a copy.
    if let Some(file) = &arguments.mail.password_file {
        private::write(&layout.server_secret("mail-password"), &private::read(file)?, accounts.server)?;
    }
    if let Some(file) = &arguments.sign_in.identity_providers_file {
        let providers = private::read(file)?;
        private::write(&layout.server_secret("identity-providers.toml"), &providers, accounts.server)?;
    }
    private::kept(&layout.server_secret("signing-seed"), accounts.server)?;
    private::kept(&layout.server_secret("key-encryption-key"), accounts.server)?;
    let key = private::kept(&layout.server_secret("gateway-key"), accounts.server)?;
    private::write(&layout.gateway_key(), &key, accounts.gateway)
}

/// How people reach the server.
pub(crate) fn public_url(arguments: &AllArguments) -> String {
    let here = || format!("http://{}", super::probe::reachable(arguments.listen));
    arguments.public_url.clone().unwrap_or_else(here)
}

/// How browsers reach the gateway.
pub(crate) fn scheme(arguments: &AllArguments) -> Scheme {
    arguments.tls.scheme(arguments.gateway_scheme)
}

/// The port browsers reach the gateway on, when it is not the scheme's own.
pub(crate) fn gateway_port(arguments: &AllArguments) -> Option<u16> {
    let port = arguments.gateway_port.unwrap_or_else(|| arguments.gateway_listen.port());
    let default = match scheme(arguments) {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    (port != default).then_some(port)
}

pub(crate) fn server(arguments: &AllArguments, layout: &Layout, accounts: &Accounts) -> Spec {
    let mut flags = Flags::new()
        .with("--listen", arguments.listen.to_string())
        .with("--database-url-file", layout.server_secret("database-url"))
        .with("--internal-socket", layout.internal_socket())
        .with("--uplink", layout.server_uplink())
        .with("--metrics-listen", layout.operator_socket("server"))
        .with("--drain-notice", "0")
        .with("--gateway-uplink", layout.gateway_uplink())
        .with("--dev-domain", &arguments.dev_domain)
        .with("--gateway-scheme", scheme(arguments).as_str())
        .with("--public-url", public_url(arguments))
        .with("--signing-seed-file", layout.server_secret("signing-seed"))
        .with("--key-encryption-key-file", layout.server_secret("key-encryption-key"))
        .with("--gateway-key-file", layout.server_secret("gateway-key"))
        .with("--bootstrap-org", &arguments.org)
        .with("--owner-key-file", layout.server_secret("owner.key"))
        .with("--host-token-file", layout.server_secret("host.token"));
    for socket in &arguments.gateway_uplinks {
        flags = flags.with("--gateway-uplink", whole(socket));
    }
    flags = flags.with("--disk-folder", layout.root());
    if arguments.database_url.is_none() {
        flags = flags.with("--disk-folder", layout.database_home());
    }
    if let Some(port) = gateway_port(arguments) {
        flags = flags.with("--gateway-port", port.to_string());
    }
    if let Some(key) = &arguments.kms.aws_kms_key {
        flags = flags.with("--aws-kms-key", key);
    }
    for key in &arguments.kms.aws_kms_keys_before {
        flags = flags.with("--aws-kms-key-before", key);
    }
    let SecretStoreArguments { secret_store, ssm_prefix, ssm_kms_key } = &arguments.secret_store;
    if *secret_store == SecretStore::Ssm {
        flags = flags.with("--secret-store", "ssm");
    }
    if let (Some(prefix), Some(key)) = (ssm_prefix, ssm_kms_key) {
        flags = flags.with("--ssm-prefix", prefix).with("--ssm-kms-key", key);
    }
    if let Some(days) = arguments.ledger.ledger_retention_days {
        flags = flags.with("--ledger-retention-days", days.to_string());
    }
    if arguments.open_orgs {
        flags.0.push("--open-orgs".into());
    }
    let GithubArguments { app_id, app_key_file, url } = &arguments.github;
    if let (Some(id), Some(file)) = (app_id, app_key_file) {
        flags = flags.with("--github-app-id", id).with("--github-app-key-file", file).with("--github-url", url);
    }
    if let (Some(url), Some(from)) = (&arguments.mail.server, &arguments.mail.from) {
        flags = flags.with("--mail-server", url).with("--mail-from", from.as_str());
        if arguments.mail.password_file.is_some() {
            flags = flags.with("--mail-password-file", layout.server_secret("mail-password"));
        }
    }
    flags = flags.with("--sign-up", &arguments.sign_in.sign_up);
    if arguments.sign_in.identity_providers_file.is_some() {
        flags = flags.with("--identity-providers-file", layout.server_secret("identity-providers.toml"));
    }
    let environment = environment(|name| is_plain(name) || SERVERS.iter().any(|theirs| name.starts_with(theirs)));
    // The file says it; the variable may name the database as its owner.
    let environment = environment.into_iter().filter(|(name, _)| name != "DATABASE_URL").collect();
    Spec { role: "server", arguments: flags.0, account: accounts.server, environment, sockets: Vec::new() }
}

pub(crate) fn gateway(arguments: &AllArguments, layout: &Layout, accounts: &Accounts, ports: &FrontPorts) -> Spec {
    let mut flags = Flags::new()
        .with("--listen", arguments.gateway_listen.to_string())
        .with("--dev-domain", &arguments.dev_domain)
        .with("--product-url", public_url(arguments))
        .with("--scheme", scheme(arguments).as_str())
        .with("--server-socket", layout.internal_socket())
        .with("--uplink", layout.gateway_uplink())
        .with("--metrics-listen", layout.operator_socket("gateway"))
        .with("--drain-notice", "0")
        .with("--key-file", layout.gateway_key());
    if let Some(port) = arguments.gateway_port {
        flags = flags.with("--port", port.to_string());
    }
    for (flag, value) in arguments.traffic.flags() {
        flags = flags.with(flag, value);
    }
    let TlsArguments { certificate, key, redirect_listen, hsts_max_age } = &arguments.tls;
    for (flag, file) in [("--tls-certificate", certificate), ("--tls-key", key)] {
        if let Some(file) = file {
            flags = flags.with(flag, whole(file));
        }
    }
    if let Some(address) = redirect_listen {
        flags = flags.with("--redirect-listen", address.to_string());
    }
    if let Some(seconds) = hsts_max_age {
        flags = flags.with("--hsts-max-age", seconds.to_string());
    }
    let environment = environment(is_plain);
    let mut sockets = vec![("gateway", Arc::clone(&ports.gateway))];
    sockets.extend(ports.redirect.clone().map(|socket| (listen::REDIRECT, socket)));
    Spec { role: "gateway", arguments: flags.0, account: accounts.gateway, environment, sockets }
}

pub(crate) fn host(arguments: &AllArguments, layout: &Layout) -> Spec {
    let MachineArguments { instance, uid_base, network_pool: [a, b], allow_elevation } = &arguments.machine;
    let mut flags = Flags::new()
        .with("--data-dir", layout.host_data())
        .with("--server-socket", layout.internal_socket())
        .with("--token-file", layout.host_token())
        .with("--metrics-listen", layout.operator_socket("host"))
        .with("--resource-user", &arguments.postgres_user)
        .with("--instance", instance)
        .with("--uid-base", uid_base.to_string())
        .with("--network-pool", format!("{a}.{b}"));
    if let Some(dir) = &arguments.postgres_bin {
        flags = flags.with("--postgres-bin", dir);
    }
    if *allow_elevation {
        flags.0.push("--allow-elevation".into());
    }
    let theirs = |name: &str| SERVERS.iter().chain(&OURS).any(|prefix| name.starts_with(prefix));
    let environment = environment(|name| !theirs(name));
    Spec { role: "host", arguments: flags.0, account: None, environment, sockets: Vec::new() }
}

/// Brings the schema up to date, with files that the database's user can read.
pub(crate) fn migrate(url: &Path, app_password: &Path, accounts: &Accounts) -> Spec {
    let arguments = Flags(Vec::new()).with("--database-url-file", url).with("--app-password-file", app_password);
    let environment = environment(is_plain);
    Spec { role: "migrate", arguments: arguments.0, account: accounts.postgres, environment, sockets: Vec::new() }
}

/// The URL of somebody's own database, as the application's role.
pub(crate) fn as_app(owner_url: &str, role: &str, password: &Secret) -> anyhow::Result<Secret> {
    let invalid =
        || crate::advice::advised("the database's URL is not one", "give `postgres://owner:password@host/database`");
    let (scheme, rest) = owner_url.split_once("://").ok_or_else(invalid)?;
    anyhow::ensure!(matches!(scheme, "postgres" | "postgresql"), invalid());
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // A role or password in the query would win over the one in front.
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("user=") && !pair.starts_with("password="))
        .collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(Secret::new(format!("{scheme}://{role}:{}@{host}{path}{query}", password.expose())))
}

fn is_plain(name: &str) -> bool {
    PLAIN.contains(&name) || name.starts_with("OTEL_")
}

fn environment(wanted: impl Fn(&str) -> bool) -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(&wanted)).collect()
}

struct Flags(Vec<OsString>);

impl Flags {
    fn new() -> Self {
        Self(vec!["--supervisor".into(), std::process::id().to_string().into()])
    }

    fn with(mut self, flag: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.push(flag.into());
        self.0.push(value.as_ref().to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::as_app;
    use envforge_core::secret::Secret;

    #[test]
    fn the_owners_url_becomes_the_applications() {
        let password = Secret::new("0123".to_owned());
        for (owner, app) in [
            ("postgres://own:secret@db.example:5433/envforge", "postgres://envforge_app:0123@db.example:5433/envforge"),
            (
                "postgresql://db.example/envforge?sslmode=require",
                "postgresql://envforge_app:0123@db.example/envforge?sslmode=require",
            ),
            (
                "postgres://own:p%40ss@h/db?user=x&host=/run/pg&password=y",
                "postgres://envforge_app:0123@h/db?host=/run/pg",
            ),
        ] {
            assert_eq!(as_app(owner, "envforge_app", &password).unwrap().expose(), app);
        }
        assert!(as_app("mysql://h/db", "envforge_app", &password).is_err());
    }
}

//! The control plane: decides, remembers, bills. Runs unprivileged, and knows the database only as `envforge_app`.

use crate::advice::advised;
use crate::args::{GITHUB, GithubArguments, KmsArguments, MailArguments, SecretStore, ServerArguments};
use crate::{operator, private};
use anyhow::Context as _;
use envforge_api::keys::KeyWrapper;
use envforge_aws::{KmsKey, SsmStore};
use envforge_core::secret::Secret;
use envforge_core::usage::Prices;
use envforge_server::platform::keys::{KeyWrappers, LocalKey};
use envforge_server::platform::secret_stores::SecretStores;
use envforge_server::providers::mail::MailConfig;
use envforge_server::schema::SchemaError;
use envforge_server::{Bootstrap, GithubApp, Server, ServerConfig};
use rustix::fs::Mode;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Runs the server.
pub(crate) fn run(arguments: &ServerArguments) -> anyhow::Result<ExitCode> {
    // What it makes is for its user and its group: the internal socket's directory hands its own group down, and the
    // gateway is in that one.
    rustix::process::umask(Mode::RWXO);
    super::use_open_files_limit();
    let notice = Duration::from_secs(arguments.drain.drain_notice);
    super::run("server", &arguments.supervised, notice, async |token| {
        let config = configuration(arguments, key_wrappers(arguments).await?, secret_stores(arguments).await?)?;
        let running = Server::start(config, token).await.map_err(explain).context("the server did not start")?;
        let _operator = operator::listen(arguments.operator.metrics_listen.as_ref(), running.app().clone())?;
        tracing::info!(address = %running.local_addr, "server: listening");
        running.wait().await;
        Ok(())
    })
}

/// What the schema is, and what helps, where that is why.
fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<SchemaError>() {
        Some(schema) => advised(schema.to_string(), schema.fix()),
        None => error,
    }
}

fn configuration(
    arguments: &ServerArguments,
    key_wrappers: KeyWrappers,
    secret_stores: SecretStores,
) -> anyhow::Result<ServerConfig> {
    let bootstrap = match (&arguments.bootstrap_org, &arguments.owner_key_file, &arguments.host_token_file) {
        (Some(org), Some(owner), Some(host)) => {
            Some(Bootstrap { org: org.clone(), owner_key_file: owner.clone(), host_token_file: host.clone() })
        }
        _ => None,
    };
    Ok(ServerConfig {
        database_url: database_url(arguments.database_url_file.as_deref())?,
        listen: arguments.listen,
        internal_socket: arguments.internal_socket.clone(),
        uplink_path: arguments.uplink.clone(),
        gateway_uplink_paths: arguments.gateway_uplinks.clone(),
        dev_domain: arguments.dev_domain.clone(),
        gateway_url_scheme: arguments.gateway_scheme.as_str().to_owned(),
        gateway_url_port: arguments.gateway_port,
        public_url: arguments.public_url.clone(),
        signing_seed: private::read(&arguments.signing_seed_file)?,
        key_wrappers,
        secret_stores,
        gateway_key: private::read(&arguments.gateway_key_file)?,
        ledger_retention_days: arguments.ledger.ledger_retention_days,
        open_orgs: arguments.open_orgs,
        disk_folders: arguments.disk_folders.clone(),
        drain_notice: Duration::from_secs(arguments.drain.drain_notice),
        prices: Prices::default(),
        queue_concurrency: arguments.queue_concurrency.iter().copied().collect(),
        github_app: github_app(&arguments.github)?,
        mail: mail(&arguments.mail)?,
        identity_providers: crate::identity::providers(&arguments.sign_in)?,
        sign_up: crate::identity::sign_up(&arguments.sign_in.sign_up)?,
        bootstrap,
    })
}

/// The GitHub App, with the key in its file.
fn github_app(arguments: &GithubArguments) -> anyhow::Result<Option<GithubApp>> {
    let (Some(app_id), Some(file)) = (&arguments.app_id, &arguments.app_key_file) else {
        return Ok(None);
    };
    let url = arguments.url.trim_end_matches('/').to_owned();
    let api_url = if url == GITHUB { "https://api.github.com".to_owned() } else { format!("{url}/api/v3") };
    Ok(Some(GithubApp { app_id: app_id.clone(), private_key: private::read(file)?, url, api_url }))
}

/// The key-encryption keys, the one in use first: of KMS, if there is one.
async fn key_wrappers(arguments: &ServerArguments) -> anyhow::Result<KeyWrappers> {
    let KmsArguments { aws_kms_key, aws_kms_keys_before } = &arguments.kms;
    let mut wrappers: Vec<Box<dyn KeyWrapper>> = Vec::new();
    if let Some(key) = aws_kms_key {
        wrappers.push(Box::new(KmsKey::connect(key).await?));
    }
    for key in key_encryption_keys(&arguments.key_encryption_key_files, aws_kms_key.is_none())? {
        wrappers.push(Box::new(LocalKey::from_hex(&key)?));
    }
    for key in aws_kms_keys_before {
        wrappers.push(Box::new(KmsKey::connect(key).await?));
    }
    KeyWrappers::new(wrappers)
}

/// Where values of secrets lie: also a store that takes no new ones, while values lie there.
async fn secret_stores(arguments: &ServerArguments) -> anyhow::Result<SecretStores> {
    let given = &arguments.secret_store;
    let (Some(prefix), Some(key)) = (&given.ssm_prefix, &given.ssm_kms_key) else {
        return Ok(SecretStores::default());
    };
    let store = Arc::new(SsmStore::connect(prefix, key).await?);
    Ok(match given.secret_store {
        SecretStore::Ssm => SecretStores::outside(store),
        SecretStore::BuiltIn => SecretStores::opened(store),
    })
}

/// The mail server, its password from the file, else from `ENVFORGE_MAIL_PASSWORD`.
fn mail(arguments: &MailArguments) -> anyhow::Result<Option<MailConfig>> {
    let (Some(url), Some(from)) = (&arguments.server, &arguments.from) else { return Ok(None) };
    let password = match (&arguments.password_file, std::env::var("ENVFORGE_MAIL_PASSWORD")) {
        (Some(file), _) => Some(private::read(file)?),
        (None, Ok(password)) if !password.is_empty() => Some(Secret::new(password)),
        _ => None,
    };
    MailConfig::from_url(url, password, from.clone()).map(Some).map_err(anyhow::Error::msg)
}

/// The keys in the files, else those in `SECRET_KEY_BASE`, each on a line; the one in use first.
fn key_encryption_keys(files: &[std::path::PathBuf], needed: bool) -> anyhow::Result<Vec<Secret>> {
    if !files.is_empty() {
        return files.iter().map(|file| private::read(file)).collect();
    }
    let given = std::env::var("SECRET_KEY_BASE").unwrap_or_default();
    let keys: Vec<Secret> = given.split_whitespace().map(|key| Secret::new(key.to_owned())).collect();
    if keys.is_empty() && needed {
        return Err(crate::advice::advised(
            "no key-encryption key was given",
            "give --key-encryption-key-file or --aws-kms-key, or set SECRET_KEY_BASE to 64 hexadecimal digits (`openssl rand -hex 32`)",
        ));
    }
    Ok(keys)
}

/// The URL in the file, else the one in `DATABASE_URL`.
pub(crate) fn database_url(file: Option<&std::path::Path>) -> anyhow::Result<Secret> {
    match (file, std::env::var("DATABASE_URL")) {
        (Some(path), _) => private::read(path),
        (None, Ok(url)) if !url.is_empty() => Ok(Secret::new(url)),
        _ => Err(crate::advice::advised("no database was given", "set DATABASE_URL, or give --database-url-file")),
    }
}

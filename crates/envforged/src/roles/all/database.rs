//! The control plane's database under `all`: the managed cluster, or somebody's own.
//!
//! Either way it is migrated by a process of its own as the owner, and the server gets a URL as `envforge_app` in a file
//! that only it can read. A managed cluster that dies is started again; nothing here ends one but a drain.

use super::layout::{Accounts, Layout};
use super::specs;
use super::steps::Steps;
use crate::account::Account;
use crate::advice::advised;
use crate::args::AllArguments;
use crate::postgres::{APP, Cluster, OWNER, Passwords, Postmaster, url};
use crate::private;
use anyhow::{Context as _, bail};
use envforge_core::secret::Secret;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The managed cluster; `None` with a database of one's own.
pub(crate) fn cluster(
    arguments: &AllArguments,
    layout: &Layout,
    accounts: &Accounts,
) -> anyhow::Result<Option<Cluster>> {
    if arguments.database_url.is_some() {
        return Ok(None);
    }
    let bin = arguments.postgres_bin.as_deref();
    Cluster::find(layout.database_home(), layout.database_sockets(), accounts.postgres, bin).map(Some)
}

/// Makes the cluster run, and writes down who may enter the database.
pub(crate) async fn ensure(
    cluster: Option<&Cluster>,
    arguments: &AllArguments,
    layout: &Layout,
    accounts: &Accounts,
    steps: &mut Steps,
) -> anyhow::Result<Option<Postmaster>> {
    let account: Option<Account> = accounts.postgres;
    let app_password = private::kept(&layout.database_secret("app.password"), account)?;
    let (owner_url, app_url, postmaster) = match (cluster, &arguments.database_url) {
        (Some(cluster), _) => {
            let passwords = Passwords {
                superuser: private::kept(&layout.database_secret("superuser.password"), account)?,
                owner: private::kept(&layout.database_owner_password(), account)?,
            };
            let (how, postmaster) = cluster.ensure(&passwords).await?;
            let detail =
                format!("{}, version {}, process {}", how.as_str(), cluster.binaries.version, postmaster.identity.pid);
            steps.done("postgres", &detail);
            let sockets = layout.database_sockets();
            (url(OWNER, &passwords.owner, &sockets), url(APP, &app_password, &sockets), Some(postmaster))
        }
        (None, Some(owner)) => (Secret::new(owner.clone()), specs::as_app(owner, APP, &app_password)?, None),
        (None, None) => bail!("neither a managed database nor a URL"),
    };
    private::write(&layout.database_secret("owner.url"), &owner_url, account)?;
    private::write(&layout.server_secret("database-url"), &app_url, accounts.server)?;
    Ok(postmaster)
}

/// Brings the schema up to date.
pub(crate) async fn migrate(layout: &Layout, accounts: &Accounts) -> anyhow::Result<()> {
    let spec = specs::migrate(&layout.database_secret("owner.url"), &layout.database_secret("app.password"), accounts);
    let mut command = spec.command().context("the migration could not be run")?;
    let status = command.status().await.context("the migration could not be run")?;
    if status.success() {
        return Ok(());
    }
    Err(advised(
        format!("the database could not be migrated ({status})"),
        "its own words are above; nothing was changed half-way",
    ))
}

/// Starts the managed cluster again whenever it dies, until `stop`.
pub(crate) async fn keep(cluster: &Cluster, mut postmaster: Postmaster, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = postmaster.gone() => tracing::warn!("PostgreSQL died and is started again"),
            () = stop.cancelled() => return,
        }
        let mut pause = PAUSE_MIN;
        postmaster = loop {
            if stop.is_cancelled() {
                return;
            }
            match cluster.start().await {
                Ok(postmaster) => break postmaster,
                Err(error) => tracing::error!(error = format!("{error:#}"), "PostgreSQL does not start"),
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                () = stop.cancelled() => return,
            }
        };
        tracing::info!(pid = postmaster.identity.pid, "PostgreSQL runs again");
    }
}

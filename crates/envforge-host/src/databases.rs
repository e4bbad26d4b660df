//! The databases of all workspaces, out of a host and into another: for backups.
//!
//! As SQL, made and read by PostgreSQL's own programs: readable by any later version, consistent for each database, and
//! with the roles and their passwords. Needs no daemon; one may run.

use crate::config::HostConfig;
use crate::place::DataDir;
use crate::resources::postgres::{Cluster, InUse};
use envforge_api::ambient::SystemEntropy;
use std::process::Stdio;
use tokio::process::Child;

/// Why it did not work, with what helps.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct DatabasesError {
    /// What happened.
    pub cause: String,
    /// What helps.
    pub fix: String,
}

/// The databases of a host.
pub struct Databases {
    cluster: Cluster,
    data: DataDir,
    /// Held from the first use on: a daemon that runs meanwhile does not stop the cluster.
    in_use: tokio::sync::OnceCell<InUse>,
}

impl Databases {
    /// Those of the host with this configuration.
    pub fn of(config: &HostConfig) -> Self {
        let data = DataDir::new(&config.data_dir, true);
        Self { cluster: Cluster::new(config, &data), data, in_use: tokio::sync::OnceCell::new() }
    }

    /// Whether there were ever any.
    pub fn exist(&self) -> bool {
        self.cluster.exists()
    }

    /// A program that writes all of them to its standard output; the cluster is started if it does not run.
    pub async fn dump(&self) -> Result<Child, DatabasesError> {
        self.start().await?;
        Ok(self.cluster.admin("pg_dumpall", &["--database", "postgres"], Stdio::null(), Stdio::piped())?)
    }

    /// A program that reads from `sql` what [`Databases::dump`] wrote; the cluster is made and started. It goes on
    /// after errors: the administrator's own role is there already.
    pub async fn load(&self, sql: Stdio) -> Result<Child, DatabasesError> {
        self.data.create().map_err(|error| DatabasesError {
            cause: error.to_string(),
            fix: "see that the host's disk has room".to_owned(),
        })?;
        self.start().await?;
        let arguments = ["--no-psqlrc", "--quiet", "--dbname", "postgres", "--file", "-"];
        Ok(self.cluster.admin("psql", &arguments, sql, Stdio::null())?)
    }

    async fn start(&self) -> Result<(), DatabasesError> {
        self.in_use.get_or_try_init(|| self.cluster.in_use()).await?;
        Ok(self.cluster.ensure_running(&SystemEntropy).await?)
    }

    /// Stops the cluster, if it runs.
    pub async fn stop(&self) -> Result<(), DatabasesError> {
        self.cluster.stop().await.map_err(DatabasesError::from)
    }
}

impl From<crate::trouble::Blocked> for DatabasesError {
    fn from(block: crate::trouble::Blocked) -> Self {
        Self { cause: block.cause, fix: block.fix }
    }
}

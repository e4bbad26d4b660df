//! Extensions that the file asks for.
//!
//! The administrator makes them, in a database whose owner may have planted functions: only those of the list that the
//! file's reader goes by, whose scripts call nothing of the database's, and into `public`, where an owner's own would be.
//! They belong to the administrator; an owner may use them and can't change them. None is ever dropped, for data may need it.

use super::Cluster;
use super::database::{TRUSTED_NAMES, deleting, name_of};
use super::programs::LIMIT;
use crate::place::Place;
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use envforge_core::manifest::EXTENSIONS;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::PoisonError;

impl Cluster {
    /// Installs these extensions in the workspace's database, which is there, where they are missing. Those it was asked for
    /// before are not looked at again.
    pub(crate) async fn install(&self, place: &Place, wanted: &[String], entropy: &dyn Entropy) -> Result<(), Blocked> {
        let change = self.change(place.workspace);
        let _one = change.one.lock().await;
        if change.dropped.is_cancelled() {
            return Err(deleting());
        }
        let known = change.installed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What is said to the cluster is of the list, whoever asks.
        let is_missing = |name: &&str| wanted.iter().any(|wanted| wanted == name) && !known.contains(name);
        let missing: BTreeSet<&str> = EXTENSIONS.into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut sql = TRUSTED_NAMES.to_owned();
        for name in &missing {
            let _ = writeln!(sql, "CREATE EXTENSION IF NOT EXISTS \"{name}\" SCHEMA public;");
        }
        let _use = self.in_use().await?;
        self.ensure_running(entropy).await?;
        let database = name_of(place.workspace);
        tokio::select! {
            biased;
            () = change.dropped.cancelled() => return Err(deleting()),
            made = self.sql_in(&database, &sql, LIMIT) => made.map_err(|block| explained(block, &missing))?,
        };
        change.installed.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
        Ok(())
    }
}

/// Says of an extension that the host does not have what it is, by both ways to say so (since version 15, and before).
fn explained(block: Blocked, wanted: &BTreeSet<&str>) -> Blocked {
    let is_absent = |name: &&&str| {
        block.cause.contains(&format!("extension \"{name}\" is not available"))
            || block.cause.contains(&format!("/{name}.control\": No such file"))
    };
    match wanted.iter().find(is_absent) {
        Some(name) => blocked(
            "resource.extension_missing",
            format!("the extension {name} is not installed on this host"),
            "have it installed beside the host's PostgreSQL, or remove it from `extensions`; then wake this workspace again",
        ),
        None => block,
    }
}

//! What one workspace has of the cluster: a database, and a role with a password that owns it.

use super::programs::{LIMIT, MAINTENANCE};
use super::{Cluster, LOGGING_IN, PORT, SHARE, disk};
use crate::faults::point;
use crate::place::Place;
use crate::resources::{Values, begin_next, keep_next, known_secret, mark_of, next, saved_secret, values};
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use envforge_core::id::WorkspaceId;
use envforge_core::secret::Secret;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The class of the advisory locks that changes of one workspace's database take, in the cluster itself: a statement
/// outlives the client that was killed, and whoever comes next must not see it half done.
const LOCK_CLASS: i32 = 0x0e0f;
/// What is said next is in no log, whatever the cluster is told to log and whether it fails: it holds a password.
pub(super) const UNLOGGED: &str =
    "SET log_statement TO none;\nSET log_min_duration_statement TO -1;\nSET log_min_error_statement TO panic;\n";

/// How long a new password waits for whatever else is being done to the database.
const BUSY: Duration = Duration::from_secs(5);

/// What is being done to one workspace's database.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Held while it is made, copied into or dropped: one at a time.
    pub(super) one: tokio::sync::Mutex<()>,
    /// It is to be dropped, or was: nobody who was late makes it again, and what goes on with it ends.
    pub(super) dropped: CancellationToken,
    /// Extensions that are there, as far as it was asked for them.
    pub(super) installed: Mutex<BTreeSet<&'static str>>,
}

impl Cluster {
    /// The workspace's database and role, made if they are missing; what services are given. `known` says that the journal
    /// remembers them.
    pub(crate) async fn provision(&self, place: &Place, known: bool, entropy: &dyn Entropy) -> Result<Values, Blocked> {
        let _use = self.in_use().await?;
        self.ensure_running(entropy).await?;
        self.is_needed.store(true, Ordering::Relaxed);
        let change = self.change(place.workspace);
        let _one = change.one.lock().await;
        if change.dropped.is_cancelled() {
            return Err(deleting());
        }
        let name = name_of(place.workspace);
        let path = place.postgres_password();
        if let Some(next) = known_secret(&next(&path)).map_err(|error| disk(&error))? {
            // Whoever was to change it did not come to the end.
            self.change_password(place, &next).await?;
        }
        let saved = saved_secret(&path, entropy).map_err(|error| disk(&error))?;
        if !(known && saved.was_there) {
            let sql = format!(
                "{UNLOGGED}{lock}{role}\
                 SELECT 'CREATE DATABASE {name} OWNER {name}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n\
                 REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n",
                lock = lock(&name),
                role = make_role(&name, &saved.secret),
            );
            self.sql(&sql).await?;
        }
        Ok(given(place, &saved.secret))
    }

    /// Gives the workspace's role another password than the one with this mark, and ends whatever is connected with that
    /// one; the cluster is started for it. An attempt that was cut off is finished with the password it had made.
    pub(crate) async fn rotate(&self, place: &Place, before: &str, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let change = self.change(place.workspace);
        let _one = tokio::time::timeout(BUSY, change.one.lock()).await.map_err(|_| busy())?;
        if change.dropped.is_cancelled() {
            return Err(deleting());
        }
        let path = place.postgres_password();
        let is_before = mark_of(&path).map_err(|error| disk(&error))?.as_deref() == Some(before);
        if !is_before && !next(&path).exists() {
            return Ok(());
        }
        let _use = self.in_use().await?;
        self.ensure_running(entropy).await?;
        let next = begin_next(&path, entropy).map_err(|error| disk(&error))?;
        tokio::select! {
            biased;
            () = change.dropped.cancelled() => Err(deleting()),
            changed = self.change_password(place, &next) => changed,
        }
    }

    /// Makes the password that is on its way the one that is asked for, and nothing that came with another one stays.
    async fn change_password(&self, place: &Place, next: &Secret) -> Result<(), Blocked> {
        let name = name_of(place.workspace);
        let sql = format!(
            "{UNLOGGED}{lock}{role}SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}';\n",
            lock = lock(&name),
            role = make_role(&name, next),
        );
        self.sql(&sql).await?;
        point("password.changed");
        keep_next(&place.postgres_password()).map_err(|error| disk(&error))
    }

    /// Drops the workspace's database and role, for good; what never existed is no error. What goes on with them ends.
    pub(crate) async fn remove(&self, place: &Place, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let change = self.change(place.workspace);
        change.dropped.cancel();
        let _one = change.one.lock().await;
        // The password is saved before anything is made.
        if !place.postgres_password().exists() || !self.exists() {
            return Ok(());
        }
        let _use = self.in_use().await?;
        self.ensure_running(entropy).await?;
        let name = name_of(place.workspace);
        let (unfinished, replaced) = (unfinished(&name), replaced(&name));
        let sql = format!(
            "{lock}DROP DATABASE IF EXISTS {name} WITH (FORCE);\nDROP DATABASE IF EXISTS {replaced} WITH (FORCE);\nDROP DATABASE IF EXISTS {unfinished} WITH (FORCE);\n\
             DROP ROLE IF EXISTS {unfinished};\n",
            lock = lock(&name),
        );
        self.sql(&sql).await?;
        self.drop_role(&name).await
    }

    /// Drops a role whose database is gone, with the rights that others gave it in theirs.
    async fn drop_role(&self, name: &str) -> Result<(), Blocked> {
        // One of those databases may just be going itself.
        let mut dropped = Ok(());
        for _ in 0..5 {
            dropped = self.try_drop_role(name).await;
            if dropped.is_ok() {
                break;
            }
        }
        dropped
    }

    async fn try_drop_role(&self, name: &str) -> Result<(), Blocked> {
        let elsewhere = format!(
            "SELECT datname FROM pg_database WHERE oid IN (SELECT dbid FROM pg_shdepend \
             WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = '{name}'));\n"
        );
        for database in self.sql(&elsewhere).await?.lines() {
            let disown = format!("{TRUSTED_NAMES}DROP OWNED BY {name};\n");
            self.sql_in(database, &disown, LIMIT).await?;
        }
        let sql = format!("{}DROP ROLE IF EXISTS {name};\n", lock(name));
        self.sql_in(MAINTENANCE, &sql, LIMIT).await.map(drop)
    }

    /// What is being done to this workspace's database.
    pub(super) fn change(&self, workspace: WorkspaceId) -> Arc<Change> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(changes.entry(workspace).or_default())
    }
}

/// What services are given of a database that was made before; nothing while its password is changing.
pub(crate) fn known(place: &Place) -> io::Result<Option<Values>> {
    let path = place.postgres_password();
    let password = if next(&path).exists() { None } else { known_secret(&path)? };
    Ok(password.map(|password| given(place, &password)))
}

/// What services are given.
fn given(place: &Place, password: &Secret) -> Values {
    let (name, port) = (name_of(place.workspace), place.resource_port(PORT));
    let password = password.expose();
    let url = format!("postgres://{name}:{password}@127.0.0.1:{port}/{name}");
    values([
        ("database_url", url.clone()),
        ("postgres_url", url),
        ("postgres_host", "127.0.0.1".to_owned()),
        ("postgres_port", port.to_string()),
        ("postgres_user", name.clone()),
        ("postgres_password", password.to_owned()),
        ("postgres_database", name),
    ])
}

/// Said first in a database that a workspace's user could have planted functions in.
pub(super) const TRUSTED_NAMES: &str = "SET search_path TO pg_catalog, pg_temp;\n";

/// Database and role of a workspace: its id, which is lower-case letters, digits and `_`.
pub(super) fn name_of(workspace: WorkspaceId) -> String {
    workspace.to_string()
}

/// The database on its way to be a workspace's, and the role that fills it.
pub(super) fn unfinished(name: &str) -> String {
    format!("{name}_unfinished")
}

/// The database that was a workspace's until a restore, on its way to be dropped.
pub(super) fn replaced(name: &str) -> String {
    format!("{name}_replaced")
}

/// Makes a role, if there is none, and gives it this password and its share of the connections.
pub(super) fn make_role(name: &str, password: &Secret) -> String {
    // Names and passwords are ours: lower-case hexadecimal and `ws_`.
    format!(
        "SELECT 'CREATE ROLE {name} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n\
         ALTER ROLE {name} CONNECTION LIMIT {limit} PASSWORD '{password}';\n",
        limit = SHARE - LOGGING_IN,
        password = password.expose(),
    )
}

/// The statement that waits for every other change of this database; the lock ends with the session.
pub(super) fn lock(name: &str) -> String {
    format!("SELECT pg_advisory_lock({LOCK_CLASS}, hashtext('{name}'));\n")
}

fn busy() -> Blocked {
    blocked(
        "resource.busy",
        "the workspace's database is just being made, copied or restored",
        "try again when that has ended",
    )
}

/// Refused as long as nobody can say which of two passwords is in force.
pub(super) fn changing() -> Blocked {
    blocked(
        "resource.changing",
        "the password of the workspace's database is just being changed",
        "try again in a moment; if it stays so, `envforge resource rotate postgres` brings it to its end",
    )
}

pub(super) fn deleting() -> Blocked {
    blocked("workspace.deleting", "the workspace is being deleted", "nothing is to be done")
}

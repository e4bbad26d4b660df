//! A database that becomes what a dump holds.
//!
//! The dump fills a database of its own under a name that nobody's services connect to, by a role made for that; then the
//! two change names in one transaction, and the one from before is dropped. Until then nothing of the workspace's is touched:
//! a dump that breaks off, or that can't be restored, leaves all as it was. What an attempt left that was cut off is cleared by
//! the next one, or with the workspace.
//!
//! Who reads the dump and speaks for it is the caller's, and nobody with more rights than the workspace's user: a dump can hold
//! anything, and a restore evaluates some of it.

use super::Cluster;
use super::copy::{COPY_LIMIT, Copy, is_only_about_extensions};
use super::database::{TRUSTED_NAMES, UNLOGGED, changing, deleting, lock, name_of, replaced, unfinished};
use super::disk;
use super::programs::{LIMIT, MAINTENANCE};
use crate::place::Place;
use crate::resources::{fresh_secret, next, saved_secret};
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use envforge_core::secret::Secret;
use std::time::Duration;

/// How long a dump waits for a table that somebody has locked, in milliseconds.
pub(crate) const LOCK_WAIT: &str = "30000";
/// What is told of an error, in bytes.
const LINE_MAX: usize = 1_000;
/// Between two looks whether somebody is connected to a database that is to change its name.
const AGAIN: Duration = Duration::from_millis(50);

/// Who fills a database: its role is named like it.
pub(crate) struct Filler {
    pub(crate) name: String,
    pub(crate) password: Secret,
}

/// How a program that made or read a dump ended.
pub(crate) struct Ended {
    pub(crate) is_ok: bool,
    /// All it said.
    pub(crate) said: String,
}

impl Ended {
    /// The first error it told of.
    pub(crate) fn error(&self) -> &str {
        let mut lines = self.said.lines();
        let line =
            lines.clone().find(|line| line.contains("error:")).or_else(|| lines.next()).unwrap_or("it was ended");
        &line[..line.floor_char_boundary(LINE_MAX)]
    }
}

/// The role of the workspace's database, as its services have it; nothing if it has no database.
pub(crate) fn owner(place: &Place) -> Result<Option<Filler>, Blocked> {
    if next(&place.postgres_password()).exists() {
        return Err(changing());
    }
    match fs_err::read_to_string(place.postgres_password()) {
        Ok(text) => {
            let password = Secret::new(text.trim().to_owned());
            Ok(Some(Filler { name: name_of(place.workspace), password }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(&error)),
    }
}

impl Cluster {
    /// Makes the workspace's database what `fill` fills another with, all of it or nothing. Who is connected to the one from
    /// before is cut off when it changes.
    pub(crate) async fn replace(
        &self,
        place: &Place,
        entropy: &dyn Entropy,
        fill: impl AsyncFnOnce(&Filler) -> Result<Ended, Blocked>,
    ) -> Result<(), Blocked> {
        let change = self.change(place.workspace);
        let _one = change.one.lock().await;
        if change.dropped.is_cancelled() {
            return Err(deleting());
        }
        let _use = self.in_use().await?;
        self.ensure_running(entropy).await?;
        let password = saved_secret(&place.postgres_password(), entropy).map_err(|error| disk(&error))?.secret;
        let name = name_of(place.workspace);
        let copy = Copy { source: name.clone(), target: name, password };
        let result = tokio::select! {
            biased;
            // What is left goes with the workspace.
            () = change.dropped.cancelled() => return Err(deleting()),
            made = self.refill(&copy, entropy, fill) => made,
        };
        if result.is_err() {
            // As far as possible; the next attempt clears too.
            drop(self.sql_in(MAINTENANCE, &copy.clear(), LIMIT).await);
        }
        result
    }

    async fn refill(
        &self,
        copy: &Copy,
        entropy: &dyn Entropy,
        fill: impl AsyncFnOnce(&Filler) -> Result<Ended, Blocked>,
    ) -> Result<(), Blocked> {
        let (name, unfinished, replaced) = (&copy.target, unfinished(&copy.target), replaced(&copy.target));
        let filler = Filler { name: unfinished.clone(), password: fresh_secret(entropy) };
        // A materialized view is filled whatever policies its tables have.
        let sql = format!(
            "{UNLOGGED}{clear}DROP DATABASE IF EXISTS {replaced} WITH (FORCE);\n\
             CREATE ROLE {unfinished} LOGIN BYPASSRLS PASSWORD '{password}' IN ROLE {name};\n\
             CREATE DATABASE {unfinished} OWNER {unfinished};\nREVOKE ALL ON DATABASE {unfinished} FROM PUBLIC;\n",
            clear = copy.clear(),
            password = filler.password.expose(),
        );
        self.sql_in(MAINTENANCE, &sql, COPY_LIMIT).await?;
        self.install_extensions(copy).await?;
        let restored = fill(&filler).await?;
        if !restored.is_ok && !is_only_about_extensions(&restored.said) {
            return Err(not_restored(&restored));
        }
        let sql = format!(
            "{TRUSTED_NAMES}BEGIN;\nREASSIGN OWNED BY {unfinished} TO {name};\nDROP OWNED BY {unfinished};\nCOMMIT;\n"
        );
        self.sql_in(&unfinished, &sql, COPY_LIMIT).await?;
        self.change_names(copy).await?;
        if let Err(block) = self.sql(&format!("DROP DATABASE IF EXISTS {replaced} WITH (FORCE);\n")).await {
            tracing::warn!(
                database = replaced,
                cause = block.cause,
                "postgres: what a restore replaced is still there; the next one drops it"
            );
        }
        Ok(())
    }

    /// Gives the database that was filled its name. Whoever is connected to either is sent away: while names change,
    /// who comes anew waits, and finds the new one.
    async fn change_names(&self, copy: &Copy) -> Result<(), Blocked> {
        let (name, unfinished, replaced) = (&copy.target, unfinished(&copy.target), replaced(&copy.target));
        let sql = format!(
            "{lock}BEGIN;\nALTER DATABASE {unfinished} OWNER TO {name};\n{settings}\
             ALTER DATABASE {name} RENAME TO {replaced};\nALTER DATABASE {unfinished} RENAME TO {name};\n\
             DROP ROLE {unfinished};\nCOMMIT;\n",
            lock = lock(name),
            settings = copy.settings(),
        );
        let send_away = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{name}', '{unfinished}');\n"
        );
        let sending_away = async {
            loop {
                drop(self.sql_in(MAINTENANCE, &send_away, LIMIT).await);
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            changed = self.sql_in(MAINTENANCE, &sql, COPY_LIMIT) => changed.map(drop),
            () = sending_away => Ok(()),
        }
    }
}

fn not_restored(ended: &Ended) -> Blocked {
    let cause = format!("the dump can't be restored, nothing was changed: {}", ended.error());
    let fix = "`envforge database dump` makes dumps that can; one by another program is to be in pg_dump's custom format, \
               of no newer PostgreSQL than the host's, and ask for no rights that a database's owner has not";
    blocked("restore.failed", cause, fix)
}

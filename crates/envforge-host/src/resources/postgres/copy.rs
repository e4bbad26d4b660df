//! A database that starts as a copy of another workspace's.
//!
//! Two ways, by whether anybody is connected to the source. Nobody: its files are copied (`CREATE DATABASE … TEMPLATE`),
//! which takes as long as a copy of files; who connects meanwhile waits for it. Somebody, be it the pool of a frozen
//! runtime: `pg_dump` reads one snapshot beside them and `pg_restore` fills a database with it. Nobody's session ends.
//!
//! The copy is made under a name that no workspace can connect to and gets its own in one transaction with everything
//! that makes it whole, so there is never half of one; a mark on the role, where its user can't reach, says that it is. What
//! an attempt left that was cut off is cleared by the next one, or with the workspace.
//!
//! What was the source's role's is the target's: objects, default privileges, settings. Nothing in the copy names the
//! source's role any more, or that could not be dropped. A dump is full of what the source's user wrote, and a restore
//! evaluates some of it (`CHECK`, defaults of added columns): it is done by a role of its own that may only what they may.

use super::Cluster;
use super::database::{TRUSTED_NAMES, UNLOGGED, deleting, lock, make_role, name_of, unfinished};
use super::disk;
use super::programs::{LIMIT, MAINTENANCE, failed, is_passing};
use super::replace::LOCK_WAIT;
use crate::place::Place;
use crate::resources::{Values, fresh_secret, saved_secret};
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use envforge_core::secret::Secret;
use std::process::Stdio;
use std::time::Duration;

/// How long one step of a copy may take; what takes longer is too big for a branch.
pub(super) const COPY_LIMIT: Duration = Duration::from_hours(1);
/// How often a copy is begun anew when the cluster ends beneath it.
const ATTEMPTS: u32 = 5;
/// There is a database, and it is no copy.
const EXISTS: &str = "resource.database_exists";
/// From this size on, files are copied as files; a smaller database is sooner there by way of the log, which spares two
/// checkpoints (measured: 0.23 s and 0.29 s at 7 MB, 0.38 s and 0.33 s at 100 MB; the choice exists since version 15).
const BIG: &str = "67108864";
/// The server soon sees that the client of a long statement is gone, where it can (since version 14).
const LEAVE_SOON: &str =
    "SELECT set_config(name, '500', false) FROM pg_settings WHERE name = 'client_connection_check_interval';\n";

/// Who gets a copy of whose database.
pub(super) struct Copy {
    pub(super) source: String,
    pub(super) target: String,
    /// Of the target's role.
    pub(super) password: Secret,
}

/// How things stand before a copy.
struct Standing {
    is_there: bool,
    is_finished: bool,
    has_source: bool,
    is_in_use: bool,
    takes_files: bool,
}

impl Cluster {
    /// Makes the database of `to` a copy of that of `from`, all of it or nothing. Does nothing if it is one already, or if
    /// `from` has no database. Refused when `to` has a database that is no such copy, and when either workspace is deleted
    /// meanwhile.
    pub(crate) async fn copy(&self, from: &Place, to: &Place, entropy: &dyn Entropy) -> Result<(), Blocked> {
        self.copy_if_any(from, to, entropy).await.map(drop)
    }

    /// As [`Cluster::provision`] for a database that is not remembered: it begins as a copy of that of `from`, if there is
    /// none yet.
    pub(crate) async fn provision_as_copy(
        &self,
        from: &Place,
        to: &Place,
        entropy: &dyn Entropy,
    ) -> Result<Values, Blocked> {
        match self.copy_if_any(from, to, entropy).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(blocked(
                    "resource.source_empty",
                    "the workspace this database is to begin as a copy of has no database yet",
                    "wake that workspace's runtime once, then this one again",
                ));
            }
            // It was made, and not noted any more.
            Err(block) if block.code == EXISTS => {}
            Err(block) => return Err(block),
        }
        self.provision(to, false, entropy).await
    }

    /// `false` if there is nothing to copy.
    async fn copy_if_any(&self, from: &Place, to: &Place, entropy: &dyn Entropy) -> Result<bool, Blocked> {
        let (source, target) = (self.change(from.workspace), self.change(to.workspace));
        let _one = target.one.lock().await;
        if target.dropped.is_cancelled() {
            return Err(deleting());
        }
        if !from.postgres_password().exists() || !self.exists() {
            return Ok(false);
        }
        let _use = self.in_use().await?;
        let saved = saved_secret(&to.postgres_password(), entropy).map_err(|error| disk(&error))?;
        let copy = Copy { source: name_of(from.workspace), target: name_of(to.workspace), password: saved.secret };
        let result = tokio::select! {
            biased;
            // What is left goes with the workspace.
            () = target.dropped.cancelled() => return Err(deleting()),
            () = source.dropped.cancelled() => Err(blocked(
                "resource.source_deleted",
                "the workspace whose database was being copied was deleted",
                "copy another workspace's, or start with an empty database",
            )),
            made = self.make(&copy, entropy) => made,
        };
        if result.is_err() {
            // As far as possible; the next attempt clears too.
            drop(self.sql_in(MAINTENANCE, &copy.clear(), LIMIT).await);
        }
        result
    }

    /// Tries until the copy is there, also through a cluster that ends meanwhile.
    async fn make(&self, copy: &Copy, entropy: &dyn Entropy) -> Result<bool, Blocked> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.ensure_running(entropy).await?;
            match self.attempt(copy, entropy).await {
                Err(error) if is_passing(&error) && attempts < ATTEMPTS => {
                    tracing::warn!(target = copy.target, cause = error.cause, "postgres: a copy is begun anew");
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, copy: &Copy, entropy: &dyn Entropy) -> Result<bool, Blocked> {
        let standing = self.standing(copy).await?;
        if standing.is_finished {
            return Ok(true);
        }
        if standing.is_there {
            return Err(blocked(
                EXISTS,
                "the workspace has a database already, which is not replaced by a copy",
                "copy into a workspace that has none yet",
            ));
        }
        if !standing.has_source {
            return Ok(false);
        }
        let is_by_files = !standing.is_in_use && self.copy_files(copy, &standing).await?;
        if !is_by_files {
            self.dump_and_restore(copy, entropy).await?;
        }
        self.finish(copy, is_by_files).await?;
        Ok(true)
    }

    async fn standing(&self, copy: &Copy) -> Result<Standing, Blocked> {
        let Copy { source, target, .. } = copy;
        let sql = format!(
            "{lock}SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{target}'), \
             EXISTS (SELECT FROM pg_database, pg_authid WHERE datname = '{target}' AND rolname = '{target}' \
             AND shobj_description(pg_authid.oid, 'pg_authid') = '{mark}'), \
             EXISTS (SELECT FROM pg_database WHERE datname = '{source}'), \
             EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{source}' AND backend_type = 'client backend') \
             OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = '{source}'), \
             current_setting('server_version_num')::int >= 150000 AND (SELECT pg_database_size(oid) > {BIG} \
             FROM pg_database WHERE datname = '{source}');\n",
            lock = lock(target),
            mark = copy.mark(),
        );
        let said = self.sql_in(MAINTENANCE, &sql, LIMIT).await?;
        let row = said.lines().next_back().unwrap_or_default();
        let fields: Vec<&str> = row.split('|').collect();
        let [is_there, is_finished, has_source, is_in_use, is_big] = fields.as_slice() else {
            return Err(failed("psql", &format!("answered `{row}`")));
        };
        Ok(Standing {
            is_there: *is_there == "t",
            is_finished: *is_finished == "t",
            has_source: *has_source == "t",
            is_in_use: *is_in_use == "t",
            takes_files: *is_big == "t",
        })
    }

    /// Copies files; `false` if somebody is connected to the source after all.
    async fn copy_files(&self, copy: &Copy, standing: &Standing) -> Result<bool, Blocked> {
        let Copy { source, target, password } = copy;
        let strategy = if standing.takes_files { " STRATEGY FILE_COPY" } else { "" };
        let sql = format!(
            "{UNLOGGED}{LEAVE_SOON}{clear}{role}CREATE DATABASE {unfinished} TEMPLATE {source}{strategy};\n",
            clear = copy.clear(),
            role = make_role(target, password),
            unfinished = copy.unfinished(),
        );
        match self.sql_in(MAINTENANCE, &sql, COPY_LIMIT).await {
            Ok(_) => Ok(true),
            Err(error) if error.cause.contains("is being accessed by other users") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fills a database with a snapshot of the source.
    async fn dump_and_restore(&self, copy: &Copy, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let Copy { source, target, password } = copy;
        let unfinished = copy.unfinished();
        let filler = fresh_secret(entropy);
        // Default privileges of the source's role are its members' to give; a materialized view is filled whatever policies
        // its tables have, as it was.
        let sql = format!(
            "{UNLOGGED}{clear}{role}CREATE ROLE {unfinished} LOGIN BYPASSRLS PASSWORD '{}' IN ROLE {source};\n\
             CREATE DATABASE {unfinished} OWNER {unfinished};\n",
            filler.expose(),
            clear = copy.clear(),
            role = make_role(target, password),
        );
        self.sql_in(MAINTENANCE, &sql, COPY_LIMIT).await?;
        self.install_extensions(copy).await?;
        let arguments = [
            "--format=custom",
            "--compress=0",
            "--no-password",
            "--lock-wait-timeout",
            LOCK_WAIT,
            "--dbname",
            source.as_str(),
        ];
        let mut dump = self.admin("pg_dump", &arguments, Stdio::null(), Stdio::piped())?;
        let snapshot: Stdio = dump
            .stdout
            .take()
            .ok_or_else(|| failed("pg_dump", "has no output"))?
            .try_into()
            .map_err(|error: std::io::Error| failed("pg_dump", &error.to_string()))?;
        let mut restore = self.client("pg_restore", &unfinished)?;
        restore.args(["--no-owner", "--no-tablespaces", "--no-password", "--dbname", &unfinished]);
        restore.env("PGPASSWORD", filler.expose()).stdin(snapshot).stdout(Stdio::null());
        let restoring = restore.spawn().map_err(|error| failed("pg_restore", &error.to_string()))?;
        // It holds the reading end; a dump whose reader has ended must see that.
        drop(restore);
        let both = async { tokio::try_join!(dump.wait_with_output(), restoring.wait_with_output()) };
        let (dump, restore) = tokio::time::timeout(COPY_LIMIT, both)
            .await
            .map_err(|_| failed("pg_dump", "did not end in time"))?
            .map_err(|error| failed("pg_dump", &error.to_string()))?;
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if !dump.status.success() {
            return Err(not_dumped(&said(&dump)));
        }
        if restore.status.success() || is_only_about_extensions(&said(&restore)) {
            return Ok(());
        }
        Err(failed("pg_restore", &said(&restore)))
    }

    /// The extensions the administrator made in the source, which its user could not make.
    pub(super) async fn install_extensions(&self, copy: &Copy) -> Result<(), Blocked> {
        let Copy { source, .. } = copy;
        let unfinished = copy.unfinished();
        let sql = format!(
            "{TRUSTED_NAMES}SELECT format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION {unfinished}; \
             CREATE EXTENSION IF NOT EXISTS %I SCHEMA %I CASCADE;', nspname, extname, nspname) \
             FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace \
             WHERE extowner <> '{source}'::regrole AND pg_extension.oid >= 16384 ORDER BY pg_extension.oid;\n"
        );
        let statements = self.sql_in(source, &sql, LIMIT).await?;
        if statements.trim().is_empty() {
            return Ok(());
        }
        self.sql_in(&unfinished, &format!("{TRUSTED_NAMES}{statements}"), LIMIT).await.map(drop)
    }

    /// Gives everything in the copy to the target's role, and the copy its name.
    async fn finish(&self, copy: &Copy, is_by_files: bool) -> Result<(), Blocked> {
        let Copy { source, target, .. } = copy;
        let unfinished = copy.unfinished();
        let owners = if is_by_files {
            // Databases are among what is reassigned: the source stays its role's.
            format!("REASSIGN OWNED BY {source} TO {target};\nALTER DATABASE {source} OWNER TO {source};\n")
        } else {
            format!("REASSIGN OWNED BY {unfinished} TO {target};\n")
        };
        let forget = if is_by_files { source.clone() } else { format!("{source}, {unfinished}") };
        let sql =
            format!("{TRUSTED_NAMES}BEGIN;\n{owners}{}DROP OWNED BY {forget};\nCOMMIT;\n", copy.default_privileges());
        {
            let _one = self.handing_over.lock().await;
            self.sql_in(&unfinished, &sql, COPY_LIMIT).await?;
        }
        let sql = format!(
            "{lock}BEGIN;\nALTER DATABASE {unfinished} OWNER TO {target};\n{settings}\
             REVOKE ALL ON DATABASE {unfinished} FROM PUBLIC;\nALTER DATABASE {unfinished} RENAME TO {target};\n\
             DROP ROLE IF EXISTS {unfinished};\nCOMMENT ON ROLE {target} IS '{mark}';\nCOMMIT;\n",
            lock = lock(target),
            settings = copy.settings(),
            mark = copy.mark(),
        );
        self.sql_in(MAINTENANCE, &sql, COPY_LIMIT).await.map(drop)
    }
}

impl Copy {
    fn unfinished(&self) -> String {
        unfinished(&self.target)
    }

    /// What the target's role is remarked with once the copy is whole.
    fn mark(&self) -> String {
        format!("its database began as a copy of {}", self.source)
    }

    /// Removes what an attempt left that was cut off, once nothing of it goes on.
    pub(super) fn clear(&self) -> String {
        let unfinished = self.unfinished();
        format!(
            "{}DROP DATABASE IF EXISTS {unfinished} WITH (FORCE);\nDROP ROLE IF EXISTS {unfinished};\n",
            lock(&self.target)
        )
    }

    /// Gives the target's role the default privileges that the source's has; `REASSIGN OWNED` leaves them alone.
    fn default_privileges(&self) -> String {
        let Self { source, target, .. } = self;
        format!(
            "DO $$
DECLARE
    entry record;
    granted record;
    alteration text;
    kind text;
BEGIN
    FOR entry IN SELECT d.defaclobjtype, d.defaclacl, n.nspname FROM pg_default_acl d
        LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE d.defaclrole = '{source}'::regrole
    LOOP
        kind := CASE entry.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END;
        alteration := 'ALTER DEFAULT PRIVILEGES FOR ROLE {target}' || coalesce(' IN SCHEMA ' || quote_ident(entry.nspname), '');
        EXECUTE format('%s REVOKE ALL ON %s FROM PUBLIC, {target}', alteration, kind);
        FOR granted IN SELECT a.privilege_type, a.is_grantable, a.grantee, r.rolname
            FROM aclexplode(entry.defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
        LOOP
            EXECUTE format('%s GRANT %s ON %s TO %s%s', alteration, granted.privilege_type, kind,
                CASE WHEN granted.grantee = 0 THEN 'PUBLIC' WHEN granted.rolname = '{source}' THEN '{target}'
                    ELSE quote_ident(granted.rolname) END,
                CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        END LOOP;
    END LOOP;
END $$;
"
        )
    }

    /// Gives database and role of the target the settings (`ALTER DATABASE … SET`) that those of the source have.
    pub(super) fn settings(&self) -> String {
        let Self { source, target, .. } = self;
        let unfinished = self.unfinished();
        // A search path is a list, which only `FROM CURRENT` takes as it is; no name is looked for while it is in force.
        format!(
            "DO $$
DECLARE
    entry record;
    subject text;
BEGIN
    FOR entry IN SELECT d.datname, r.rolname, split_part(setting, '=', 1) AS name,
            substr(setting, strpos(setting, '=') + 1) AS value
        FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
            LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS setting
        WHERE (d.datname = '{source}' AND (s.setrole = 0 OR r.rolname = '{source}'))
            OR (s.setdatabase = 0 AND r.rolname = '{source}')
    LOOP
        CONTINUE WHEN entry.name IN ('role', 'session_authorization');
        subject := CASE WHEN entry.rolname IS NULL THEN 'DATABASE {unfinished}'
            WHEN entry.datname IS NULL THEN 'ROLE {target}' ELSE 'ROLE {target} IN DATABASE {unfinished}' END;
        IF entry.name = 'search_path' THEN
            PERFORM pg_catalog.set_config('search_path', entry.value, true);
            EXECUTE format('ALTER %s SET search_path FROM CURRENT', subject);
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
        ELSE
            EXECUTE format('ALTER %s SET %I TO %L', subject, entry.name, entry.value);
        END IF;
    END LOOP;
END $$;
"
        )
    }
}

fn not_dumped(said: &str) -> Blocked {
    if said.contains("lock timeout") {
        return blocked(
            "resource.source_locked",
            "a session of the other workspace has locked a table that is to be copied",
            "end its transaction, or stop that workspace's runtime if it sleeps: a paused one keeps its locks; then try again",
        );
    }
    failed("pg_dump", said)
}

/// Whether all that did not work in a restore is what the administrator had done before: extensions and their schemas.
pub(super) fn is_only_about_extensions(said: &str) -> bool {
    let mut errors = said.lines().filter(|line| line.starts_with("pg_restore: error:")).peekable();
    let is_known = |line: &str| {
        line.contains("must be owner of extension") || (line.contains("schema \"") && line.ends_with("already exists"))
    };
    errors.peek().is_some() && errors.all(is_known)
}

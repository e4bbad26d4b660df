//! Makes a cluster: beside its place, renamed into it when it is whole.
//!
//! Roles and the database are made by PostgreSQL's single-user mode before the cluster ever listens, with the
//! statements on standard input: no password is in an argument, and there is no moment without passwords.

use super::{Cluster, DATABASE, OWNER, Passwords, said, text};
use crate::advice::advised;
use crate::private;
use anyhow::{Context as _, bail};

/// What the directory of a cluster in the making is called, before what tells makers apart.
const UNFINISHED: &str = "data.new-";

/// Makes the cluster's data directory.
pub(super) async fn initialize(cluster: &Cluster, passwords: &Passwords) -> anyhow::Result<()> {
    remove_unfinished(cluster)?;
    // A name of its own: the `initdb` of a killed supervisor goes on for a moment, and clears up after itself.
    let began = crate::process::Identity::of(std::process::id().cast_signed()).map_or(0, |own| own.began);
    let fresh = cluster.home.join(format!("{UNFINISHED}{}-{began}", std::process::id()));
    let password_file = cluster.home.join("superuser.password");
    private::write(&password_file, &passwords.superuser, cluster.account)?;
    let made = initdb(cluster, text(&fresh)?, text(&password_file)?).await;
    fs_err::remove_file(&password_file)?;
    made?;

    let configuration = fresh.join("postgresql.conf");
    let settings = fs_err::read_to_string(&configuration)? + "\ninclude_if_exists = 'envforge.conf'\n";
    cluster.write(&configuration, &settings)?;

    let statements = format!(
        "CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{}';\nCREATE DATABASE {DATABASE} OWNER {OWNER};\n",
        passwords.owner.expose()
    );
    let arguments = ["--single", "-D", text(&fresh)?, "-c", "log_statement=none", "postgres"];
    let output = cluster.run("postgres", &arguments, &statements).await?;
    let words = said(&output);
    // Single-user mode goes on after an error and ends well.
    if !output.status.success() || words.contains("ERROR:") || words.contains("FATAL:") {
        bail!("making the database's owner: {}", words.replace(passwords.owner.expose(), "…"));
    }
    fs_err::rename(&fresh, cluster.data()).context("putting the new cluster in place")?;
    fs_err::File::open(&cluster.home)?.sync_all()?;
    Ok(())
}

/// Removes what starts that were killed left behind, as far as nobody is writing it.
fn remove_unfinished(cluster: &Cluster) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(&cluster.home)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = fs_err::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, "an unfinished cluster stays for the next start to remove");
        }
    }
    Ok(())
}

async fn initdb(cluster: &Cluster, data: &str, password_file: &str) -> anyhow::Result<()> {
    let password_file = format!("--pwfile={password_file}");
    let arguments = [
        "-D",
        data,
        "-U",
        "postgres",
        &password_file,
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        // Compares bytes, which is fast and never changes with the C library, and knows the case of all letters.
        "--locale=C.UTF-8",
        "--lc-collate=C",
    ];
    let output = cluster.run("initdb", &arguments, "").await?;
    if output.status.success() {
        return Ok(());
    }
    let words = said(&output);
    Err(if words.contains("cannot be run as root") {
        advised("PostgreSQL does not run as root", "name another user with --postgres-user")
    } else if words.contains("could not look up effective user ID") {
        advised("PostgreSQL needs a user with an entry in /etc/passwd", "name one with --postgres-user")
    } else {
        anyhow::anyhow!("initdb: {words}")
    })
}

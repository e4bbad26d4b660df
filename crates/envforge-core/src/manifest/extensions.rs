//! Extensions of PostgreSQL that a workspace's database may have.
//!
//! All workspaces of a host share a cluster, so an extension is allowed only if what it gives stays within one database: it
//! reads no files, opens no connections, runs no programs, shows nothing of other databases or of pages below the tables'
//! rights, and calls no function of the database's owner while it is installed. PostgreSQL marks most that are so as trusted
//! (`trusted = true` in their control files), and an owner may install those without asking. The others here are C code for
//! which it has no such mark.

use super::diagnostic::quoted;
use super::hints;
use super::names::{Unfit, unfit};

/// The names of all extensions that are allowed, in order.
pub const EXTENSIONS: [&str; 23] = [
    // No mark: an access method, whose only code are its own index pages.
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    // No mark: one trigger function, which sets a column to the time.
    "moddatetime",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    // pgvector: types, operators and access methods.
    "vector",
];

/// Whether an extension may be listed.
pub(super) fn check(name: &str) -> Result<(), Unfit> {
    if EXTENSIONS.contains(&name) {
        return Ok(());
    }
    let fix = match hints::nearest(name, EXTENSIONS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("remove it; allowed: {}", hints::list(EXTENSIONS)),
    };
    let message = format!("extension {} is not allowed: the databases of all workspaces share a server", quoted(name));
    Err(unfit("manifest.extension_refused", message, fix))
}

//! One box in one file, and back.
//!
//! ```text
//!   FILE (tar)
//!     secrets.tar.zst          keys and passwords of the box, the owner's key
//!     host.tar                 who the host is, and the journals of its workspaces
//!     workspaces.tar.zst       checkouts, homes, logs, data
//!     databases.sql.zst        workspaces' databases (pg_dumpall)
//!     control-plane.dump       the control plane's database (pg_dump)
//!     manifest.json            versions, and size and SHA-256 of each of the above; last, so that a cut file has none
//! ```
//!
//! Databases are saved by PostgreSQL's own logical dumps and not by copies of their files: any later version reads them, and a
//! running cluster is consistent. The control plane's snapshot and the journals are one moment: the journals are read before and
//! after the snapshot is taken, until they are equal. Files of workspaces and their databases are saved after that, as they
//! are; the control plane never knows of something that the host does not have.
//!
//! Any `tar` opens the file, so it can be read without this program.

mod archive;
mod programs;
pub(crate) mod restore;
pub(crate) mod save;

use serde::{Deserialize, Serialize};

/// The format of the file.
const FORMAT: u32 = 1;
const SECRETS: &str = "secrets.tar.zst";
const HOST: &str = "host.tar";
const WORKSPACES: &str = "workspaces.tar.zst";
const DATABASES: &str = "databases.sql.zst";
const CONTROL_PLANE: &str = "control-plane.dump";
const MANIFEST: &str = "manifest.json";

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// When it was begun.
    pub(crate) made_at: jiff::Timestamp,
    /// The program's version.
    pub(crate) version: String,
    /// The version of the control plane's schema.
    pub(crate) schema: i64,
    /// Whether files and databases of workspaces are in it.
    pub(crate) with_workspaces: bool,
    /// What is in it, in order.
    pub(crate) members: Vec<Member>,
}

/// A member of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub(crate) sha256: String,
}

//! Where a workspace is on this machine: its directories, its user, its network.
//!
//! ```text
//! <data_dir>/
//!   host.json                 who this host is                                  root
//!   resources/postgres/       the resource cluster                              the resource user
//!   destroyed/<ws id>         what was obeyed before a workspace was deleted    root
//!   workspaces/<ws id>/       mode 0711: its user may pass, not look            root
//!     state.json, proof       the journal, the last proof that the runtime ran  root
//!     postgres.password       of the branch database                            root
//!     run/                    control sockets, the pinned network namespace     root
//!     home/  checkout/        seen by both sandboxes                            the workspace's user
//!     logs/                   written by the inits                              the workspace's user
//!     data/                   resources that live in the runtime                the workspace's user
//! ```
//!
//! No parent of anything that is mounted into a sandbox is writable for a workspace's user.

use crate::files;
use envforge_core::id::WorkspaceId;
use std::io;
use std::path::{Path, PathBuf};

/// Where a workspace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) workspace: WorkspaceId,
    /// Unique among this host's workspaces; user and network addresses follow from it.
    pub(crate) index: u32,
    pub(crate) uid: u32,
    root: PathBuf,
}

/// The daemon's own directories, below its data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes what is missing.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs_err::create_dir_all(&self.0)?;
        files::directory(&self.0, 0o711, None)?;
        for (path, mode) in [(self.workspaces(), 0o711), (self.resources(), 0o711), (self.destroyed(), 0o700)] {
            files::directory(&path, mode, None)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn workspaces(&self) -> PathBuf {
        self.0.join("workspaces")
    }

    pub(crate) fn resources(&self) -> PathBuf {
        self.0.join("resources")
    }

    pub(crate) fn destroyed(&self) -> PathBuf {
        self.0.join("destroyed")
    }

    pub(crate) fn place(&self, workspace: WorkspaceId, index: u32, uid: u32) -> Place {
        Place { workspace, index, uid, root: self.workspaces().join(workspace.to_string()) }
    }
}

impl Place {
    /// Makes the directories that are missing and gives each its owner.
    pub(crate) fn create(&self) -> io::Result<()> {
        let user = Some((self.uid, self.uid));
        files::directory(&self.root, 0o711, None)?;
        files::directory(&self.run(), 0o700, None)?;
        files::directory(&self.home(), 0o700, user)?;
        files::directory(&self.logs(), 0o700, user)?;
        files::directory(&self.data(), 0o700, user)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub(crate) fn checkout(&self) -> PathBuf {
        self.root.join("checkout")
    }

    /// Where a checkout is made; it becomes the checkout by a rename, so a checkout is always whole.
    pub(crate) fn unfinished_checkout(&self) -> PathBuf {
        self.root.join("checkout.unfinished")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.join("checkout.bundle")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.run().join("net")
    }

    pub(crate) fn proof(&self) -> PathBuf {
        self.root.join("proof")
    }

    pub(crate) fn postgres_password(&self) -> PathBuf {
        self.root.join("postgres.password")
    }
}

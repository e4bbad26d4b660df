//! Where a workspace is on this machine: its directories, its user, its network.
//!
//! ```text
//! <data_dir>/                  (all of it the daemon's user's, where that is not root)
//!   host.json                 who this host is                                  root
//!   resources/postgres/       the resource cluster                              the resource user
//!   spare/                    disk space for journals when there is no other       root
//!   removing/                 files of deleted workspaces, on their way out      root
//!   destroyed/<ws id>         what was obeyed before a workspace was deleted    root
//!   workspaces/<ws id>/       mode 0711: its user may pass, not look            root
//!     state.json, proof       the journal, the last proof that the runtime ran  root
//!     postgres.password       of the branch database                            root
//!     object_storage.secret   of the bucket                                     root
//!     git/                    Git's configuration, the sockets that answer it  root
//!     recordings/             of terminals                                      root
//!     run/                    control sockets, the pinned network namespace     root
//!     home/  checkout/        seen by both sandboxes                            the workspace's user
//!     logs/                   written by the inits                              the workspace's user
//!     data/                   resources that live in the runtime                the workspace's user
//! ```
//!
//! No parent of anything that is mounted into a sandbox is writable for a workspace's user.

use crate::files;
use crate::sys::sandbox::SUB_IDS;
use envforge_core::id::{Id as _, WorkspaceId};
use std::io;
use std::path::{Path, PathBuf};

/// In a shared network, ports of resources are shifted up by this and by what is random in the workspace's id.
const SHARED_PORTS_FROM: u16 = 20_000;
/// So many ports are there to be had; fewer than lie between those of any two resources.
const SHARED_PORTS: u128 = 900;

/// Users of workspaces that have further ids; all of those lie above.
const SUB_IDS_FOR: std::ops::Range<u32> = 100_000..10_000_000;

/// Where a workspace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub workspace: WorkspaceId,
    /// Unique among this host's workspaces; user and network addresses follow from it.
    pub index: u32,
    /// The user inside its sandboxes.
    pub uid: u32,
    root: PathBuf,
    /// That user exists on the host too, and its network is its own.
    is_apart: bool,
}

/// The daemon's own directories, below its data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    users: bool,
}

impl DataDir {
    /// With `users`, each workspace has a Linux user and a network of its own; otherwise everything is the daemon's.
    pub fn new(path: &Path, users: bool) -> Self {
        Self { path: path.to_owned(), users }
    }

    /// Makes what is missing.
    pub fn create(&self) -> io::Result<()> {
        fs_err::create_dir_all(&self.path)?;
        files::directory(&self.path, 0o711, None)?;
        for (path, mode) in
            [(self.workspaces(), 0o711), (self.resources(), 0o711), (self.destroyed(), 0o700), (self.removing(), 0o700)]
        {
            files::directory(&path, mode, None)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn workspaces(&self) -> PathBuf {
        self.path.join("workspaces")
    }

    pub(crate) fn resources(&self) -> PathBuf {
        self.path.join("resources")
    }

    pub(crate) fn destroyed(&self) -> PathBuf {
        self.path.join("destroyed")
    }

    pub(crate) fn removing(&self) -> PathBuf {
        self.path.join("removing")
    }

    pub fn place(&self, workspace: WorkspaceId, index: u32, uid: u32) -> Place {
        let root = self.workspaces().join(workspace.to_string());
        Place { workspace, index, uid, root, is_apart: self.users }
    }
}

impl Place {
    /// Makes the directories that are missing and gives each its owner.
    pub fn create(&self) -> io::Result<()> {
        let user = Some(self.host_user());
        files::directory(&self.root, 0o711, None)?;
        files::directory(&self.run(), 0o700, None)?;
        files::directory(&self.git(), 0o755, None)?;
        files::directory(&self.home(), 0o700, user)?;
        files::directory(&self.logs(), 0o700, user)?;
        files::directory(&self.data(), 0o700, user)
    }

    /// User and group that the workspace's files belong to on the host: its own, or the daemon's.
    pub fn host_user(&self) -> (u32, u32) {
        self.acts_as(self.uid, self.uid)
    }

    /// Gives a file that is there to the workspace's user.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.host_user();
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        Ok(rustix::fs::chown(path, Some(uid), Some(gid))?)
    }

    /// Whether that user exists on the host only as a number: it is not the daemon's.
    pub(crate) fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Whom a program for this workspace is run as when it concerns this user and group: a daemon that is not root can
    /// only be itself.
    pub(crate) fn acts_as(&self, uid: u32, gid: u32) -> (u32, u32) {
        if self.is_apart {
            return (uid, gid);
        }
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    /// The first of the further ids that a root terminal of this workspace has ([`SUB_IDS`]): a hundred times its own, so
    /// that no two workspaces of a machine share one. `None` where there are none: for a daemon that is not root, and for
    /// users so low or so high that these could be somebody's.
    pub fn sub_ids(&self) -> Option<u32> {
        (self.is_apart && SUB_IDS < 100 && SUB_IDS_FOR.contains(&self.uid)).then(|| self.uid * 100)
    }

    /// The port of a resource that usually listens on `usual`: that one in a network of its own, else one that hardly any
    /// other workspace on this machine has, of whatever host.
    pub(crate) fn resource_port(&self, usual: u16) -> u16 {
        if self.is_apart {
            return usual;
        }
        let random = self.workspace.uuid().as_u128() % SHARED_PORTS;
        let shift = u16::try_from(random).unwrap_or_default();
        usual.saturating_add(SHARED_PORTS_FROM).saturating_add(shift)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub fn checkout(&self) -> PathBuf {
        self.root.join("checkout")
    }

    /// Where a checkout is made; it becomes the checkout by a rename, so a checkout is always whole.
    pub(crate) fn unfinished_checkout(&self) -> PathBuf {
        self.root.join("checkout.unfinished")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.join("checkout.bundle")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Seen by both sandboxes, and only to be read.
    pub(crate) fn git(&self) -> PathBuf {
        self.root.join("git")
    }

    pub fn network(&self) -> PathBuf {
        self.run().join("net")
    }

    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }

    pub(crate) fn proof(&self) -> PathBuf {
        self.root.join("proof")
    }

    pub(crate) fn postgres_password(&self) -> PathBuf {
        self.root.join("postgres.password")
    }

    pub(crate) fn object_storage_secret(&self) -> PathBuf {
        self.root.join("object_storage.secret")
    }
}

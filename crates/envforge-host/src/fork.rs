//! Forking: a new workspace that begins as a copy of another one of this host.
//!
//! Copied are checkout, home and data directory, where the filesystem can by sharing blocks, and the branch database
//! beside it. The source goes on meanwhile and notices nothing. Its Git state comes along as it is, changes that are not
//! committed and a merge under way included; only the branch is a new one, from the same commit.
//!
//! The checkout appears last, by a rename, when all the rest is on the disk. Until then the workspace has no shell, so nobody
//! runs as its user, and an attempt that was cut off is made again from the beginning.

use crate::checkout;
use crate::copy_tree::{self, Copied, Owners, copy_tree};
use crate::ctx::HostContext;
use crate::files;
use crate::place::Place;
use crate::sys::sandbox::SUB_IDS;
use crate::trouble::{Blocked, blocked, is_full};
use crate::workspace::view::FilesLock;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The workspace to copy.
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) files: FilesLock,
}

/// Makes `place`, which has no checkout yet, a copy of `source`. Both locks are held as long as files are copied, also when
/// nobody waits any more.
pub(crate) async fn make(
    ctx: &Arc<HostContext>,
    source: &Source,
    place: &Place,
    branch: &str,
    own: &FilesLock,
) -> Result<(), Blocked> {
    // Neither needs the other, and the source may change between them anyway.
    let (files, database) =
        tokio::join!(files(ctx, source, place, own), ctx.postgres.copy(&source.place, place, ctx.entropy.as_ref()));
    files?;
    database?;
    if place.unfinished_checkout().join(".git").exists() {
        checkout::branch_off(place, branch).await?;
    }
    let last = || -> io::Result<()> {
        rustix::fs::syncfs(fs_err::File::open(place.root())?)?;
        fs_err::rename(place.unfinished_checkout(), place.checkout())
    };
    last().map_err(|error| failed(&error))
}

async fn files(ctx: &Arc<HostContext>, source: &Source, place: &Place, own: &FilesLock) -> Result<(), Blocked> {
    let held = (Arc::clone(own).write_owned().await, Arc::clone(&source.files).read_owned().await);
    // A deletion that was first has left nothing to copy.
    if !source.place.checkout().exists() {
        return Err(no_source());
    }
    let stop = CancellationToken::new();
    let stops = stop.clone().drop_guard();
    let (tasks, disk, from, to) = (ctx.tasks.clone(), Arc::clone(&ctx.disk), source.place.clone(), place.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let _held = held;
        let copied = copy(&from, &to, &|| stop.is_cancelled() || tasks.is_cancelled() || disk.refusal().is_some());
        copied.map_err(|error| match disk.refusal() {
            Some(low) => {
                // What is half there only takes room.
                drop(files::remove_tree(&to.unfinished_checkout()));
                low
            }
            None => failed(&error),
        })
    });
    let copied = copied.await.map_err(|error| failed(&io::Error::other(error)))??;
    drop(stops);
    tracing::info!(workspace = %place.workspace, source = %source.place.workspace, files = copied.files, bytes = copied.bytes, shared = copied.shared, left_out = copied.left_out, "workspace: files copied");
    Ok(())
}

/// The refusal of a source that is not here.
pub(crate) fn no_source() -> Blocked {
    blocked(
        "shell.fork_source_missing",
        "the workspace it is to be a copy of is not on this host any more, or has no checkout yet",
        "delete this one, and fork a workspace that is ready",
    )
}

fn copy(source: &Place, place: &Place, is_stopped: &(dyn Fn() -> bool + Sync)) -> io::Result<Copied> {
    let further = source.sub_ids().zip(place.sub_ids()).map(|(from, to)| (from, to, SUB_IDS));
    let owners = Owners { own: [source.host_user(), place.host_user()], further };
    let mut all = Copied::default();
    for (from, to) in
        [(source.home(), place.home()), (source.data(), place.data()), (source.checkout(), place.unfinished_checkout())]
    {
        files::remove_tree(&to)?;
        files::directory(&to, 0o700, Some(place.host_user()))?;
        let copied = copy_tree(&from, &to, owners, &is_lock_of_git, is_stopped)?;
        all.files += copied.files;
        all.bytes += copied.bytes;
        all.shared += copied.shared;
        all.left_out += copied.left_out;
    }
    Ok(all)
}

/// Held by a process of the source; in the copy nobody would ever release it.
fn is_lock_of_git(path: &Path) -> bool {
    path.starts_with(".git") && path.extension().is_some_and(|extension| extension == "lock")
}

fn failed(error: &io::Error) -> Blocked {
    let fix = if is_full(error) {
        "make room on the host's disk, then prepare the workspace again"
    } else {
        "see that the workspace it is a copy of is still there, then prepare this one again"
    };
    blocked("shell.fork_failed", format!("the files could not be copied: {error}"), fix)
}

/// Whether copies on this host share their blocks with what they are copies of.
pub(crate) fn is_copy_on_write(data_dir: &Path) -> bool {
    copy_tree::shares_blocks(data_dir)
}

//! What was deleted and still lies on the disk.
//!
//! A workspace's trees can be large, and whoever deletes it need not wait for the last file: they are moved to a directory in which only
//! the daemon looks, and removed from there one after another; what a daemon leaves, the next one removes. Nothing there can become
//! a workspace again.

use crate::ctx::HostContext;
use crate::files;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Moves a tree of a workspace there; one that is not there is no error. What can't be moved is removed where it is.
pub(crate) fn take_away(tree: &Path, removing: &Path, of: &str) -> io::Result<()> {
    let name = tree.file_name().unwrap_or_default().to_string_lossy();
    match std::fs::rename(tree, removing.join(format!("{of}.{name}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => files::remove_tree(tree),
        _ => Ok(()),
    }
}

/// Removes what is there, and what comes, until the daemon ends.
pub(crate) async fn remove(ctx: Arc<HostContext>) {
    loop {
        let directory = ctx.data.removing();
        let removed = tokio::task::spawn_blocking(move || empty(&directory)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "deleted workspaces: not all of their files could be removed; it is tried again");
        }
        ctx.deleted.notified().await;
    }
}

fn empty(directory: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs_err::read_dir(directory)? {
        result = result.and(files::remove_tree(&entry?.path()));
    }
    result
}

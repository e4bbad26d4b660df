//! Sockets of a workspace, and who answers them.

use crate::ctx::HostContext;
use crate::place::Place;
use envforge_api::client::Client;
use envforge_core::id::WorkspaceId;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How long a question, and taking its answer, may take.
pub(super) const ASKING_LIMIT: Duration = Duration::from_secs(5);
/// Connections to one socket that are answered at the same time; further ones are closed.
const AT_ONCE: usize = 8;

/// For whom the server is asked, and how.
#[derive(Clone)]
pub(super) struct Asker {
    ctx: Arc<HostContext>,
    pub(super) workspace: WorkspaceId,
}

impl Asker {
    /// Of the server.
    pub(super) fn server(&self) -> &Client {
        &self.ctx.server
    }

    /// Of this daemon's last stream.
    pub(super) fn host_generation(&self) -> u64 {
        self.ctx.generation.load(Ordering::Relaxed)
    }
}

/// Listens where the workspace's user, and no other, may connect.
pub(super) fn listen(path: &Path, place: &Place) -> io::Result<UnixListener> {
    crate::files::remove_if_there(path)?;
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    place.give(path)?;
    Ok(listener)
}

/// Answers connections for as long as it is polled.
pub(super) async fn answer_all<A>(
    ctx: Arc<HostContext>,
    workspace: WorkspaceId,
    listener: UnixListener,
    answer: fn(Asker, UnixStream) -> A,
) where
    A: Future<Output = io::Result<()>> + Send + 'static,
{
    let asker = Asker { ctx, workspace };
    let free = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%workspace, %error, "git: a question could not be taken");
                tokio::time::sleep(ASKING_LIMIT).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else { continue };
        let answered = answer(asker.clone(), stream);
        asker.ctx.tasks.spawn_loose("git-question", async move {
            if let Err(error) = answered.await {
                tracing::debug!(%workspace, %error, "git: a question was not answered");
            }
            drop(permit);
        });
    }
}

//! The socket: Git's questions in, one answer each.
//!
//! One connection is one question: lines of `name=value`, ended by the asker's half of the connection (the protocol of
//! `git credential-cache` with its daemon; the lines are those of git-credential). A question of another form, or one too many
//! at a time, is answered with nothing, and Git goes on without.

use crate::ctx::HostContext;
use crate::place::Place;
use envforge_api::client::Client;
use envforge_api::host::{AskGitCredential, GIT_CREDENTIAL_PATH, GIT_REJECTED_PATH, GitCredential};
use envforge_core::id::WorkspaceId;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Longest question, in bytes.
const QUESTION_MAX: u64 = 16 * 1024;
/// How long asking, and taking the answer, may take.
const ASKING_LIMIT: Duration = Duration::from_secs(5);
/// Questions of one workspace that are answered at the same time.
const AT_ONCE: usize = 8;

/// Listens where the workspace's user, and no other, may connect.
pub(super) fn listen(path: &Path, place: &Place) -> io::Result<UnixListener> {
    crate::files::remove_if_there(path)?;
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let (uid, gid) = place.host_user();
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chown(path, Some(uid), Some(gid))?;
    Ok(listener)
}

/// Answers for as long as it is polled.
pub(super) async fn answer_all(ctx: Arc<HostContext>, workspace: WorkspaceId, listener: UnixListener) {
    let client = match Client::new(&ctx.config.server, Some(ctx.identity.key.clone())) {
        Ok(client) => Arc::new(client),
        Err(error) => return tracing::error!(%workspace, %error, "git: the server can't be asked"),
    };
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
        let (context, client) = (Arc::clone(&ctx), Arc::clone(&client));
        ctx.tasks.spawn_loose("git-question", async move {
            if let Err(error) = answer(&context, &client, workspace, stream).await {
                tracing::debug!(%workspace, %error, "git: a question was not answered");
            }
            drop(permit);
        });
    }
}

async fn answer(ctx: &HostContext, client: &Client, workspace: WorkspaceId, mut stream: UnixStream) -> io::Result<()> {
    let mut question = String::new();
    let mut asked = (&mut stream).take(QUESTION_MAX);
    tokio::time::timeout(ASKING_LIMIT, asked.read_to_string(&mut question)).await??;
    let question = Secret::new(question);
    let Some((wish, url)) = wanted(question.expose()) else { return Ok(()) };
    let ask = AskGitCredential { host_generation: ctx.generation.load(Ordering::Relaxed), workspace, url };
    if wish == Wish::Erase {
        return client.post::<_, ()>(GIT_REJECTED_PATH, &ask).await.map_err(io::Error::other);
    }
    let text = match client.post::<_, GitCredential>(GIT_CREDENTIAL_PATH, &ask).await {
        Ok(credential) => given(credential),
        Err(error) => Secret::new(refused(&error.into_refusal())),
    };
    tokio::time::timeout(ASKING_LIMIT, stream.write_all(text.expose().as_bytes())).await?
}

/// What Git may wish for; what it has is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// A credential.
    Get,
    /// That what it was given is not given again: it was rejected.
    Erase,
}

/// A wish, and the address it is about.
fn wanted(question: &str) -> Option<(Wish, String)> {
    let value = |name: &str| {
        let mut lines = question.lines().filter_map(|line| line.split_once('='));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let wish = match value("action")? {
        "get" => Wish::Get,
        "erase" => Wish::Erase,
        _ => return None,
    };
    Some((wish, format!("{}://{}/{}", value("protocol")?, value("host")?, value("path").unwrap_or_default())))
}

/// In lines of git-credential.
fn given(credential: GitCredential) -> Secret {
    let password = Secret::new(credential.password);
    let mut text = format!("username={}\npassword={}\n", credential.username, password.expose());
    if let Some(end) = credential.expires_at {
        let _ = writeln!(text, "password_expiry_utc={}", end.as_second());
    }
    Secret::new(text)
}

/// A line for the person.
fn refused(refusal: &Refusal) -> String {
    let hint = refusal.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    let text: String = format!("{}{hint}", refusal.message).chars().filter(|c| !c.is_control()).collect();
    format!("message={text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_stored() {
        let lines = "timeout=900\nprotocol=https\nhost=git.example.org:8443\npath=acme/planner.git\n";
        let url = "https://git.example.org:8443/acme/planner.git".to_owned();
        assert_eq!(wanted(&format!("action=get\n{lines}")), Some((Wish::Get, url.clone())));
        assert_eq!(wanted(&format!("action=erase\n{lines}password=p\n")), Some((Wish::Erase, url)));
        for other in ["store", "exit"] {
            assert_eq!(wanted(&format!("action={other}\n{lines}password=p\n")), None);
        }
        assert_eq!(wanted("action=get\nprotocol=https\n"), None);
        assert_eq!(wanted(""), None);
    }

    #[test]
    fn a_refusal_is_one_line() {
        let refusal = Refusal::conflict("x", "Ada has no\npassword=x").hint("set one");
        assert_eq!(refused(&refusal), "message=Ada has nopassword=x; set one\n");
    }
}

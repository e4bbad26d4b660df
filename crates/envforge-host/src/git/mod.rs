//! What Git in a workspace is told: who commits, and how to reach the repository.
//!
//! ```text
//!   git ── sh helper ── git credential-cache ── ask.sock ──► daemon ──► server
//!                       (Git's own client)      (this)      (host key)  (whose credential)
//! ```
//!
//! A directory of the workspace, which both sandboxes see and only the daemon writes, holds a configuration that Git reads as
//! the system's, the identity of who attached last, a helper of a few lines, and a socket. The helper brings no
//! program of ours into a sandbox: it speaks to the socket by `git credential-cache`, whose other end is the
//! daemon. Which workspace asks is which socket was connected to; only that workspace's user can. What comes back is
//! passed on and kept nowhere: there is nothing to store, and what Git erases because it was rejected is told to the server.
//!
//! Over SSH the same is asked by SSH's own protocol for agents, at a second socket ([`agent`], [`ssh`]).
//!
//! The clone of a checkout, which the host does as the workspace's user, asks by the same sockets.

mod agent;
mod line;
mod socket;
pub(crate) mod ssh;

use crate::ctx::HostContext;
use crate::engines::inside;
use crate::files::{self, Durability};
use crate::place::Place;
use crate::script::quote;
use crate::workspace::driver::Driver;
use envforge_api::host::PrepareShell;
use envforge_core::git::Repository;
use envforge_core::ssh::SshRepository;
use envforge_core::ticket::Person;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

const SOCKET: &str = "ask.sock";
const AGENT_SOCKET: &str = "ssh.sock";
const HELPER: &str = "helper";
const CONFIG: &str = "config";
const IDENTITY: &str = "identity";

/// Makes Git in a sandbox read the workspace's configuration as the system's; the machine's own is included there.
pub(crate) const CONFIG_VARIABLE: (&str, &str) = ("GIT_CONFIG_SYSTEM", "/run/envforge/git/config");

/// Called by Git with the socket and what to do. What keeps it from an answer is said to the person, not to Git, which
/// then asks other helpers or the person.
const HELPER_TEXT: &str = r#"answer=$(git credential-cache --socket "$1" "$2") || exit 0
case $answer in
message=*) printf 'envforge: %s\n' "${answer#message=}" >&2 ;;
?*) printf '%s\n' "$answer" ;;
esac
"#;

/// The configuration of a workspace with this repository. The helper is asked for its host and no other.
fn config(repository: &str) -> String {
    let mut text = format!("[include]\n\tpath = /etc/gitconfig\n\tpath = {}/{IDENTITY}\n", inside::GIT);
    if let Some(repository) = Repository::parse(repository) {
        let helper = helper(Path::new(inside::GIT));
        let _ = write!(
            text,
            "[credential {}]\n\thelper = {}\n\tuseHttpPath = true\n",
            config_value(&repository.origin()),
            config_value(&helper)
        );
    } else if let Some(repository) = SshRepository::parse(repository) {
        let command = ssh::command_inside(Path::new(inside::GIT), &repository);
        let _ = write!(text, "[core]\n\tsshCommand = {}\n[ssh]\n\tvariant = ssh\n", config_value(&command));
    }
    text
}

fn helper(directory: &Path) -> String {
    let at = |name: &str| quote(&directory.join(name).to_string_lossy());
    format!("!sh {} {}", at(HELPER), at(SOCKET))
}

/// A text as Git's configuration quotes it (git-config, "Syntax").
fn config_value(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The environment in which Git outside of the sandboxes asks by the workspace's socket.
pub(crate) fn asking_here(place: &Place) -> [(&'static str, String); 7] {
    let configured = |name: &'static str, value: &str| (name, value.to_owned());
    [
        configured("GIT_CONFIG_COUNT", "3"),
        // None of the machine's own.
        configured("GIT_CONFIG_KEY_0", "credential.helper"),
        configured("GIT_CONFIG_VALUE_0", ""),
        configured("GIT_CONFIG_KEY_1", "credential.helper"),
        configured("GIT_CONFIG_VALUE_1", &helper(&place.git())),
        configured("GIT_CONFIG_KEY_2", "credential.useHttpPath"),
        configured("GIT_CONFIG_VALUE_2", "true"),
    ]
}

/// Commits in the workspace are by this person from now on; the identity is seen at once by every program in it.
pub(crate) fn commits_are_by(place: &Place, person: &Person) -> io::Result<()> {
    let text = format!("[user]\n\tname = {}\n\temail = {}\n", config_value(&person.name), config_value(&person.email));
    files::replace(&place.git().join(IDENTITY), text.as_bytes(), 0o644, Durability::Process)
}

impl Driver {
    /// Answers the workspace's Git, from now on if it was not answered before.
    pub(crate) fn serve_git(&mut self, prepared: &PrepareShell) {
        match serve(&self.ctx, &self.place, &prepared.repository) {
            Ok(tasks) => self.git = tasks,
            Err(error) => {
                tracing::error!(workspace = %self.place.workspace, %error, "git: its questions can't be answered; private repositories stay out of reach");
            }
        }
    }
}

fn serve(ctx: &Arc<HostContext>, place: &Place, repository: &str) -> io::Result<Vec<crate::tasks::Owned>> {
    let directory = place.git();
    files::directory(&directory, 0o755, None)?;
    for (name, text) in [(HELPER, HELPER_TEXT), (CONFIG, &config(repository))] {
        files::keep(&directory.join(name), text.as_bytes(), 0o644)?;
    }
    let workspace = place.workspace;
    let listener = socket::listen(&directory.join(SOCKET), place)?;
    let line = socket::answer_all(Arc::clone(ctx), workspace, listener, line::answer);
    let mut tasks = vec![ctx.tasks.spawn_owned("git", line)];
    if SshRepository::parse(repository).is_some() {
        ssh::write(place)?;
        let listener = socket::listen(&directory.join(AGENT_SOCKET), place)?;
        let agent = socket::answer_all(Arc::clone(ctx), workspace, listener, agent::answer);
        tasks.push(ctx.tasks.spawn_owned("git-ssh", agent));
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_reads_what_was_quoted() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = "Ada \"the # first\" \\ Lovelace; x";
        let text = format!("[user]\n\tname = {}\n{}", config_value(name), config("https://git.example.org/a/b"));
        fs_err::write(dir.path().join("c"), text).expect("written");
        let get = |key: &str| {
            let path = dir.path().join("c").to_string_lossy().into_owned();
            crate::sys::command::run("git", &["config", "--file", &path, "--get", key], "").expect("read")
        };
        assert_eq!(get("user.name").trim_end(), name);
        assert_eq!(
            get("credential.https://git.example.org.helper").trim_end(),
            "!sh '/run/envforge/git/helper' '/run/envforge/git/ask.sock'"
        );
        assert!(!config("/srv/planner").contains("credential"));
        fs_err::write(dir.path().join("c"), config("git@Git.example.org:a/b")).expect("written");
        let command = "sh '/run/envforge/git/ssh' 'Git.example.org' '-oStrictHostKeyChecking=yes'";
        assert_eq!(get("core.sshCommand").trim_end(), command);
    }
}

//! The socket: Git's questions in, one answer each.
//!
//! One connection is one question: lines of `name=value`, ended by the asker's half of the connection (the protocol of
//! `git credential-cache` with its daemon; the lines are those of git-credential). A question of another form, or one too many
//! at a time, is answered with nothing, and Git goes on without.

use super::agent;
use super::socket::{ASKING_LIMIT, Asker};
use envforge_api::host::{AskGitCredential, GIT_CREDENTIAL_PATH, GIT_REJECTED_PATH, GitCredential};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use std::fmt::Write as _;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Longest question, in bytes.
const QUESTION_MAX: u64 = 16 * 1024;

/// Answers one question.
pub(super) async fn answer(asker: Asker, mut stream: UnixStream) -> io::Result<()> {
    let mut question = String::new();
    let mut asked = (&mut stream).take(QUESTION_MAX);
    tokio::time::timeout(ASKING_LIMIT, asked.read_to_string(&mut question)).await??;
    let question = Secret::new(question);
    let Some((wish, url)) = wanted(question.expose()) else { return Ok(()) };
    let (host_generation, workspace) = (asker.host_generation(), asker.workspace);
    let ask = AskGitCredential { host_generation, workspace, url };
    let text = match wish {
        Wish::Get => match asker.server().post::<_, GitCredential>(GIT_CREDENTIAL_PATH, &ask).await {
            Ok(credential) => given(credential),
            Err(error) => Secret::new(refused(&error.into_refusal())),
        },
        Wish::Erase => return asker.server().post::<_, ()>(GIT_REJECTED_PATH, &ask).await.map_err(io::Error::other),
        Wish::Explain => match agent::identity(&asker).await {
            Ok(_) => return Ok(()),
            Err(refusal) => Secret::new(refused(&refusal)),
        },
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
    /// Why SSH, whose agent has no words, was given no key; nothing if it was.
    Explain,
}

/// A wish, and the address it is about.
fn wanted(question: &str) -> Option<(Wish, String)> {
    let value = |name: &str| {
        let mut lines = question.lines().filter_map(|line| line.split_once('='));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let wish = match value("action")? {
        "get" if value("protocol")? == "ssh" => Wish::Explain,
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
        assert!(matches!(wanted("action=get\nprotocol=ssh\nhost=git.example.org\n"), Some((Wish::Explain, _))));
        assert_eq!(wanted("action=get\nprotocol=https\n"), None);
        assert_eq!(wanted(""), None);
    }

    #[test]
    fn a_refusal_is_one_line() {
        let refusal = Refusal::conflict("x", "Ada has no\npassword=x").hint("set one");
        assert_eq!(refused(&refusal), "message=Ada has nopassword=x; set one\n");
    }
}

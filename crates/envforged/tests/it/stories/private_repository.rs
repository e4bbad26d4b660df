//! A private repository: nobody's token, a wrong one, the right one; clone, commit and push.

use super::git_server::GitServer;
use super::sample::{Member, repository};
use crate::support::TestBox;
use envforge_api::http::accounts::Me;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::ReadinessState;
use envforge_testkit::{Shell, processes_of, wait_until};
use std::path::Path;

/// The ordinary user that every machine has.
pub(super) const NOBODY: u32 = 65_534;
const TOKEN: &str = "planted-secret-token-of-the-story";

fn is_blocked(workspace: &Workspace, cause: &str) -> bool {
    let said = |text: &Option<String>, what: &str| text.as_ref().is_some_and(|text| text.contains(what));
    workspace.shell.state == ReadinessState::Blocked
        && said(&workspace.shell.cause, cause)
        && said(&workspace.shell.fix, "envforge git-credential set 127.0.0.1:")
}

/// Files below a directory that hold this text.
pub(super) fn holding(directory: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(path));
        }
    }
    found
}

// proves UP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_repository_clones_and_pushes_and_the_token_lies_nowhere() {
    // An ordinary user's workspaces share this machine's network, where the Git server is.
    let is_root = rustix::process::geteuid().is_root();
    let mut the_box = if is_root { TestBox::of_user(NOBODY) } else { TestBox::new() };
    the_box.start().await;
    let git_server = GitServer::start(&the_box.scratch("git"), TOKEN).await;
    let url = git_server.take(&repository(&the_box.scratch("notes")), "notes");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    let nowhere = the_box.scratch("nowhere");
    let set = async |token: &str| {
        let file = the_box.scratch("tokens").join("token");
        fs_err::write(&file, token).unwrap();
        let file = file.to_string_lossy().into_owned();
        the_box.json(&nowhere, &["git-credential", "set", &git_server.host(), "--token-file", &file]).await;
        fs_err::remove_file(&file).unwrap();
    };

    member.workspace(Path::new(&url), "main").await;
    member.until("nobody has a token", |workspace| is_blocked(workspace, "has no credential for 127.0.0.1:")).await;
    set("a-wrong-token").await;
    member.workspace(Path::new(&url), "main").await;
    let rejected = |workspace: &Workspace| {
        is_blocked(workspace, "Authentication failed") && !is_blocked(workspace, "has no credential")
    };
    member.until("the token is rejected", rejected).await;
    set(TOKEN).await;
    member.workspace(Path::new(&url), "main").await;
    member.shell_ready().await;

    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.answers().await.unwrap();
    shell
        .send("echo changed >>page.html; git commit --quiet --all -m 'From the shell'; git push --quiet\r")
        .await
        .unwrap();
    let me: Me = the_box.client().get("/v1/me").await.unwrap();
    let identity = format!("{} <{}@users.noreply.127.0.0.1>", me.name, me.user);
    let pushed = format!("{identity}|{identity}|From the shell");
    wait_until("the commit is at the Git server", async || {
        git_server.last_commit("notes", "main").as_deref() == Some(pushed.as_str())
    })
    .await;
    shell.send("git pull --quiet && echo pulled-$((1+1))\r").await.unwrap();
    shell.expect("pulled-2").await.unwrap();

    assert_eq!(holding(&the_box.path(), TOKEN), Vec::<std::path::PathBuf>::new());
    assert!(!the_box.words().contains(TOKEN));
    for (pid, line) in processes_of(&the_box.path()) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!line.contains(TOKEN) && !String::from_utf8_lossy(&environment).contains(TOKEN), "{line}");
    }
    let export = the_box.envforge(&nowhere, &["ledger", "export", "-"]).await;
    let export = String::from_utf8_lossy(&export.stdout).into_owned();
    assert!(export.contains("git.credential_issued") && !export.contains(TOKEN));
}

//! A repository that is reached over SSH: nobody's key, one that is not registered, the right one; clone, commit and push;
//! a server that is suddenly another.

use super::private_repository::{NOBODY, holding};
use super::sample::{Member, repository};
use super::ssh_server::{SshServer, make_key};
use crate::support::TestBox;
use envforge_api::http::accounts::Me;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::ReadinessState;
use envforge_core::secret::Secret;
use envforge_core::ssh::SshKey;
use envforge_testkit::{Shell, processes_of, wait_until};
use std::path::Path;

fn is_blocked(workspace: &Workspace, cause: &str) -> bool {
    let said = |text: &Option<String>, what: &str| text.as_ref().is_some_and(|text| text.contains(what));
    workspace.shell.state == ReadinessState::Blocked
        && said(&workspace.shell.cause, cause)
        && said(&workspace.shell.fix, "envforge git-credential generate-key 127.0.0.1:")
}

// proves UP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_over_ssh_clones_and_pushes_with_a_key_that_never_leaves_the_server() {
    // An ordinary user's workspaces share this machine's network, where the Git server is.
    let is_root = rustix::process::geteuid().is_root();
    let mut the_box = if is_root { TestBox::of_user(NOBODY) } else { TestBox::new() };
    the_box.start().await;
    let mut git_server = SshServer::start(&the_box.scratch("git")).await;
    let url = git_server.take(&repository(&the_box.scratch("notes")), "notes");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    let nowhere = the_box.scratch("nowhere");

    member.workspace(Path::new(&url), "main").await;
    member.until("nobody has a key", |workspace| is_blocked(workspace, "has no SSH key for 127.0.0.1:")).await;
    let made = the_box.json(&nowhere, &["git-credential", "generate-key", &git_server.host()]).await;
    member.workspace(Path::new(&url), "main").await;
    let unregistered = |workspace: &Workspace| {
        is_blocked(workspace, "Permission denied (publickey)") && !is_blocked(workspace, "has no SSH key")
    };
    member.until("the key is not registered", unregistered).await;
    git_server.register(made["public_key"].as_str().unwrap());
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
    wait_until("the commit is at the Git server", async || git_server.last_commit("notes", "main") == pushed).await;
    // What is known of the server, no program of the workspace can change; the agent lends logins and nothing else.
    shell.send("git pull --quiet && echo x >>/run/envforge/git/known_hosts\r").await.unwrap();
    shell.expect("Read-only file system").await.unwrap();
    shell.send("export SSH_AUTH_SOCK=/run/envforge/git/ssh.sock; ssh-add -L >~/k.pub; ssh-add -l\r").await.unwrap();
    shell.expect("(ED25519)").await.unwrap();
    shell.send("clear; echo x | ssh-keygen -Y sign -f ~/k.pub -n git\r").await.unwrap();
    shell.expect("agent refused operation").await.unwrap();

    assert_eq!(holding(&the_box.path().join("host"), "PRIVATE KEY"), Vec::<std::path::PathBuf>::new());
    let export = the_box.envforge(&nowhere, &["ledger", "export", "-"]).await;
    let export = String::from_utf8_lossy(&export.stdout).into_owned();
    assert!(export.contains("git.signature_given") && export.contains(made["fingerprint"].as_str().unwrap()));

    // Without the key, the person is told what to do.
    the_box.json(&nowhere, &["git-credential", "remove-key", &git_server.host()]).await;
    let said = |text: &str| format!("git pull 2>~/said; echo said-$(tr -d '\\n' <~/said | grep -c '{text}')\r");
    shell.send(&said("has no SSH key for 127.0.0.1:.*envforge git-credential generate-key 127")).await.unwrap();
    shell.expect("said-1").await.unwrap();
    // To a server that is not the one it was, SSH says nothing of the person.
    git_server.changes_its_key().await;
    shell.send(&said("HOST IDENTIFICATION HAS CHANGED.*Host key verification failed")).await.unwrap();
    shell.expect("said-1").await.unwrap();
}

// proves UP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_brought_clones_for_a_user_without_a_name_and_lies_nowhere() {
    let the_box = TestBox::started().await;
    let git_server = SshServer::start(&the_box.scratch("git")).await;
    let url = git_server.take(&repository(&the_box.scratch("notes")), "notes");
    let nowhere = the_box.scratch("nowhere");
    let file = the_box.scratch("keys").join("id_ed25519");
    make_key(&file);
    let text = fs_err::read_to_string(&file).unwrap();
    git_server.register(&fs_err::read_to_string(file.with_extension("pub")).unwrap());
    let import = ["git-credential", "import-key", &git_server.host(), "--file", &file.to_string_lossy()];
    the_box.json(&nowhere, &import).await;
    fs_err::remove_file(&file).unwrap();

    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(Path::new(&url), "main").await;
    member.shell_ready().await;

    let kept = SshKey::import(&Secret::new(text.clone())).unwrap().to_keep();
    // As it is kept, and the end of the file, where the private half is.
    for part in [kept.expose(), text.lines().nth(4).unwrap()] {
        assert_eq!(holding(&the_box.path(), part), Vec::<std::path::PathBuf>::new());
        assert!(!the_box.words().contains(part));
        for (pid, line) in processes_of(&the_box.path()) {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            assert!(!line.contains(part) && !String::from_utf8_lossy(&environment).contains(part), "{line}");
        }
    }
}

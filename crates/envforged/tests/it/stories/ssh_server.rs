//! A real Git server over SSH: OpenSSH's, which runs nothing but Git for whoever has a registered key.

use envforge_testkit::{free_port, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server on a port of its own; it ends when dropped.
pub(crate) struct SshServer {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl SshServer {
    /// Starts one in a folder; nobody is registered yet.
    pub(crate) async fn start(folder: &Path) -> Self {
        let (port, at) = (free_port(), folder.display());
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nPidFile none\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/people\n\
             UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nDisableForwarding yes\nPermitTTY no\n\
             ForceCommand exec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n"
        );
        fs_err::write(folder.join("sshd_config"), config).unwrap();
        fs_err::write(folder.join("people"), "").unwrap();
        if rustix::process::geteuid().is_root() {
            // Where root's server keeps its unprivileged half: empty.
            fs_err::create_dir_all("/run/sshd").unwrap();
        }
        let process = serve(folder);
        let it = Self { folder: folder.to_owned(), port, process };
        it.listens().await;
        it
    }

    /// The same server with another key of its own: to whoever knew it, somebody else's.
    pub(crate) async fn changes_its_key(&mut self) {
        self.end();
        self.process = serve(&self.folder);
        self.listens().await;
    }

    /// Lets in whoever has this key.
    pub(crate) fn register(&self, public_key: &str) {
        fs_err::write(self.folder.join("people"), format!("{public_key}\n")).unwrap();
    }

    /// Its name, as people write it.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Takes a repository in; the address it has from then on.
    pub(crate) fn take(&self, repository: &Path, name: &str) -> String {
        let bare = self.repository(name);
        run("git", &["clone", "--quiet", "--bare", &repository.to_string_lossy(), &bare.to_string_lossy()]);
        format!("ssh://{}@{}{}", run("id", &["-un"]), self.host(), bare.display())
    }

    /// What a branch of a repository is at: author, committer and message.
    pub(crate) fn last_commit(&self, name: &str, branch: &str) -> String {
        let bare = self.repository(name);
        run("git", &["-C", &bare.to_string_lossy(), "log", "-1", "--format=%an <%ae>|%cn <%ce>|%s", branch])
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.git"))
    }

    async fn listens(&self) {
        let address = ("127.0.0.1", self.port);
        wait_until("the SSH server listens", async || std::net::TcpStream::connect(address).is_ok()).await;
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the server of a folder with a fresh key.
fn serve(folder: &Path) -> Child {
    let key = folder.join("host_key");
    let _ = fs_err::remove_file(&key);
    make_key(&key);
    #[expect(clippy::disallowed_methods, reason = "the team's own Git server")]
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(fs_err::File::create(folder.join("words")).unwrap().into_parts().0);
    command.spawn().expect("install what stories need: `./dev install`")
}

/// A key as people make them.
pub(crate) fn make_key(file: &Path) {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "story", "-f", &file.to_string_lossy()]);
}

#[expect(clippy::disallowed_methods, reason = "the team's own programs")]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

//! A real Git server with private repositories: nginx, fcgiwrap and Git's own HTTP backend.

use envforge_testkit::{free_port, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server on a port of its own; it ends when dropped.
pub(crate) struct GitServer {
    folder: PathBuf,
    port: u16,
    processes: Vec<Child>,
}

impl GitServer {
    /// Starts one in a folder, that lets in whoever shows `token`.
    pub(crate) async fn start(folder: &Path, token: &str) -> Self {
        let (port, at) = (free_port(), folder.display());
        let config = format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/t1; fastcgi_temp_path {at}/t2; proxy_temp_path {at}/t3;\n\
             uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
             server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n\
             location / {{ auth_basic private; auth_basic_user_file {at}/people; include /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME {backend}; fastcgi_param GIT_PROJECT_ROOT {at}/repositories;\n\
             fastcgi_param GIT_HTTP_EXPORT_ALL ''; fastcgi_param PATH_INFO $uri; fastcgi_param REMOTE_USER $remote_user;\n\
             fastcgi_pass unix:{at}/backend.sock; }} }} }}\n",
            backend = backend()
        );
        fs_err::write(folder.join("nginx.conf"), config).unwrap();
        fs_err::write(folder.join("people"), format!("x-access-token:{{PLAIN}}{token}\n")).unwrap();
        fs_err::create_dir_all(folder.join("repositories")).unwrap();
        let nginx = program("nginx").arg("-e").arg("stderr").arg("-c").arg(folder.join("nginx.conf")).spawn();
        let backend = program("fcgiwrap").arg("-s").arg(format!("unix:{at}/backend.sock")).spawn();
        let missing = "install what stories need: `./dev install`";
        let it =
            Self { folder: folder.to_owned(), port, processes: vec![nginx.expect(missing), backend.expect(missing)] };
        wait_until("the Git server listens", async || {
            folder.join("backend.sock").exists() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        it
    }

    /// Its name, as people write it.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Takes a repository in; the address it has from then on.
    pub(crate) fn take(&self, repository: &Path, name: &str) -> String {
        let bare = self.repository(name);
        let done = git(&["clone", "--quiet", "--bare", &repository.to_string_lossy(), &bare.to_string_lossy()]);
        assert!(done.is_some());
        format!("http://{}/{name}.git", self.host())
    }

    /// What a branch of a repository is at: author, committer and message.
    pub(crate) fn last_commit(&self, name: &str, branch: &str) -> Option<String> {
        let bare = self.repository(name);
        git(&["-C", &bare.to_string_lossy(), "log", "-1", "--format=%an <%ae>|%cn <%ce>|%s", branch])
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.folder.join("repositories").join(format!("{name}.git"))
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A program of the system that runs until it is ended.
#[expect(clippy::disallowed_methods, reason = "the team's own Git server")]
fn program(name: &str) -> Command {
    let mut command = Command::new(Path::new("/usr/sbin").join(name));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn backend() -> String {
    format!("{}/git-http-backend", git(&["--exec-path"]).expect("git says where its programs are"))
}

#[expect(clippy::disallowed_methods, reason = "the team's own Git")]
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! The proxies that others built and attacked for years, each in front of a recorder of its own.

use crate::support::recorder::Recorder;
use envforge_testkit::system_judge;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

const NGINX: &str = "\
daemon off; master_process off; pid @dir@/pid; error_log stderr crit; events {}
http {
    access_log off; client_body_temp_path @dir@/a; proxy_temp_path @dir@/b; fastcgi_temp_path @dir@/c;
    uwsgi_temp_path @dir@/d; scgi_temp_path @dir@/e;
    upstream service { server @service@; keepalive 8; }
    server { listen unix:@dir@/socket; location / {
        proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection \"\";
    } }
}
";
const HAPROXY: &str = "\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend clients
    bind unix@@dir@/socket
    default_backend service
backend service
    http-reuse always
    server service @service@
";
const CADDY: &str = "\
{
    admin off
    auto_https off
}
http:// {
    bind unix/@dir@/socket
    reverse_proxy @service@
}
";

/// A proxy at work.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) recorder: Recorder,
    socket: PathBuf,
    _process: Child,
    _folder: TempDir,
}

impl Peer {
    /// Those that are installed; of the others it is said that they are not. CI installs them all.
    pub(crate) async fn all() -> Vec<Self> {
        let mut peers = Vec::new();
        for (name, program, configuration, arguments) in [
            ("nginx", "nginx", NGINX, ["-e", "stderr", "-c"].as_slice()),
            ("HAProxy", "haproxy", HAPROXY, &["-db", "-q", "-f"]),
            ("Caddy", "caddy", CADDY, &["run", "--adapter", "caddyfile", "--config"]),
        ] {
            if let Some(program) = system_judge(program) {
                peers.push(Self::start(name, &program, configuration, arguments).await);
            }
        }
        peers
    }

    async fn start(name: &'static str, program: &Path, configuration: &str, arguments: &[&str]) -> Self {
        let (recorder, folder) = (Recorder::start().await, tempfile::tempdir().expect("a temporary folder"));
        let (file, socket) = (folder.path().join("configuration"), folder.path().join("socket"));
        let (dir, service) = (folder.path().to_string_lossy(), recorder.address.to_string());
        std::fs::write(&file, configuration.replace("@dir@", &dir).replace("@service@", &service)).expect("written");
        #[expect(clippy::disallowed_methods, reason = "independent programs beside ours")]
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME");
        command.env_remove("XDG_DATA_HOME").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.kill_on_drop(true).spawn().expect("the program starts");
        let started = async {
            while UnixStream::connect(&socket).await.is_err() {
                assert!(process.try_wait().expect("a child").is_none(), "{name} ended at its start");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), started).await.expect("it listens in time");
        Self { name, recorder, socket, _process: process, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.expect("the proxy listens")
    }
}

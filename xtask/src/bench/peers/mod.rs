//! The peers of the same run: nginx, HAProxy and Caddy, each in front of the application's two services, all started by hand.

use super::runtimes::ByHand;
use super::world::{app, installed};
use anyhow::{Context as _, ensure};
use envforge_testkit::free_port;
use std::process::Command;

const NGINX: &str = "/usr/sbin/nginx";
/// Where the application's fixed answer listens, as in the workspace.
const STATIC: u16 = 8080;

/// How a peer is started: its name in the report, its program, what comes before its configuration, and that.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    configuration: &'static str,
    /// What makes it say its version.
    version: &'static str,
}

pub(super) const KINDS: [Kind; 3] = [
    Kind {
        name: "nginx",
        program: NGINX,
        arguments: &["-e", "stderr", "-c"],
        configuration: include_str!("nginx.conf"),
        version: "-v",
    },
    Kind {
        name: "HAProxy",
        program: "/usr/sbin/haproxy",
        arguments: &["-db", "-f"],
        configuration: include_str!("haproxy.cfg"),
        version: "-v",
    },
    Kind {
        name: "Caddy",
        program: "/usr/bin/caddy",
        arguments: &["run", "--adapter", "caddyfile", "--config"],
        configuration: include_str!("Caddyfile"),
        version: "version",
    },
];

impl Kind {
    pub(super) fn is_installed(&self) -> bool {
        installed(self.program) && installed(NGINX)
    }

    /// As it is named beside ours: it checks no session.
    pub(super) fn peer(&self) -> String {
        format!("{}, no session", self.name)
    }

    /// The first line of what it says of its version.
    pub(super) fn version(&self) -> Option<String> {
        version_of(self.program, self.version)
    }
}

/// The first line of what a program says of its version, if it is installed.
pub(super) fn version_of(program: &str, argument: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "asks a program of the run for its version")]
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// The application's two services, outside of any sandbox.
pub(super) struct Services {
    api: u16,
    _processes: [ByHand; 2],
    _folder: tempfile::TempDir,
}

impl Services {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (folder, api) = (tempfile::tempdir()?, free_port());
        let dir = folder.path().to_string_lossy().into_owned();
        let text = fs_err::read_to_string(app().join("static.conf"))?.replace("/tmp/", &format!("{dir}/s"));
        let configuration = folder.path().join("static.conf");
        fs_err::write(&configuration, text)?;
        #[expect(clippy::disallowed_methods, reason = "the service that is measured")]
        let mut nginx = Command::new(NGINX);
        nginx.arg("-p").arg(&dir).args(["-e", "stderr", "-c"]).arg(configuration);
        let (mut fixed, mut node) = (ByHand::start(nginx)?, ByHand::node(api)?);
        fixed.listens(STATIC).context("the fixed answer")?;
        node.listens(api).context("the API")?;
        Ok(Self { api, _processes: [fixed, node], _folder: folder })
    }
}

/// A peer at work.
pub(super) struct Peer {
    pub(super) port: u16,
    _process: ByHand,
    _folder: tempfile::TempDir,
}

impl Peer {
    pub(super) fn start(kind: &Kind, services: &Services) -> anyhow::Result<Self> {
        ensure!(kind.is_installed(), "{} is not installed", kind.name);
        let (folder, port) = (tempfile::tempdir()?, free_port());
        let dir = folder.path().to_string_lossy().into_owned();
        let text = kind.configuration.replace("@dir@", &dir).replace("@api@", &services.api.to_string());
        let configuration = folder.path().join("configuration");
        fs_err::write(&configuration, text.replace("@listen@", &port.to_string()))?;
        #[expect(clippy::disallowed_methods, reason = "the peer that is measured")]
        let mut command = Command::new(kind.program);
        command.args(kind.arguments).arg(&configuration).env("HOME", folder.path());
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let mut process = ByHand::start(command)?;
        process.listens(port).with_context(|| kind.name)?;
        Ok(Self { port, _process: process, _folder: folder })
    }
}

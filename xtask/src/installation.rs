//! A box to work against: one that runs on the data directory given, or one started here and ended with this.
//!
//! Everything is done as a person would: by the two programs, over their public surface. The box's own words go to
//! `envforged.log` in its data directory, which failures point at.

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use envforge_api::client::{Address, Client};
use envforge_api::http::Health;
use envforge_core::secret::Secret;
use envforge_testkit::Slot;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The first start makes a database.
const START: Duration = Duration::from_mins(1);
/// A stop drains.
const STOP: Duration = Duration::from_secs(45);

/// Which box.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// The box's data directory; one that runs there is used, else one is started; a throw-away one when absent
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// For a box that is started: the server's port, and the gateway's is the next one; 0 for free ones
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Where `envforge` and `envforged` are; beside this program when absent
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
}

impl Which {
    fn bin_dir(&self) -> anyhow::Result<PathBuf> {
        match &self.bin_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(std::env::current_exe()?.parent().context("a program is in a folder")?.to_owned()),
        }
    }

    /// One of its programs, which must be there.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.bin_dir()?;
        let program = dir.join(name);
        ensure!(program.exists(), "there is no {name} in {}: build it, or give --bin-dir", dir.display());
        Ok(program)
    }
}

/// A box that answers.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// Base URL of its server.
    pub(crate) url: String,
    /// The owner's key.
    pub(crate) key: Secret,
    bin_dir: PathBuf,
    arguments: Vec<String>,
    started: Option<Child>,
    throw_away: Option<tempfile::TempDir>,
    _slot: Option<Slot>,
}

impl Installation {
    /// The box meant: used if it runs, else started.
    pub(crate) async fn ensure(which: &Which) -> anyhow::Result<Self> {
        for program in ["envforge", "envforged"] {
            which.program(program)?;
        }
        let bin_dir = which.bin_dir()?;
        let throw_away = which.data_dir.is_none().then(|| envforge_testkit::temp_dir("box"));
        let data_dir = match (&which.data_dir, &throw_away) {
            (None, Some(dir)) => dir.path().join("box"),
            (chosen, _) => std::path::absolute(chosen.as_deref().unwrap_or(Path::new(".")))?,
        };
        let mut arguments = Vec::new();
        let ports = match (which.port, &throw_away) {
            (Some(port), _) if port != 0 => Some((port, port + 1)),
            (Some(_), _) | (None, Some(_)) => Some((envforge_testkit::free_port(), envforge_testkit::free_port())),
            (None, None) => None,
        };
        // Its users and networks are nobody else's while it lives.
        let slot = ports.map(|_| Slot::take(40));
        if let Some((server, gateway)) = ports {
            // Beside whatever box this machine has.
            let number = slot.as_ref().map_or(0, |slot| slot.number);
            arguments.extend(["--listen".to_owned(), format!("127.0.0.1:{server}")]);
            arguments.extend(["--gateway-listen".to_owned(), format!("127.0.0.1:{gateway}")]);
            arguments.extend(["--instance".to_owned(), format!("x{number}")]);
            arguments.extend(["--uid-base".to_owned(), (400_000 + number * 20_000).to_string()]);
            arguments.extend(["--network-pool".to_owned(), format!("10.{}", 214 + number)]);
        }
        if throw_away.is_some() {
            // One visitor, and one stranger, stand for thousands here.
            arguments.extend(["--link-rate", "0", "--stranger-rate", "0"].map(str::to_owned));
        }
        let (url, key) = (String::new(), Secret::new(String::new()));
        let mut it = Self { data_dir, url, key, bin_dir, arguments, started: None, throw_away, _slot: slot };
        if it.answers().await {
            it.runs_these_programs()?;
        } else {
            it.start().await?;
        }
        Ok(it)
    }

    /// A box that runs must run the programs meant: what is seen of others proves nothing of these.
    fn runs_these_programs(&self) -> anyhow::Result<()> {
        let supervisor = fs_err::read_to_string(self.data_dir.join("run/lock"))?;
        let running = fs_err::read_link(format!("/proc/{}/exe", supervisor.trim()))?;
        let meant = fs_err::canonicalize(self.bin_dir.join("envforged"))?;
        let (data, program) = (self.data_dir.display(), meant.display());
        ensure!(
            running == meant,
            "the box on {data} runs {}, not {program}: stop it with `{program} admin stop --data-dir {data}`, or give \
             --bin-dir",
            running.display()
        );
        Ok(())
    }

    /// Starts the supervisor and waits until the box answers.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.data_dir)?;
        let log = fs_err::OpenOptions::new().create(true).append(true).open(self.log())?.into_parts().0;
        let mut command = command(&self.bin_dir.join("envforged"));
        command.arg("all").arg("--data-dir").arg(&self.data_dir).args(&self.arguments);
        // Ours from the first moment: whatever cuts this off ends it too.
        self.started =
            Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?);
        let end = Instant::now() + START;
        while !self.answers().await {
            if let Some(status) = self.started.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.started = None;
                bail!("the box ended while it started ({status}):\n{}", self.last_words());
            }
            ensure!(Instant::now() < end, "the box did not answer within {START:?}:\n{}", self.last_words());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The supervisor's process, if it is ours.
    pub(crate) fn supervisor(&self) -> Option<i32> {
        self.started.as_ref()?.id().map(u32::cast_signed)
    }

    /// Forgets a supervisor that was killed.
    pub(crate) async fn reap(&mut self) {
        if let Some(mut child) = self.started.take() {
            let _ = child.wait().await;
        }
    }

    async fn answers(&mut self) -> bool {
        let read =
            |name: &str| fs_err::read_to_string(self.data_dir.join(name)).ok().map(|text| text.trim().to_owned());
        let (Some(url), Some(key)) = (read("run/server.url"), read("owner.key")) else { return false };
        (self.url, self.key) = (url, Secret::new(key));
        let Ok(client) = self.client() else { return false };
        client.get::<Health>("/v1/health").await.is_ok()
    }

    /// A client of its API, as the owner.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&Address::Url(self.url.clone()), Some(self.key.clone()))?)
    }

    /// The box's own words.
    pub(crate) fn log(&self) -> PathBuf {
        self.data_dir.join("envforged.log")
    }

    /// The end of them.
    pub(crate) fn last_words(&self) -> String {
        let text = fs_err::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// `envforge …` in `folder`, to be run.
    pub(crate) fn envforge_command<A: AsRef<OsStr>>(&self, folder: &Path, arguments: &[A]) -> std::process::Command {
        let mut command = command(&self.bin_dir.join("envforge")).into_std();
        command.args(arguments).current_dir(folder);
        // Nothing of whoever runs this, and nothing left behind in their home.
        command.env("XDG_CONFIG_HOME", self.data_dir.join("once/config")).env("ENVFORGE_DATA_DIR", &self.data_dir);
        command.env("ENVFORGE_SERVER", &self.url).env("ENVFORGE_KEY", self.key.expose());
        command.env_remove("ENVFORGE_ORG").env_remove("ENVFORGE_WORKSPACE");
        command
    }

    /// `envforge …` in `folder`; its output, whatever its exit code.
    pub(crate) async fn envforge<A: AsRef<OsStr>>(&self, folder: &Path, arguments: &[A]) -> anyhow::Result<Output> {
        let mut command = Command::from(self.envforge_command(folder, arguments));
        Ok(command.stdin(Stdio::null()).kill_on_drop(true).output().await?)
    }

    /// Statements in the box's own database, as its owner, with `psql`'s variables.
    pub(crate) async fn psql(&self, variables: &[String], statements: &str) -> anyhow::Result<()> {
        let mut command = command(&self.bin_dir.join("envforged"));
        command.args(["admin", "psql", "--data-dir"]).arg(&self.data_dir).args(["--", "-q", "-v", "ON_ERROR_STOP=1"]);
        let mut psql = command.args(variables).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = psql.stdin.take().context("psql's input")?;
        stdin.write_all(statements.as_bytes()).await?;
        drop(stdin);
        let output = psql.wait_with_output().await?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// `envforge … --json`, which must end well, and what it answered.
    pub(crate) async fn envforge_json<T: DeserializeOwned>(
        &self,
        folder: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<T> {
        let output = self.envforge(folder, &[arguments, &["--json"]].concat()).await?;
        let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "`envforge {}` ended with {}:\n{}",
            arguments.join(" "),
            output.status,
            said().trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`envforge {}` answered:\n{}", arguments.join(" "), said().trim()))
    }

    /// Ends a box started here, and what outlives it so that an upgrade interrupts nobody.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    /// Leaves a box started here running.
    pub(crate) fn leave(mut self) {
        self.started = None;
        if let Some(dir) = self.throw_away.take() {
            let _ = dir.keep();
        }
    }

    /// Waits without the runtime: what was started is ended however this program comes to its end.
    fn end(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.started.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let end = Instant::now() + STOP;
        while child.try_wait()?.is_none() {
            if Instant::now() > end {
                child.start_kill()?;
                bail!("the box did not end within {STOP:?}:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let clear = |last: &[&OsStr]| {
            let mut clear = command(&self.bin_dir.join("envforged")).into_std();
            clear.args(["admin", "clear"]).args(last).stdin(Stdio::null()).output()
        };
        if clear(&["--help".as_ref()])?.status.success() {
            let cleared = clear(&["--data-dir".as_ref(), self.data_dir.as_os_str()])?;
            let said = String::from_utf8_lossy(&cleared.stderr);
            ensure!(cleared.status.success(), "`envforged admin clear`: {}", said.trim());
        }
        Ok(())
    }
}

impl Drop for Installation {
    /// A throw-away box takes along everything that is meant to outlive one, whatever became of its end.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::say(&format!("{error:#}"));
        }
        if let Some(dir) = &self.throw_away {
            envforge_testkit::end_leftovers(dir.path());
        }
    }
}

/// A program to run.
pub(crate) fn command(program: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a task runner runs programs")]
    Command::new(program)
}

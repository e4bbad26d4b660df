//! The setup hook: what must be run once before services can, such as `npm ci`.
//!
//! It runs in the shell layer, where it costs nothing, in the background: a shell is never kept waiting by it. It runs for one state
//! of the files it depends on and again when they differ at the next preparation or start. Services wait for it, and a failure
//! blocks them with its last lines.

use super::driver::Driver;
use super::events::Event;
use super::layers::Held;
use crate::engines::inside;
use crate::files::{self, Foreign};
use crate::init::protocol::{Exit, Program, RefusalCode, Spawn};
use crate::journal::{SetupRecord, SetupState};
use crate::place::Place;
use crate::services::log_file;
use crate::uplink::logs::own_log;
use envforge_core::manifest::Manifest;
use envforge_core::token::digest;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The process's name in the shell.
pub(super) const PROCESS: &str = "setup";
/// How long after its exit the last lines are sure to be in the log.
const LAST_WORDS_AFTER: Duration = Duration::from_millis(60);
const LAST_WORDS: usize = 20;
/// A larger lock file counts by its size alone.
const LOCK_MAX: u64 = 16 * 1024 * 1024;

/// Files that say what a setup installs. Where a lock file is often not kept in the repository, what it is made from counts too.
const LOCK_FILES: [&str; 22] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "Gemfile",
    "Gemfile.lock",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "requirements.txt",
    "poetry.lock",
    "uv.lock",
    "Pipfile.lock",
    "composer.lock",
    "go.sum",
    "Cargo.lock",
    "mix.lock",
    "deno.lock",
    "pubspec.lock",
    ".tool-versions",
];

/// Digest of the command and every lock file, at the top and where services start.
fn key_of(place: &Place, manifest: &Manifest, command: &str) -> String {
    let mut directories: Vec<PathBuf> = vec![PathBuf::new()];
    directories.extend(manifest.services.values().filter_map(|service| service.directory.as_ref().map(PathBuf::from)));
    directories.sort();
    directories.dedup();
    let mut text = format!("{command}\n");
    for directory in directories {
        for name in LOCK_FILES {
            let path = directory.join(name);
            let content = match files::read_beneath(&place.checkout(), &path, LOCK_MAX) {
                Ok(Foreign::Bytes(bytes)) => digest(&String::from_utf8_lossy(&bytes)),
                Ok(Foreign::TooLarge(bytes)) => format!("it has {bytes} bytes"),
                Ok(Foreign::Unfit(why)) => why,
                Ok(Foreign::Missing) | Err(_) => continue,
            };
            let _ = writeln!(text, "{} {content}", Path::new(&path).display());
        }
    }
    digest(&text)
}

impl Driver {
    /// Runs the hook if what it depends on changed, or it failed before.
    pub(crate) async fn ensure_setup(&mut self, manifest: &Manifest) {
        let Some(command) = manifest.hooks.setup.clone() else {
            self.state.setup = None;
            return;
        };
        let key = key_of(&self.place, manifest, &command);
        let is_done = self.state.setup.as_ref().is_some_and(|record| match record.state {
            SetupState::Running => true,
            SetupState::Done => record.key == key,
            SetupState::Failed { .. } => false,
        });
        if !is_done {
            self.state.setup = Some(SetupRecord { key, command, state: SetupState::Running });
            self.start_setup().await;
        }
    }

    /// Starts the hook's process; without a shell it is started once there is one.
    async fn start_setup(&mut self) {
        self.wake_shell().await;
        let (Some(client), Some(record)) = (self.shell.client.clone(), &self.state.setup) else { return };
        let mut spawn = Spawn::new(PROCESS, Program::Shell(record.command.clone()));
        spawn.cwd = inside::CHECKOUT.into();
        spawn.log = Some(own_log(PROCESS));
        spawn.env = [("CI".to_owned(), "1".to_owned())].into();
        spawn.whole_tree = true;
        match client.spawn(spawn).await {
            Ok(_) => {}
            Err(error) if error.refusal() == Some(RefusalCode::NameTaken) => {}
            Err(error) => self.setup_failed(format!("could not be started: {error}")),
        }
    }

    /// The shell answers (again): a hook that should run does, or its end was noted.
    pub(super) async fn setup_after_attach(&mut self, runs: bool) {
        if self.state.setup.as_ref().is_some_and(|record| record.state == SetupState::Running)
            && !runs
            && !self.setup_is_ending
        {
            self.start_setup().await;
        }
        if self.state.setup.is_none()
            && let Some(envforge_api::host::ManifestReport::Valid { manifest }) = self.state.manifest_reported.clone()
        {
            self.ensure_setup(&manifest).await;
        }
    }

    /// The hook's process ended; its last words follow.
    pub(super) fn setup_exited(&mut self, exit: Exit) {
        self.setup_is_ending = true;
        self.forget(Held::Shell, PROCESS);
        let (queue, logs) = (self.queue.clone(), self.place.logs());
        self.ctx.tasks.spawn_loose("last-words", async move {
            tokio::time::sleep(LAST_WORDS_AFTER).await;
            let lines = log_file::last_words(&logs, &own_log(PROCESS), LAST_WORDS, None);
            drop(queue.send(Event::SetupEnded(exit, lines)));
        });
    }

    pub(super) async fn setup_ended(&mut self, exit: Exit, lines: &str) {
        self.setup_is_ending = false;
        let Some(command) = self
            .state
            .setup
            .as_ref()
            .filter(|record| record.state == SetupState::Running)
            .map(|record| record.command.clone())
        else {
            return;
        };
        if exit.code == Some(0) {
            // It may have written the lock file itself.
            let manifest = self.manifest_in_force().cloned().unwrap_or_default();
            let key = key_of(&self.place, &manifest, &command);
            self.state.setup = Some(SetupRecord { key, command, state: SetupState::Done });
        } else {
            let how = crate::services::supervisor::Exit { code: exit.code, signal: exit.signal }.say();
            self.setup_failed(format!("{how}\nlast lines of its log:\n{lines}"));
        }
        self.settle().await;
    }

    /// Whether the hook runs, or its end is being looked at.
    pub(super) fn setup_is_under_way(&self) -> bool {
        self.setup_is_ending || self.state.setup.as_ref().is_some_and(|record| record.state == SetupState::Running)
    }

    /// The shell ended under it: it is run again with the next shell.
    pub(super) fn setup_lost(&mut self) {
        self.setup_is_ending = false;
    }

    fn setup_failed(&mut self, cause: String) {
        if let Some(record) = &mut self.state.setup {
            record.state = SetupState::Failed { cause };
        }
    }
}

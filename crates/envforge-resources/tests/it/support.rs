//! A resource as a program, and what there is of its files.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that is killed with its test.
pub(crate) struct Resource {
    process: Child,
    pub(crate) address: String,
}

impl Resource {
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub(crate) fn start(kind: &str, directory: &Path, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_envforge-resource"))
            .args(["resource", kind, "0"])
            .arg(directory)
            .env_clear()
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let stderr = process.stderr.take().expect("piped");
        BufReader::new(stderr).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
        Self { process, address }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits for what another program does.
#[expect(clippy::disallowed_methods, reason = "a limit on another program")]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// What is being written, and how much of it there is.
pub(crate) fn unfinished(directory: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(directory.join("unfinished")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).collect()
}

//! The programs that make and read the members: `tar`, `zstd`, PostgreSQL's own.
//!
//! Each runs with an environment of its own, and what it says of errors is what the operator is told. A password is in its
//! environment, which only its user can read, and in no argument.

use crate::advice::advised;
use anyhow::{Context as _, bail};
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// A program with its standard streams as pipes.
pub(super) struct Running {
    name: String,
    child: Child,
    errors: Option<JoinHandle<String>>,
    /// What it is told; dropped, it hears the end.
    pub(super) input: Option<ChildStdin>,
    /// What it says.
    pub(super) output: Option<ChildStdout>,
}

/// A command without an environment but what programs need.
pub(super) fn command(program: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts what makes and reads a backup")]
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/");
    command
}

impl Running {
    /// Starts it, its standard input being that.
    pub(super) fn start(mut command: Command, input: Stdio) -> anyhow::Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match (error.kind(), name.as_str()) {
            (io::ErrorKind::NotFound, "tar" | "zstd") => {
                advised(format!("the program `{name}` is not installed"), format!("apt-get install {name}"))
            }
            (io::ErrorKind::NotFound, _) => advised(format!("{name}: {error}"), "apt-get install postgresql-client"),
            _ => anyhow::anyhow!("{name} could not be run: {error}"),
        })?;
        let mut stderr = child.stderr.take().context("a pipe that was asked for")?;
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Self { name, child, errors: Some(errors), input, output })
    }

    /// Gives it all of `source`. That it hears no more before the end is told by how it ended.
    pub(super) fn feed(&mut self, source: &mut dyn Read) -> anyhow::Result<()> {
        let mut input = self.input.take().context("a pipe that was asked for")?;
        match io::copy(source, &mut input).and_then(|_| input.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits for its end; what it said of errors, if it ended with one of `good`.
    pub(super) fn end(mut self, good: &[i32]) -> anyhow::Result<String> {
        drop(self.input.take());
        let status = self.child.wait()?;
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        if status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(errors);
        }
        let errors: Vec<&str> = errors.lines().collect();
        bail!("{}: {status}: {}", self.name, errors[errors.len().saturating_sub(5)..].join("; "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

//! The operator's program that sets and removes a record of their zone.
//!
//! It is run as `PROGRAM present NAME VALUE` and `PROGRAM cleanup NAME VALUE`, with the same as variables, and with the whole
//! environment, which holds what it needs to get into its provider's API. What it says goes to our standard error as it is.
//! Its end says that the record is set; a code other than 0 that it is not.

use rustix::process::{Pid, Signal, kill_process_group};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long it may take: APIs are slow, and some hooks wait until every name server knows.
const PATIENCE: Duration = Duration::from_mins(5);

/// A hook did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the hook `{program} {verb} {name} …` {how}")]
pub(crate) struct HookError {
    program: String,
    verb: &'static str,
    name: String,
    how: String,
}

/// A hook with whatever it started: ended with it when nobody waits for it any longer.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The operator's program.
pub(super) struct Hook {
    pub(super) program: PathBuf,
    pub(super) domain: String,
}

impl Hook {
    /// The record that proves the domain (RFC 8555, section 8.4).
    pub(super) fn record(&self) -> String {
        format!("_acme-challenge.{}", self.domain)
    }

    /// Sets the record.
    pub(super) async fn present(&self, value: &str) -> Result<(), HookError> {
        self.run("present", value).await
    }

    /// Removes it.
    pub(super) async fn cleanup(&self, value: &str) -> Result<(), HookError> {
        self.run("cleanup", value).await
    }

    async fn run(&self, verb: &'static str, value: &str) -> Result<(), HookError> {
        let name = self.record();
        #[expect(clippy::disallowed_methods, reason = "the operator's own program, in its one place")]
        let mut command = Command::new(&self.program);
        command.args([verb, &name, value]).env("ENVFORGE_ACME_VERB", verb).env("ENVFORGE_ACME_NAME", &name);
        command.env("ENVFORGE_ACME_VALUE", value).env("ENVFORGE_ACME_DOMAIN", &self.domain);
        command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).process_group(0);
        let ended = async {
            let mut child = command.spawn()?;
            let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
            let status = child.wait().await;
            group.0 = None;
            status
        };
        let how = match timeout(PATIENCE, ended).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("ended with {status}"),
            Ok(Err(error)) => format!("could not be run: {error}"),
            Err(_) => format!("took longer than {} s and was killed", PATIENCE.as_secs()),
        };
        Err(HookError { program: self.program.display().to_string(), verb, name, how })
    }
}

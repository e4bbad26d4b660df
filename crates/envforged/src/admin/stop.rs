//! Stops the one box as a service manager would: `SIGTERM` to its supervisor, then waiting until it is gone.

use crate::args::BoxDirectory;
use crate::process::Identity;
use crate::roles::all::layout::Layout;
use crate::roles::all::lock;
use anyhow::bail;
use rustix::process::Signal;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the supervisor's own limits together.
const LIMIT: Duration = Duration::from_mins(1);

/// Stops the box; success too when none runs.
pub(crate) fn run(place: &BoxDirectory) -> anyhow::Result<ExitCode> {
    let layout = Layout::of(place)?;
    let Some(supervisor) = lock::holder(&layout).and_then(Identity::of) else {
        writeln!(std::io::stderr(), "no box runs on {}", layout.root().display())?;
        return Ok(ExitCode::SUCCESS);
    };
    supervisor.signal(Signal::TERM);
    let pause = Duration::from_millis(50);
    for _ in 0..LIMIT.as_millis() / pause.as_millis() {
        if !supervisor.is_alive() {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(pause);
    }
    bail!("the supervisor (process {}) did not end within {} s", supervisor.pid, LIMIT.as_secs())
}

//! Ends what a stopped box left running on purpose: shells, services, databases, networks. Files and databases stay.

use crate::advice::advised;
use crate::args::BoxDirectory;
use crate::roles::all::layout::Layout;
use crate::roles::all::lock;
use anyhow::Context as _;
use envforge_api::client::Address;
use envforge_host::HostConfig;
use std::io::Write as _;
use std::process::ExitCode;

/// Clears the machine of the box; success too when nothing runs.
pub(crate) fn run(place: &BoxDirectory) -> anyhow::Result<ExitCode> {
    let layout = Layout::of(place)?;
    let root = layout.root().display();
    if let Some(pid) = lock::holder(&layout) {
        return Err(advised(
            format!("the box on {root} runs (process {pid})"),
            format!("stop it first: `envforged admin stop --data-dir {root}`"),
        ));
    }
    // Nothing is asked of a server.
    let config = HostConfig::new(layout.host_data(), Address::Socket(layout.internal_socket()), "/proc/self/exe");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let workspaces = runtime.block_on(envforge_host::clear(config)).context("clearing the machine")?;
    let plural = if workspaces == 1 { "" } else { "s" };
    writeln!(
        std::io::stderr(),
        "nothing of {workspaces} workspace{plural} runs any more; files and databases stay in {root}"
    )?;
    Ok(ExitCode::SUCCESS)
}

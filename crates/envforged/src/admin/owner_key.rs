//! Prints the owner's API key, for another machine's `envforge login`.

use crate::advice::advised;
use crate::args::BoxDirectory;
use crate::private;
use crate::roles::all::layout::Layout;
use std::io::Write as _;
use std::process::ExitCode;

/// Prints the key.
pub(crate) fn run(place: &BoxDirectory) -> anyhow::Result<ExitCode> {
    let path = Layout::of(place)?.owner_key();
    if !path.exists() {
        let fix = "start the box once with `envforged all`, or name its directory with --data-dir";
        return Err(advised(format!("there is no {}", path.display()), fix));
    }
    let key = private::read(&path)?;
    writeln!(std::io::stdout(), "{}", key.expose())?;
    Ok(ExitCode::SUCCESS)
}

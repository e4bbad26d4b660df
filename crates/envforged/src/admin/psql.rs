//! Opens `psql` on the one box's own database, as its owner.
//!
//! The password goes to `psql` in its environment, which only its user can read, and is in no shell history.

use crate::advice::advised;
use crate::args::PsqlArguments;
use crate::postgres::{DATABASE, OWNER, PORT};
use crate::private;
use crate::roles::all::layout::Layout;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Becomes `psql`; returns only if it can't.
pub(crate) fn run(arguments: &PsqlArguments) -> anyhow::Result<ExitCode> {
    let layout = Layout::of(&arguments.place)?;
    let path = layout.database_owner_password();
    if !path.exists() {
        let fix = "this verb is for the managed database; with a database of your own, use its own tools";
        return Err(advised(format!("there is no {}", path.display()), fix));
    }
    let password = private::read(&path)?;
    #[expect(clippy::disallowed_methods, reason = "the operator asks for this very program")]
    let mut psql = Command::new("psql");
    psql.args(["-U", OWNER, "-d", DATABASE, "-p"]).arg(PORT.to_string()).arg("-h").arg(layout.database_sockets());
    let error = psql.args(&arguments.rest).env("PGPASSWORD", password.expose()).exec();
    Err(advised(format!("psql: {error}"), "apt-get install postgresql-client"))
}

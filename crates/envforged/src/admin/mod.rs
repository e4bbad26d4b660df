//! What an operator does to an installation, a file per verb.

mod clear;
pub(crate) mod migrate;
mod owner_key;
mod psql;
mod stop;

use crate::args::AdminVerb;
use std::process::ExitCode;

/// Runs a verb.
pub(crate) fn run(verb: &AdminVerb) -> anyhow::Result<ExitCode> {
    match verb {
        AdminVerb::OwnerKey(place) => owner_key::run(place),
        AdminVerb::Stop(place) => stop::run(place),
        AdminVerb::Clear(place) => clear::run(place),
        AdminVerb::Psql(arguments) => psql::run(arguments),
    }
}

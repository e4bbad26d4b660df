//! The program `envforged`: what operators run. Its subcommands are its roles and its tools.
//!
//! `all` is the one box; `server`, `gateway` and `host` are the same roles one by one, as a fleet runs them; there is
//! no second implementation of anything for the one box. `acme` keeps the gateway's certificate. `migrate`, `doctor` and `admin` are what a person does to an
//! installation, so that every such operation is reviewed and tested code.
//!
//! The hidden `sandbox-init` comes before everything else: it makes namespaces, which only a process without a second
//! thread can do. The hidden `resource` beside it is a workspace's object storage, for a start that costs nothing.

mod account;
mod admin;
mod advice;
mod args;
mod backup;
mod doctor;
mod identity;
mod listen;
mod notify;
mod operator;
mod postgres;
mod private;
mod process;
mod roles;
mod telemetry;
mod traffic;

use args::{Arguments, Command};
use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "sandbox-init") {
        return envforge_host::init::main();
    }
    if envforge_resources::is_requested() {
        return envforge_resources::main();
    }
    let outcome = match Arguments::parse().command {
        Command::All(arguments) => roles::all::run(&arguments),
        Command::Server(arguments) => roles::server::run(&arguments),
        Command::Gateway(arguments) => roles::gateway::run(arguments),
        Command::Host(arguments) => roles::host::run(arguments),
        Command::Acme(arguments) => roles::acme::run(&arguments),
        Command::Migrate(arguments) => admin::migrate::run(&arguments),
        Command::Backup(arguments) => backup::save::run(&arguments),
        Command::Restore(arguments) => backup::restore::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Admin(arguments) => admin::run(&arguments.verb),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "{}", advice::render(&error));
        ExitCode::FAILURE
    })
}

//! The program `envforge`: what people and agents type.
//!
//! ```text
//!   args ─► Context (settings, client) ─► commands/<verb> ─► Printer ─► exit code
//! ```
//!
//! A file per verb; every verb speaks the public API and nothing else, so whatever the program can do, a script
//! with an API key can. People and agents are peers: a question has a flag that answers it, `--json` gives the
//! same facts, and the exit code ([`exit::ExitCode`]) says what kind of end it was.
//!
//! What is deliberately absent: any knowledge of hosts, engines and storage, any state but a key and a few names
//! ([`config`]), and any waiting that was not asked for: attaching opens one connection and nothing before it.

pub mod args;
mod ask;
mod attach;
mod commands;
mod config;
mod context;
pub mod exit;
mod follow;
mod lines;
mod onebox;
mod printer;
mod readiness;
mod render;
mod repository;
mod resume;
mod sse;

use args::{Cli, Verb};
use clap::Parser as _;
use clap::error::ErrorKind;
use context::Context;
use envforge_core::refusal::{Refusal, RefusalKind};
use exit::ExitCode;
use printer::Printer;

/// Runs the program with the process's arguments.
pub fn main() -> std::process::ExitCode {
    let code = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => usage(&error),
    };
    std::process::ExitCode::from(code.code())
}

fn run(cli: Cli) -> ExitCode {
    let printer = Printer::new(cli.global.json);
    // One thread: the fastest way to a prompt, and nothing here computes.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return printer.refusal(&Refusal::new(RefusalKind::Internal, "runtime.failed", error.to_string()));
        }
    };
    let code = match Context::new(cli.global, &printer) {
        Ok(mut ctx) => {
            runtime.block_on(dispatch(&mut ctx, cli.verb)).unwrap_or_else(|refusal| ctx.printer.refusal(&refusal))
        }
        Err(refusal) => printer.refusal(&refusal),
    };
    // A name being resolved or a read of stdin must not hold the end up.
    runtime.shutdown_background();
    code
}

async fn dispatch(ctx: &mut Context<'_>, verb: Verb) -> Result<ExitCode, Refusal> {
    match verb {
        Verb::Up(up) => Box::pin(commands::up::up(ctx, up)).await,
        Verb::Attach(attach) => commands::attach::attach(ctx, attach).await,
        Verb::Exec(exec) => Box::pin(commands::exec::exec(ctx, exec)).await,
        Verb::Terminal(verb) => commands::terminal::terminal(ctx, verb).await,
        Verb::Why(why) => commands::why::why(ctx, why).await,
        Verb::Status(named) => commands::status::status(ctx, named).await,
        Verb::Workspace(verb) => commands::workspace::workspace(ctx, verb).await,
        Verb::Usage(usage) => commands::usage::usage(ctx, &usage).await,
        Verb::Receipt(receipt) => commands::receipt::receipt(ctx, &receipt).await,
        Verb::Receipts(receipts) => commands::receipt::receipts(ctx, &receipts).await,
        Verb::Cap(verb) => commands::cap::cap(ctx, verb).await,
        Verb::Fork(fork) => commands::fork::fork(ctx, fork).await,
        Verb::Database(verb) => commands::database::database(ctx, verb).await,
        Verb::Run(run) => Box::pin(commands::run::run(ctx, run)).await,
        Verb::Logs(logs) => commands::logs::logs(ctx, logs).await,
        Verb::Resource(verb) => commands::resource::resource(ctx, verb).await,
        Verb::Service(verb) => commands::service::service(ctx, verb).await,
        Verb::Mail(verb) => commands::consoles::mail(ctx, verb).await,
        Verb::Objects(verb) => commands::consoles::objects(ctx, verb).await,
        Verb::Wake(wake) => commands::wake::wake(ctx, wake).await,
        Verb::Sleep(sleep) => commands::sleep::sleep(ctx, sleep).await,
        Verb::Schedule(verb) => commands::schedule::schedule(ctx, verb).await,
        Verb::Link(verb) => commands::link::link(ctx, verb).await,
        Verb::Org(verb) => commands::org::org(ctx, verb).await,
        Verb::Member(verb) => commands::member::member(ctx, verb).await,
        Verb::Invite(verb) => commands::invite::invite(ctx, verb).await,
        Verb::Group(verb) => commands::group::group(ctx, verb).await,
        Verb::Project(verb) => commands::project::project(ctx, verb).await,
        Verb::GitCredential(verb) => commands::git_credential::git_credential(ctx, verb).await,
        Verb::Root(verb) => commands::root::root(ctx, verb).await,
        Verb::Recording(verb) => commands::recording::recording(ctx, verb).await,
        Verb::Secret(verb) => commands::secret::secret(ctx, verb).await,
        Verb::Login(login) => commands::login::login(ctx, login).await,
        Verb::Logout => commands::sessions::logout(ctx).await,
        Verb::Whoami => commands::sessions::whoami(ctx).await,
        Verb::Sessions(verb) => commands::sessions::sessions(ctx, verb).await,
        Verb::Doctor => commands::doctor::doctor(ctx).await,
        Verb::Ledger(verb) => commands::ledger::ledger(ctx, verb).await,
        Verb::Setting(verb) => commands::setting::setting(ctx, verb).await,
        Verb::Admin(verb) => commands::admin::admin(ctx, verb).await,
        Verb::Detached(detached) => onebox::detached(&detached),
    }
}

/// Help and version are answers; anything else is a command line that is wrong as it stands.
fn usage(error: &clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let wants_json = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if wants_json && !is_help {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return Printer::new(true)
            .refusal(&Refusal::invalid("usage", message).hint("`envforge help` shows verbs and flags"));
    }
    // Nobody is left to tell that the output is gone.
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        ExitCode::Ok
    } else {
        ExitCode::Usage
    }
}

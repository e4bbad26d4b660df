//! Repository checks, the product's loop without a person, benchmarks, and chaos. For developers and CI only.

mod bench;
mod installation;
mod once;
mod sample;
mod soak;
mod tidy;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(name = "xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check the rules that no compiler knows
    Tidy {
        /// The repository; the one this program was built from when absent
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Walk the product's whole loop once, and see each step
    Once(once::Once),
    /// Measure the numbers to beat, beside their peers
    Bench(bench::Bench),
    /// Work and faults at random, for as long as asked
    Soak(soak::Soak),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let work = async {
        match arguments.task {
            Task::Tidy { root } => tidy::run(&root.unwrap_or_else(tidy::repository)),
            Task::Once(once) => once::run(&once).await,
            Task::Bench(bench) => bench::run(&bench).await,
            Task::Soak(soak) => soak::run(&soak).await,
        }
    };
    // Dropping the work ends the box it started.
    let outcome = tokio::select! {
        outcome = work => outcome,
        code = interrupted() => return ExitCode::from(code),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code that tells which signal asked for the end; a shell's, for a program that died of it.
async fn interrupted() -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    say("interrupted; ending what was started here");
    code
}

/// A line for the person, on stderr.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

//! The same as a program of its own: for tests, and to try one by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    envforge_resources::main()
}

//! Entry point: everything is in the library, so that generators and tests can read its tables.

fn main() -> std::process::ExitCode {
    envforge_cli::main()
}

//! The `sentryban-sensor` program; all of it stands in the library.
fn main() -> std::process::ExitCode {
    sentryban::cli::sensor::main(std::env::args_os())
}

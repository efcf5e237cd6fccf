//! The `sentryban-server` program; all of it stands in the library.
fn main() -> std::process::ExitCode {
    sentryban::cli::server::main(std::env::args_os())
}

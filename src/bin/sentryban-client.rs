//! The `sentryban-client` program; all of it stands in the library.
fn main() -> std::process::ExitCode {
    sentryban::cli::client::main(std::env::args_os())
}

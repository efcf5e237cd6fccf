//! The `sentryban-regex` program; all of it stands in the library.
fn main() -> std::process::ExitCode {
    sentryban::cli::regex::run(std::env::args_os())
}

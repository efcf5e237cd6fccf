//! The `sentryban-server` program; all of it stands in the library.
fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

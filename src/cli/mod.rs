//! The tools' faces: flags, reports, man pages. Below this floor nobody prints.
//!
//! Each tool has a room here (`regex/`) and a table of flags in it; `flags.rs` makes parser and
//! `--help` from the table, `man.rs` the man page. `exit.rs` knows how a tool ends, `terminal.rs`
//! what may be shown to a terminal.

pub mod client;
pub mod exit;
pub mod flags;
pub mod man;
pub mod nearest;
pub mod python;
pub mod regex;
pub mod sensor;
pub mod server;
pub mod terminal;

/// Where the configuration is unless `-c` says otherwise.
pub const CONFIG: &str = if cfg!(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)) {
    "/usr/local/etc/sentryban"
} else {
    "/etc/sentryban"
};

//! sentryban: fail2ban and portsentry in one small daemon.
//!
//! A log line and a packet are two ways to see the same failure. What is here
//! so far is the first street of the house, from a line to a [`scan::Failure`]:
//!
//! ```text
//! line ──► date ──► filter ──► Failure
//! ```
//!
//! Floors, from the top; a room imports only from lower floors, and rooms of
//! one floor do not know each other (`tests/tidy.rs` holds this):
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | [`cli`] and the bins |
//! | 4 | [`scan`] (pure) · [`config`] (reads files) |
//! | 3 | [`filter`] (pure) · [`source`] (reads logs) |
//! | 2 | [`date`] (pure) · [`record`] (pure) |
//! | 1 | [`net`] (pure) · [`place`] (pure) · [`time`] |
//!
//! Begin with `scan.rs`: it is short and names all the rest.

pub mod cli;
pub mod config;
pub mod date;
pub mod filter;
pub mod net;
pub mod place;
pub mod record;
pub mod scan;
pub mod source;
pub mod time;

/// The version of this package, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

//! sentryban: fail2ban and portsentry in one small daemon.
//!
//! A log line and a packet are two ways to see the same failure:
//!
//! ```text
//! source ──► scan: line ──► date ──► filter ──► Failure ──► engine: jail ──► Decision ──► action ──► Plan
//! ```
//!
//! What happens is an event in one inbox; one thread asks the pure engine what is to be done, has
//! the store write it down, and hands plans to whoever runs them.
//!
//! Floors, from the top; a room imports only from lower floors, and rooms of
//! one floor do not know each other (`tests/tidy.rs` holds this):
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | [`cli`] and the bins |
//! | 6 | [`daemon`] (threads, processes, signals) |
//! | 5 | [`engine`] (pure) |
//! | 4 | [`scan`] (pure) · [`config`] (reads files) |
//! | 3 | [`filter`] (pure) · [`sensor`] (pure) · [`jail`] (pure) · [`action`] (pure) · [`source`] (reads logs) · [`store`] (reads and writes the database) · [`control`] (the socket) |
//! | 2 | [`date`] (pure) · [`record`] (pure) · [`ticket`] (pure) |
//! | 1 | [`net`] (pure) · [`place`] (pure) · [`time`] |
//!
//! Begin with `scan.rs`: it is short and names all the rest of its street.

pub mod action;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod date;
pub mod engine;
pub mod filter;
pub mod jail;
pub mod net;
pub mod place;
pub mod record;
pub mod scan;
pub mod sensor;
pub mod source;
pub mod store;
pub mod ticket;
pub mod time;

/// The version of this package, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

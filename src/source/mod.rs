//! Where lines come from: a file, a pipe or the journal, read once from end to end (`blocks.rs`,
//! `journal.rs`) or followed (`tail.rs`, `follow.rs`). And where packets come from: off the wire
//! (`capture.rs`), by bound sockets (`listen.rs`), or from a file of them (`pcap.rs`).

mod blocks;
pub mod capture;
mod encoding;
mod follow;
pub mod journal;
pub mod listen;
mod matches;
pub mod pcap;
mod position;
mod tail;
mod watch;

pub use blocks::{BLOCK_BYTES, Block, Blocks, LINE_BYTES_MAX};
pub use encoding::{Encoding, NewlineKind, UnknownEncoding};
pub use follow::{JournalFrom, JournalNews, JournalTail};
pub use journal::{Journal, JournalEntry, JournalOptions};
pub use matches::JournalMatches;
pub use position::{LINGERING_MAX, Mark, Position};
pub use tail::{LINGER_S, Losses, StartAt, Tail, TailEvent, is_rotated};
pub use watch::{Bell, Glance, Rung, Watch};

//! Where lines come from. So far: a file, a pipe or the journal, read once from end to end.

mod blocks;
mod encoding;
pub mod journal;
mod position;
mod tail;
mod watch;

pub use blocks::{BLOCK_BYTES, Block, Blocks, LINE_BYTES_MAX};
pub use encoding::{Encoding, NewlineKind, UnknownEncoding};
pub use journal::{Journal, JournalEntry, JournalOptions};
pub use position::{LINGERING_MAX, Mark, Position};
pub use tail::{LINGER_S, Losses, StartAt, Tail, TailEvent};
pub use watch::{Bell, Rung, Watch};

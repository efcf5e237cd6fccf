//! Where lines come from. So far: a file, a pipe or the journal, read once from end to end.

mod blocks;
mod encoding;
pub mod journal;
mod position;

pub use blocks::{BLOCK_BYTES, Block, Blocks, LINE_BYTES_MAX};
pub use encoding::{Encoding, UnknownEncoding};
pub use journal::{Journal, JournalEntry, JournalOptions};
pub use position::{LINGERING_MAX, Mark, Position};

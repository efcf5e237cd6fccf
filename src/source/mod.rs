//! Where lines come from. So far: a file or a pipe, read once from end to end.

mod blocks;
mod encoding;

pub use blocks::{BLOCK_BYTES, Block, Blocks, LINE_BYTES_MAX};
pub use encoding::{Encoding, UnknownEncoding};

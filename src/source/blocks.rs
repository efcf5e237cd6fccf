//! `Blocks`: a reader's bytes as blocks of whole lines, in bounded memory.
//!
//! A block ends with a newline, but for the last one of the input. A line longer than
//! [`LINE_BYTES_MAX`] is cut there; the rest of it is skipped and counted.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

use super::encoding::{Encoding, Transcoder};

/// Bytes read at a time: from 64 KiB upwards the speed is the same, within noise.
pub const BLOCK_BYTES: usize = 256 << 10;
/// What is kept of one line. Longer than any honest log line by far.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Reads blocks of lines.
pub struct Blocks<R> {
    input: R,
    transcoder: Option<Transcoder>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are filled.
    filled: usize,
    /// Bytes at the front of `buffer` that have been handed out.
    handed: usize,
    /// The rest of an overlong line is being skipped.
    skipping: bool,
    ended: bool,
    cut_lines: u64,
    read_bytes: u64,
}

/// One block.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Whole lines, each with its newline; only the last block of the input may lack the last one.
    pub bytes: &'a [u8],
}

impl<R: Read> Blocks<R> {
    /// Reads from `input`, whose text is in `encoding`.
    pub fn new(input: R, encoding: Encoding) -> Blocks<R> {
        Blocks {
            input,
            transcoder: Transcoder::new(encoding),
            buffer: vec![0; BLOCK_BYTES],
            filled: 0,
            handed: 0,
            skipping: false,
            ended: false,
            cut_lines: 0,
            read_bytes: 0,
        }
    }

    /// Lines that were too long and have been cut.
    pub fn cut_lines(&self) -> u64 {
        self.cut_lines
    }

    /// Bytes read so far, before any transcoding.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next block; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// Whatever the reader meets; an interruption is tried again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<Option<Block<'_>>> {
        self.buffer.copy_within(self.handed..self.filled, 0);
        self.filled -= std::mem::take(&mut self.handed);
        // Bytes before this have been searched for a newline already.
        let mut searched = 0;
        loop {
            let fresh = self.buffer.get(searched..self.filled).unwrap_or_default();
            if let Some(at) = memrchr(b'\n', fresh) {
                let end = searched + at + 1;
                return Ok(Some(self.hand_out(end)));
            }
            searched = self.filled;
            if self.filled > LINE_BYTES_MAX {
                // Keep the first part as a line of its own, pass over the rest.
                self.filled = LINE_BYTES_MAX;
                if let Some(last) = self.buffer.get_mut(LINE_BYTES_MAX - 1) {
                    *last = b'\n';
                }
                self.cut_lines += 1;
                self.skipping = true;
                return Ok(Some(self.hand_out(LINE_BYTES_MAX)));
            }
            if self.ended {
                return Ok((self.filled > 0).then(|| self.hand_out(self.filled)));
            }
            self.fill()?;
        }
    }

    /// The next block, in a buffer of the caller's; false at the end of the input. What lies behind
    /// the last newline is kept for the next block.
    ///
    /// # Errors
    ///
    /// As [`Blocks::next`].
    pub fn next_into(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        // The buffers change places, so nothing but the rest of a line is copied.
        let rest = self.buffer.get(self.handed..self.filled).unwrap_or_default();
        let size = rest.len();
        block.resize(block.len().max(BLOCK_BYTES).max(size), 0);
        if let Some(front) = block.get_mut(..size) {
            front.copy_from_slice(rest);
        }
        std::mem::swap(&mut self.buffer, block);
        (self.filled, self.handed) = (size, 0);
        let found = self.next()?.is_some();
        let (end, filled) = (self.handed, self.filled);
        let rest = self.buffer.get(end..filled).unwrap_or_default().to_vec();
        std::mem::swap(&mut self.buffer, block);
        block.truncate(end);
        if self.buffer.len() < rest.len() {
            self.buffer.resize(rest.len(), 0);
        }
        if let Some(front) = self.buffer.get_mut(..rest.len()) {
            front.copy_from_slice(&rest);
        }
        (self.filled, self.handed) = (rest.len(), 0);
        Ok(found)
    }

    fn hand_out(&mut self, end: usize) -> Block<'_> {
        self.handed = end;
        Block { bytes: self.buffer.get(..end).unwrap_or_default() }
    }

    /// Reads once more behind what is there.
    fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.filled < BLOCK_BYTES / 2 {
            self.buffer.resize(self.buffer.len() + BLOCK_BYTES, 0);
        } else if self.filled == 0 && self.buffer.len() > BLOCK_BYTES {
            // A long line made it grow; it need not stay so.
            self.buffer = vec![0; BLOCK_BYTES];
        }
        let count = match &mut self.transcoder {
            None => {
                let space = self.buffer.get_mut(self.filled..).unwrap_or_default();
                let count = read_once(&mut self.input, space)?;
                self.read_bytes += count as u64;
                self.ended = count == 0;
                count
            }
            Some(transcoder) => {
                let mut raw = vec![0; BLOCK_BYTES / 4];
                let count = read_once(&mut self.input, &mut raw)?;
                self.read_bytes += count as u64;
                self.ended = count == 0;
                let text = transcoder.text(raw.get(..count).unwrap_or_default(), self.ended);
                let end = self.filled + text.len();
                if self.buffer.len() < end {
                    self.buffer.resize(end, 0);
                }
                if let Some(space) = self.buffer.get_mut(self.filled..end) {
                    space.copy_from_slice(text.as_bytes());
                }
                text.len()
            }
        };
        if self.skipping {
            self.skip(count);
        } else {
            self.filled += count;
        }
        Ok(())
    }

    /// Drops the rest of an overlong line, up to its newline.
    fn skip(&mut self, count: usize) {
        let fresh = self.filled..self.filled + count;
        let newline = memchr(b'\n', self.buffer.get(fresh.clone()).unwrap_or_default());
        if let Some(at) = newline {
            self.buffer.copy_within(fresh.start + at + 1..fresh.end, fresh.start);
            self.filled += count - at - 1;
            self.skipping = false;
        }
    }
}

fn read_once(input: &mut impl Read, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out at most `step` bytes a read.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(space.len());
            space[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn all(bytes: &[u8], step: usize) -> (Vec<u8>, u64) {
        let mut blocks = Blocks::new(Dribble(bytes, step), Encoding::default());
        let mut out = Vec::new();
        while let Some(block) = blocks.next().unwrap() {
            out.extend_from_slice(block.bytes);
            assert!(blocks.buffer.len() <= LINE_BYTES_MAX + 3 * BLOCK_BYTES);
        }
        (out, blocks.cut_lines())
    }

    #[test]
    fn every_byte_comes_through_whatever_the_reads_are() {
        let text = b"one\ntwo\n\nthree without an end";
        for step in 1..=text.len() {
            assert_eq!(all(text, step), (text.to_vec(), 0), "{step} bytes a read");
        }
        assert_eq!(all(b"", 1), (vec![], 0));
    }

    #[test]
    fn an_overlong_line_is_cut_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * LINE_BYTES_MAX];
        text.extend_from_slice(b"\nnext\n");
        for step in [7_777, BLOCK_BYTES, usize::MAX] {
            let (out, cut) = all(&text, step);
            assert_eq!(cut, 1, "{step} bytes a read");
            assert_eq!(out.len(), LINE_BYTES_MAX + 5);
            assert!(out.ends_with(b"x\nnext\n"), "{step} bytes a read");
        }
    }

    #[test]
    fn a_line_of_just_the_limit_is_kept() {
        let mut text = vec![b'x'; LINE_BYTES_MAX - 1];
        text.extend_from_slice(b"\nnext\n");
        assert_eq!(all(&text, usize::MAX), (text, 0));
    }
}

//! Runs of lines of which nothing is to be told but how many they are.
//!
//! Such lines begin as the one before and end before the next text of interest. Between two of
//! those there may be a thousand, so they are not taken one by one: the ends of lines come out of
//! 64 bytes at a time, as bits of one number.

/// Bytes whose newlines are found at once.
const CHUNK: usize = 64;

/// A run of lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Run {
    /// How many lines.
    pub lines: u64,
    /// Where the last of them begins.
    pub last: usize,
    /// Where the line behind the run begins.
    pub next: usize,
    /// Where that line ends, if it is known.
    pub end: Option<usize>,
}

/// The run of lines at `start`, each of which `fits` (it is given the block from the line's
/// beginning on) and ends with a newline at or before `limit`. It may be shorter than it could be:
/// the end of the block is not looked at.
#[inline(always)]
pub fn run(block: &[u8], start: usize, limit: usize, fits: impl Fn(&[u8]) -> bool) -> Run {
    let mut run = Run { lines: 0, last: start, next: start, end: None };
    let mut base = start;
    while let Some(chunk) = block.get(base..).and_then(|rest| rest.first_chunk::<CHUNK>()) {
        let mut ends = Newlines::of(chunk);
        while let Some(end) = ends.next() {
            let end = base + end;
            if end > limit || !block.get(run.next..).is_some_and(&fits) {
                return Run { end: Some(end), ..run };
            }
            run = Run { lines: run.lines + 1, last: run.next, next: end + 1, end: None };
        }
        base += CHUNK;
    }
    run
}

/// The newlines of a chunk. Written so that the compiler makes vector instructions of it: compare
/// all bytes, keep one bit of each, lay eight rows of eight bytes upon each other.
#[derive(Clone, Copy, Debug)]
struct Newlines(u64);

/// The lowest bit of each byte.
const COLUMN: u64 = 0x0101_0101_0101_0101;

impl Newlines {
    #[inline(always)]
    fn of(chunk: &[u8; CHUNK]) -> Newlines {
        let mut marks = [0_u8; CHUNK];
        for (at, (mark, byte)) in marks.iter_mut().zip(chunk).enumerate() {
            *mark = if *byte == b'\n' { 1 << (at / 8) } else { 0 };
        }
        let rows = marks.chunks_exact(8).filter_map(|row| row.first_chunk::<8>());
        Newlines(rows.fold(0, |all, row| all | u64::from_le_bytes(*row)))
    }

    /// Takes the first one out.
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let mut bit = self.0.trailing_zeros();
        // Bits of several are not in the order of the bytes.
        if self.0 & (self.0 - 1) != 0 {
            let row = (0..8).find(|row| self.0 >> row & COLUMN != 0).unwrap_or(0);
            bit = (self.0 >> row & COLUMN).trailing_zeros() + row;
        }
        self.0 &= !(1 << bit);
        let (row, column) = (bit % 8, bit / 8);
        Some((8 * row + column) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_found_wherever_they_are() {
        let mut random = 7_u64;
        for round in 0..4000 {
            let mut chunk = [b'x'; CHUNK];
            for byte in &mut chunk {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let near = [b'\n', 0x0b, 0x8a, 0x00, 0x0a ^ 0x80, b'x', 0xff, b'\t'];
                *byte = near[(random >> 33) as usize % (1 + round % near.len())];
            }
            let places = (0..CHUNK).filter(|at| chunk[*at] == b'\n');
            let expected: Vec<usize> = places.collect();
            let mut newlines = Newlines::of(&chunk);
            let found: Vec<usize> = std::iter::from_fn(|| newlines.next()).collect();
            assert_eq!(found, expected, "{chunk:?}");
        }
    }

    #[test]
    fn a_run_ends_where_it_has_to() {
        let lines = "a one\na two\na three\nb four\na five\n".to_owned() + &"a\n".repeat(100);
        let block = lines.as_bytes();
        let fits = |text: &[u8]| text.first() == Some(&b'a');
        let all = run(block, 0, usize::MAX, fits);
        assert_eq!(all, Run { lines: 3, last: 12, next: 20, end: Some(26) });
        assert_eq!(run(block, 0, 11, fits), Run { lines: 2, last: 6, next: 12, end: Some(19) });
        assert_eq!(run(block, 0, 10, fits), Run { lines: 1, last: 0, next: 6, end: Some(11) });
        assert_eq!(
            run(block, 20, usize::MAX, fits),
            Run { lines: 0, last: 20, next: 20, end: Some(26) }
        );
        let rest = run(block, 27, usize::MAX, fits);
        assert_eq!(27 + 7 + 2 * (rest.lines as usize - 1), rest.next);
        assert!(block.len() - rest.next < CHUNK);
        assert_eq!(run(b"", 0, usize::MAX, fits), Run::default());
    }
}

//! `Open`: one file of a log, read on from a mark, whole lines at a time.
//!
//! A file that is emptied and at once filled beyond its old size looks as if it had grown. So every
//! read begins a few bytes before the mark, and what stands there has to be what stood there; and
//! when the file has changed, its first bytes are compared as well.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::UNIX_EPOCH,
};

use memchr::{memchr, memrchr};

use super::super::{LINE_BYTES_MAX, Mark, NewlineKind};

/// How many of a file's first bytes it is known by.
pub(super) const HEAD_BYTES: usize = 256;
/// How many bytes before the mark it is known by.
pub(super) const BACK_BYTES: usize = 64;

/// When a file changed last: modification and change, seconds and nanoseconds.
type Changed = (i64, i64, i64, i64);

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    pub mark: Mark,
    /// There is no newline between the mark and here.
    scanned: u64,
    /// Hash of the last bytes before that, and how many they are: half a line may be emptied away
    /// as well.
    half: (usize, u64),
    /// The file was as the mark has it when it had last changed so.
    verified: Option<Changed>,
    /// The last lines ended where the file did when it was looked at, but for half a line.
    is_level: bool,
}

/// What a read came to.
pub(super) enum Step {
    /// The buffer holds whole lines in this range.
    Lines(std::ops::Range<usize>),
    /// The end of the file, for now.
    End,
    /// It is no longer the file that was read: it was emptied.
    Emptied,
}

/// What is told of the lines that were read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Losses {
    /// Lines cut because they were too long.
    pub cut_lines: u64,
    /// Halves of lines whose other half never came.
    pub torn_lines: u64,
}

impl Open {
    /// Opens a file to be read from its beginning.
    pub fn new(path: &Path) -> io::Result<Open> {
        // A FIFO would block, and a terminal might become ours.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        let kind = meta.file_type();
        // /dev/null is a log in which nothing is ever written.
        if !kind.is_file() && !kind.is_char_device() {
            let what = if kind.is_dir() { "is a directory" } else { "is not a regular file" };
            return Err(io::Error::other(what));
        }
        let mark = identity(&meta);
        Ok(Open { file, mark, scanned: 0, half: (0, 0), verified: None, is_level: false })
    }

    /// Goes on at a mark of this very content, whatever its inode is; false if it does not fit.
    pub fn resume(&mut self, mark: &Mark) -> io::Result<bool> {
        let Mark { device, inode, born, .. } = self.mark;
        let wanted = Mark { device, inode, born, ..*mark };
        if self.len()? < mark.offset || !self.fits(&wanted)? {
            return Ok(false);
        }
        self.mark = wanted;
        self.scanned = mark.offset;
        Ok(true)
    }

    /// Goes to an offset, which has to be the beginning of a line.
    pub fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.mark.offset = offset;
        self.mark.in_line = false;
        self.scanned = offset;
        (self.mark.head_bytes, self.mark.head) = self.head(offset)?;
        let over = offset.min(BACK_BYTES as u64);
        let mut back = [0; BACK_BYTES];
        let back = back.get_mut(..over as usize).unwrap_or_default();
        let count = read_at(&self.file, back, offset - over)?;
        let back = back.get(..count).unwrap_or_default();
        (self.mark.back_bytes, self.mark.back) = (back.len() as u32, hash(back));
        Ok(())
    }

    /// Begins again: the file was emptied.
    pub fn start_over(&mut self) {
        let Mark { device, inode, born, .. } = self.mark;
        self.mark = Mark { device, inode, born, ..Mark::default() };
        self.scanned = 0;
        self.verified = None;
    }

    /// Its length in bytes.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the system says of it.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// True if half a line waits for its other half.
    pub fn has_half(&self) -> bool {
        self.scanned > self.mark.offset
    }

    /// True if the lines that were read last were the last ones when the file was looked at.
    pub fn is_level(&self) -> bool {
        self.is_level
    }

    /// True if the file's first bytes are what they were.
    fn begins_as(&self, mark: &Mark) -> io::Result<bool> {
        let (bytes, head) = self.head(u64::from(mark.head_bytes))?;
        Ok((bytes, head) == (mark.head_bytes, mark.head))
    }

    /// True if the file's first bytes, and those before the mark, are what they were.
    fn fits(&self, mark: &Mark) -> io::Result<bool> {
        if !self.begins_as(mark)? {
            return Ok(false);
        }
        let over = mark.back_bytes as usize;
        let mut back = [0; BACK_BYTES];
        let Some(back) = back.get_mut(..over) else { return Ok(false) };
        let Some(from) = mark.offset.checked_sub(over as u64) else { return Ok(false) };
        let count = read_at(&self.file, back, from)?;
        Ok(count == over && hash(back) == mark.back)
    }

    /// Hash of the first bytes, at most `limit` of them.
    fn head(&self, limit: u64) -> io::Result<(u32, u64)> {
        let mut head = [0; HEAD_BYTES];
        let wanted = limit.min(HEAD_BYTES as u64) as usize;
        let head = head.get_mut(..wanted).unwrap_or_default();
        let count = read_at(&self.file, head, 0)?;
        let head = head.get(..count).unwrap_or_default();
        Ok((count as u32, hash(head)))
    }

    /// Reads on: at most `limit` bytes, but for a line that is longer.
    pub fn step(
        &mut self,
        newline: NewlineKind,
        buffer: &mut Vec<u8>,
        limit: usize,
        losses: &mut Losses,
    ) -> io::Result<Step> {
        let meta = self.file.metadata()?;
        let changed = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        let size = meta.len();
        self.is_level = false;
        if self.verified != Some(changed) {
            // Where attributes are cached (NFS) a file may look shorter than it is: what counts is
            // whether the bytes are there.
            let fits = match size > self.mark.offset && !self.has_half() {
                // Those before the mark are read again with what is new.
                true => self.begins_as(&self.mark)?,
                false => self.fits(&self.mark)?,
            };
            if !fits {
                return Ok(Step::Emptied);
            }
            self.verified = Some(changed);
        }
        if size < self.scanned {
            losses.torn_lines += u64::from(self.has_half());
            self.scanned = self.mark.offset;
        }
        loop {
            let over = self.mark.offset.min(BACK_BYTES as u64);
            let from = self.mark.offset - over;
            if self.has_half() {
                match self.find_end(newline, buffer, limit, losses)? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            }
            let available = size.saturating_sub(self.mark.offset);
            if available == 0 {
                return Ok(Step::End);
            }
            let over = over as usize;
            let wanted = over + usize::try_from(available).unwrap_or(limit).min(limit);
            let count = self.fill(buffer, from, wanted)?;
            let Some(read) = buffer.get(..count) else { return Ok(Step::End) };
            if !self.is_back(read, over) {
                return Ok(Step::Emptied);
            }
            let fresh = read.get(over..).unwrap_or_default();
            if fresh.is_empty() {
                return Ok(Step::End);
            }
            // What was a hole when a writer went on at its old place in an emptied file.
            let hole = newline.leading_nuls(fresh);
            let passed = match self.mark.in_line {
                true => {
                    let end = newline.first(fresh);
                    self.mark.in_line = end.is_none();
                    end.unwrap_or(newline.whole(fresh.len()))
                }
                false => hole,
            };
            if self.mark.in_line && passed == 0 {
                return Ok(Step::End);
            }
            if passed > 0 {
                self.advance(buffer, over + passed, passed)?;
                continue;
            }
            match newline.last(fresh) {
                Some(end) => {
                    self.is_level = from + count as u64 >= size;
                    self.advance(buffer, over + end, end)?;
                    return Ok(Step::Lines(over..over + end));
                }
                None => {
                    self.half = tail_of(fresh);
                    self.scanned = self.mark.offset + fresh.len() as u64;
                }
            }
        }
    }

    /// Half a line was read before: looks for its end, without reading that half again and again.
    /// `None`: go on as usual.
    fn find_end(
        &mut self,
        newline: NewlineKind,
        buffer: &mut Vec<u8>,
        limit: usize,
        losses: &mut Losses,
    ) -> io::Result<Option<Step>> {
        let (known, half) = self.half;
        let from = self.scanned - known as u64;
        let count = self.fill(buffer, from, limit.max(2 * BACK_BYTES))?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.get(..known).is_none_or(|read| hash(read) != half) {
            // It is another half: its end may have come before the old one's.
            self.scanned = self.mark.offset;
            losses.torn_lines += 1;
            return Ok(None);
        }
        // A wide newline may begin with the last byte that was seen, and starts at an even place.
        let skipped = (newline.align(self.scanned, self.mark.offset) - from) as usize;
        let fresh = read.get(skipped..).unwrap_or_default();
        let end = newline.first(fresh).map(|end| from + (skipped + end) as u64);
        let half = tail_of(read);
        let start = self.mark.offset;
        let over = start.min(BACK_BYTES as u64) as usize;
        let reached = end.unwrap_or(from + count as u64);
        let kept = reached - start;
        if kept > LINE_BYTES_MAX as u64 {
            // Keep the first part as a line of its own, pass over the rest.
            let wanted = over + LINE_BYTES_MAX;
            if self.fill(buffer, start - over as u64, wanted)? < wanted {
                return Ok(Some(Step::Emptied));
            }
            if !self.is_back(buffer, over) {
                return Ok(Some(Step::Emptied));
            }
            if self.pass_hole(newline, buffer, over..wanted)? {
                return Ok(None);
            }
            self.advance(buffer, wanted, LINE_BYTES_MAX)?;
            self.mark.in_line = true;
            losses.cut_lines += 1;
            let line = over..wanted;
            newline.write(buffer.get_mut(line.clone()).unwrap_or_default());
            return Ok(Some(Step::Lines(line)));
        }
        if end.is_none() {
            let grown = reached > self.scanned;
            (self.scanned, self.half) = (reached, half);
            return Ok(if grown { None } else { Some(Step::End) });
        }
        let wanted = over + kept as usize;
        if self.fill(buffer, start - over as u64, wanted)? < wanted || !self.is_back(buffer, over) {
            return Ok(Some(Step::Emptied));
        }
        if self.pass_hole(newline, buffer, over..wanted)? {
            return Ok(None);
        }
        self.advance(buffer, wanted, kept as usize)?;
        Ok(Some(Step::Lines(over..wanted)))
    }

    /// Where half a line was, there is a hole: nothing was read of the file before, so nothing told
    /// that it was emptied. The hole is passed over.
    fn pass_hole(
        &mut self,
        newline: NewlineKind,
        buffer: &[u8],
        line: std::ops::Range<usize>,
    ) -> io::Result<bool> {
        let start = line.start;
        let hole = newline.leading_nuls(buffer.get(line).unwrap_or_default());
        if hole > 0 {
            self.advance(buffer, start + hole, hole)?;
        }
        Ok(hole > 0)
    }

    /// Fills the buffer with up to `wanted` bytes from `from`; the count that was there.
    fn fill(&self, buffer: &mut Vec<u8>, from: u64, wanted: usize) -> io::Result<usize> {
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        read_at(&self.file, buffer.get_mut(..wanted).unwrap_or_default(), from)
    }

    /// True if the first `over` bytes of what was read are those before the mark.
    fn is_back(&self, read: &[u8], over: usize) -> bool {
        let known = self.mark.back_bytes as usize;
        read.get(..over).is_some_and(|back| {
            let back = back.get(over.saturating_sub(known)..).unwrap_or_default();
            hash(back) == self.mark.back
        })
    }

    /// Moves the mark on by `by` bytes; the buffer's first `end` bytes end there.
    fn advance(&mut self, buffer: &[u8], end: usize, by: usize) -> io::Result<()> {
        self.mark.offset += by as u64;
        self.scanned = self.mark.offset;
        let back = buffer.get(end.saturating_sub(BACK_BYTES)..end).unwrap_or_default();
        (self.mark.back_bytes, self.mark.back) = (back.len() as u32, hash(back));
        if (self.mark.head_bytes as usize) < HEAD_BYTES {
            let begins = self.mark.offset == end as u64;
            (self.mark.head_bytes, self.mark.head) = match begins {
                true => {
                    let head = buffer.get(..end.min(HEAD_BYTES)).unwrap_or_default();
                    (head.len() as u32, hash(head))
                }
                false => self.head(self.mark.offset)?,
            };
        }
        Ok(())
    }
}

/// What a file is known by before anything was read of it.
pub(super) fn identity(meta: &Metadata) -> Mark {
    let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
    Mark { device: meta.dev(), inode: meta.ino(), born, ..Mark::default() }
}

/// Hash of the last bytes, and how many they are.
fn tail_of(bytes: &[u8]) -> (usize, u64) {
    let tail = bytes.get(bytes.len().saturating_sub(BACK_BYTES)..).unwrap_or_default();
    (tail.len(), hash(tail))
}

/// Reads until the space is full or the file ends.
fn read_at(file: &File, space: &mut [u8], from: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = space.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// True if the content before a mark is one of which there is only one: something was read that
/// was not a hole.
pub(super) fn is_telling(mark: &Mark) -> bool {
    let hole = [0; HEAD_BYTES];
    let is_hole = |bytes: u32, found| hash(hole.get(..bytes as usize).unwrap_or_default()) == found;
    !is_hole(mark.head_bytes, mark.head) || !is_hole(mark.back_bytes, mark.back)
}

/// The same, and so much was read that no other log begins with it by chance.
pub(super) fn is_unique(mark: &Mark) -> bool {
    is_telling(mark) && mark.head_bytes as usize == HEAD_BYTES
}

/// FNV-1a, and 0 of nothing. It is stored, so it must be the same in every version.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl NewlineKind {
    /// The end of the first line.
    pub(super) fn first(self, bytes: &[u8]) -> Option<usize> {
        match self {
            NewlineKind::Byte => memchr(b'\n', bytes).map(|at| at + 1),
            wide => {
                let mut units = bytes.chunks_exact(2);
                units.position(|unit| unit == wide.unit()).map(|at| 2 * at + 2)
            }
        }
    }

    /// The end of the last line.
    pub(super) fn last(self, bytes: &[u8]) -> Option<usize> {
        match self {
            NewlineKind::Byte => memrchr(b'\n', bytes).map(|at| at + 1),
            wide => {
                let mut units = bytes.chunks_exact(2);
                units.rposition(|unit| unit == wide.unit()).map(|at| 2 * at + 2)
            }
        }
    }

    /// How many bytes at the front are letters of number zero.
    fn leading_nuls(self, bytes: &[u8]) -> usize {
        let count = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        self.whole(count)
    }

    /// As many bytes of `count` as are whole letters.
    fn whole(self, count: usize) -> usize {
        match self {
            NewlineKind::Byte => count,
            NewlineKind::WideLittle | NewlineKind::WideBig => count & !1,
        }
    }

    /// The place of a whole letter, at or before `offset`.
    pub(super) fn even(self, offset: u64) -> u64 {
        match self {
            NewlineKind::Byte => offset,
            NewlineKind::WideLittle | NewlineKind::WideBig => offset & !1,
        }
    }

    /// Where to look for a newline behind `scanned`, in a line that begins at `start`.
    fn align(self, scanned: u64, start: u64) -> u64 {
        match self {
            NewlineKind::Byte => scanned,
            NewlineKind::WideLittle | NewlineKind::WideBig => start + ((scanned - start) & !1),
        }
    }

    /// Ends a line that was cut.
    fn write(self, line: &mut [u8]) {
        let unit = self.unit();
        let at = line.len().saturating_sub(unit.len());
        if let Some(end) = line.get_mut(at..) {
            end.copy_from_slice(unit);
        }
    }

    fn unit(self) -> &'static [u8] {
        match self {
            NewlineKind::Byte => b"\n",
            NewlineKind::WideLittle => b"\n\0",
            NewlineKind::WideBig => b"\0\n",
        }
    }
}

//! `Tail`: one log followed through every kind of rotation; each whole line once.
//!
//! ```text
//!            rename + create     the old file is read to its end, and on for a while; then the new
//! path ──►   copytruncate        the rest is read from the copy; then the emptied file
//!            delete, replace     the old file is read to its end; then whatever appears
//! ```
//!
//! A file is known by its inode and by its content (`file.rs`); files that were rotated away before
//! they were read are looked for beside the log (`siblings.rs`). Only lines that end count: half a
//! line may end in a part of an address. What nobody can give back is what was destroyed before it
//! was read: lines written between the copy and the truncation of a copytruncate, and files that
//! were deleted, or compressed, while nothing held them open.
//!
//! A tail reads when it is asked and never waits; `watch.rs` says when to ask.

mod file;
mod seek;
mod siblings;

use std::{
    collections::VecDeque,
    fs, io,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use memchr::memmem;

use super::{LINGERING_MAX, Mark, NewlineKind, Position};
use crate::time::Timestamp;

pub use file::Losses;
use file::{HEAD_BYTES, Open, Step};
pub use siblings::is_rotated;

/// A rotated file is looked after until nothing was written to it for so long: daemons go on
/// writing to the old file until they are told to open the new one.
pub const LINGER_S: i64 = 60;
/// So many files that have been read to their end are remembered, in case their names come back.
const DONE_MAX: usize = 16;
/// So many changes of file are followed in one go; a link that changes faster waits for the next.
const TURNS_MAX: usize = 64;

/// Where reading starts if nothing is stored.
pub enum StartAt<'a> {
    /// At the first line.
    Beginning,
    /// Behind the last line.
    End,
    /// About where lines become as young as this; what is surely older is left out, even behind a
    /// stored position. The function reads the date of a line.
    Since(Timestamp, &'a mut dyn FnMut(&[u8]) -> Option<Timestamp>),
}

/// Something happened to the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TailEvent {
    /// There is no such file.
    Missing,
    /// It is there, and cannot be read: why.
    Unreadable(String),
    /// It is there (again).
    Appeared,
    /// Another file has its name; `missed` older ones were found besides it that had not been read.
    Rotated {
        /// How many.
        missed: usize,
    },
    /// It was emptied.
    Truncated,
    /// Nothing that is there continues what was stored.
    Lost,
}

/// Follows one log.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    newline: NewlineKind,
    current: Option<Open>,
    /// Where to go on in a file that could not be read for a while.
    resume: Option<Mark>,
    /// Files that were rotated away, oldest first.
    lingering: Vec<Linger>,
    /// How far files were read that are no longer open.
    done: VecDeque<Mark>,
    /// What is wrong with the path.
    trouble: Option<TailEvent>,
    events: Vec<TailEvent>,
    losses: Losses,
}

#[derive(Debug)]
struct Linger {
    open: Open,
    /// When it was last seen to grow.
    grown: Timestamp,
}

impl Tail {
    /// Begins to follow `path`, at a stored position if there is one. A file that is not there yet
    /// will be read from its beginning.
    pub fn open(
        path: impl Into<PathBuf>,
        newline: NewlineKind,
        stored: Option<&Position>,
        start: StartAt<'_>,
        now: Timestamp,
    ) -> Tail {
        let mut tail = Tail {
            path: path.into(),
            newline,
            current: None,
            resume: None,
            lingering: Vec::new(),
            done: VecDeque::new(),
            trouble: None,
            events: Vec::new(),
            losses: Losses::default(),
        };
        match stored {
            Some(Position::File(mark, lingering)) => {
                tail.go_on(*mark, lingering, start, now);
            }
            _ => {
                if let Some(mut open) = tail.try_open() {
                    tail.begin(&mut open, start);
                    tail.current = Some(open);
                }
            }
        }
        tail
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far it has been read.
    pub fn position(&self) -> Position {
        let mark = self.current.as_ref().map(|open| open.mark).or(self.resume);
        let lingering = self.lingering.iter().map(|linger| linger.open.mark).collect();
        Position::File(mark.unwrap_or_default(), lingering)
    }

    /// True while nothing can be read from the path.
    pub fn is_waiting(&self) -> bool {
        self.trouble.is_some()
    }

    /// True while rotated files are looked after: then the tail has to be asked from time to time
    /// even if nothing seems to happen.
    pub fn has_lingering(&self) -> bool {
        !self.lingering.is_empty()
    }

    /// True if the lines that were given last were the last ones when the file was looked at: to look
    /// once more is for when it has changed. Not while rotated files are looked after.
    pub fn is_level(&self) -> bool {
        !self.has_lingering() && self.current.as_ref().is_some_and(Open::is_level)
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<TailEvent> {
        std::mem::take(&mut self.events)
    }

    /// What was lost since this was last asked.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// The next whole lines, about `limit` bytes of them at most; `None` if there are no more now.
    /// They stand in `buffer`, which may be shared by many tails and grows as needed.
    pub fn next<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
        limit: usize,
        now: Timestamp,
    ) -> Option<&'b [u8]> {
        let range = self.advance(buffer, limit.max(HEAD_BYTES), now)?;
        let range = match self.newline {
            NewlineKind::Byte => without_nuls(buffer, range),
            NewlineKind::WideLittle | NewlineKind::WideBig => range,
        };
        buffer.get(range)
    }

    fn advance(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: usize,
        now: Timestamp,
    ) -> Option<Range<usize>> {
        for _ in 0..TURNS_MAX {
            if let Some(range) = self.read_lingering(buffer, limit, now) {
                return Some(range);
            }
            let Some(open) = &mut self.current else {
                if !self.appear(now) {
                    return None;
                }
                continue;
            };
            match open.step(self.newline, buffer, limit, &mut self.losses) {
                Ok(Step::Lines(range)) => return Some(range),
                Ok(Step::End) => {
                    if !self.look_at_path(now) {
                        return None;
                    }
                }
                Ok(Step::Emptied) => self.start_over(now),
                Err(error) => {
                    // A stale handle (NFS), a failing disk: it is opened anew at the next try.
                    self.resume = Some(open.mark);
                    self.current = None;
                    self.say_trouble(TailEvent::Unreadable(error.to_string()));
                    return None;
                }
            }
        }
        None
    }

    fn read_lingering(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: usize,
        now: Timestamp,
    ) -> Option<Range<usize>> {
        let mut at = 0;
        while let Some(linger) = self.lingering.get_mut(at) {
            let step = linger.open.step(self.newline, buffer, limit, &mut self.losses);
            // The clock may have been set back.
            linger.grown = linger.grown.min(now);
            match step {
                Ok(Step::Lines(range)) => {
                    linger.grown = now;
                    return Some(range);
                }
                Ok(Step::End) if now < linger.grown.plus_secs(LINGER_S) => at += 1,
                _ => self.finish(at),
            }
        }
        None
    }

    /// Lets go of a rotated file.
    fn finish(&mut self, at: usize) {
        let linger = self.lingering.remove(at);
        self.losses.torn_lines += u64::from(linger.open.has_half());
        self.remember(linger.open.mark);
    }

    fn remember(&mut self, mark: Mark) {
        self.done.retain(|done| !done.is_same_file(&mark));
        self.done.push_back(mark);
        if self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
    }

    /// The rotated files that are open. (Of those that are not, the inode may be another file's.)
    fn rotated_marks(&self) -> Vec<Mark> {
        self.lingering.iter().map(|linger| linger.open.mark).collect()
    }

    fn linger(&mut self, open: Open, now: Timestamp) {
        self.lingering.push(Linger { open, grown: now });
        if self.lingering.len() > LINGERING_MAX {
            self.finish(0);
        }
    }

    /// Opens the path; says so if that is not possible.
    fn try_open(&mut self) -> Option<Open> {
        match Open::new(&self.path) {
            Ok(open) => {
                if self.trouble.take().is_some() {
                    self.events.push(TailEvent::Appeared);
                }
                Some(open)
            }
            Err(error) => {
                self.say_trouble(match is_missing(&error) {
                    true => TailEvent::Missing,
                    false => TailEvent::Unreadable(error.to_string()),
                });
                None
            }
        }
    }

    /// Tells of a trouble once.
    fn say_trouble(&mut self, trouble: TailEvent) {
        if self.trouble.as_ref() != Some(&trouble) {
            self.events.push(trouble.clone());
            self.trouble = Some(trouble);
        }
    }

    /// There was no file: is there one now, or has one been there and was rotated away?
    fn appear(&mut self, now: Timestamp) -> bool {
        let open = self.try_open();
        let mut missed = 0;
        if self.has_lingering() {
            let siblings = siblings::siblings(&self.path, &self.rotated_marks());
            let now_there: Vec<Mark> = open.iter().map(|open| open.mark).collect();
            missed = self.read_after_last(&siblings, &now_there, now);
        }
        let Some(open) = open else { return missed > 0 };
        let mut open = self.known(open);
        if let Some(mark) = self.resume.take() {
            let _ = open.resume(&mark);
        }
        self.current = Some(open);
        true
    }

    /// Nothing more is in the file: is it still the one of that name? True if another is read now.
    fn look_at_path(&mut self, now: Timestamp) -> bool {
        let Some(open) = &self.current else { return false };
        match fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == (open.mark.device, open.mark.inode) => {
                if self.trouble.take().is_some() {
                    self.events.push(TailEvent::Appeared);
                }
                false
            }
            Ok(_) => self.change_file(now),
            Err(error) => {
                let is_missing = is_missing(&error);
                self.say_trouble(match is_missing {
                    true => TailEvent::Missing,
                    false => TailEvent::Unreadable(error.to_string()),
                });
                is_missing && self.leave_file(now)
            }
        }
    }

    /// There is no log now. True if there were others since the one that is being read: they are
    /// read then.
    fn leave_file(&mut self, now: Timestamp) -> bool {
        let Some(old) = self.current.take() else { return false };
        let siblings = siblings::siblings(&self.path, &[old.mark]);
        let place = siblings::place(&siblings, &old.mark);
        let written = unlinked(&old).map(|meta| (meta.mtime(), meta.mtime_nsec()));
        if siblings::after(&siblings, place, written).is_empty() {
            self.current = Some(old);
            return false;
        }
        let mark = old.mark;
        self.linger(old, now);
        self.read_between(&siblings, place, written, &[mark], now);
        true
    }

    /// Another file has the name of the one that is being read.
    fn change_file(&mut self, now: Timestamp) -> bool {
        let Some(mut new) = self.try_open() else { return false };
        let Some(old) = self.current.take() else { return false };
        if new.mark.is_same_file(&old.mark) {
            self.current = Some(old);
            return false;
        }
        let unlinked = unlinked(&old);
        // Editors write a file anew and put it in the old one's place. Where the whole fingerprint
        // fits it is the same log; of a few equal lines that cannot be said.
        let unique = file::is_unique(&old.mark);
        if unlinked.is_some() && unique && matches!(new.resume(&old.mark), Ok(true)) {
            self.remember(old.mark);
            self.current = Some(new);
            return true;
        }
        let siblings = siblings::siblings(&self.path, &[old.mark]);
        let place = siblings::place(&siblings, &old.mark);
        let written = unlinked.map(|meta| (meta.mtime(), meta.mtime_nsec()));
        let new = self.known(new);
        let (new_mark, old_mark) = (new.mark, old.mark);
        self.linger(old, now);
        let missed = self.read_between(&siblings, place, written, &[new_mark, old_mark], now);
        self.current = Some(new);
        self.events.push(TailEvent::Rotated { missed });
        true
    }

    /// Reads the files that had the log's name between the old one (at `place`) and now.
    fn read_between(
        &mut self,
        siblings: &[siblings::Sibling],
        place: Option<usize>,
        written: Option<(i64, i64)>,
        but: &[Mark],
        now: Timestamp,
    ) -> usize {
        let mut missed = 0;
        for sibling in siblings::after(siblings, place, written) {
            let Ok(open) = Open::new(&sibling.path) else { continue };
            let mut others = but.iter().chain(self.lingering.iter().map(|l| &l.open.mark));
            if others.any(|mark| mark.is_same_file(&open.mark)) {
                continue;
            }
            let open = self.known(open);
            missed += usize::from(open.len().is_ok_and(|len| len > open.mark.offset));
            self.linger(open, now);
        }
        missed
    }

    /// Reads the files that had the log's name after the one that was rotated away last.
    fn read_after_last(
        &mut self,
        siblings: &[siblings::Sibling],
        but: &[Mark],
        now: Timestamp,
    ) -> usize {
        let last = self.lingering.last().map(|linger| linger.open.mark);
        match last.and_then(|last| siblings::place(siblings, &last)) {
            Some(place) => self.read_between(siblings, Some(place), None, but, now),
            None => 0,
        }
    }

    /// The file as it was left, if it was read before.
    fn known(&mut self, mut open: Open) -> Open {
        let lingers =
            self.lingering.iter().position(|linger| linger.open.mark.is_same_file(&open.mark));
        if let Some(at) = lingers {
            return self.lingering.remove(at).open;
        }
        if let Some(at) = self.done.iter().position(|mark| mark.is_same_file(&open.mark))
            && let Some(mark) = self.done.remove(at)
        {
            let _ = open.resume(&mark);
        }
        open
    }

    /// The file was emptied. If it was copied before, the copy has what was not read yet.
    fn start_over(&mut self, now: Timestamp) {
        let Some(open) = &mut self.current else { return };
        let mark = open.mark;
        self.losses.torn_lines += u64::from(open.has_half());
        open.start_over();
        self.events.push(TailEvent::Truncated);
        let siblings = siblings::siblings(&self.path, &[]);
        let read = self.rotated_marks();
        if let Some((place, copy)) = siblings::same_or_copy(&siblings, &mark, &read) {
            self.linger(copy, now);
            // What came after this file, if it was rotated away since, is looked for behind it.
            let after = siblings::after(&siblings, Some(place), None);
            let is_this = |one: &&siblings::Sibling| one.is_file_of(&mark);
            let is_last = !after.iter().any(is_this);
            let before = after.into_iter().take_while(|one| is_last || !is_this(one));
            let before: Vec<Open> = before.filter_map(|one| Open::new(&one.path).ok()).collect();
            for open in before {
                if !open.mark.is_same_file(&mark) && !self.is_lingering(&open.mark) {
                    let open = self.known(open);
                    self.linger(open, now);
                }
            }
        }
    }

    fn is_lingering(&self, mark: &Mark) -> bool {
        self.lingering.iter().any(|linger| linger.open.mark.is_same_file(mark))
    }

    /// Goes on at what was stored, wherever that is now.
    fn go_on(&mut self, mark: Mark, lingering: &[Mark], start: StartAt<'_>, now: Timestamp) {
        let mut open = self.try_open();
        let siblings = siblings::siblings(&self.path, &[lingering, &[mark]].concat());
        for old in lingering {
            if let Some((_, old)) = siblings::same(&siblings, old) {
                self.linger(old, now);
            }
        }
        if let Some(open) = &mut open
            && (open.mark.is_same_file(&mark) || file::is_unique(&mark))
            && matches!(open.resume(&mark), Ok(true))
        {
            self.skip_old(open, start);
        } else if mark.inode == 0 {
            // There was no file then: all of this one is new, and so is what came and went before.
            let now_there: Vec<Mark> = open.iter().map(|open| open.mark).collect();
            self.read_after_last(&siblings, &now_there, now);
        } else if let Some((place, old)) =
            siblings::same_or_copy(&siblings, &mark, &self.rotated_marks())
                .or_else(|| siblings::emptied(&siblings, &mark))
        {
            let now_there: Vec<Mark> = open.iter().map(|open| open.mark).collect();
            let old_mark = old.mark;
            self.linger(old, now);
            let but = [now_there.as_slice(), &[old_mark]].concat();
            let missed = self.read_between(&siblings, Some(place), None, &but, now);
            self.skip_old_files(start);
            if open.is_some() {
                self.events.push(TailEvent::Rotated { missed });
            }
        } else if let Some(open) = &mut open {
            match open.mark.is_same_file(&mark) {
                // Emptied, and what was in it is nowhere.
                true => self.events.push(TailEvent::Truncated),
                false => {
                    self.events.push(TailEvent::Lost);
                    self.begin(open, start);
                }
            }
        }
        self.current = open;
    }

    /// Reading of a new file starts where it is to start.
    fn begin(&self, open: &mut Open, start: StartAt<'_>) {
        let offset = match start {
            StartAt::Beginning => Ok(0),
            StartAt::End => seek::last_line(open, self.newline),
            StartAt::Since(since, dated) => match seek::is_dated(open, self.newline, dated) {
                // What was written in days past must not count as of now.
                Ok(false) => seek::last_line(open, self.newline),
                _ => seek::seek_time(open, self.newline, since, dated),
            },
        };
        // A file that cannot be searched is read whole: the age of each failure is looked at.
        if let Ok(offset) = offset {
            let _ = open.seek(offset);
        }
    }

    /// Passes over lines that are too old to matter.
    fn skip_old(&self, open: &mut Open, start: StartAt<'_>) {
        if let StartAt::Since(since, dated) = start
            && !open.mark.in_line
            && let Ok(offset) = seek::seek_time(open, self.newline, since, dated)
            && offset > open.mark.offset
        {
            let _ = open.seek(offset);
        }
    }

    /// Passes over rotated files that were last written to too long ago to matter.
    fn skip_old_files(&mut self, start: StartAt<'_>) {
        let StartAt::Since(since, _) = start else { return };
        let is_old =
            |linger: &Linger| linger.open.metadata().is_ok_and(|meta| meta.mtime() < since.secs());
        while let Some(at) = self.lingering.iter().position(is_old) {
            let linger = self.lingering.remove(at);
            self.remember(linger.open.mark);
        }
    }
}

/// What is known of a file that has no name any more.
fn unlinked(open: &Open) -> Option<fs::Metadata> {
    open.metadata().ok().filter(|meta| meta.nlink() == 0)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Takes the bytes of number zero from the beginnings of lines: a hole in the file.
fn without_nuls(buffer: &mut [u8], range: Range<usize>) -> Range<usize> {
    let Some(bytes) = buffer.get_mut(range.clone()) else { return range };
    if memmem::find(bytes, b"\n\0").is_none() {
        return range;
    }
    let mut kept = 0;
    let mut at_start = true;
    for at in 0..bytes.len() {
        let Some(byte) = bytes.get(at).copied() else { break };
        if byte == 0 && at_start {
            continue;
        }
        at_start = byte == b'\n';
        if let Some(place) = bytes.get_mut(kept) {
            *place = byte;
        }
        kept += 1;
    }
    range.start..range.start + kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_between_lines_are_taken_out() {
        let mut bytes = b"xxa\0b\n\0\0\0c\n\0\nd\n".to_vec();
        let range = 2..bytes.len();
        let range = without_nuls(&mut bytes, range);
        assert_eq!(&bytes[range], b"a\0b\nc\n\nd\n");
    }
}

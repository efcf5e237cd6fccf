//! `Stream`: one file as some jails read it, from its tail through their scanners.

use std::sync::Arc;

use super::{
    Batch, Catch, Clock, Follow, Follower, Notice, Output, Report, What,
    catch::Size,
    sieve::{Found, Sieve},
};
use crate::{
    scan::Scanner,
    source::{BLOCK_BYTES, Encoding, Position, StartAt, Tail, TailEvent},
    time::Timestamp,
};

/// So many blocks are read of one file before others have their turn.
pub(super) const BLOCKS_PER_ROUND: usize = 4;
/// Where a block had more failures than this, the next ones are smaller, lest a batch grows beyond
/// what is good for the loop.
const FAILURES_PER_BLOCK: usize = 200;
pub(super) const SMALL_BLOCK_BYTES: usize = 16 << 10;
/// Lines without a failure need not be told of at once: their position is handed out at latest so
/// many seconds after the one before.
const QUIET_S: i64 = 1;
/// Batches that come so soon one after the other are a stream; microseconds.
const STREAM_MICROS: i64 = 100_000;

/// The output is closed.
pub(super) struct Closed;

/// One jail's share in a stream.
pub(super) struct Member {
    pub jail: Arc<str>,
    generation: u64,
    scanner: Scanner,
    encoding: Encoding,
    findtime_s: u64,
    sieve: Sieve,
    /// How much the last part of the file that had failures came to.
    caught: Size,
}

impl Member {
    pub fn new(follow: &Follow, generation: u64) -> Member {
        Member {
            jail: Arc::clone(&follow.jail),
            generation,
            scanner: follow.scanner.sibling(),
            encoding: follow.encoding,
            findtime_s: follow.findtime_s,
            sieve: Sieve::default(),
            caught: Size::default(),
        }
    }
}

/// One file, read for some jails.
pub(super) struct Stream {
    /// Under this number the file is watched.
    pub number: usize,
    pub path: Arc<str>,
    pub tail: Tail,
    pub members: Vec<Member>,
    /// Its lines are news: it was read to its end once.
    operating: bool,
    /// Somebody has to look at it.
    pub dirty: bool,
    /// The kernel tells when it changes.
    pub watched: bool,
    /// Its jail wants it to be looked at from time to time only.
    pub polling: bool,
    /// A glob matches it.
    pub globbed: bool,
    /// Sweeps since it was there last.
    pub gone: u32,
    /// Its jail sleeps.
    pub asleep: bool,
    /// Its position is the file's.
    pub shared: bool,
    /// Another file has its name.
    pub moved: bool,
    followers: Arc<[Follower]>,
    /// What was read since the last batch, without a failure.
    quiet: Quiet,
    told_at: Option<Timestamp>,
    limit: usize,
    /// It was left at its end without a look whether the path still leads to it.
    unsure: bool,
}

#[derive(Default)]
struct Quiet {
    pending: bool,
    lines: u64,
    stale: u64,
}

impl Stream {
    /// Opens the file for one jail. The pair says whether only what is written from now on counts,
    /// and whether the file has only just appeared.
    pub fn open(
        number: usize,
        path: &str,
        (follow, generation): (&Follow, u64),
        stored: Option<&Position>,
        (from_end, appeared): (bool, bool),
        now: Timestamp,
    ) -> Stream {
        let findtime = i64::try_from(follow.findtime_s).unwrap_or(i64::MAX);
        let since = now.plus_secs(findtime.saturating_neg());
        // Looking for a date here and there teaches the detector nothing about the log's lines.
        let mut dates = follow.scanner.dates().clone();
        let encoding = follow.encoding;
        let mut dated = |line: &[u8]| {
            let text = encoding.text(line);
            let text = String::from_utf8_lossy(&text);
            let line = text.trim_end_matches(['\r', '\n']);
            let found = dates.find(line, now).filter(|found| !found.cut.is_empty())?;
            dates.time(line, &found, now)
        };
        let start = match (stored, appeared, from_end) {
            (None, true, _) => StartAt::Beginning,
            (None, false, true) => StartAt::End,
            _ => StartAt::Since(since, &mut dated),
        };
        let operating = stored.is_none() && from_end && !appeared;
        let tail = Tail::open(path, encoding.newline(), stored, start, now);
        let mut stream = Stream {
            number,
            path: path.into(),
            tail,
            members: vec![Member::new(follow, generation)],
            operating,
            dirty: true,
            watched: false,
            polling: false,
            globbed: false,
            gone: 0,
            asleep: false,
            shared: true,
            moved: false,
            followers: Arc::default(),
            quiet: Quiet::default(),
            told_at: None,
            limit: BLOCK_BYTES,
            unsure: false,
        };
        // Where reading begins has to be stored even if nothing is read.
        stream.quiet.pending = true;
        stream.renew();
        stream
    }

    /// Tells where a jail begins to read.
    pub fn begin(&mut self, output: &Output, jail: &Arc<str>) {
        if !self.tail.is_waiting() {
            let what = self.added();
            let source = Arc::clone(&self.path);
            output(Report::Notice(Notice { source, jails: vec![Arc::clone(jail)], what }));
        }
    }

    fn added(&self) -> What {
        let (offset, hash) = match self.tail.position() {
            Position::File(mark, _) if mark.head_bytes > 0 => {
                (mark.offset, format!("{:016x}", mark.head))
            }
            position => (position.offset(), String::new()),
        };
        What::Added { offset, hash }
    }

    /// The jails that read it.
    pub fn jails(&self) -> Vec<Arc<str>> {
        self.members.iter().map(|member| Arc::clone(&member.jail)).collect()
    }

    /// True if a jail reads it.
    pub fn has(&self, jail: &Arc<str>) -> bool {
        self.members.iter().any(|member| member.jail == *jail)
    }

    /// A jail reads it no longer.
    pub fn leave(&mut self, jail: &Arc<str>) {
        self.members.retain(|member| member.jail != *jail);
        self.renew();
    }

    /// A jail goes to sleep, and will go on from here by itself.
    pub fn split(&mut self, jail: &Arc<str>, number: usize, now: Timestamp) -> Option<Stream> {
        let at = self.members.iter().position(|member| member.jail == *jail)?;
        let member = self.members.remove(at);
        let position = self.tail.position();
        let newline = member.encoding.newline();
        let start = StartAt::Beginning;
        let mut tail = Tail::open(&*self.path, newline, Some(&position), start, now);
        tail.take_events();
        self.renew();
        let mut stream = Stream {
            number,
            path: Arc::clone(&self.path),
            tail,
            members: vec![member],
            operating: self.operating,
            dirty: false,
            watched: false,
            polling: self.polling,
            globbed: self.globbed,
            gone: 0,
            asleep: true,
            shared: false,
            moved: false,
            followers: Arc::default(),
            quiet: Quiet::default(),
            told_at: None,
            limit: BLOCK_BYTES,
            unsure: false,
        };
        stream.renew();
        Some(stream)
    }

    /// The list of jails has changed.
    pub fn renew(&mut self) {
        let follower = |member: &Member| Follower {
            jail: Arc::clone(&member.jail),
            generation: member.generation,
        };
        self.followers = self.members.iter().map(follower).collect();
    }

    /// True if it has to be looked at each second.
    pub fn wants_poll(&self) -> bool {
        !self.asleep
            && (!self.watched
                || self.tail.is_waiting()
                || self.tail.has_lingering()
                || self.quiet.pending
                || self.unsure)
    }

    /// True if both read the same file in the same way, and are equally far.
    pub fn is_level_with(&self, other: &Stream) -> bool {
        let newline = |stream: &Stream| stream.members.first().map(|m| m.encoding.newline());
        self.path == other.path
            && (self.asleep, self.operating) == (other.asleep, other.operating)
            && newline(self) == newline(other)
            && match (self.tail.position(), other.tail.position()) {
                (Position::File(one, _), Position::File(two, _)) => {
                    (one.device, one.inode, one.born, one.offset, one.in_line)
                        == (two.device, two.inode, two.born, two.offset, two.in_line)
                }
                _ => false,
            }
    }

    /// Reads so many blocks; true unless it came to the end. In a stream of lines there would always
    /// be a few more, and a block that ends where the file did is the last one: whatever is written
    /// behind it is hinted at. Whether the path still leads to the file is looked at when there is
    /// nothing to read, at latest with the next poll.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        output: &Output,
        clock: &Clock,
        blocks: usize,
    ) -> Result<bool, Closed> {
        for _ in 0..blocks {
            let now = clock();
            let block = self.tail.next(buffer, self.limit, now);
            let is_end = block.is_none();
            let mut notices = Vec::new();
            let mut found = Vec::new();
            if let Some(block) = block {
                let mut count = 0;
                self.quiet.pending = true;
                for (nth, member) in self.members.iter_mut().enumerate() {
                    let text = member.encoding.text(block);
                    let mut all = Found::new(member.sieve, self.operating, member.findtime_s, now);
                    all.catch = Catch::with_room(member.caught);
                    let lines = member.scanner.scan_block(&text, 0, now, &mut all);
                    member.sieve = all.sieve;
                    self.quiet.lines += if nth == 0 { lines } else { 0 };
                    self.quiet.stale += all.stale;
                    if let Some((behind_s, line)) = all.doubt {
                        let jails = vec![Arc::clone(&member.jail)];
                        notices.push((jails, What::TimeOff { behind_s, line }));
                    }
                    if !all.catch.is_empty() {
                        member.caught = all.catch.size();
                        count += all.catch.len();
                        found.push((Arc::clone(&member.jail), all.catch));
                    }
                }
                let many = count > FAILURES_PER_BLOCK;
                self.limit = if many { SMALL_BLOCK_BYTES } else { BLOCK_BYTES };
            }
            for event in self.tail.take_events() {
                self.moved = true;
                notices.push((self.jails(), self.what(event)));
            }
            for (jails, what) in notices {
                let notice = Notice { source: Arc::clone(&self.path), jails, what };
                self.send(output, Report::Notice(notice))?;
            }
            let ago = self.told_at.map(|at| now.micros().saturating_sub(at.micros()));
            let streams = ago.is_some_and(|ago| (0..STREAM_MICROS).contains(&ago));
            let is_due = self.told_at.is_none_or(|at| now >= at.plus_secs(QUIET_S) || now < at);
            if !found.is_empty() || (self.quiet.pending && is_due) {
                self.told_at = Some(now);
                let batch = self.batch(found);
                self.send(output, Report::Batch(batch))?;
            }
            if is_end {
                // What comes from now on has only just been written. Where there is no file yet,
                // nothing was read.
                self.operating |= !self.tail.is_waiting();
                self.unsure = false;
                return Ok(false);
            }
            if streams && self.tail.is_level() {
                self.operating = true;
                self.unsure = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn what(&self, event: TailEvent) -> What {
        match event {
            TailEvent::Missing => What::Missing,
            TailEvent::Unreadable(why) => What::Unreadable(why),
            TailEvent::Appeared => self.added(),
            TailEvent::Rotated { .. } => What::Rotated,
            TailEvent::Truncated => What::Truncated,
            TailEvent::Lost => What::Lost,
        }
    }

    /// Hands out the position if that is still to be done.
    pub fn flush(&mut self, output: &Output) {
        if self.quiet.pending {
            let batch = self.batch(Vec::new());
            output(Report::Batch(batch));
        }
    }

    fn batch(&mut self, found: Vec<(Arc<str>, Catch)>) -> Batch {
        let losses = self.tail.take_losses();
        let quiet = std::mem::take(&mut self.quiet);
        Batch {
            source: Arc::clone(&self.path),
            followers: Arc::clone(&self.followers),
            position: Some(self.tail.position()),
            shared: self.shared,
            found,
            lines: quiet.lines,
            cut_lines: losses.cut_lines,
            torn_lines: losses.torn_lines,
            stale: quiet.stale,
        }
    }

    fn send(&self, output: &Output, report: Report) -> Result<(), Closed> {
        if output(report) { Ok(()) } else { Err(Closed) }
    }
}

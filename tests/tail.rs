//! A log is written, rotated, emptied, deleted and read in random order; every line comes once.
//!
//! What cannot be known is left out of the play: bytes that are destroyed before anything could
//! read them (a file emptied in place, or deleted before it was opened), and the half of a line
//! whose other half never comes. So the play reads before it destroys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use common::{Dir, Random};
use sentryban::{
    source::{LINE_BYTES_MAX, NewlineKind, Position, StartAt, Tail, TailEvent},
    time::Timestamp,
};

const SEEDS: u64 = 40;
const ACTIONS: usize = 120;
/// Rotated files that are kept.
const KEPT: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Write,
    Half,
    Nuls,
    Huge,
    BadBytes,
    Rename,
    RenameOnly,
    Late,
    Truncate,
    CopyTruncate,
    Delete,
    Rewrite,
    Stop,
    Start,
    Read,
    Wait,
}

use Action::*;

const ACTIONS_BY_WEIGHT: [Action; 32] = [
    Write,
    Write,
    Write,
    Write,
    Write,
    Write,
    Write,
    Half,
    Half,
    Half,
    Nuls,
    Nuls,
    BadBytes,
    Rename,
    Rename,
    Rename,
    RenameOnly,
    Late,
    Late,
    Truncate,
    CopyTruncate,
    CopyTruncate,
    CopyTruncate,
    Delete,
    Rewrite,
    Stop,
    Start,
    Read,
    Read,
    Read,
    Wait,
    Huge,
];

/// How rotated files are called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Numbers,
    Dates,
    /// The log is a link to a file that changes.
    Link,
}

struct Play {
    dir: Dir,
    random: Random,
    style: Style,
    now: i64,
    tail: Option<Tail>,
    stored: Option<String>,
    buffer: Vec<u8>,
    lines: usize,
    rotations: usize,
    half: Option<Vec<u8>>,
    /// The file that was rotated away last, its half line, and when.
    late: Option<(PathBuf, u64, Option<Vec<u8>>, i64)>,
    written: Vec<Vec<u8>>,
    read: Vec<Vec<u8>>,
    in_order: bool,
    /// The file was emptied, and nothing of it was read since: nothing tells a copy of it.
    strange: bool,
    /// What was open last is gone, so nothing tells what came after it.
    orphan: bool,
    /// A file was deleted that only an open tail can still read.
    buried: bool,
    /// Rotations since the tail last looked.
    unseen: usize,
    graves: Vec<File>,
    said: Vec<String>,
    events: Vec<TailEvent>,
}

impl Play {
    fn new(seed: u64, style: Style) -> Play {
        Play {
            dir: Dir::new("tail"),
            random: Random(seed),
            style,
            now: 1_000_000_000,
            tail: None,
            stored: None,
            buffer: Vec::new(),
            lines: 0,
            rotations: 0,
            half: None,
            late: None,
            written: Vec::new(),
            read: Vec::new(),
            in_order: true,
            strange: false,
            orphan: true,
            buried: false,
            unseen: 0,
            graves: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn exists(&self) -> bool {
        self.log().exists()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    fn append(&mut self, path: &PathBuf, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
        drop(file);
        self.touch(path);
    }

    /// Some file systems tell times a few milliseconds apart as one, and the play goes faster.
    fn touch(&self, path: &PathBuf) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(self.now as u64)).unwrap();
    }

    /// Writes the end of the line that was begun, or a whole one.
    fn write_line(&mut self, filler: &[u8]) {
        self.make();
        let mut bytes = self.half.take().unwrap_or_default();
        let begun = bytes.len();
        if begun == 0 {
            bytes = format!("line {} ", self.lines).into_bytes();
            self.lines += 1;
        }
        bytes.extend_from_slice(filler);
        bytes.push(b'\n');
        self.append(&self.log(), &bytes[begun..]);
        bytes.pop();
        bytes.truncate(LINE_BYTES_MAX - 1);
        self.written.push(bytes);
    }

    /// Makes the file, if there is none.
    fn make(&mut self) {
        if self.exists() {
            return;
        }
        if self.style == Style::Link {
            let target = self.dir.path().join(format!("data-{}", self.rotations));
            let _ = fs::remove_file(self.log());
            File::create(&target).unwrap();
            self.touch(&target);
            std::os::unix::fs::symlink(&target, self.log()).unwrap();
        } else {
            File::create(self.log()).unwrap();
            self.touch(&self.log());
        }
        // If nothing was ever open, nothing tells that a file came and went.
        if self.tail.as_ref().is_some_and(|tail| tail.position().offset() == 0) {
            self.read_all();
        }
    }

    fn filler(&mut self) -> Vec<u8> {
        let length = match self.random.below(20) {
            0 => 5000,
            1 => 70_000,
            _ => self.random.below(200),
        };
        (0..length).map(|_| b'a' + self.random.below(26) as u8).collect()
    }

    fn act(&mut self, action: Action) {
        self.now += 1 + self.random.below(5) as i64;
        self.said.push(format!("{action:?}:{}", self.lines));
        match action {
            Write => {
                for _ in 0..1 + self.random.below(6) {
                    let filler = self.filler();
                    self.write_line(&filler);
                }
            }
            Half => {
                self.make();
                let mut bytes = self.half.take().unwrap_or_default();
                let begun = bytes.len();
                if begun == 0 {
                    bytes = format!("line {} ", self.lines).into_bytes();
                    self.lines += 1;
                }
                bytes.extend(self.filler());
                self.append(&self.log(), &bytes[begun..]);
                self.half = Some(bytes);
            }
            Nuls if self.half.is_none() => {
                self.make();
                let many = self.random.pick(&[1, 63, 64, 300, 5000, 700_000]);
                let known = fs::read(self.log()).unwrap();
                let is_first = known.is_empty();
                // Between two holes there may be anything: such a content tells too little.
                if known.first() == Some(&0) {
                    return;
                }
                self.append(&self.log(), &vec![0; many]);
                // A log of nothing but a hole is like every other such log.
                if is_first {
                    self.write_line(b"behind a hole");
                }
            }
            Huge if self.random.below(8) == 0 => {
                let many = LINE_BYTES_MAX + self.random.pick(&[0, 1, 100_000, 1 << 20]);
                self.write_line(&vec![b'x'; many]);
            }
            BadBytes => self.write_line(b"\xff\xfe\xc0 \0 \x80"),
            Rename if self.exists() => self.rotate(true),
            RenameOnly if self.exists() && self.style != Style::Link => self.rotate(false),
            Late => self.write_late(),
            Truncate if self.exists() => {
                self.know_all();
                self.half = None;
                self.strange = true;
                OpenOptions::new().write(true).truncate(true).open(self.log()).unwrap();
                self.touch(&self.log());
            }
            CopyTruncate if self.exists() && self.style != Style::Link => {
                // The first bytes of a file are what a copy is known by.
                if self.strange || self.orphan || self.offset() == 0 {
                    self.know_all();
                }
                self.strange = self.offset() == 0;
                self.shift();
                self.half = None;
                let copy = self.rotated(1);
                fs::copy(self.log(), &copy).unwrap();
                self.touch(&copy);
                OpenOptions::new().write(true).truncate(true).open(self.log()).unwrap();
                self.touch(&self.log());
            }
            Delete if self.exists() => {
                self.know_all();
                self.half = None;
                self.orphan = true;
                self.bury(&self.log());
                if self.style == Style::Link {
                    self.rotations += 1;
                }
            }
            // As editors do: written anew, put in the old one's place.
            Rewrite if self.exists() && self.style != Style::Link => {
                self.know_all();
                if self.offset() < 300 {
                    return;
                }
                let new = self.dir.path().join("other");
                fs::copy(self.log(), &new).unwrap();
                self.touch(&new);
                self.graves.push(File::open(self.log()).unwrap());
                fs::rename(&new, self.log()).unwrap();
                self.look();
            }
            Stop => {
                if self.buried {
                    self.know_all();
                }
                self.stop();
            }
            Start => self.start(),
            Read => self.read_all(),
            Wait => self.now += 25,
            _ => {
                self.said.pop();
            }
        }
    }

    /// Deletes a file. The play is so fast that two files could be made at the same moment, one
    /// with the number of the other; no real ones are.
    fn bury(&mut self, path: &PathBuf) {
        let Ok(file) = File::open(path) else { return };
        let age = file.metadata().unwrap().created().ok().and_then(|at| at.elapsed().ok());
        if age.is_none_or(|age| age < Duration::from_millis(50)) {
            self.graves.push(file);
        }
        fs::remove_file(path).unwrap();
        self.buried = true;
    }

    /// The `nth` youngest rotated file.
    fn rotated(&self, nth: usize) -> PathBuf {
        let name = match self.style {
            Style::Numbers => format!("log.{nth}"),
            Style::Dates => format!("log-{:08}", 20_260_000 + self.rotations + 1 - nth),
            Style::Link => format!("data-{}", self.rotations + 1 - nth),
        };
        self.dir.path().join(name)
    }

    /// Makes room for one more rotated file.
    fn shift(&mut self) {
        self.late = None;
        let oldest = self.rotated(KEPT);
        self.unseen += 1;
        if oldest.exists() && (self.tail.is_none() || self.unseen > KEPT) {
            // It may hold what was not read yet, and nobody has it open.
            self.know_all();
        }
        self.bury(&oldest);
        self.rotations += 1;
        if self.style == Style::Numbers {
            for nth in (1..KEPT).rev() {
                if self.rotated(nth).exists() {
                    fs::rename(self.rotated(nth), self.rotated(nth + 1)).unwrap();
                }
            }
        }
    }

    fn rotate(&mut self, create: bool) {
        if self.style == Style::Link {
            // A second change of the link would hide the first one.
            self.look();
            let old = self.dir.path().join(format!("data-{}", self.rotations));
            self.late = Some((old.clone(), inode(&old), self.half.take(), self.now));
            self.rotations += 1;
            fs::remove_file(self.log()).unwrap();
            self.make();
            return;
        }
        if self.orphan && (self.tail.is_none() || !create) {
            self.know_all();
        }
        self.shift();
        let old = self.rotated(1);
        fs::rename(self.log(), &old).unwrap();
        self.late = Some((old.clone(), inode(&old), self.half.take(), self.now));
        if create {
            File::create(self.log()).unwrap();
            self.touch(&self.log());
        }
    }

    /// A daemon that has not yet been told goes on writing into the rotated file.
    fn write_late(&mut self) {
        let Some((path, is, half, since)) = self.late.take() else { return };
        if self.now - since > 40 || !path.exists() || inode(&path) != is {
            return;
        }
        let mut bytes = half.unwrap_or_default();
        let begun = bytes.len();
        if begun == 0 {
            bytes = format!("line {} ", self.lines).into_bytes();
            self.lines += 1;
        }
        bytes.extend_from_slice(b"late\n");
        self.append(&path, &bytes[begun..]);
        bytes.pop();
        self.written.push(bytes);
        self.in_order = false;
        self.late = Some((path, is, None, since));
    }

    fn offset(&self) -> u64 {
        match (&self.tail, &self.stored) {
            (Some(tail), _) => tail.position().offset(),
            (None, Some(row)) => Position::from_row(row).unwrap().offset(),
            (None, None) => 0,
        }
    }

    /// Reads all that there is, and stays as it was: started or stopped.
    fn know_all(&mut self) {
        let stopped = self.tail.is_none();
        self.read_all();
        if stopped {
            self.stop();
        }
    }

    /// Has the tail look once, if it runs.
    fn look(&mut self) {
        if self.tail.is_some() {
            self.read_all();
        } else {
            self.know_all();
        }
    }

    fn stop(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.stored = Some(tail.position().to_row());
        }
    }

    fn start(&mut self) {
        if self.tail.is_none() {
            let stored = self.stored.take().map(|row| Position::from_row(&row).unwrap());
            let begin = StartAt::Beginning;
            self.tail =
                Some(Tail::open(self.log(), NewlineKind::Byte, stored.as_ref(), begin, self.now()));
        }
    }

    fn read_all(&mut self) {
        self.start();
        let now = self.now();
        let limit = self.random.pick(&[300, 4096, 65_536, 262_144]);
        let before = self.read.len();
        let mut parts = if self.buried { 0 } else { self.random.below(4) };
        self.buried = false;
        self.unseen = 0;
        let Some(mut tail) = self.tail.take() else { return };
        while let Some(bytes) = tail.next(&mut self.buffer, limit, now) {
            assert!(bytes.ends_with(b"\n"));
            for line in bytes[..bytes.len() - 1].split(|b| *b == b'\n') {
                self.read.push(line.to_vec());
            }
            // Sometimes it is stopped in the middle.
            if parts > 0 && self.random.below(4) == 0 {
                parts -= 1;
                let row = tail.position().to_row();
                self.events.extend(tail.take_events());
                let stored = Position::from_row(&row);
                let begin = StartAt::Beginning;
                tail = Tail::open(self.log(), NewlineKind::Byte, stored.as_ref(), begin, now);
            }
        }
        self.events.extend(tail.take_events());
        // For who looks for a fault: what each reading gave, among the actions.
        if std::env::var_os("TAIL_TRACE").is_some() {
            let first = self
                .read
                .get(before)
                .map(|l| String::from_utf8_lossy(&l[..l.len().min(9)]).into_owned());
            self.said.push(format!(
                "\n[{}..{} {:?} {:?} {}]\n",
                before,
                self.read.len(),
                first,
                self.events,
                tail.position().to_row()
            ));
            self.events.clear();
        }
        self.orphan &= !self.exists();
        self.strange &= tail.position().offset() == 0;
        self.tail = Some(tail);
    }

    fn check(&self, seed: u64) {
        let (mut written, mut read) = (self.written.clone(), self.read.clone());
        if !self.in_order {
            written.sort();
            read.sort();
        }
        if written == read {
            return;
        }
        let short = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line).into_owned();
            text.chars().take(30).collect::<String>()
        };
        let missing: Vec<String> =
            written.iter().filter(|line| !read.contains(line)).map(short).collect();
        let at = written.iter().zip(&read).take_while(|(one, two)| one == two).count();
        panic!(
            "seed {seed}, {:?}: {} lines written, {} read; missing {missing:?}; they differ at {at}: {:?} against {:?}\n{}\n{:?}",
            self.style,
            written.len(),
            read.len(),
            written.get(at).map(short),
            read.get(at).map(short),
            self.said.join(" "),
            self.events.iter().rev().take(20).rev().collect::<Vec<_>>(),
        );
    }
}

fn inode(path: &PathBuf) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn play(seed: u64, style: Style) {
    let mut play = Play::new(seed, style);
    for _ in 0..ACTIONS {
        let action = play.random.pick(&ACTIONS_BY_WEIGHT);
        play.act(action);
    }
    // What was rotated away while there was no log is looked for when there is one again.
    play.make();
    play.read_all();
    play.check(seed);
}

#[test]
fn whatever_happens_to_the_log_each_line_comes_once() {
    for seed in 0..SEEDS {
        for style in [Style::Numbers, Style::Dates, Style::Link] {
            play(seed, style);
        }
    }
}

/// A log without dates, as it stood before the first start, must not count as of now.
#[test]
fn an_undated_log_begins_with_what_is_written_from_now_on() {
    let dir = Dir::new("undated");
    let path = dir.file("log", "refused one\nrefused two\nhal");
    let mut dated = |_: &[u8]| None;
    let start = StartAt::Since(Timestamp::from_secs(1000), &mut dated);
    let now = Timestamp::from_secs(2000);
    let mut tail = Tail::open(&path, NewlineKind::default(), None, start, now);
    let mut buffer = Vec::new();
    let mut read = |tail: &mut Tail| {
        let lines = tail.next(&mut buffer, 1 << 16, now).map(<[u8]>::to_vec);
        String::from_utf8(lines.unwrap_or_default()).unwrap()
    };
    assert_eq!(read(&mut tail), "");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"f three\nrefused four\n").unwrap();
    let both = [read(&mut tail), read(&mut tail)].concat();
    assert_eq!(both, "half three\nrefused four\n");
}

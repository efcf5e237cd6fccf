//! `Journals`: the thread that follows one journal for all jails that read it.
//!
//! One `journalctl` serves them all; what each wants is matched here. It is started anew when the
//! jails change, and with growing pauses when it dies. It starts where the jail begins that has
//! read least; the others pass over what they know, up to the entry that they read last.

use std::{
    collections::HashMap,
    io::{PipeReader, Read},
    os::fd::AsFd,
    sync::{Arc, mpsc},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};

use super::{
    Batch, Catch, Clock, Follow, Follower, Notice, Order, Origin, Output, Report, What,
    sieve::{Found, Sieve},
};
use crate::{
    scan::Scanner,
    source::{
        JournalEntry, JournalFrom, JournalMatches, JournalNews, JournalOptions, JournalTail,
        Position,
    },
    time::{Stopwatch, Timestamp},
};

/// Pauses before a dead child is started again; seconds.
const RETRY_FIRST_S: u64 = 1;
const RETRY_MAX_S: u64 = 60;
/// A journal that says nothing for so long has been read to its end.
const QUIET: Duration = Duration::from_secs(2);
/// An entry so young says so as well; seconds.
const YOUNG_S: i64 = 1;
/// How often the position is handed out where nothing was found; seconds.
const TELL_S: i64 = 5;
/// The name of the system's journal as a source.
const NAME: &str = "systemd-journal";

/// The cursor of an entry, and when it was written.
type Place = (Arc<str>, Timestamp);

struct Jail {
    generation: u64,
    findtime_s: u64,
    matches: JournalMatches,
    scanner: Scanner,
    sieve: Sieve,
    asleep: bool,
    /// The last entry that it has read.
    read: Option<Place>,
    /// It passes over what comes up to this entry.
    known: Option<Place>,
    /// Since when it follows: what is as young as this is news to it.
    since: Timestamp,
    operating: bool,
}

impl Jail {
    /// From which moment on it wants entries.
    fn start(&self, now: Timestamp) -> Timestamp {
        let findtime = i64::try_from(self.findtime_s).unwrap_or(i64::MAX);
        let oldest = now.plus_secs(findtime.saturating_neg());
        self.read.as_ref().map_or(oldest, |(_, at)| oldest.max(*at))
    }

    /// True if an entry is one that it has read.
    fn knows(&mut self, cursor: Option<&str>, at: Timestamp) -> bool {
        let Some((last, until)) = &self.known else { return false };
        let is_last = cursor == Some(&**last);
        let is_known = is_last || at <= *until;
        if is_last || !is_known {
            self.known = None;
        }
        is_known
    }
}

/// Why following a child came to an end.
enum Heard {
    /// There are orders that change its arguments.
    Changed,
    /// It died.
    Ended { why: String, entries: usize },
}

/// The thread's belongings.
pub(super) struct Journals {
    name: Arc<str>,
    options: JournalOptions,
    wake: PipeReader,
    output: Output,
    clock: Clock,
    jails: HashMap<Arc<str>, Jail>,
    /// Cursors were of no use: go by the time.
    by_time: bool,
    told_at: Option<Timestamp>,
    /// Entries since the last batch.
    lines: u64,
    stopped: bool,
    /// The child has to be started with other arguments.
    changed: bool,
}

impl Journals {
    pub fn new(
        options: JournalOptions,
        wake: PipeReader,
        output: Output,
        clock: Clock,
    ) -> Journals {
        Journals {
            name: name(&options).into(),
            options,
            wake,
            output,
            clock,
            jails: HashMap::new(),
            by_time: false,
            told_at: None,
            lines: 0,
            stopped: false,
            changed: false,
        }
    }

    /// Reads until it is stopped.
    pub fn run(&mut self, orders: &mpsc::Receiver<Order>) {
        let mut retry_s = RETRY_FIRST_S;
        let mut told: Option<String> = None;
        loop {
            self.obey(orders);
            self.changed = false;
            if self.stopped {
                break;
            }
            if self.jails.values().all(|jail| jail.asleep) {
                self.sleep(None);
                continue;
            }
            let (from, matches) = self.begin();
            let why = match JournalTail::start(&self.options, &matches, &from) {
                Ok(mut tail) => match self.follow(&mut tail, orders) {
                    Heard::Changed => {
                        retry_s = RETRY_FIRST_S;
                        continue;
                    }
                    Heard::Ended { why, entries } => {
                        // A journal that was vacuumed may not know the cursor any more.
                        self.by_time = entries == 0;
                        if entries > 0 {
                            (retry_s, told) = (RETRY_FIRST_S, None);
                        }
                        why
                    }
                },
                Err(error) => error.to_string(),
            };
            if told.as_ref() != Some(&why) {
                told = Some(why.clone());
                let jails = self.jails.keys().cloned().collect();
                self.tell(jails, What::Failed { why, retry_s });
            }
            self.flush();
            self.sleep(Some(Duration::from_secs(retry_s)));
            retry_s = (retry_s * 2).min(RETRY_MAX_S);
        }
        self.flush();
    }

    /// Where the child has to start, and what it has to let through.
    fn begin(&mut self) -> (JournalFrom, Vec<String>) {
        let now = (self.clock)();
        let by_time = self.by_time;
        let mut awake: Vec<&mut Jail> =
            self.jails.values_mut().filter(|jail| !jail.asleep).collect();
        let start = awake.iter().map(|jail| jail.start(now)).min().unwrap_or(now);
        let first = awake.first().and_then(|jail| jail.read.clone());
        let is_common = awake.iter().all(|jail| jail.read == first);
        let from = match first {
            Some((cursor, at)) if is_common && !by_time && at >= start => {
                awake.iter_mut().for_each(|jail| jail.known = None);
                JournalFrom::Cursor((*cursor).to_owned())
            }
            _ => {
                awake.iter_mut().for_each(|jail| jail.known.clone_from(&jail.read));
                JournalFrom::Since(start)
            }
        };
        (from, JournalMatches::union(awake.iter().map(|jail| &jail.matches)))
    }

    /// Reads one child's entries for as long as it lives and the jails stay the same.
    fn follow(&mut self, tail: &mut JournalTail, orders: &mpsc::Receiver<Order>) -> Heard {
        let clock = Stopwatch::start();
        let mut entries = 0;
        let mut heard_at = 0.0;
        loop {
            match tail.wait(self.wake.as_fd(), QUIET) {
                JournalNews::Entries(found, cursor) => {
                    entries += found.len();
                    heard_at = clock.seconds();
                    self.scan(&found, cursor);
                }
                JournalNews::Quiet => {
                    if clock.seconds() >= heard_at + QUIET.as_secs_f64() {
                        self.jails.values_mut().for_each(|jail| {
                            jail.operating |= !jail.asleep;
                        });
                    }
                    if self.lines > 0 {
                        self.flush();
                    }
                }
                JournalNews::Woken => {
                    self.drain();
                    self.obey(orders);
                }
                JournalNews::Ended(why) => return Heard::Ended { why, entries },
            }
            if self.changed || self.stopped {
                self.flush();
                return Heard::Changed;
            }
        }
    }

    fn scan(&mut self, entries: &[(Map<String, Value>, JournalEntry)], cursor: Option<String>) {
        let now = (self.clock)();
        let mut found: Vec<(Arc<str>, Catch)> = Vec::new();
        let mut doubts = Vec::new();
        let mut stale = 0;
        self.lines += entries.len() as u64;
        for (name, jail) in self.jails.iter_mut().filter(|(_, jail)| !jail.asleep) {
            let mut all = Found::new(jail.sieve, jail.operating, jail.findtime_s, now);
            for (fields, entry) in entries {
                let place = fields.get("__CURSOR").and_then(Value::as_str);
                if jail.knows(place, entry.at) {
                    continue;
                }
                jail.operating |= entry.at >= jail.since.plus_secs(-YOUNG_S);
                if !jail.matches.fits(fields) {
                    continue;
                }
                all.operating = jail.operating;
                all.take(jail.scanner.scan_stamped(&entry.text, &entry.stamp, entry.at, now));
            }
            jail.sieve = all.sieve;
            stale += all.stale;
            doubts.extend(all.doubt.map(|doubt| (Arc::clone(name), doubt)));
            if !all.catch.is_empty() {
                found.push((Arc::clone(name), all.catch));
            }
        }
        if let (Some(cursor), Some((_, entry))) = (cursor, entries.last()) {
            let place: Place = (cursor.into(), entry.at);
            let readers = self.jails.values_mut().filter(|jail| !jail.asleep);
            readers.filter(|jail| jail.known.is_none()).for_each(|jail| {
                jail.read = Some(place.clone());
            });
        }
        for (name, (behind_s, line)) in doubts {
            self.tell(vec![name], What::TimeOff { behind_s, line });
        }
        let is_due = self.told_at.is_none_or(|at| now >= at.plus_secs(TELL_S) || now < at);
        if !found.is_empty() || is_due {
            self.told_at = Some(now);
            self.send(found, stale);
        }
    }

    fn obey(&mut self, orders: &mpsc::Receiver<Order>) {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Follow(follow, generation) => self.add(*follow, generation),
                Order::Forget(jail) => {
                    self.flush();
                    self.changed |= self.jails.remove(&jail).is_some();
                }
                Order::Pause(jail, asleep) => {
                    self.flush();
                    let since = (self.clock)();
                    if let Some(jail) = self.jails.get_mut(&jail) {
                        self.changed |= jail.asleep != asleep;
                        jail.asleep = asleep;
                        // What it has missed keeps its time.
                        (jail.operating, jail.since) = (false, since);
                    }
                }
                Order::Stop => self.stopped = true,
                // Jails of the journal have no files.
                Order::AddLog(..) | Order::RemoveLog(..) | Order::Rescan => {}
            }
        }
    }

    fn add(&mut self, follow: Follow, generation: u64) {
        let Origin::Journal { matches, .. } = &follow.origin else { return };
        let matches = JournalMatches::new(matches);
        let scanner = follow.scanner;
        if let Some(jail) = self.jails.get_mut(&follow.jail) {
            // It goes on where it stands; only what it wants may have changed.
            self.changed |= jail.matches != matches;
            (jail.matches, jail.scanner) = (matches, scanner);
            jail.findtime_s = follow.findtime_s;
            return;
        }
        let read = follow.stored.iter().find_map(|(source, position)| match position {
            Position::Journal(cursor, at) if **source == *self.name => {
                Some((cursor.as_str().into(), *at))
            }
            _ => None,
        });
        let jail = Jail {
            generation,
            findtime_s: follow.findtime_s,
            matches,
            scanner,
            sieve: Sieve::default(),
            asleep: false,
            read,
            known: None,
            since: (self.clock)(),
            operating: false,
        };
        self.jails.insert(follow.jail, jail);
        self.changed = true;
    }

    /// Hands out how far the jails have read.
    fn flush(&mut self) {
        if self.lines > 0 {
            self.send(Vec::new(), 0);
        }
    }

    fn send(&mut self, found: Vec<(Arc<str>, Catch)>, stale: u64) {
        let is_reading = |jail: &Jail| !jail.asleep && jail.known.is_none();
        let reading = || self.jails.iter().filter(|(_, jail)| is_reading(jail));
        let follower = |(name, jail): (&Arc<str>, &Jail)| Follower {
            jail: Arc::clone(name),
            generation: jail.generation,
        };
        let place = reading().find_map(|(_, jail)| jail.read.clone());
        let batch = Batch {
            source: Arc::clone(&self.name),
            followers: reading().map(follower).collect(),
            position: place.map(|(cursor, at)| Position::Journal((*cursor).to_owned(), at)),
            // Whoever passes over what he knows has read more than this.
            shared: self.jails.values().all(|jail| jail.asleep || jail.known.is_none()),
            found,
            lines: std::mem::take(&mut self.lines),
            cut_lines: 0,
            torn_lines: 0,
            stale,
        };
        if !(self.output)(Report::Batch(batch)) {
            self.stopped = true;
        }
    }

    fn tell(&mut self, jails: Vec<Arc<str>>, what: What) {
        let notice = Notice { source: Arc::clone(&self.name), jails, what };
        if !(self.output)(Report::Notice(notice)) {
            self.stopped = true;
        }
    }

    /// Waits for orders, for so long at most.
    fn sleep(&mut self, at_most: Option<Duration>) {
        let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
        let timeout = at_most.and_then(|time| Timespec::try_from(time).ok());
        if matches!(poll(&mut fds, timeout.as_ref()), Ok(ready) if ready > 0) {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64];
        if !matches!(self.wake.read(&mut bytes), Ok(count) if count > 0) {
            // Nobody is left who could give orders.
            self.stopped = true;
        }
    }
}

/// True if a source of this name is a journal.
pub fn is_journal(source: &str) -> bool {
    source.starts_with(NAME)
}

/// What a journal is called as a source.
fn name(options: &JournalOptions) -> String {
    let mut name = NAME.to_owned();
    let mut add = |word: &str, value: &str| name.push_str(&format!("[{word}={value}]"));
    if let Some(path) = &options.path {
        add("journalpath", path);
    }
    if !options.files.is_empty() {
        add("journalfiles", &options.files.join(" "));
    }
    if let Some(namespace) = &options.namespace {
        add("namespace", namespace);
    }
    if let Some(flags) = options.flags {
        add("journalflags", &flags.to_string());
    }
    name
}

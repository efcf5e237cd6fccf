//! `Files`: the thread that follows all log files.
//!
//! Jails that have read a file equally far share one [`Stream`] of it, so each line is read once. A
//! jail that comes later, or that has slept, has a stream of its own until it has caught up.
//!
//! Whoever hears of a lone line reads it at once ([`Files::glance`]), if the thread is not at work
//! just then: to be woken takes longer than to read a line. All else is the thread's.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    time::Duration,
};

use super::{
    Clock, Follow, Log, Notice, Order, Origin, Output, Report, What, glob,
    stream::{BLOCKS_PER_ROUND, Member, SMALL_BLOCK_BYTES, Stream},
};
use crate::{
    source::{Bell, Position, Rung, Watch},
    time::Stopwatch,
};

/// So many streams are read; each holds an open file.
const STREAMS_MAX: usize = 4096;
/// How often files are looked at that cannot be watched, or are waited for; seconds.
const POLL_S: f64 = 1.0;
/// How often all files are looked at, lest a hint was lost; seconds.
const SWEEP_S: f64 = 2.0;
/// How often globs are expanded though nothing seems to have changed; seconds.
const GLOB_S: f64 = 30.0;
/// A match of a glob that has been gone for so many sweeps is forgotten.
const GONE_SWEEPS: u32 = 1800;
/// A busy log rings for every line. After so many rounds within a second the thread lets lines
/// gather for a moment, which costs them no more than that moment.
const ROUNDS_PER_S: u32 = 200;
const GATHER: Duration = Duration::from_millis(4);

/// What is known of a jail.
struct Jail {
    follow: Follow,
    generation: u64,
    asleep: bool,
    /// Globs without a match, of which that was told.
    told: HashSet<String>,
    /// How far it has read files that it no longer wants. What is stored of them may lag behind:
    /// the last batches may still be on their way.
    left: HashMap<Arc<str>, Position>,
}

impl Jail {
    fn logs(&self) -> &[Log] {
        match &self.follow.origin {
            Origin::Files { logs, .. } => logs,
            Origin::Journal { .. } => &[],
        }
    }

    fn polling(&self) -> bool {
        matches!(self.follow.origin, Origin::Files { polling: true, .. })
    }

    fn stored(&self, path: &str) -> Option<&Position> {
        if let Some(left) = self.left.get(path) {
            return Some(left);
        }
        let stored = self.follow.stored.iter().find(|(source, _)| **source == *path);
        stored.map(|(_, position)| position)
    }
}

/// The thread's belongings.
pub(super) struct Files {
    output: Output,
    clock: Clock,
    watch: Watch,
    jails: HashMap<Arc<str>, Jail>,
    streams: Vec<Stream>,
    /// The number of the next stream.
    next: usize,
    /// Shared by all streams; empty while nothing is to be read.
    buffer: Vec<u8>,
    /// The output is closed, or an order said so.
    stopped: bool,
    told_too_many: bool,
    /// Some file has several streams.
    has_twins: bool,
}

/// When the thread did what, in seconds on its own clock.
#[derive(Debug, Default)]
struct Times {
    polled: f64,
    swept: f64,
    globbed: f64,
    /// Globs are to be expanded.
    rescan: bool,
    /// Rounds since the second that began then.
    second: f64,
    rounds: u32,
}

/// Reads until it is stopped.
pub(super) fn run(files: &Mutex<Files>, bell: &Bell, orders: &mpsc::Receiver<Order>) {
    let clock = Stopwatch::start();
    let mut times = Times::default();
    let mut pause = Some(Duration::from_secs_f64(POLL_S));
    loop {
        let rung = bell.wait(pause.unwrap_or(Duration::ZERO));
        let mut own = lock(files);
        if rung.called {
            bell.heed(|| own.obey(orders));
        }
        let more = own.round(&rung, clock.seconds(), &mut times);
        if own.stopped {
            let Files { streams, output, .. } = &mut *own;
            return streams.iter_mut().for_each(|stream| stream.flush(output));
        }
        pause = (!more).then(|| own.pause(clock.seconds(), &times));
        drop(own);
        if !more && times.rounds > ROUNDS_PER_S {
            std::thread::sleep(GATHER);
        }
    }
}

/// What a thread that panicked left behind is read on with.
fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    pub fn new(bell: &Arc<Bell>, output: Output, clock: Clock) -> Arc<Mutex<Files>> {
        Arc::new_cyclic(|own: &Weak<Mutex<Files>>| {
            let (own, called) = (Weak::clone(own), Arc::clone(bell));
            let glance = move |numbers: &[usize]| {
                let Some(files) = own.upgrade() else { return false };
                // Never waits: the thread may be waiting for whoever asks this. An order that was
                // given before a line was written comes before it.
                let own = files.try_lock();
                own.is_ok_and(|mut own| !called.is_called() && own.glance(numbers))
            };
            Mutex::new(Files {
                output,
                clock,
                watch: Watch::new(Arc::clone(bell), Arc::new(glance)),
                jails: HashMap::new(),
                streams: Vec::new(),
                next: 0,
                buffer: Vec::new(),
                stopped: false,
                told_too_many: false,
                has_twins: false,
            })
        })
    }

    /// Looks at what was rung for, and at what is due. True if there is more to read.
    fn round(&mut self, rung: &Rung, now: f64, times: &mut Times) -> bool {
        for stream in &mut self.streams {
            stream.dirty |= rung.all || rung.files.contains(&stream.number);
        }
        times.rescan |= rung.names || rung.all;
        if now >= times.polled + POLL_S {
            times.polled = now;
            let sweep = now >= times.swept + SWEEP_S;
            times.swept = if sweep { now } else { times.swept };
            if times.rescan || now >= times.globbed + GLOB_S {
                (times.rescan, times.globbed) = (false, now);
                self.expand(true);
            }
            self.poll(sweep);
        } else if times.rescan && rung.names && now >= times.globbed + POLL_S {
            (times.rescan, times.globbed) = (false, now);
            self.expand(true);
        }
        if now >= times.second + 1.0 {
            (times.second, times.rounds) = (now, 0);
        }
        times.rounds += 1;
        let more = self.read();
        if !more {
            // An idle thread holds no buffer.
            self.buffer = Vec::new();
        }
        more
    }

    /// Reads what little is new in these files, on the thread that heard of it. False if the thread
    /// of the files has to look at them: there is more, or something else happened to them.
    fn glance(&mut self, numbers: &[usize]) -> bool {
        if self.stopped || self.has_twins {
            return false;
        }
        let mut done = true;
        for stream in self.streams.iter_mut().filter(|stream| numbers.contains(&stream.number)) {
            // What is dirty, the thread has not come to yet, or has not done with.
            if stream.asleep || stream.dirty {
                done = false;
                continue;
            }
            // A part of the file that is shorter than what was asked for ends where the file ended,
            // and for whatever is written behind it there will be another hint.
            let read = stream.read(&mut self.buffer, &self.output, &self.clock, 1);
            done &= read.is_ok() && !stream.moved && self.buffer.len() < SMALL_BLOCK_BYTES;
            stream.dirty = !done;
            self.buffer = Vec::new();
        }
        done
    }

    /// How long nothing has to be looked at.
    fn pause(&self, now: f64, times: &Times) -> Duration {
        let is_waiting = self.streams.iter().any(Stream::wants_poll);
        // A sweep is one of the polls, and comes with the first one behind its time.
        let due = times.polled + POLL_S;
        let due = if is_waiting { due } else { due.max(times.swept + SWEEP_S) };
        Duration::from_secs_f64((due - now).clamp(0.001, SWEEP_S))
    }

    fn poll(&mut self, sweep: bool) {
        if sweep {
            self.watch.refresh();
        }
        for stream in &mut self.streams {
            stream.dirty |= sweep || stream.wants_poll();
            if !stream.watched && !stream.polling {
                stream.watched = self.watch.watch_file(Path::new(&*stream.path), stream.number);
            }
            stream.gone = match stream.tail.is_waiting() {
                true => stream.gone.saturating_add(u32::from(sweep)),
                false => 0,
            };
        }
        let is_gone = |stream: &Stream| stream.globbed && stream.gone > GONE_SWEEPS;
        while let Some(at) = self.streams.iter().position(is_gone) {
            self.drop_stream(at);
        }
        if let Some(why) = self.watch.take_trouble() {
            self.tell("files".into(), Vec::new(), What::Polling(why));
        }
    }

    fn obey(&mut self, orders: &mpsc::Receiver<Order>) {
        while let Ok(order) = orders.try_recv() {
            match order {
                Order::Follow(follow, generation) => self.follow(*follow, generation),
                Order::AddLog(jail, log) => {
                    if let Some(jail) = self.jails.get_mut(&jail)
                        && let Origin::Files { logs, .. } = &mut jail.follow.origin
                        && !logs.iter().any(|known| known.glob == log.glob)
                    {
                        logs.push(log);
                        self.expand(false);
                    }
                }
                Order::RemoveLog(jail, path) => {
                    if let Some(jail) = self.jails.get_mut(&jail)
                        && let Origin::Files { logs, .. } = &mut jail.follow.origin
                    {
                        logs.retain(|log| log.glob != path);
                    }
                    self.leave_unwanted(&jail);
                }
                Order::Forget(jail) => {
                    self.jails.remove(&jail);
                    self.leave_unwanted(&jail);
                }
                Order::Pause(jail, asleep) => self.pause_jail(&jail, asleep),
                Order::Rescan => self.expand(true),
                Order::Stop => self.stopped = true,
            }
        }
    }

    fn follow(&mut self, follow: Follow, generation: u64) {
        let name = Arc::clone(&follow.jail);
        // What it reads already, it reads on with the new scanner.
        for stream in &mut self.streams {
            for member in stream.members.iter_mut().filter(|member| member.jail == name) {
                *member = Member::new(&follow, generation);
            }
        }
        let (asleep, left) = match self.jails.remove(&name) {
            Some(before) => (before.asleep, before.left),
            None => (false, HashMap::new()),
        };
        let jail = Jail { follow, generation, asleep, told: HashSet::new(), left };
        self.jails.insert(Arc::clone(&name), jail);
        self.leave_unwanted(&name);
        self.expand(false);
    }

    /// The files that each jail wants now are followed. `appeared`: those that are not followed
    /// yet have come while we were looking, and are read from their beginning.
    fn expand(&mut self, appeared: bool) {
        let names: Vec<Arc<str>> = self.jails.keys().cloned().collect();
        for name in names {
            let Some(jail) = self.jails.get(&name) else { continue };
            let (logs, polling) = (jail.logs().to_vec(), jail.polling());
            for log in logs {
                let is_glob = glob::is_glob(&log.glob);
                let paths = match is_glob {
                    true => glob::matches(&log.glob),
                    false => vec![PathBuf::from(&log.glob)],
                };
                if is_glob
                    && !polling
                    && let Some(folder) = glob::folder(&log.glob)
                {
                    self.watch.watch_folder(folder);
                }
                let Some(jail) = self.jails.get_mut(&name) else { continue };
                if !paths.is_empty() {
                    jail.told.remove(&log.glob);
                } else if jail.told.insert(log.glob.clone()) {
                    let source = log.glob.as_str().into();
                    self.tell(source, vec![Arc::clone(&name)], What::NoMatch);
                }
                for path in paths {
                    // Names that are no text cannot be told of, and no log has one.
                    let Some(path) = path.to_str() else { continue };
                    self.join(&name, path, &log, is_glob, appeared);
                }
            }
        }
    }

    /// A jail reads a file, unless it does so already.
    fn join(&mut self, name: &Arc<str>, path: &str, log: &Log, globbed: bool, appeared: bool) {
        let reads = |stream: &Stream| *stream.path == *path && stream.has(name);
        if self.streams.iter().any(reads) {
            return;
        }
        if self.streams.len() >= STREAMS_MAX {
            if !std::mem::replace(&mut self.told_too_many, true) {
                self.tell(path.into(), vec![Arc::clone(name)], What::TooMany(STREAMS_MAX));
            }
            return;
        }
        let Some(jail) = self.jails.get_mut(name) else { return };
        let mut stream = Stream::open(
            self.next,
            path,
            (&jail.follow, jail.generation),
            jail.stored(path),
            (log.from_end, appeared && globbed),
            (self.clock)(),
        );
        stream.asleep = jail.asleep;
        stream.globbed = globbed;
        stream.polling = jail.polling();
        stream.watched = !stream.polling && self.watch.watch_file(Path::new(path), stream.number);
        jail.left.remove(path);
        self.next += 1;
        self.has_twins |= self.streams.iter().any(|other| other.path == stream.path);
        self.streams.push(stream);
        self.merge();
        // Jails that read the same part of the file from now on tell of it once.
        if let Some(stream) = self.streams.iter_mut().find(|stream| reads(stream)) {
            stream.begin(&self.output, name);
        }
    }

    /// A jail leaves the streams of files that it does not want (any more).
    fn leave_unwanted(&mut self, name: &Arc<str>) {
        let globs: Vec<String> = match self.jails.get(name) {
            Some(jail) => jail.logs().iter().map(|log| log.glob.clone()).collect(),
            None => Vec::new(),
        };
        let wants = |path: &str| {
            globs.iter().any(|wanted| match glob::is_glob(wanted) {
                true => ::glob::Pattern::new(wanted).is_ok_and(|pattern| pattern.matches(path)),
                false => wanted == path,
            })
        };
        let mut removed = Vec::new();
        for stream in &mut self.streams {
            if stream.has(name) && !wants(&stream.path) {
                stream.flush(&self.output);
                stream.leave(name);
                removed.push(Arc::clone(&stream.path));
                if let Some(jail) = self.jails.get_mut(name)
                    && jail.left.len() < STREAMS_MAX
                {
                    jail.left.insert(Arc::clone(&stream.path), stream.tail.position());
                }
            }
        }
        for path in removed {
            self.tell(path, vec![Arc::clone(name)], What::Removed);
        }
        while let Some(at) = self.streams.iter().position(|stream| stream.members.is_empty()) {
            self.drop_stream(at);
        }
    }

    fn drop_stream(&mut self, at: usize) {
        let stream = self.streams.remove(at);
        self.watch.unwatch_file(stream.number);
        self.told_too_many = false;
        if !stream.members.is_empty() {
            let jails = stream.jails();
            self.tell(stream.path, jails, What::Removed);
        }
        self.choose_shared();
    }

    fn pause_jail(&mut self, name: &Arc<str>, asleep: bool) {
        let Some(jail) = self.jails.get_mut(name) else { return };
        jail.asleep = asleep;
        let mut split = Vec::new();
        for stream in &mut self.streams {
            if !stream.has(name) {
                continue;
            }
            if stream.members.len() == 1 {
                stream.asleep = asleep;
                stream.dirty = true;
            } else if asleep {
                stream.flush(&self.output);
                split.extend(stream.split(name, self.next, (self.clock)()));
                self.next += 1;
            }
        }
        for mut stream in split {
            stream.watched =
                !stream.polling && self.watch.watch_file(Path::new(&*stream.path), stream.number);
            self.streams.push(stream);
        }
        self.choose_shared();
    }

    /// One round: a few blocks of each file that has something new. True if there is more.
    fn read(&mut self) -> bool {
        let mut more = false;
        for stream in &mut self.streams {
            if stream.asleep || !stream.dirty {
                continue;
            }
            match stream.read(&mut self.buffer, &self.output, &self.clock, BLOCKS_PER_ROUND) {
                Ok(left) => {
                    stream.dirty = left;
                    more |= left;
                }
                Err(_) => self.stopped = true,
            }
            if stream.moved {
                stream.moved = false;
                // A link may lead to another directory now.
                if !stream.polling {
                    stream.watched = self.watch.watch_file(Path::new(&*stream.path), stream.number);
                }
            }
        }
        self.merge();
        more
    }

    /// Streams of one file that are equally far become one.
    fn merge(&mut self) {
        if !self.has_twins {
            return;
        }
        let mut at = 0;
        while at < self.streams.len() {
            let (before, rest) = self.streams.split_at_mut(at);
            let Some(stream) = rest.first_mut() else { break };
            let twin = before.iter_mut().find(|other| other.is_level_with(stream));
            let Some(twin) = twin else {
                at += 1;
                continue;
            };
            stream.flush(&self.output);
            twin.flush(&self.output);
            twin.members.append(&mut stream.members);
            twin.renew();
            let number = stream.number;
            self.streams.remove(at);
            self.watch.unwatch_file(number);
        }
        self.choose_shared();
    }

    /// Of several streams of a file the one that is read on and has been longest is the shared one.
    fn choose_shared(&mut self) {
        let mut seen = HashSet::new();
        self.has_twins = false;
        for asleep in [false, true] {
            for stream in self.streams.iter_mut().filter(|stream| stream.asleep == asleep) {
                stream.shared = seen.insert(Arc::clone(&stream.path));
                self.has_twins |= !stream.shared;
            }
        }
    }

    fn tell(&mut self, source: Arc<str>, jails: Vec<Arc<str>>, what: What) {
        let notice = Notice { source, jails, what };
        if !(self.output)(Report::Notice(notice)) {
            self.stopped = true;
        }
    }
}

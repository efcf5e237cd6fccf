//! `Reader`: the threads that follow logs and the journal, and scan what they read.
//!
//! ```text
//! file ──► Tail ──► block of lines ──► Scanner of jail a ─┐
//!            ▲                     └─► Scanner of jail b ─┴──► Batch { position, failures } ──► loop
//!          Watch
//! ```
//!
//! One thread reads all files, one more each journal. A batch holds the failures and the position
//! behind the lines that made them, so that the loop can store both in one transaction. The output
//! may block: then nothing is read, and files and the journal wait.
//!
//! What a reader has handed out may still be on its way when its jail ends and one of its name
//! begins to read where the other was last known to stand. So each following of a jail has a
//! number, by which whoever takes a batch knows whom it still concerns.

mod catch;
mod files;
mod glob;
mod journal;
mod notice;
mod sieve;
mod stream;

use std::{
    collections::HashMap,
    io::{PipeWriter, Write},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use crate::{
    scan::Scanner,
    source::{Bell, Encoding, JournalOptions, Position},
    time::{self, Timestamp},
};

pub use catch::{Catch, tickets_of};
pub use journal::is_journal;
pub use notice::{Level, Notice, What};

/// What the loop hears.
#[derive(Debug)]
pub enum Report {
    /// Lines were read.
    Batch(Batch),
    /// Something happened to a source.
    Notice(Notice),
}

/// A jail that reads a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Follower {
    /// Its name.
    pub jail: Arc<str>,
    /// Which following of that jail it is: what [`Reader::follow`] answered.
    pub generation: u64,
}

/// Lines that were read from one source, in one go.
#[derive(Debug)]
pub struct Batch {
    /// The path of the file as the jail names it (a glob's match), or the journal's name.
    pub source: Arc<str>,
    /// The jails that have read these lines.
    pub followers: Arc<[Follower]>,
    /// How far these jails have read the source, these lines included.
    pub position: Option<Position>,
    /// False if these jails catch up with others, which are further on: who keeps one position for
    /// each source, and not one for each jail, keeps theirs.
    pub shared: bool,
    /// The failures of each jail that had any, in the order of their lines.
    pub found: Vec<(Arc<str>, Catch)>,
    /// Lines read.
    pub lines: u64,
    /// Lines cut because they were too long.
    pub cut_lines: u64,
    /// Halves of lines that were lost, as their other half never came.
    pub torn_lines: u64,
    /// Failures that were left out, since they were older than findtime, or without a date, before
    /// the source was read to its end for the first time.
    pub stale: u64,
}

/// A file or glob of a jail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// Path or glob.
    pub glob: String,
    /// Where nothing is stored of it, only what is written from now on counts.
    pub from_end: bool,
}

/// Where a jail's lines come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Log files.
    Files {
        /// Paths and globs.
        logs: Vec<Log>,
        /// Look at them from time to time only; the kernel is not asked.
        polling: bool,
    },
    /// The journal.
    Journal {
        /// Which one.
        options: JournalOptions,
        /// `journalmatch`, one a line; any will do. None means every entry.
        matches: Vec<String>,
    },
}

/// A jail as the reader knows it.
#[derive(Debug)]
pub struct Follow {
    /// Its name.
    pub jail: Arc<str>,
    /// Scans its lines; each source gets a sibling of it.
    pub scanner: Scanner,
    /// Seconds: older failures are of no interest, and reading starts so long ago.
    pub findtime_s: u64,
    /// Encoding of its files.
    pub encoding: Encoding,
    /// Where its lines come from.
    pub origin: Origin,
    /// Stored positions by source, as they were handed out in batches.
    pub stored: Vec<(Arc<str>, Position)>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// Takes what a reader has to say. It may block, and then the reader waits. False ends the reader.
pub type Output = Arc<dyn Fn(Report) -> bool + Send + Sync>;

/// Tells what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a thread is told.
#[derive(Debug)]
enum Order {
    Follow(Box<Follow>, u64),
    AddLog(Arc<str>, Log),
    RemoveLog(Arc<str>, String),
    Forget(Arc<str>),
    Pause(Arc<str>, bool),
    Rescan,
    Stop,
}

/// How a thread is told that there are orders.
enum Call {
    Bell(Arc<Bell>),
    Pipe(PipeWriter),
}

struct Worker {
    /// The journal that it follows; none for files.
    journal: Option<JournalOptions>,
    orders: mpsc::Sender<Order>,
    call: Call,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn tell(&mut self, order: Order) {
        // A thread that has ended (its output is closed) needs no orders.
        let _ = self.orders.send(order);
        match &mut self.call {
            Call::Bell(bell) => bell.call(),
            Call::Pipe(pipe) => {
                let _ = pipe.write(b".");
            }
        }
    }
}

/// Follows the sources of all jails.
pub struct Reader {
    output: Output,
    clock: Clock,
    workers: Vec<Worker>,
    jails: HashMap<Arc<str>, Reading>,
    /// Of the last following.
    generation: u64,
}

/// Who reads for a jail.
struct Reading {
    /// Which worker.
    worker: usize,
    generation: u64,
}

impl Reader {
    /// A reader without jails. Threads are started when the first jail needs them: one for all
    /// files (scanning is faster than disks, and one order is simpler than several), and one for
    /// each journal.
    pub fn new(output: Output) -> Reader {
        Reader::with_clock(output, Arc::new(time::now))
    }

    /// The same, with a clock of the caller's.
    pub fn with_clock(output: Output, clock: Clock) -> Reader {
        Reader { output, clock, workers: Vec::new(), jails: HashMap::new(), generation: 0 }
    }

    /// Follows the sources of a jail. A jail of this name is replaced: sources that it had before
    /// are read on from where they stand, and what is on its way of them still counts. After
    /// [`Reader::forget`] it is another following, which begins at the stored positions: what the
    /// one before has read, and nobody has counted, is read once more.
    ///
    /// Answers the number of this following, which its batches bear.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn follow(&mut self, jail: Follow) -> std::io::Result<u64> {
        let wanted = match &jail.origin {
            Origin::Files { .. } => None,
            Origin::Journal { options, .. } => Some(options),
        };
        let known = self.workers.iter().position(|worker| worker.journal.as_ref() == wanted);
        let at = match known {
            Some(at) => at,
            None => {
                let worker = self.start(wanted.cloned())?;
                self.workers.push(worker);
                self.workers.len() - 1
            }
        };
        let name = Arc::clone(&jail.jail);
        let generation = match self.jails.get(&name) {
            Some(before) if before.worker == at => before.generation,
            before => {
                if before.is_some() {
                    self.tell(&name, Order::Forget(Arc::clone(&name)));
                }
                self.generation += 1;
                self.generation
            }
        };
        self.jails.insert(Arc::clone(&name), Reading { worker: at, generation });
        self.tell(&name, Order::Follow(Box::new(jail), generation));
        Ok(generation)
    }

    /// A jail reads one more log.
    pub fn add_log(&mut self, jail: &str, log: Log) {
        self.tell(jail, Order::AddLog(jail.into(), log));
    }

    /// A jail no longer reads a log, given as it was named.
    pub fn remove_log(&mut self, jail: &str, glob: &str) {
        self.tell(jail, Order::RemoveLog(jail.into(), glob.to_owned()));
    }

    /// A jail is gone. Batches with failures of it may still be on their way.
    pub fn forget(&mut self, jail: &str) {
        self.tell(jail, Order::Forget(jail.into()));
        self.jails.remove(jail);
    }

    /// A jail sleeps (`idle on`) or wakes; when it wakes it reads what it has missed.
    pub fn pause(&mut self, jail: &str, asleep: bool) {
        self.tell(jail, Order::Pause(jail.into(), asleep));
    }

    /// Looks for new matches of all globs now.
    pub fn rescan(&mut self) {
        for worker in &mut self.workers {
            worker.tell(Order::Rescan);
        }
    }

    /// Ends all threads; what was read has been handed out. The output must not block while this
    /// waits: who calls this from the thread that empties the inbox closes the inbox before.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for worker in &mut self.workers {
            worker.tell(Order::Stop);
        }
        for worker in &mut self.workers {
            let _ = worker.thread.take().map(JoinHandle::join);
        }
        self.workers.clear();
    }

    fn tell(&mut self, jail: &str, order: Order) {
        let worker = self.jails.get(jail).map(|reading| reading.worker);
        if let Some(worker) = worker.and_then(|at| self.workers.get_mut(at)) {
            worker.tell(order);
        }
    }

    fn start(&self, journal: Option<JournalOptions>) -> std::io::Result<Worker> {
        let (orders, inbox) = mpsc::channel();
        let (output, clock) = (Arc::clone(&self.output), Arc::clone(&self.clock));
        let (call, thread) = match &journal {
            None => {
                let bell = Arc::new(Bell::default());
                let files = files::Files::new(&bell, output, clock);
                let own = Arc::clone(&bell);
                let builder = thread::Builder::new().name("files".to_owned());
                (Call::Bell(bell), builder.spawn(move || files::run(&files, &own, &inbox))?)
            }
            Some(options) => {
                let (wake, call) = std::io::pipe()?;
                let mut journal = journal::Journals::new(options.clone(), wake, output, clock);
                let builder = thread::Builder::new().name("journal".to_owned());
                (Call::Pipe(call), builder.spawn(move || journal.run(&inbox))?)
            }
        };
        Ok(Worker { journal, orders, call, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

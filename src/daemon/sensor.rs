//! `Post`: the thread on which the sensor stands guard.
//!
//! ```text
//! Capture ─► Decoder ─► Sensor ─► Effects ─► jails (Batch) · syslog, files · commands · look-ups
//! Bound ───────────────►  ▲
//!        Kernel: services, addresses, conversations
//! ```
//!
//! One thread reads packets and decides; what takes time (commands, names) has threads of its own
//! and answers by letter. `post.rs` is the loop, the other files what it holds in its hands.

mod alone;
mod ears;
mod files;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "sensor/kernel_bsd.rs"]
mod kernel;
// What of it does not need a BSD is tried elsewhere as well.
#[cfg(all(test, target_os = "linux", feature = "pcap"))]
#[allow(dead_code, reason = "only the tests of it use it")]
mod kernel_bsd;
mod post;
mod respond;
mod voice;

use std::{
    io::{self, PipeWriter, Write},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
};

pub use self::{
    alone::{Alone, Unread, guard_alone, replay},
    ears::SOURCE,
};
use super::{
    log::Level,
    reader::{Batch, Follow},
    runner::exec::Executor,
};
use crate::{
    config::sensor::SensorSpec,
    net::Cidr,
    sensor::{Outcome, Totals},
    ticket::JailName,
};

/// What the post has to say.
#[derive(Debug)]
pub enum News {
    /// Jails have found failures in its lines.
    Batch(Batch),
    /// Something for our own log.
    Said(Level, String),
}

/// Takes news. It may block, and then packets wait. False ends the post.
pub type Output = Box<dyn FnMut(News) -> bool + Send>;

/// What a post is told.
#[derive(Debug)]
pub enum Order {
    /// A jail hears the sensor from now on.
    Hear(Box<Follow>),
    /// A jail hears it no longer.
    Forget(JailName),
    /// These are banned by a jail, or by none any more.
    Banned(Vec<(Cidr, bool)>),
    /// All that are banned by jails.
    AllBanned(Vec<Cidr>),
    /// New settings.
    Reload(Box<SensorSpec>),
    /// Go.
    Stop,
}

/// What comes in beside packets.
enum Letter {
    Order(Order),
    /// And what is to be said about it.
    Done(Outcome, Vec<String>),
    Named(IpAddr, Option<String>),
}

/// Rings when there is a letter.
#[derive(Clone, Debug)]
struct Mailbox {
    letters: Sender<Letter>,
    bell: Arc<PipeWriter>,
}

impl Mailbox {
    /// False if nobody reads it any more.
    fn send(&self, letter: Letter) -> bool {
        let sent = self.letters.send(letter).is_ok();
        // The bell is heard before it is full.
        let _ = (&*self.bell).write(b".");
        sent
    }
}

/// How a post is, for `status`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Why it sees nothing.
    pub trouble: Option<String>,
    /// Its counts.
    pub totals: Totals,
    /// Ports of the modes tcp and udp that somebody else has.
    pub unbound: usize,
}

/// What a post is started with.
pub struct Start {
    /// What is written about it.
    pub spec: SensorSpec,
    /// Lines are shown on standard output, too.
    pub terminal: bool,
    /// Runs its commands.
    pub executor: Box<dyn Executor>,
    /// Hears it.
    pub output: Output,
}

/// A post that stands; it is given up when dropped.
#[derive(Debug)]
pub struct Post {
    mailbox: Mailbox,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
}

impl Post {
    /// Opens what needs rights, on this thread, and stands guard on another.
    ///
    /// # Errors
    ///
    /// The system has no thread or pipe for it. What it cannot open it says in the log.
    pub fn start(start: Start) -> io::Result<Post> {
        let (bell_rope, bell) = io::pipe()?;
        let (letters, inbox) = mpsc::channel();
        let mailbox = Mailbox { letters, bell: Arc::new(bell) };
        let status = Arc::new(Mutex::new(Status::default()));
        let post = post::Loop::new(start, bell_rope, inbox, mailbox.clone(), Arc::clone(&status))?;
        let thread = std::thread::Builder::new().name("sensor".to_owned());
        let thread = thread.spawn(move || post.run())?;
        Ok(Post { mailbox, status, thread: Some(thread) })
    }

    /// Tells it something.
    pub fn tell(&self, order: Order) {
        // One that has ended needs no orders.
        let _ = self.mailbox.send(Letter::Order(order));
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it; its last words have been said. Its output must not block while this waits.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.tell(Order::Stop);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.end();
    }
}

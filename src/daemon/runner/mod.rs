//! Runner: a thread per jail that turns orders into plans and has them executed.
//!
//! ```text
//! loop ── Job ──► queue ──► batch ──► Banaction ──► Plan ──► Executor ──► Outcome ── callback ──► loop
//!   └─ Express: a lone ban, in force before its job is in the queue
//! ```
//!
//! What the kernel (or command) did not take comes back as failed; trying again later is the
//! loop's. Where a batch fails, its halves are tried, so that one bad element does not lose the
//! rest. While bans are held the firewall is looked at twice a second (or when the executor hears
//! of a change): what somebody flushed is made anew at once, and the loop is asked for all bans.

pub mod build;
#[cfg(target_os = "linux")]
mod chains;
pub mod edit;
pub mod exec;
#[cfg(all(target_os = "linux", feature = "libipset"))]
pub mod libipset;
pub mod lift;
mod post;
pub mod process;
mod queue;
pub mod tools;

use std::sync::Arc;

use crate::{
    action::{Banaction, Call},
    ticket::{Ban, Id, JailName},
    time::{self, Timestamp},
};
use exec::{Executor, Express};
use post::Post;
use queue::{Order, Queue};

/// How often the firewall is looked at while bans are held, in seconds.
const WATCH_S: f64 = 0.5;

/// How often even where an executor hears of changes by itself, in seconds.
const WATCH_SLOW_S: f64 = 60.0;

/// A runner waits so long for the one before it in the same jail, in seconds.
const PREDECESSOR_S: f64 = 60.0;

/// What an action is to do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verb {
    /// Start what starts with the jail.
    Start,
    /// Shut out.
    Ban,
    /// Shut out again after the firewall lost it, or because its time there runs out.
    Reban,
    /// Set a new time.
    Prolong,
    /// Let in.
    Unban,
    /// Exactly these are to be out: others that the firewall holds for this jail are let in. For a
    /// start after a crash. Comes in parts ([`Job::more`]), so that a million bans are never in
    /// memory at once; what came of it is told behind the last.
    Sync,
    /// Let all in.
    Flush,
    /// Let all in and remove what is ours.
    Stop,
    /// Go, and leave in force what lapses by itself; the rest as `Stop`.
    Leave,
    /// The jail was read anew.
    Reload,
}

/// An order to the runner of a jail.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be done.
    pub verb: Verb,
    /// Whose; empty for the verbs about all.
    pub bans: Vec<Ban>,
    /// The present, and answers to what the actions want.
    pub call: Call,
    /// It is not all: the next order goes on with it.
    pub more: bool,
    /// Only this action; none for all of the jail.
    pub action: Option<Arc<str>>,
    /// The engine's number of what it ordered; comes back with the outcome.
    pub serial: u64,
    /// The first action's firewall has done it already: [`Runner::hasten`].
    pub in_force: bool,
}

/// What came of it: one or more for each action.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The jail.
    pub jail: JailName,
    /// The action's name within it.
    pub action: Arc<str>,
    /// What was to be done; none if nobody ordered anything (the watch found something).
    pub verb: Option<Verb>,
    /// [`Job::serial`]; where several orders were joined, that of the last one.
    pub serial: u64,
    /// Whose order is carried out.
    pub done: Vec<Id>,
    /// Whose is not, and why.
    pub failed: Vec<(Id, String)>,
    /// The firewall lost what it held (and stands again, if `error` is none): all bans of the jail
    /// are to be ordered anew for this action, as [`Verb::Reban`].
    pub lost: bool,
    /// The kernel cannot hold bans for so long, and half of the time is over: all bans of the jail
    /// are to be ordered anew for this action, as [`Verb::Reban`].
    pub stale: bool,
    /// The verb went through all that it is about; set on the last outcome of an order.
    pub last: bool,
    /// What went wrong with a verb that is about all, or with the start that a ban needs.
    pub error: Option<String>,
    /// Things for the log.
    pub notes: Vec<String>,
}

/// Where outcomes go: called on the runner's thread, must not wait long.
pub type Outlet = Box<dyn Fn(Outcome) + Send>;

/// The handle to a jail's runner thread; it ends when this is dropped and the queue is done.
#[derive(Debug)]
pub struct Runner {
    queue: Arc<Queue>,
    /// The first action once more, if bans of it need not wait for the thread.
    twin: Option<Box<dyn Banaction>>,
}

impl Job {
    /// An order to all actions of a jail.
    pub fn new(verb: Verb, bans: Vec<Ban>, call: Call) -> Job {
        Job { verb, bans, call, more: false, action: None, serial: 0, in_force: false }
    }
}

impl Runner {
    /// Starts the thread of a jail.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(
        jail: JailName,
        actions: Vec<Box<dyn Banaction>>,
        executor: Box<dyn Executor>,
        outlet: Outlet,
    ) -> std::io::Result<Runner> {
        let queue = Arc::new(Queue::default());
        let twin = actions.first().and_then(|action| action.twin());
        let posts = actions.into_iter().map(Post::new).collect();
        let own = Arc::clone(&queue);
        // The name of a thread is at most 15 bytes long.
        let name: String = format!("run {jail}").chars().filter(char::is_ascii).take(15).collect();
        std::thread::Builder::new().name(name).spawn(move || {
            Worker { jail, posts, executor, outlet }.work(&own);
            own.ended();
        })?;
        Ok(Runner { queue, twin })
    }

    /// Has a lone ban done at once, if that can be: while the runner has nothing to do, and what its
    /// first action needs stands. What is to follow, its other actions among it, is still to be
    /// ordered; so is all of it where it could not be done.
    pub fn hasten(&self, job: &mut Job, express: &mut dyn Express) {
        let Some(twin) = &self.twin else { return };
        let ([ban], Verb::Ban, None) = (job.bans.as_slice(), job.verb, &job.action) else { return };
        if matches!(ban.id, Id::Text(_)) || !self.queue.is_ready() {
            return;
        }
        let plan = twin.ban(&job.bans, &job.call);
        if let [step] = plan.steps.as_slice() {
            job.in_force = express.run(step);
        }
    }

    /// Puts an order into the queue. If it is full the order comes back: come again with it when
    /// outcomes arrive.
    ///
    /// # Errors
    ///
    /// The order, when the queue is full.
    pub fn order(&self, job: Job) -> Result<(), Box<Job>> {
        self.queue.put(job)
    }

    /// Carries out no order before `before` has carried out all of its own: both work on the same
    /// rules. An end that does not come is waited for [`PREDECESSOR_S`] at most.
    pub fn follow(&self, before: Runner) {
        self.queue.wait_for(before);
    }

    /// Takes no more orders, and waits until the queue is done or so many seconds are over. True
    /// if it was done.
    pub fn finish(self, wait_s: f64) -> bool {
        self.queue.close();
        self.queue.wait_for_end(wait_s)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Whether all bans are to be asked for because somebody took some of them out: at once, but not
/// again and again should he go on.
#[derive(Debug, Default)]
struct Bereft {
    waits: bool,
    last: Option<time::Stopwatch>,
}

impl Bereft {
    /// `asked_for`: they were asked for just now, since a look found something missing. Who empties
    /// a set is heard of for a while longer.
    fn is_due(&mut self, bereft: bool, asked_for: bool) -> bool {
        self.waits |= bereft;
        let rests = self.last.is_some_and(|last| last.seconds() < WATCH_SLOW_S);
        let due = self.waits && !rests && !asked_for;
        if due || asked_for {
            (self.waits, self.last) = (false, Some(time::Stopwatch::start()));
        }
        due
    }
}

/// What lives on the thread.
struct Worker {
    jail: JailName,
    posts: Vec<Post>,
    executor: Box<dyn Executor>,
    outlet: Outlet,
}

impl Worker {
    fn work(&mut self, queue: &Queue) {
        let mut looked = time::Stopwatch::start();
        let mut bereft = Bereft::default();
        loop {
            let holds = self.posts.iter().any(Post::is_watched);
            let stands = self.posts.first().is_some_and(Post::is_started);
            match queue.take(holds.then_some(WATCH_S), stands) {
                Order::Closed => return,
                Order::After(before) => {
                    before.finish(PREDECESSOR_S);
                }
                Order::Job(job) => self.carry_out(*job),
                Order::Nothing => (),
            }
            if self.posts.iter().any(Post::is_watched) {
                let heard = self.executor.disturbed();
                let due = match heard {
                    Some(true) => true,
                    Some(false) => looked.seconds() > WATCH_SLOW_S,
                    None => looked.seconds() >= WATCH_S,
                };
                let found = due && self.look();
                if due {
                    looked = time::Stopwatch::start();
                }
                // Of many bans a look asks for a few. What is missing elsewhere is put back unseen.
                if bereft.is_due(self.executor.bereft(), found) {
                    self.tell_bereft();
                }
            }
            self.refresh(time::now());
        }
    }

    fn carry_out(&mut self, job: Job) {
        let Job { verb, bans, call, more, action, serial, in_force } = job;
        for index in 0..self.posts.len() {
            let Some(post) = self.posts.get_mut(index) else { return };
            if action.as_deref().is_some_and(|action| action != post.name()) {
                continue;
            }
            let _turn = post.turn();
            let results = match verb {
                Verb::Sync => post.sync(&bans, more, &call, self.executor.as_mut()),
                Verb::Ban if in_force && index == 0 => {
                    post.follow_up(&bans, &call, self.executor.as_mut())
                }
                _ => post.carry_out(verb, &bans, &call, self.executor.as_mut()),
            };
            let count = results.len();
            for (number, mut result) in results.into_iter().enumerate() {
                result.last = number + 1 == count;
                result.serial = serial;
                self.tell(index, Some(verb), result);
            }
        }
    }

    /// True if something was missing, and the loop is asked for all bans.
    fn look(&mut self) -> bool {
        let mut found = false;
        for index in 0..self.posts.len() {
            let Some(post) = self.posts.get_mut(index) else { break };
            if let Some(result) = post.look(self.executor.as_mut()) {
                found = true;
                self.tell(index, None, result);
            }
        }
        found
    }

    fn tell_bereft(&mut self) {
        for index in 0..self.posts.len() {
            if self.posts.get(index).is_some_and(Post::is_watched) {
                let notes =
                    vec!["somebody took elements out of our sets, or may have done so".to_owned()];
                self.tell(index, None, Came { lost: true, notes, ..Came::default() });
            }
        }
    }

    fn refresh(&mut self, now: Timestamp) {
        for index in 0..self.posts.len() {
            let Some(post) = self.posts.get_mut(index) else { return };
            if post.is_stale(now) {
                self.tell(index, None, Came { stale: true, ..Came::default() });
            }
        }
    }

    fn tell(&mut self, index: usize, verb: Option<Verb>, result: Came) {
        let Some(post) = self.posts.get(index) else { return };
        let mut notes = self.executor.notes();
        notes.extend(result.notes);
        let Came { serial, done, failed, lost, stale, last, error, .. } = result;
        let (jail, action) = (Arc::clone(&self.jail), Arc::clone(&post.name));
        (self.outlet)(Outcome {
            jail,
            action,
            verb,
            serial,
            done,
            failed,
            lost,
            stale,
            last,
            error,
            notes,
        });
    }
}

/// What came of a verb, before it bears the jail's and the action's name.
#[derive(Debug, Default)]
struct Came {
    serial: u64,
    done: Vec<Id>,
    failed: Vec<(Id, String)>,
    lost: bool,
    stale: bool,
    last: bool,
    error: Option<String>,
    notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_one_element_after_the_other_is_answered_once_a_while() {
        let mut bereft = Bereft::default();
        assert!(!bereft.is_due(false, false));
        assert!(bereft.is_due(true, false));
        assert!(!bereft.is_due(true, false) && bereft.waits, "later");
        let mut emptied = Bereft::default();
        assert!(!emptied.is_due(true, true) && !emptied.waits, "all come anyway");
        assert!(!emptied.is_due(true, false) && emptied.waits, "what is heard of it later, too");
    }
}

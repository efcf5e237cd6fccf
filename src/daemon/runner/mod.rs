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

/// INTERIM
#[derive(Debug)]
pub struct Runner {
    wants: Vec<crate::action::Want>,
    jobs: std::sync::mpsc::Sender<Job>,
    thread: std::thread::JoinHandle<()>,
}

impl Runner {
    /// x
    ///
    /// # Errors
    /// x
    pub fn spawn(
        jail: JailName,
        actions: Vec<Box<dyn Banaction>>,
        mut executor: Box<dyn Executor>,
        outlet: Outlet,
    ) -> std::io::Result<Runner> {
        let (jobs, inbox) = std::sync::mpsc::channel::<Job>();
        let wants = Vec::new();
        let thread = std::thread::spawn(move || {
            let mut started: Vec<Vec<crate::action::Scope>> = vec![Vec::new(); actions.len()];
            while let Ok(job) = inbox.recv() {
                for (number, action) in actions.iter().enumerate() {
                    let mut call = job.call.clone();
                    call.now = crate::time::now();
                    let mut plans = Vec::new();
                    match job.verb {
                        Verb::Ban | Verb::Reban | Verb::Prolong => {
                            for ban in &job.bans {
                                let scope = action.scope_of(ban);
                                if let Some(list) = started.get_mut(number)
                                    && !list.contains(&scope)
                                {
                                    plans.push(action.start(scope, list));
                                    list.push(scope);
                                }
                            }
                            plans.push(action.ban(&job.bans, &call));
                        }
                        Verb::Unban => plans.push(action.unban(&job.bans, &call)),
                        Verb::Start => {
                            for scope in action.at_start() {
                                if let Some(list) = started.get_mut(number) {
                                    plans.push(action.start(scope, list));
                                    list.push(scope);
                                }
                            }
                        }
                        Verb::Stop | Verb::Flush => {
                            if let Some(list) = started.get_mut(number) {
                                for scope in list.clone() {
                                    plans.push(action.stop(scope, list));
                                }
                                list.clear();
                            }
                        }
                        _ => {}
                    }
                    let mut error = None;
                    for step in plans.iter().flat_map(|plan| &plan.steps) {
                        if let Err(failed) = executor.run(step) {
                            error = Some(failed.text);
                            break;
                        }
                    }
                    let ids: Vec<Id> = job.bans.iter().map(|ban| ban.id.clone()).collect();
                    let (done, failed) = match &error {
                        None => (ids, Vec::new()),
                        Some(text) => {
                            (Vec::new(), ids.into_iter().map(|id| (id, text.clone())).collect())
                        }
                    };
                    outlet(Outcome {
                        jail: Arc::clone(&jail),
                        action: action.name().into(),
                        verb: job.verb,
                        done,
                        failed,
                        lost: false,
                        error: error.filter(|_| job.bans.is_empty()),
                        notes: Vec::new(),
                    });
                }
            }
        });
        Ok(Runner { wants, jobs, thread })
    }

    /// x
    pub fn order(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// What the actions want to know of a ban.
    pub fn wants(&self) -> &[crate::action::Want] {
        &self.wants
    }

    /// Other actions from now on.
    pub fn replace(&self, _actions: Vec<Box<dyn Banaction>>) {}

    /// True if the thread has ended.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// x
    pub fn finish(self, _deadline: Timestamp) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

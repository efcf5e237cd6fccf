//! Commands of portsentry.conf, run on a thread of their own: no packet waits for them.

use std::{
    io,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread,
};

use crate::{
    action::plan::{self, EditFile, LineChange, Work},
    daemon::runner::exec::Executor,
    sensor::{Outcome, Response, Shell, Step},
};

/// So many responses wait at most; each is about one host.
const WAITING_MAX: usize = 256;

/// Our lines in the file of `KILL_HOSTS_DENY` stand in a section of this name.
const SECTION: &str = "portsentry";

/// The way to the thread.
#[derive(Debug)]
pub struct Responder(SyncSender<Response>);

impl Responder {
    /// Starts the thread; what becomes of a response goes to `outlet`, with what is to be said about
    /// it.
    ///
    /// # Errors
    ///
    /// No thread is to be had.
    pub fn spawn(
        mut executor: Box<dyn Executor>,
        outlet: impl Fn(Outcome, Vec<String>) + Send + 'static,
    ) -> io::Result<Responder> {
        let (sender, responses) = sync_channel::<Response>(WAITING_MAX);
        thread::Builder::new().name("responses".to_owned()).spawn(move || {
            for response in responses {
                let mut run = |step| {
                    let mut run = |work| executor.run(&plan::Step { work, of: None });
                    let look = inspection(&step);
                    let done = run(work(step)).map(drop).map_err(|failed| failed.text);
                    // A line that keeps nobody out is warned of.
                    let _ = look.filter(|_| done.is_ok()).map(run);
                    done
                };
                let steps = response.steps.into_iter().map(&mut run).collect();
                outlet(Outcome { id: response.id, steps }, executor.notes());
            }
        })?;
        Ok(Responder(sender))
    }

    /// Hands it over; what comes back is an outcome at once, as too many wait.
    pub fn run(&self, response: Response) -> Option<Outcome> {
        match self.0.try_send(response) {
            Ok(()) => None,
            Err(TrySendError::Full(response) | TrySendError::Disconnected(response)) => {
                let why = format!("more than {WAITING_MAX} hosts wait for their commands");
                let steps = response.steps.iter().map(|_| Err(why.clone())).collect();
                Some(Outcome { id: response.id, steps })
            }
        }
    }
}

fn work(step: Step) -> Work {
    match step {
        Step::Deny { path, line } => edit(path, LineChange::Add(vec![line])),
        Step::Route(Shell { script, timeout_s }) | Step::Run(Shell { script, timeout_s }) => {
            Work::Shell(plan::Shell { script, env: Vec::new(), timeout_s })
        }
    }
}

/// What is to be looked at once a step is done.
fn inspection(step: &Step) -> Option<Work> {
    match step {
        Step::Deny { path, .. } => Some(edit(path.clone(), LineChange::Inspect)),
        Step::Route(_) | Step::Run(_) => None,
    }
}

fn edit(path: String, change: LineChange) -> Work {
    Work::Edit(EditFile { path, section: SECTION.to_owned(), change })
}

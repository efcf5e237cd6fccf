//! Everything that happens, in one queue.
//!
//! The queue itself takes whatever comes, so that nobody who answers the loop can be held up by it
//! while the loop waits for them. Who could fill it without end has a limit of his own: readers of
//! logs pass a [`Gate`], clients have one question each, an action answers what it was told.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use super::{
    reader,
    resolver::{Answer, Question},
    runner::Outcome,
};
use crate::{control::socket::Asked, jail::Surroundings, scan::Failure, ticket::JailName};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A reader has something; the pass is given back when it is dealt with.
    Read(reader::Report, Pass),
    /// An action answers.
    Done(Outcome),
    /// An action has something to say.
    Said(Remark),
    /// The sensor has something to say.
    Noted(super::log::Level, String),
    /// A client asks.
    Asked(Asked),
    /// The system sent this signal.
    Signal(i32),
    /// A name server answered.
    Resolved(Question, Answer, Mark),
    /// `ignorecommand` answered.
    Ignored {
        /// Whose jail.
        jail: JailName,
        /// Which question.
        number: u64,
        /// Exit code 0.
        ignored: bool,
        /// Why it could not be asked.
        trouble: Option<String>,
    },
    /// Addresses, networks or gateways of this host changed.
    Network(Box<Surroundings>),
    /// Somebody set the clock.
    ClockSet,
    /// Something is due sooner than the loop would wake.
    Due,
}

/// What an action says beside its outcomes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// Whose jail.
    pub jail: JailName,
    /// How loud.
    pub level: super::log::Level,
    /// What.
    pub text: String,
}

/// What a question to the resolver was for.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A name in `ignoreip`.
    Ignore,
    /// A failure of somebody who is known by name only.
    Failure(JailName, Box<Failure>),
}

/// So many batches of lines wait at most.
pub const BATCHES_MAX: usize = 32;

/// Lets so many batches through at a time; readers wait before it, and so do their files.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    inside: usize,
    closed: bool,
}

/// The right to be in the queue.
#[derive(Debug)]
pub struct Pass(Gate);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room; none if nobody will ever make room again.
    pub fn enter(&self) -> Option<Pass> {
        let mut state = self.lock();
        while state.inside >= BATCHES_MAX && !state.closed {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        state.inside += 1;
        Some(Pass(self.clone()))
    }

    /// So many are in the queue, or being dealt with.
    pub fn inside(&self) -> usize {
        self.lock().inside
    }

    /// Nobody waits any more, and nobody gets in.
    pub fn close(&self) {
        self.lock().closed = true;
        self.0.1.notify_all();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.0.1.notify_one();
    }
}

/// The way into the queue.
pub type Sender = mpsc::Sender<Event>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_lets_one_in_for_one_out() {
        let gate = Gate::default();
        let mut passes: Vec<Pass> = (0..BATCHES_MAX).map(|_| gate.enter().unwrap()).collect();
        let waits = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.enter().is_some())
        };
        passes.pop();
        assert!(waits.join().unwrap());
        gate.close();
        assert!(gate.enter().is_none());
    }
}

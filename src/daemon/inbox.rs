//! Everything that happens, in one queue.
//!
//! The queue itself takes whatever comes, so that nobody who answers the loop can be held up by it
//! while the loop waits for them. Who could fill it without end has a limit of his own: readers of
//! logs pass a [`Gate`], clients have one question each, an action answers what it was told.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    waiting: usize,
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
            state.waiting += 1;
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
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
        let mut state = self.0.lock();
        state.inside -= 1;
        let waits = state.waiting > 0;
        drop(state);
        // Even if nobody waits, to say so is a system call.
        if waits {
            self.0.0.1.notify_one();
        }
    }
}

/// The way into the queue. Not one of the standard library's: that wakes whoever waits while it
/// holds the lock that he wants next, so that he goes to sleep once more.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Queue>);

/// The other end of the queue.
#[derive(Debug)]
pub struct Inbox(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    /// Somebody waits for the next one.
    waits: bool,
    /// Nobody will take one any more.
    closed: bool,
}

/// Nobody takes events any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

/// An empty queue.
pub fn queue() -> (Sender, Inbox) {
    let queue = Arc::<Queue>::default();
    (Sender(Arc::clone(&queue)), Inbox(queue))
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Puts an event behind the others.
    ///
    /// # Errors
    /// The loop has ended.
    pub fn send(&self, event: Event) -> Result<(), Closed> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Closed);
        }
        state.events.push_back(event);
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.0.news.notify_one();
        }
        Ok(())
    }
}

impl Inbox {
    /// The next event, if there is one.
    pub fn next(&self) -> Option<Event> {
        self.0.lock().events.pop_front()
    }

    /// The next event; none if there is none for so long.
    pub fn wait(&self, patience: Duration) -> Option<Event> {
        let lacks = |state: &mut QueueState| {
            state.waits = state.events.is_empty();
            state.waits
        };
        let waited = self.0.news.wait_timeout_while(self.0.lock(), patience, lacks);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waits = false;
        state.events.pop_front()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let events = std::mem::take(&mut state.events);
        drop(state);
        drop(events);
    }
}

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

    #[test]
    fn events_come_in_their_order_and_whoever_waits_gets_them() {
        let (sender, inbox) = queue();
        assert!(inbox.next().is_none() && inbox.wait(Duration::ZERO).is_none());
        assert!(inbox.wait(Duration::from_millis(1)).is_none());
        let signal = |event: Option<Event>| match event {
            Some(Event::Signal(number)) => number,
            _ => -1,
        };
        let sends = {
            let sender = sender.clone();
            std::thread::spawn(move || (0..1000).all(|n| sender.send(Event::Signal(n)).is_ok()))
        };
        for number in 0..1000 {
            assert_eq!(signal(inbox.wait(Duration::MAX)), number);
        }
        assert!(sends.join().unwrap());
        assert_eq!(sender.send(Event::ClockSet), Ok(()));
        drop(inbox);
        assert_eq!(sender.send(Event::ClockSet), Err(Closed));
    }
}

//! The queue of a runner: bounded, and consecutive orders of one kind come out as one.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Job, Runner, Verb};
use crate::time::Stopwatch;

/// So many orders wait at most.
const JOBS_MAX: usize = 16 * 1024;

/// So many bans wait at most, unless a single order has more.
const BANS_MAX: usize = 1 << 20;

/// Orders are joined up to so many bans, so that the first one's outcome does not wait for long.
const JOINED_MAX: usize = 2000;

/// Orders on their way to a runner's thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Box<Job>>,
    bans: usize,
    /// Whose end is awaited before the first order is carried out.
    before: Option<Runner>,
    closed: bool,
    ended: bool,
    /// The runner waits for orders, and what its first action has started stands.
    ready: bool,
}

/// What a runner's thread gets.
#[derive(Debug)]
pub(super) enum Order {
    /// This one has to end first.
    After(Runner),
    /// Something to do.
    Job(Box<Job>),
    /// Nothing for now.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, job: Job) -> Result<(), Box<Job>> {
        let job = Box::new(job);
        let mut state = self.state();
        let full = state.bans > 0 && state.bans + job.bans.len() > BANS_MAX;
        if state.closed || full || state.jobs.len() >= JOBS_MAX {
            return Err(job);
        }
        state.bans += job.bans.len();
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// True if an order that came now would be carried out at once.
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        state.ready && state.jobs.is_empty() && state.before.is_none() && !state.closed
    }

    /// Nothing is carried out before this one has ended.
    pub fn wait_for(&self, before: Runner) {
        self.state().before = Some(before);
        self.changed.notify_all();
    }

    /// The next order, joined with those behind it that ask the same; waits for one, at most
    /// `wait_s` seconds if that is given. `stands`: what the first action has started is there.
    pub fn take(&self, wait_s: Option<f64>, stands: bool) -> Order {
        let mut state = self.state();
        state.ready = stands;
        let (mut state, order) = self.next(state, wait_s);
        // Whoever asks from now on, asks while something is being done.
        state.ready = false;
        order
    }

    fn next<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        wait_s: Option<f64>,
    ) -> (MutexGuard<'a, State>, Order) {
        let watch = Stopwatch::start();
        while state.jobs.is_empty() || state.before.is_some() {
            if let Some(before) = state.before.take() {
                return (state, Order::After(before));
            }
            if state.closed {
                return (state, Order::Closed);
            }
            // Without anything to watch there is still the clock to look at, now and then.
            let left = wait_s.unwrap_or(60.0) - watch.seconds();
            if left <= 0.0 {
                return (state, Order::Nothing);
            }
            let wait = Duration::from_secs_f64(left);
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(mut first) = state.jobs.pop_front() else { return (state, Order::Nothing) };
        let mut taken = first.bans.len();
        while let Some(next) = state.jobs.front() {
            if !may_join(&first, next) {
                break;
            }
            let Some(next) = state.jobs.pop_front() else { break };
            taken += next.bans.len();
            first.bans.extend(next.bans);
            first.call.of_id.extend(next.call.of_id);
            first.call.of_jail = next.call.of_jail;
            first.call.now = next.call.now;
            first.serial = next.serial;
        }
        state.bans = state.bans.saturating_sub(taken);
        (state, Order::Job(first))
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub fn ended(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    pub fn wait_for_end(&self, wait_s: f64) -> bool {
        let watch = Stopwatch::start();
        let mut state = self.state();
        while !state.ended {
            let left = wait_s - watch.seconds();
            if left <= 0.0 {
                return false;
            }
            let wait = Duration::from_secs_f64(left);
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn may_join(first: &Job, next: &Job) -> bool {
    let about_bans = matches!(first.verb, Verb::Ban | Verb::Reban | Verb::Prolong | Verb::Unban);
    about_bans
        && !(first.in_force || next.in_force)
        && first.verb == next.verb
        && first.action == next.action
        && first.bans.len() + next.bans.len() <= JOINED_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{action::Call, ticket::*, time::Timestamp};

    fn job(verb: Verb, count: usize) -> Job {
        let ban = Ban {
            id: Id::parse("192.0.2.1"),
            from: Timestamp::default(),
            time: BanTime::Permanent,
            count: 1,
            failures: 1,
            restored: false,
            evidence: Default::default(),
        };
        Job::new(verb, vec![ban; count], Call::default())
    }

    #[test]
    fn what_asks_the_same_is_joined_in_order() {
        let queue = Queue::default();
        for (verb, count) in [
            (Verb::Ban, 1),
            (Verb::Ban, 1998),
            (Verb::Ban, 2),
            (Verb::Unban, 1),
            (Verb::Ban, 1),
            (Verb::Stop, 0),
            (Verb::Stop, 0),
        ] {
            queue.put(job(verb, count)).unwrap();
        }
        queue.close();
        assert!(queue.put(job(Verb::Ban, 1)).is_err());
        let mut seen = Vec::new();
        while let Order::Job(job) = queue.take(None, true) {
            seen.push((job.verb, job.bans.len()));
        }
        let expected = [
            (Verb::Ban, 1999),
            (Verb::Ban, 2),
            (Verb::Unban, 1),
            (Verb::Ban, 1),
            (Verb::Stop, 0),
            (Verb::Stop, 0),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_full_queue_gives_the_order_back() {
        let queue = Queue::default();
        for _ in 0..JOBS_MAX {
            queue.put(job(Verb::Stop, 0)).unwrap();
        }
        assert!(queue.put(job(Verb::Stop, 0)).is_err());
    }
}

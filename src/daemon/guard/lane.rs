//! Lane: a lone line is counted on the thread that read it.
//!
//! What is read goes through the inbox, and to wake the loop for it takes as long as to count it. So
//! whoever has read a lone line takes the guard himself, if nobody else has it and nothing that was
//! read before is still on its way. There is one guard and one lock: still one order of things. What
//! is due now and then (housekeeping, what waits in the inbox) stays the loop's.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::{Event, Guard, Report};

/// A batch with more failures than this is no lone line.
const LONE_MAX: usize = 4;

/// The way past the inbox; closed until the guard runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane(Arc<OnceLock<Weak<Mutex<Guard>>>>);

/// A thread that panicked takes the process with it, but in tests.
pub(super) fn lock(guard: &Mutex<Guard>) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// From now on this guard may be taken.
    pub fn open(&self, guard: &Arc<Mutex<Guard>>) {
        let _ = self.0.set(Arc::downgrade(guard));
    }

    /// Counts a lone batch now. Never waits; whatever it is not to be used for comes back.
    ///
    /// # Errors
    /// The event, which has to go through the inbox.
    pub fn take(&self, event: Event) -> Result<(), Box<Event>> {
        let Some(guard) = self.0.get().filter(|_| is_lone(&event)).and_then(Weak::upgrade) else {
            return Err(Box::new(event));
        };
        let Ok(mut guard) = guard.try_lock() else { return Err(Box::new(event)) };
        // One pass is that of this event.
        if guard.gate.inside() > 1 {
            return Err(Box::new(event));
        }
        guard.count_lone(event);
        Ok(())
    }
}

fn is_lone(event: &Event) -> bool {
    let Event::Read(Report::Batch(batch), _) = event else { return false };
    let count: usize = batch.found.iter().map(|(_, failures)| failures.len()).sum();
    (1..=LONE_MAX).contains(&count)
}

impl Guard {
    /// A turn for one batch, without what can wait for the next turn of the loop.
    fn count_lone(&mut self, event: Event) {
        self.tick();
        self.handle(event);
        self.settle();
        self.flush_log();
        if self.due() < self.sleeps_until {
            // Or it would sleep on.
            let _ = self.sender.send(Event::Due);
        }
    }
}

//! A thread that brings what was committed onto the disk, so that no commit waits for it.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use super::file;

/// After a commit, others are waited for so long; then all go to the disk together.
const PAUSE: Duration = Duration::from_millis(1000);

const STACK_BYTES: usize = 256 << 10;

#[derive(Default)]
struct State {
    dirty: bool,
    stop: bool,
}

/// The thread; it ends when this is dropped.
pub(super) struct Syncer {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Syncer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Syncer")
    }
}

impl Syncer {
    /// Starts it; none if the system gives no thread (the connection that writes then moves the log
    /// of changes itself, when it has grown long).
    pub(super) fn start(path: PathBuf) -> Option<Syncer> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let builder = Builder::new().name("store-sync".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(move || run(path, &theirs)).ok()?;
        Some(Syncer { shared, thread: Some(thread) })
    }

    /// Something was committed.
    pub(super) fn wake(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.dirty {
            state.dirty = true;
            changed.notify_one();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let (state, changed) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(path: PathBuf, shared: &(Mutex<State>, Condvar)) {
    let (state, changed) = shared;
    let mut db: Option<Connection> = None;
    loop {
        let held = state.lock().unwrap_or_else(PoisonError::into_inner);
        let held = changed
            .wait_while(held, |state| !state.dirty && !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut held, _) = changed
            .wait_timeout_while(held, PAUSE, |state| !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        if held.stop {
            return; // whoever closes the last connection moves the rest
        }
        held.dirty = false;
        drop(held);
        if db.is_none() {
            db = file::second(&path, true).ok();
        }
        // Passive: neither waits for others nor lets them wait. It syncs the log of changes first,
        // which is what makes commits durable. A fault shows itself to the next commit.
        let done = db.as_ref().map(|db| {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0))
        });
        if !matches!(done, Some(Ok(_))) {
            db = None;
        }
    }
}

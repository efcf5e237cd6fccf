//! A thread that brings what was committed onto the disk, so that no commit waits for it.
//!
//! A commit writes into the log of changes (`-wal`), and to sync that is enough to make it durable.
//! All of it is moved into the database only now and then: behind a move SQLite begins the log anew,
//! and the commit that does so waits for the disk.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use super::file;
use crate::time::Stopwatch;

/// After a commit, others are waited for so long; then all go to the disk together.
const PAUSE: Duration = Duration::from_millis(1000);

/// The log of changes is moved into the database after so many seconds …
const MOVE_S: f64 = 60.0;

/// … or when it is longer than this, in bytes.
const MOVE_BYTES: u64 = 2 * file::WAL_BYTES_KEPT.unsigned_abs();

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
    let log = file::with_end(&path, "-wal");
    let mut db: Option<Connection> = None;
    let mut moved = Stopwatch::start();
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
        let length = fs::metadata(&log).map_or(u64::MAX, |log| log.len());
        if !is_due(moved.seconds(), length) && sync(&log) {
            continue;
        }
        if db.is_none() {
            db = file::second(&path, true).ok();
        }
        // Passive: neither waits for others nor lets them wait. It syncs the log first. A fault
        // shows itself to the next commit.
        let done = db.as_ref().map(|db| {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0))
        });
        match done {
            Some(Ok(_)) => moved = Stopwatch::start(),
            _ => db = None,
        }
    }
}

/// True if the log of changes is to be moved, so many seconds after the last time.
fn is_due(seconds: f64, length: u64) -> bool {
    seconds >= MOVE_S || length > MOVE_BYTES
}

/// True if a file is on the disk.
fn sync(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.sync_data().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_moved_when_it_is_old_or_long() {
        let kept = file::WAL_BYTES_KEPT.unsigned_abs();
        let rows = [
            (1.0, 0, false),
            (59.0, kept, false),
            (60.0, 0, true),
            (1.0, 2 * kept + 1, true),
            (1.0, u64::MAX, true),
        ];
        for (seconds, length, expected) in rows {
            assert_eq!(is_due(seconds, length), expected, "{seconds} {length}");
        }
    }

    #[test]
    fn only_what_is_there_is_synced() {
        let path = std::env::temp_dir().join(format!("sentryban-sync-{}", std::process::id()));
        assert!(!sync(&path));
        fs::write(&path, "x").unwrap();
        assert!(sync(&path));
        fs::remove_file(&path).unwrap();
    }
}

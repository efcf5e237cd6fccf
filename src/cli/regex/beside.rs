//! Several threads on one log.
//!
//! Each takes the next block, surveys it, and hands its numbers in when its turn comes, so that
//! the log is told in its own order (`scan/survey.rs` says when that is possible). Reading is done
//! under the lock, one block at a time: while one thread reads, the others survey.

use std::{
    io::{self, Read},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::progress::Progress;
use crate::{
    scan::{Scanner, Tally, Wants, survey::Helper},
    source::Blocks,
    time::Timestamp,
};

/// More threads than this would wait for each other's reading.
const THREADS_MAX: usize = 4;

/// What there is to do.
pub struct Job<'a> {
    /// The log.
    pub blocks: Blocks<Box<dyn Read + Send>>,
    /// Who knows what has been learnt.
    pub scanner: &'a mut Scanner,
    /// Who is told the numbers.
    pub tally: &'a mut (dyn Tally + Send),
    /// The present.
    pub now: Timestamp,
    /// Who shows how far it has come.
    pub progress: &'a mut Progress,
}

struct State<'a, 'b> {
    job: &'a mut Job<'b>,
    /// Blocks that have been handed out.
    taken: u64,
    /// Blocks whose numbers are in.
    told: u64,
    /// Number of the last line that is told.
    number: u64,
    /// Surveys that did not hold, since one did.
    vain: u64,
    ended: bool,
    broken: Option<io::Error>,
}

/// After so many surveys in vain, only one block in as many is surveyed: a log whose lines are
/// dated in turns is read by one thread at a time.
const VAIN_MAX: u64 = 8;

/// Reads the whole log.
///
/// # Errors
///
/// If the log cannot be read.
pub fn read(job: &mut Job<'_>, helper: Helper) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS_MAX);
    let more: Vec<Helper> = (1..threads).filter_map(|_| job.scanner.helper()).collect();
    let state = State { job, taken: 0, told: 0, number: 0, vain: 0, ended: false, broken: None };
    let (state, turn) = (Mutex::new(state), Condvar::new());
    std::thread::scope(|scope| {
        for helper in more {
            // Where no thread can be had, the others do its work.
            let _ = std::thread::Builder::new()
                .name("survey".to_owned())
                .spawn_scoped(scope, || work(&state, &turn, helper));
        }
        work(&state, &turn, helper);
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.broken.map_or(Ok(()), Err)
}

fn work(state: &Mutex<State<'_, '_>>, turn: &Condvar, mut helper: Helper) {
    let mut block = Vec::new();
    loop {
        let mut now = lock(state);
        if now.ended {
            return;
        }
        match now.job.blocks.next_into(&mut block) {
            Ok(true) => {}
            Ok(false) => {
                now.ended = true;
                return;
            }
            Err(error) => {
                now.ended = true;
                now.broken = Some(error);
                return;
            }
        }
        let mine = now.taken;
        now.taken += 1;
        helper.catch_up(now.job.scanner);
        let present = now.job.now;
        // While single lines are still asked for, a survey would be for nothing.
        let hopeful = now.vain < VAIN_MAX || mine.is_multiple_of(VAIN_MAX);
        let worth_it = hopeful && now.job.tally.wants() == Wants::Counts;
        drop(now);
        let survey = worth_it.then(|| helper.survey(&block, present)).flatten();
        let mut now = lock(state);
        while now.told != mine {
            now = turn.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        let state = &mut *now;
        let job = &mut *state.job;
        let number = state.number;
        let told = survey
            .and_then(|survey| job.scanner.accept(survey, &block, number, present, job.tally));
        state.vain = if told.is_some() { 0 } else { state.vain + u64::from(worth_it) };
        state.number =
            told.unwrap_or_else(|| job.scanner.scan_block(&block, number, present, job.tally));
        state.told += 1;
        job.progress.tick(job.blocks.read_bytes(), state.number);
        turn.notify_all();
    }
}

fn lock<'a, 'b, 'c>(state: &'a Mutex<State<'b, 'c>>) -> MutexGuard<'a, State<'b, 'c>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `Questions`: what `ignorecommand` is to be asked, a bounded number at a time.
//!
//! How many failures wait for answers is the engine's to limit; here it is only seen to that those
//! who ask are not swamped, and that it is said in one line when they cannot keep up.

use std::{collections::VecDeque, sync::Arc};

use super::{Guard, Input, Level, Remembered, Turn, ask};
use crate::{
    daemon::inbox::Event,
    jail::{Ask, COMMAND_WAIT_S},
    ticket::JailName,
    time::Timestamp,
};

/// So many questions are out at a time; the others wait here.
const OUT_MAX: usize = 256;
/// So many wait here at most; the engine takes further ones for unanswered when their time is up.
const WAITING_MAX: usize = 16_384;
/// That it cannot keep up is said again after so many seconds.
const TOLD_AGAIN_S: i64 = 60;

/// What is out, and what waits to be asked, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Questions {
    out: usize,
    waiting: VecDeque<(Timestamp, Ask)>,
    told: Option<Timestamp>,
}

impl Questions {
    /// A question is to be asked.
    pub fn wait(&mut self, ask: Ask, now: Timestamp) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((now, ask));
        }
    }

    /// The next question, if another one may be out. The engine has given up those that are old.
    fn next(&mut self, now: Timestamp) -> Option<Ask> {
        if self.out >= OUT_MAX {
            return None;
        }
        let wanted = |at: Timestamp| at <= now && at.plus_secs(COMMAND_WAIT_S) > now;
        while let Some((at, ask)) = self.waiting.pop_front() {
            if wanted(at) {
                self.out += 1;
                return Some(ask);
            }
        }
        None
    }

    /// How many wait, if that is to be said now.
    fn news(&mut self, now: Timestamp) -> Option<usize> {
        let silent = |told: Timestamp| told <= now && told.plus_secs(TOLD_AGAIN_S) > now;
        if self.waiting.is_empty() || self.told.is_some_and(silent) {
            return None;
        }
        self.told = Some(now);
        Some(self.waiting.len())
    }
}

impl Guard {
    /// Has questions asked, as many as may be out at a time.
    pub(super) fn ask_commands(&mut self) {
        let mut trouble = None;
        while let Some(ask) = self.questions.next(self.now) {
            trouble = self.ask_command(ask).err().or(trouble);
        }
        if let Some(trouble) = trouble {
            self.say(Level::ERROR, "filter", &trouble);
        }
        if let Some(count) = self.questions.news(self.now) {
            let text = format!(
                "ignorecommand is too slow: {OUT_MAX} questions are out and {count} wait; failures \
                 that it was not asked about within {COMMAND_WAIT_S} s count"
            );
            self.say(Level::WARNING, "filter", &text);
        }
    }

    /// Asks, on a thread of its own.
    fn ask_command(&mut self, ask: Ask) -> Result<(), String> {
        let sender = self.sender.clone();
        let (jail, number) = (Arc::clone(&ask.jail), ask.number);
        let asked = self.executors.ask(ask, move |answer| {
            let (ignored, trouble) = match answer {
                Ok(ignored) => (ignored, None),
                Err(trouble) => (false, Some(trouble)),
            };
            let event = Event::Ignored { jail: Arc::clone(&jail), number, ignored, trouble };
            let _ = sender.send(event);
        });
        // Nobody will answer.
        asked.inspect_err(|_| self.questions.out -= 1)
    }

    /// It answers.
    pub(super) fn answered(
        &mut self,
        jail: JailName,
        number: u64,
        ignored: bool,
        trouble: Option<String>,
    ) {
        self.questions.out = self.questions.out.saturating_sub(1);
        if let Some(trouble) = trouble {
            let text = format!("[{jail}] ignorecommand: {trouble}");
            self.say(Level::ERROR, "filter", &text);
        }
        ask!(self.handle(Input::Answer { jail, number, ignored }));
    }
}

//! What the engine wants done is done: first written down, then told to those who do it.

use std::{collections::HashMap, sync::Arc};

use super::{Guard, Input, Question, Remembered, Turn, ask, level};
use crate::{
    action::{Call, Want},
    config::ActionKind,
    daemon::{
        inbox::Mark,
        log::Level,
        runner::{self, Job},
    },
    engine::Effects,
    jail::{self, Act, Verb, VerbKind},
    source::Position,
    store::{self, Entry},
    ticket::{Ban, BanTime, Evidence, Id, JailName},
    time::Timestamp,
};

/// Orders that wait for a runner whose queue is full are kept up to this number; beyond it the
/// engine is told that they failed, and tries again.
const WAITING_MAX: usize = 4096;

/// What can be read again is written so many microseconds after it was read, at latest, so that a
/// flood of single lines does not become a flood of transactions.
const HOLD_MICROS: i64 = 100_000;

/// But no more than so many entries wait for that.
const HOLD_MAX: usize = 4096;

/// So many lines of evidence stand for a tag at most.
const TAG_LINES_MAX: usize = 100;

/// Lines of evidence are put together for a tag up to so many bytes.
const TAG_BYTES_MAX: usize = 64 << 10;

impl Guard {
    /// Takes what the engine wants written, in its order, behind what is there.
    pub(super) fn gather(&mut self) {
        if let Some(stand_in) = &mut self.stand_in {
            self.effects.store.iter().for_each(|entry| stand_in.note(entry));
        }
        self.entries.append(&mut self.effects.store);
    }

    /// Writes everything down, then has it done.
    pub(super) fn settle(&mut self) {
        self.gather();
        if !self.may_hold() {
            self.write();
        }
        let effects = std::mem::take(&mut self.effects);
        let Effects { store, acts, asks, lookups, files, mut notes } = effects;
        // The kernel first: what is logged here comes before the outcome's lines in any case.
        for act in acts {
            self.note_for_sensor(&act);
            self.act(act);
        }
        for note in notes.iter() {
            self.log.say(self.now, level(note.level), note.logger.name(), note.text);
        }
        // Their memory serves the next turn.
        notes.clear();
        if self.effects == Effects::default() {
            (self.effects.store, self.effects.notes) = (store, notes);
        }
        self.tell_sensor();
        self.order_again();
        for ask in asks {
            self.questions.wait(ask, self.now);
        }
        self.ask_commands();
        for name in lookups {
            self.resolver.ask(Question::Addresses(name.to_string()), Mark::Ignore);
        }
        for path in files {
            self.watcher.want_file(&path);
            self.looked_around = crate::time::Timestamp::default();
        }
        for (reply_to, reply) in self.replies.drain(..) {
            reply_to.send(reply);
        }
    }

    /// True if nothing is to be written yet: failures go with the position behind their lines, so a
    /// crash undoes both, and the lines are read again. Whatever else happened is written at once.
    fn may_hold(&mut self) -> bool {
        let news = self.entries.get(self.held_entries..).unwrap_or_default();
        let again = |entry: &Entry| matches!(entry, Entry::Failure { .. } | Entry::Position { .. });
        let may = !self.pressing
            && self.entries.len() < HOLD_MAX
            && self.effects.acts.is_empty()
            && news.iter().all(again);
        if !may || self.entries.is_empty() {
            return false;
        }
        self.held_entries = self.entries.len();
        let latest = Timestamp::from_micros(self.now.micros().saturating_add(HOLD_MICROS));
        let due = *self.write_due.get_or_insert(latest);
        // A clock that was set back must not hold them for longer.
        due > self.now && due <= latest
    }

    /// Writes what there is, in one transaction.
    pub(super) fn write(&mut self) {
        (self.held_entries, self.write_due, self.pressing) = (0, None, false);
        if self.entries.is_empty() {
            return;
        }
        // What could not be written waits in the store, which says so; guarding goes on.
        let _ = self.store.commit(&self.entries, self.now);
        self.entries.clear();
        let due = self.now.plus_secs(super::HOUSEKEEPING_S);
        self.housekeeping_due = Some(self.housekeeping_due.map_or(due, |old| old.min(due)));
        self.thrift_due.get_or_insert(self.now.plus_secs(super::THRIFT_S));
        self.tell_of_store();
    }

    /// Says what the store has to say.
    pub(super) fn tell_of_store(&mut self) {
        for notice in self.store.take_notices() {
            use store::Notice;
            let level = match notice {
                Notice::Recovered { .. } | Notice::Upgraded { .. } => Level::NOTICE,
                _ => Level::ERROR,
            };
            self.say(level, "database", &notice.to_string());
            if notice.wants_all() {
                self.write_all_anew();
            }
        }
    }

    /// The database lost what we still know.
    pub(super) fn write_all_anew(&mut self) {
        let names: Vec<JailName> = self.engine.jails().cloned().collect();
        for name in names {
            let ordered: Vec<bool> = self.engine.bans(&name).map(|ban| ban.ordered).collect();
            for (ban, ordered) in self.bans_of(&name).collect::<Vec<Ban>>().into_iter().zip(ordered)
            {
                self.entries.push(Entry::Ban { jail: Arc::clone(&name), ban, ordered });
            }
        }
        self.write_positions();
    }

    /// How far everything is read.
    pub(super) fn write_positions(&mut self) {
        let mut known: Vec<Arc<str>> = Vec::new();
        // What cannot be read is set aside, and then this is called again.
        let _ = self.store.for_each_position(|key, _| known.push(key.into()));
        self.entries.extend(self.positions.all(&known));
    }

    /// Has a jail's actions do something.
    fn act(&mut self, act: Act) {
        let Act { jail, action, verb, serial } = act;
        // Acts of a start are left out before this, so the last one need not be the newest.
        self.serial = self.serial.max(serial);
        let (verb, bans) = match verb {
            Verb::Ban(bans) => (runner::Verb::Ban, bans),
            Verb::Unban(bans) => (runner::Verb::Unban, bans),
            Verb::Prolong(bans) => (runner::Verb::Prolong, bans),
            Verb::Flush => (runner::Verb::Flush, Vec::new()),
            // Runners look for themselves, twice a second and whenever something stirs.
            Verb::Check => return,
        };
        let bans = match verb {
            runner::Verb::Ban if self.has_commands(&jail) => self.with_evidence(&jail, bans),
            _ => bans,
        };
        let call = self.call(&jail, &bans);
        let mut job = Job { verb, bans, call, more: false, action, serial, in_force: false };
        self.hasten(&jail, &mut job);
        self.order(jail, job);
    }

    /// True if a jail runs commands of the administrator's own, which may tell what led to a ban.
    fn has_commands(&self, jail: &str) -> bool {
        let spec = self.jails.get(jail).and_then(|keeper| keeper.spec.as_ref());
        spec.is_some_and(|spec| {
            spec.actions.iter().any(|action| matches!(action.kind, ActionKind::Template { .. }))
        })
    }

    /// The engine knows the last failure; the store has put together all that led to a ban.
    fn with_evidence(&self, jail: &str, bans: Vec<Ban>) -> Vec<Ban> {
        let whole = |mut ban: Ban| {
            if let Ok(Some(evidence)) = self.store.evidence(jail, &ban.id) {
                ban.evidence = evidence;
            }
            ban
        };
        bans.into_iter().map(whole).collect()
    }

    /// Has a lone ban in the kernel before its runner is woken for the rest.
    fn hasten(&mut self, jail: &JailName, job: &mut Job) {
        let Some(express) = self.express.as_mut().filter(|_| self.waiting.is_empty()) else {
            return;
        };
        if let Some(runner) = self.runners.get(jail) {
            runner.hasten(job, express.as_mut());
        }
    }

    /// Puts an order into a runner's queue, or keeps it until there is room.
    pub(super) fn order(&mut self, jail: JailName, job: Job) {
        let Some(runner) = self.runners.get(&jail) else { return };
        let waits = self.waiting.iter().any(|(waiting, _)| *waiting == jail);
        let job = match waits {
            true => Box::new(job),
            false => match runner.order(job) {
                Ok(()) => return,
                Err(job) => job,
            },
        };
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((jail, *job));
            return;
        }
        let text = format!("[{jail}] its actions are too slow: an order was dropped");
        self.say(Level::ERROR, "actions", &text);
        if let Some(verb) = verb_kind(job.verb) {
            let failed = job.bans.into_iter().map(|ban| (ban.id, "too slow".to_owned()));
            let failed = with_reason(verb, failed.collect(), Some("too slow".to_owned()));
            let actions = self.engine.rules(&jail).map(|rules| rules.actions.clone());
            let is_meant = |name: &Arc<str>| job.action.as_ref().is_none_or(|only| only == name);
            for action in actions.unwrap_or_default().into_iter().filter(|a| is_meant(&a.name)) {
                let (jail, failed) = (Arc::clone(&jail), failed.clone());
                let outcome = jail::Outcome {
                    jail,
                    action: action.name,
                    verb,
                    serial: job.serial,
                    done: Vec::new(),
                    failed,
                    lost: false,
                };
                ask!(self.handle(Input::Outcome(outcome)));
            }
        }
    }

    /// Orders that did not fit.
    fn order_again(&mut self) {
        let mut full: Vec<JailName> = Vec::new();
        for (jail, job) in std::mem::take(&mut self.waiting) {
            let Some(runner) = self.runners.get(&jail) else { continue };
            if full.contains(&jail) {
                self.waiting.push((jail, job));
            } else if let Err(job) = runner.order(job) {
                full.push(Arc::clone(&jail));
                self.waiting.push((jail, *job));
            }
        }
    }

    /// All bans of a jail once more for one of its actions, whose kernel forgot them or will soon.
    pub(super) fn ban_anew(&mut self, jail: &JailName, action: Option<Arc<str>>) {
        let bans: Vec<Ban> = self.bans_of(jail).collect();
        let call = self.call(jail, &bans);
        let serial = self.serial;
        let verb = runner::Verb::Reban;
        let job = Job { verb, bans, call, more: false, action, serial, in_force: false };
        self.order(Arc::clone(jail), job);
    }

    /// All bans of a jail, without what led to them.
    pub(super) fn bans_of(&self, jail: &str) -> impl Iterator<Item = Ban> {
        let none = Arc::new(Evidence::default());
        let ban = move |ban: jail::BanView| Ban {
            id: ban.id,
            from: ban.from,
            time: match ban.until {
                None => BanTime::Permanent,
                Some(until) => {
                    BanTime::Seconds(u64::try_from(until.secs() - ban.from.secs()).unwrap_or(0))
                }
            },
            count: ban.count,
            failures: ban.failures,
            restored: true,
            evidence: Arc::clone(&none),
        };
        self.engine.bans(jail).map(ban)
    }

    /// Answers for the tags that only we can answer.
    pub(super) fn call(&self, jail: &JailName, bans: &[Ban]) -> Call {
        let Some(wants) = self.wants.get(jail).filter(|wants| !wants.is_empty()) else {
            return Call::at(self.now);
        };
        let mut of_id: HashMap<Id, Vec<(Want, String)>> = HashMap::new();
        for ban in bans {
            let mut answers = Vec::new();
            for want in wants {
                let (here, lines) = match want {
                    Want::IpMatches => (None, true),
                    Want::IpJailMatches => (Some(&**jail), true),
                    Want::IpFailures => (None, false),
                    Want::IpJailFailures => (Some(&**jail), false),
                    _ => continue,
                };
                let merged = self.store.merged(here, &ban.id, TAG_LINES_MAX).unwrap_or_default();
                let text = match lines {
                    true => joined(&merged.lines),
                    false => merged.failures.to_string(),
                };
                answers.push((*want, text));
            }
            of_id.insert(ban.id.clone(), answers);
        }
        let totals = self.engine.totals(jail).unwrap_or_default();
        let mut of_jail = Vec::new();
        for want in wants {
            let number = match want {
                Want::JailBanned => totals.banned,
                Want::JailBannedTotal => totals.banned_total,
                Want::JailFound => totals.failed,
                Want::JailFoundTotal => totals.failed_total,
                _ => continue,
            };
            of_jail.push((*want, number.to_string()));
        }
        Call { now: self.now, of_id, of_jail }
    }
}

fn joined(lines: &[Arc<str>]) -> String {
    let mut text = String::new();
    for line in lines {
        if text.len() + line.len() > TAG_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
    text
}

/// How far a source is read, in the store's words.
pub(super) fn position(source: &Arc<str>, position: &Position) -> Entry {
    Entry::Position { key: Arc::clone(source), value: position.to_row().into_bytes().into() }
}

/// An outcome of a runner's, in the engine's words; none for what the engine did not ask for.
pub(super) fn told(outcome: runner::Outcome) -> Option<jail::Outcome> {
    let runner::Outcome { jail, action, verb, serial, done, failed, lost, error, .. } = outcome;
    let verb = match verb.and_then(verb_kind) {
        Some(verb) => verb,
        None if lost => VerbKind::Check,
        None => return None,
    };
    let failed = with_reason(verb, failed, error);
    Some(jail::Outcome { jail, action, verb, serial, done, failed, lost })
}

/// A flush names nobody: why it failed stands for all.
fn with_reason(
    verb: VerbKind,
    mut failed: Vec<(Id, String)>,
    error: Option<String>,
) -> Vec<(Id, String)> {
    if verb == VerbKind::Flush && failed.is_empty() {
        failed.extend(error.map(|error| (Id::parse("all"), error)));
    }
    failed
}

/// The engine's word for a verb; none for those that are the daemon's own.
pub(super) fn verb_kind(verb: runner::Verb) -> Option<VerbKind> {
    Some(match verb {
        runner::Verb::Ban | runner::Verb::Reban | runner::Verb::Sync => VerbKind::Ban,
        runner::Verb::Prolong => VerbKind::Prolong,
        runner::Verb::Unban => VerbKind::Unban,
        runner::Verb::Flush => VerbKind::Flush,
        _ => return None,
    })
}

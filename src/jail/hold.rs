//! From a ban to the kernel: what banactions answer, what is tried again, and what is handed to
//! them anew.

use std::sync::Arc;

use super::{
    Jail, Restored, Scene,
    bans::Slot,
    effects::{BANS_PER_ACT_MAX, Level, Logger, Outcome, Verb, VerbKind},
    ignore::{Verdict, guard},
    rules::DECIDERS_MAX,
    words::{moment, one_line, shown, span},
};
use crate::{
    ticket::{BanTime, Entry, Id, UnbanWhy},
    time::Timestamp,
};

/// What failed is tried again after 1 s, 2 s, 4 s … and at last every so many seconds.
pub const RETRY_S_MAX: i64 = 60;

/// So many errors of one answer are logged one by one; the rest is counted.
const ERRORS_TOLD_MAX: usize = 10;

/// Up to so many bans that are handed over anew are logged one by one; else they are counted.
const REBANS_TOLD_MAX: usize = 100;

/// So many lines of `Restore Ban` a jail writes when it comes back; the rest is counted.
pub const RESTORES_TOLD_MAX: usize = 10_000;

/// How much of what was restored the log has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restores {
    told: usize,
    /// Not told one by one, and not counted yet.
    more: usize,
}

/// All bans on their way to one action, or to all, act by act: the next one follows the answer.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    /// The place of the action; all if none.
    action: Option<usize>,
    verb: VerbKind,
    next: u32,
}

/// True if an answer is to an act before the one with which something began. Only the low bits are
/// compared: there are never 2³¹ acts under way.
pub(super) fn is_stale(serial: u64, since: u32) -> bool {
    (serial as u32).wrapping_sub(since) > u32::MAX / 2
}

/// After how many seconds the next try comes.
pub(super) fn backoff(tries: u32) -> i64 {
    (1_i64 << tries.saturating_sub(1).min(6)).min(RETRY_S_MAX)
}

impl Jail {
    /// Brings back what the store holds: bans and failures that still count. Bans that are over, or
    /// whose ids are ignored now, are not; a shorter `bantime` shortens.
    pub fn restore(
        &mut self,
        bans: Vec<Restored>,
        failures: Vec<crate::ticket::Ticket>,
        scene: &mut Scene<'_>,
    ) {
        let longest = self.rules.longest();
        for Restored { mut ban, ordered } in bans {
            if self.bans.find(&ban.id).is_some() {
                continue;
            }
            ban.restored = true;
            let mut shortened = false;
            if !ordered
                && let Some(longest) = longest.filter(|longest| is_longer(ban.time, *longest))
            {
                (ban.time, shortened) = (longest, true);
            }
            let over = ban.until().is_some_and(|until| until <= scene.now);
            // Who is out and has since become a friend was banned before he was one.
            let friend = guard(&self.rules, scene.around, &ban.id).is_some()
                || (!ordered && matches!(self.ignore.judge(&ban.id), Verdict::Ignored(_)));
            let why = if friend { UnbanWhy::Ignored } else { UnbanWhy::Lapsed };
            if over && scene.hold_until.is_none_or(|hold| hold <= scene.now) || friend {
                // Whatever outlived the last daemon may still hold it.
                self.lift(Slot::new(&ban, ordered, 0), why, scene);
                continue;
            }
            if shortened {
                let jail = self.name.clone();
                scene.effects.store.push(Entry::Prolong { jail, ban: ban.clone(), ordered });
            }
            let waits = self.deciders & self.for_restored();
            let number = self.bans.insert(Slot::new(&ban, ordered, waits));
            self.banned_total += 1;
            if !self.rules.actions.is_empty() {
                let since = self.act(None, VerbKind::Ban, ban, scene);
                if let Some(slot) = self.bans.get_mut(number) {
                    slot.since = since;
                }
            }
            if waits == 0 {
                self.tell(number, scene);
            }
        }
        for mut ticket in failures {
            ticket.time = ticket.time.min(scene.now);
            let line = ticket.evidence.lines().next_back();
            let handed =
                self.counter.add(&ticket.id, ticket.time, ticket.attempts, line, scene.now);
            if let Some(failures) = handed {
                self.handed_over(&ticket, failures, scene);
            }
        }
        self.tell_restored(scene);
    }

    /// Those that were not told one by one.
    fn tell_restored(&mut self, scene: &mut Scene<'_>) {
        let more = std::mem::take(&mut self.restores.more);
        if more > 0 {
            let text = format!("{more} more bans restored");
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
    }

    pub(super) fn action_names(&self) -> Vec<Arc<str>> {
        self.rules.actions.iter().map(|rule| rule.name.clone()).collect()
    }

    /// The actions that take restored bans, as bits of their places.
    fn for_restored(&self) -> u32 {
        let actions = self.rules.actions.iter().take(DECIDERS_MAX).enumerate();
        actions
            .filter(|(_, action)| !action.norestored)
            .fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// An action answers.
    pub fn handle_outcome(&mut self, outcome: &Outcome, scene: &mut Scene<'_>) {
        let mut outcome = std::borrow::Cow::Borrowed(outcome);
        let place = self.rules.actions.iter().position(|action| action.name == outcome.action);
        let bit = place.filter(|place| *place < DECIDERS_MAX).map_or(0, |place| 1_u32 << place);
        let bit = bit & self.deciders;
        let undoes = bit & self.rules.undoers() != 0;
        if !undoes && bit != 0 && !outcome.failed.is_empty() {
            // There are only mails and reports: these go out once, and what fails is over with.
            self.tell_errors(&outcome, &|_| true, scene);
            let outcome = outcome.to_mut();
            let failed = std::mem::take(&mut outcome.failed);
            outcome.done.extend(failed.into_iter().map(|(id, _)| id));
        }
        let outcome = &*outcome;
        match outcome.verb {
            VerbKind::Ban => {
                for id in &outcome.done {
                    self.held(id, bit, outcome.serial, scene);
                }
                self.tell_restored(scene);
                self.failed(outcome, bit, scene);
            }
            // Where only the end could not be set, the ban is set anew.
            VerbKind::Prolong => self.failed(outcome, bit, scene),
            VerbKind::Unban => self.unban_outcome(outcome, bit, scene),
            VerbKind::Flush => self.flush_outcome(outcome, bit, scene),
            VerbKind::Check => self.tell_errors(outcome, &|_| true, scene),
        }
        if let Some(place) = place {
            if outcome.lost && undoes {
                self.start_sweep(Some(place), VerbKind::Ban, scene);
            } else {
                self.go_on(place, outcome.verb, scene);
            }
        }
    }

    fn held(&mut self, id: &Id, bit: u32, serial: u64, scene: &mut Scene<'_>) {
        let Some(number) = self.bans.find(id) else { return };
        let Some(slot) = self.bans.get_mut(number) else { return };
        if is_stale(serial, slot.since) {
            return;
        }
        slot.waits &= !bit;
        if slot.waits == 0 {
            slot.tries = 0;
            if !slot.told {
                self.tell(number, scene);
            }
        }
    }

    /// The log says that somebody is banned.
    pub(super) fn tell(&mut self, number: u32, scene: &mut Scene<'_>) {
        let Some(slot) = self.bans.get_mut(number) else { return };
        let grown = slot.grown;
        (slot.told, slot.grown) = (true, false);
        if slot.restored {
            if self.restores.told >= RESTORES_TOLD_MAX {
                self.restores.more += 1;
                return;
            }
            self.restores.told += 1;
        }
        let restore = if slot.restored { "Restore " } else { "" };
        let text = format!("{restore}Ban {}", shown(&slot.id));
        let end = slot.until().map_or("infinite".to_owned(), |until| moment(until, scene.zone));
        let (count, time) = (slot.count, span(slot.time()));
        let increase = format!("Increase Ban {} ({count} # {time} -> {end})", shown(&slot.id));
        self.note(scene, Level::Notice, Logger::Actions, &text);
        if grown {
            self.note(scene, Level::Notice, Logger::Observer, &increase);
        }
    }

    /// Bans that an action could not put in force are tried again. An action that decides nothing
    /// is not: mails and reports go out once.
    fn failed(&mut self, outcome: &Outcome, bit: u32, scene: &mut Scene<'_>) {
        for (id, _) in outcome.failed.iter().filter(|_| bit != 0) {
            let Some(number) = self.bans.find(id) else { continue };
            let Some(slot) = self.bans.get_mut(number) else { continue };
            if is_stale(outcome.serial, slot.since) {
                continue;
            }
            slot.waits |= bit;
            slot.tries = slot.tries.saturating_add(1);
            if !slot.scheduled {
                slot.scheduled = true;
                self.retries.insert((scene.now.plus_secs(backoff(slot.tries.into())), number));
            }
        }
        // While it goes on failing this is said after 1, 2, 4, 8 … tries.
        let bans = &self.bans;
        let loud = |id: &Id| {
            let slot = bans.find(id).and_then(|number| bans.get(number));
            bit == 0 || slot.is_none_or(|slot| slot.tries.is_power_of_two())
        };
        self.tell_errors(outcome, &loud, scene);
    }

    /// Errors of an action, as many as a reader can bear.
    pub(super) fn tell_errors(
        &self,
        outcome: &Outcome,
        loud: &dyn Fn(&Id) -> bool,
        scene: &mut Scene<'_>,
    ) {
        let verb = match outcome.verb {
            VerbKind::Ban => "ban",
            VerbKind::Unban => "unban",
            VerbKind::Prolong => "prolong",
            VerbKind::Flush => "flush",
            VerbKind::Check => "check",
        };
        let what =
            format!("Failed to execute {verb} jail '{}' action '{}'", self.name, outcome.action);
        let loud: Vec<&(Id, String)> = outcome.failed.iter().filter(|(id, _)| loud(id)).collect();
        for (id, reason) in loud.iter().take(ERRORS_TOLD_MAX) {
            let text = format!("{what} info '{}': {}", shown(id), one_line(reason));
            self.note(scene, Level::Error, Logger::Actions, &text);
        }
        let more = loud.len().saturating_sub(ERRORS_TOLD_MAX);
        if more > 0 {
            let text = format!("{what}: {more} more like this");
            self.note(scene, Level::Error, Logger::Actions, &text);
        }
    }

    /// Bans whose next try is due.
    pub(super) fn retry(&mut self, scene: &mut Scene<'_>) {
        let mut due = Vec::new();
        while let Some((at, number)) = self.retries.first().copied()
            && at <= scene.now
            && due.len() < BANS_PER_ACT_MAX
        {
            self.retries.pop_first();
            if let Some(slot) = self.bans.get_mut(number) {
                slot.scheduled = false;
                due.push(number);
            }
        }
        let actions = self.action_names();
        for (place, action) in actions.iter().take(DECIDERS_MAX).enumerate() {
            for number in &due {
                if let Some(slot) =
                    self.bans.get(*number).filter(|slot| slot.waits & 1 << place != 0)
                {
                    let ban = slot.ban(Arc::default());
                    self.act(Some(action), VerbKind::Ban, ban, scene);
                }
            }
        }
    }

    /// Begins to hand all bans to an action, or to all.
    pub(super) fn start_sweep(
        &mut self,
        action: Option<usize>,
        verb: VerbKind,
        scene: &mut Scene<'_>,
    ) {
        if self.rules.undoers() == 0 || self.bans.len() == 0 {
            return;
        }
        self.sweeps.retain(|sweep| (sweep.action, sweep.verb) != (action, verb));
        if let (Some(place), VerbKind::Ban) = (action, verb) {
            self.tell_reban(action, scene);
            self.bans.iter_mut().for_each(|(_, slot)| slot.waits |= 1 << place);
        }
        let mut sweep = Sweep { action, verb, next: 0 };
        if self.advance(&mut sweep, scene) {
            self.sweeps.push(sweep);
        }
    }

    fn tell_reban(&self, action: Option<usize>, scene: &mut Scene<'_>) {
        let rule = action.and_then(|place| self.rules.actions.get(place));
        let by = rule.map_or(String::new(), |rule| format!(", action '{}'", rule.name));
        if self.bans.len() > REBANS_TOLD_MAX {
            let text = format!("Reban {} tickets{by}", self.bans.len());
            return self.note(scene, Level::Notice, Logger::Actions, &text);
        }
        for (_, slot) in self.bans.iter() {
            let text = format!("Reban {}{by}", shown(&slot.id));
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
    }

    /// An action has answered: the next bans of a sweep over it are due.
    fn go_on(&mut self, place: usize, verb: VerbKind, scene: &mut Scene<'_>) {
        let is_next =
            |sweep: &Sweep| sweep.verb == verb && sweep.action.is_none_or(|action| action == place);
        let Some(at) = self.sweeps.iter().position(is_next) else { return };
        let mut sweep = self.sweeps.remove(at);
        if self.advance(&mut sweep, scene) {
            self.sweeps.push(sweep);
        }
    }

    /// The next act of a sweep; false if it was the last.
    fn advance(&mut self, sweep: &mut Sweep, scene: &mut Scene<'_>) -> bool {
        let mut bans = Vec::new();
        while sweep.next < self.bans.end() && bans.len() < BANS_PER_ACT_MAX {
            if let Some(slot) = self.bans.get(sweep.next) {
                bans.push(slot.ban(Arc::default()));
            }
            sweep.next += 1;
        }
        if bans.is_empty() {
            return false;
        }
        let rule = sweep.action.and_then(|place| self.rules.actions.get(place));
        let verb = match sweep.verb {
            VerbKind::Prolong => Verb::Prolong(bans),
            _ => Verb::Ban(bans),
        };
        let action = rule.map(|rule| rule.name.clone());
        self.push_act(action, verb, scene);
        sweep.next < self.bans.end()
    }

    /// The actions changed: what each ban waits for follows their names. Those that are new among
    /// the deciding ones get all bans.
    pub(super) fn change_actions(&mut self, old: &[Arc<str>], scene: &mut Scene<'_>) {
        let place_now =
            |name: &Arc<str>| self.rules.actions.iter().position(|rule| rule.name == *name);
        let map: Vec<Option<usize>> = old.iter().map(place_now).collect();
        let deciders = self.deciders;
        let moved = |bits: u32| {
            let olds = map.iter().take(DECIDERS_MAX).enumerate();
            let kept = olds.filter(|(place, _)| bits & 1 << place != 0).filter_map(|(_, new)| *new);
            kept.filter(|new| *new < DECIDERS_MAX).fold(0, |bits, new| bits | 1_u32 << new)
                & deciders
        };
        let mut free = Vec::new();
        for (number, slot) in self.bans.iter_mut() {
            slot.waits = moved(slot.waits);
            if slot.waits == 0 && !slot.told {
                free.push(number);
            }
        }
        self.lifts.change_actions(&moved);
        self.sweeps.retain_mut(|sweep| match sweep.action {
            None => true,
            Some(place) => {
                sweep.action = map.get(place).copied().flatten();
                sweep.action.is_some()
            }
        });
        let known: Vec<usize> = map.iter().flatten().copied().collect();
        let undoers = self.rules.undoers();
        for place in 0..self.rules.actions.len().min(DECIDERS_MAX) {
            if undoers & 1 << place != 0 && !known.contains(&place) {
                self.start_sweep(Some(place), VerbKind::Ban, scene);
            }
        }
        for number in free {
            if self.bans.get(number).is_some_and(|slot| slot.waits == 0 && !slot.told) {
                self.tell(number, scene);
            }
        }
        self.finish_lifts(scene);
    }

    /// Bans that are longer than the rules now allow are shortened, but for ordered ones.
    pub(super) fn shorten(&mut self, scene: &mut Scene<'_>) {
        let Some(longest) = self.rules.longest() else { return };
        let too_long =
            self.bans.iter().filter(|(_, slot)| !slot.ordered && is_longer(slot.time(), longest));
        let numbers: Vec<(u32, Timestamp)> =
            too_long.map(|(number, slot)| (number, slot.from)).collect();
        for (number, from) in numbers {
            self.set_end(number, from, longest, scene);
        }
    }
}

fn is_longer(time: BanTime, than: BanTime) -> bool {
    match (time, than) {
        (_, BanTime::Permanent) => false,
        (BanTime::Permanent, BanTime::Seconds(_)) => true,
        (BanTime::Seconds(time), BanTime::Seconds(than)) => time > than,
    }
}

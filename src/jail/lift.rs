//! From a ban to none: what ends, what is lifted, and what does not go away at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ENDS_PER_TURN_MAX, Jail, Scene,
    bans::Slot,
    effects::{Level, Logger, Outcome, Verb, VerbKind},
    hold::{backoff, is_stale},
    rules::DECIDERS_MAX,
    words::shown,
};
use crate::{
    ticket::{Entry, Id, UnbanWhy},
    time::Timestamp,
};

/// While so many bans are being lifted, no further one ends: the banactions cannot keep up.
pub const LIFTS_MAX: usize = 65_536;

/// So often an action is asked to let somebody in again: for about six minutes.
pub const UNBAN_TRIES_MAX: u32 = 10;

/// So many lines of `Unban` are written when everybody is let in; the rest is counted.
const FLUSH_TOLD_MAX: usize = 10_000;

/// Bans that are over, until the deciding actions have let their ids in again.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifts {
    by_id: BTreeMap<Id, Lift>,
    retries: BTreeSet<(Timestamp, Id)>,
    flush: Option<Flush>,
}

#[derive(Clone, Debug)]
struct Lift {
    slot: Slot,
    /// The actions that have not let it in yet.
    waits: u32,
    /// With which act it began.
    since: u32,
    tries: u32,
}

impl Lift {
    /// Its time was over before the daemon came back: nobody knows whether it is still held.
    fn is_doubtful(&self) -> bool {
        self.slot.restored && !self.slot.told
    }
}

/// Everybody is let in at once.
#[derive(Clone, Debug)]
struct Flush {
    waits: u32,
    since: u32,
    tries: u32,
    at: Option<Timestamp>,
    /// Whom the log has called banned; the first of them, and how many more.
    told: BTreeSet<Id>,
    more: usize,
}

impl Lifts {
    pub(super) fn has_room(&self) -> bool {
        self.by_id.len() < LIFTS_MAX
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let single = self.retries.first().map(|(at, _)| *at);
        single.into_iter().chain(self.flush.as_ref().and_then(|flush| flush.at)).min()
    }

    pub(super) fn retry_now(&mut self, now: Timestamp) {
        let ids = std::mem::take(&mut self.retries).into_iter();
        self.retries = ids.map(|(_, id)| (now, id)).collect();
        if let Some(flush) = &mut self.flush {
            flush.at = flush.at.map(|_| now);
        }
    }

    pub(super) fn change_actions(&mut self, moved: &dyn Fn(u32) -> u32) {
        for lift in self.by_id.values_mut() {
            lift.waits = moved(lift.waits);
        }
        if let Some(flush) = &mut self.flush {
            flush.waits = moved(flush.waits);
        }
    }
}

impl Jail {
    /// Bans whose time is over.
    pub(super) fn end_bans(&mut self, scene: &mut Scene<'_>) {
        if scene.hold_until.is_some_and(|hold| scene.now < hold) {
            return;
        }
        for _ in 0..ENDS_PER_TURN_MAX {
            if !self.lifts.has_room() {
                break;
            }
            let Some(slot) = self.bans.pop_over(scene.now) else { break };
            self.lift(slot, UnbanWhy::Lapsed, scene);
        }
    }

    /// A ban that is no longer in the list is taken from the store and from the actions.
    pub(super) fn lift(&mut self, slot: Slot, why: UnbanWhy, scene: &mut Scene<'_>) {
        let (jail, id) = (self.name.clone(), slot.id.clone());
        scene.effects.store.push(Entry::Unban { jail, id: id.clone(), why });
        if self.deciders == 0 {
            return self.tell_unban(&slot, scene);
        }
        let since = self.act(None, VerbKind::Unban, slot.ban(Default::default()), scene);
        let waits = self.deciders;
        self.lifts.by_id.insert(id, Lift { slot, waits, since, tries: 0 });
    }

    /// An id is banned anew: what has not let it in yet need not do so.
    pub(super) fn forget_lift(&mut self, id: &Id, scene: &mut Scene<'_>) {
        let flushed = self.lifts.flush.as_mut().is_some_and(|flush| flush.told.remove(id));
        if flushed {
            let text = format!("Unban {}", shown(id));
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
        if let Some(lift) = self.lifts.by_id.remove(id) {
            self.tell_unban(&lift.slot, scene);
        }
    }

    /// All bans are taken from the store and from the actions; how many that were.
    pub(super) fn lift_all(&mut self, scene: &mut Scene<'_>) -> usize {
        scene.effects.store.push(Entry::UnbanAll { jail: self.name.clone() });
        let slots = self.bans.take();
        let count = slots.len();
        self.retries.clear();
        self.sweeps.clear();
        let earlier = self.lifts.flush.take();
        let earlier = earlier.map(|flush| (flush.told, flush.more));
        let (mut told, mut more) = earlier.unwrap_or_default();
        for slot in slots.into_iter().filter(|slot| slot.told) {
            match told.len() < FLUSH_TOLD_MAX {
                true => {
                    told.insert(slot.id);
                }
                false => more += 1,
            }
        }
        for rule in &self.rules.actions {
            let text = format!("Flush ticket(s) with {}", rule.name);
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
        let waits = self.deciders;
        let mut flush = Flush { waits, since: 0, tries: 0, at: None, told, more };
        if !self.rules.actions.is_empty() {
            flush.since = self.push_act(None, Verb::Flush, scene);
        }
        self.lifts.flush = Some(flush);
        self.finish_lifts(scene);
        count
    }

    /// What is let in again as far as all deciding actions go is said so.
    pub(super) fn finish_lifts(&mut self, scene: &mut Scene<'_>) {
        let done: Vec<Id> = self
            .lifts
            .by_id
            .iter()
            .filter(|(_, lift)| lift.waits == 0)
            .map(|(id, _)| id.clone())
            .collect();
        for id in done {
            self.forget_lift(&id, scene);
        }
        if let Some(flush) = self.lifts.flush.take_if(|flush| flush.waits == 0) {
            for id in &flush.told {
                let text = format!("Unban {}", shown(id));
                self.note(scene, Level::Notice, Logger::Actions, &text);
            }
            if flush.more > 0 {
                let text = format!("Unban {} more", flush.more);
                self.note(scene, Level::Notice, Logger::Actions, &text);
            }
        }
    }

    fn tell_unban(&self, slot: &Slot, scene: &mut Scene<'_>) {
        if slot.told {
            let text = format!("Unban {}", shown(&slot.id));
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
    }

    pub(super) fn unban_outcome(&mut self, outcome: &Outcome, bit: u32, scene: &mut Scene<'_>) {
        for id in &outcome.done {
            let Some(lift) = self.lifts.by_id.get_mut(id) else { continue };
            if is_stale(outcome.serial, lift.since) {
                continue;
            }
            lift.waits &= !bit;
            if lift.waits == 0 {
                self.forget_lift(id, scene);
            }
        }
        let mut given_up = Vec::new();
        for (id, _) in outcome.failed.iter().filter(|_| bit != 0) {
            let Some(lift) = self.lifts.by_id.get_mut(id) else { continue };
            if is_stale(outcome.serial, lift.since) {
                continue;
            }
            lift.tries += 1;
            if lift.tries >= UNBAN_TRIES_MAX {
                given_up.push(id);
            } else {
                let at = scene.now.plus_secs(backoff(lift.tries));
                self.lifts.retries.insert((at, id.clone()));
            }
        }
        let lifts = &self.lifts.by_id;
        let loud = |id: &Id| {
            let lift = lifts.get(id).filter(|lift| !lift.is_doubtful());
            bit == 0 || lift.is_some_and(|lift| lift.tries.is_power_of_two())
        };
        self.tell_errors(outcome, &loud, scene);
        for id in given_up {
            if self.lifts.by_id.remove(id).is_none_or(|lift| lift.is_doubtful()) {
                continue;
            }
            let what = format!(
                "{} may still be shut out by action '{}': it could not be let in for {} times",
                shown(id),
                outcome.action,
                UNBAN_TRIES_MAX,
            );
            self.note(scene, Level::Error, Logger::Actions, &what);
        }
    }

    /// An action has let everybody in, or not (then `failed` holds one reason at least).
    pub(super) fn flush_outcome(&mut self, outcome: &Outcome, bit: u32, scene: &mut Scene<'_>) {
        self.tell_errors(outcome, &|_| true, scene);
        let Some(flush) = self.lifts.flush.as_mut().filter(|_| bit != 0) else { return };
        if is_stale(outcome.serial, flush.since) {
            return;
        }
        if !outcome.failed.is_empty() {
            flush.tries += 1;
            if flush.tries < UNBAN_TRIES_MAX {
                flush.at = Some(scene.now.plus_secs(backoff(flush.tries)));
                return;
            }
            let text = format!("action '{}' does not let everybody in", outcome.action);
            self.note(scene, Level::Error, Logger::Actions, &text);
        }
        if let Some(flush) = self.lifts.flush.as_mut() {
            flush.waits &= !bit;
        }
        self.finish_lifts(scene);
    }

    /// What could not be lifted is tried again.
    pub(super) fn retry_lifts(&mut self, scene: &mut Scene<'_>) {
        let mut due = Vec::new();
        while let Some((at, _)) = self.lifts.retries.first()
            && *at <= scene.now
            && due.len() < ENDS_PER_TURN_MAX
            && let Some((_, id)) = self.lifts.retries.pop_first()
        {
            due.push(id);
        }
        let mut reflush = 0;
        if let Some(flush) = &mut self.lifts.flush
            && flush.at.is_some_and(|at| at <= scene.now)
        {
            (reflush, flush.at) = (flush.waits, None);
        }
        let actions = self.action_names();
        for (place, action) in actions.iter().take(DECIDERS_MAX).enumerate() {
            let bit = 1_u32 << place;
            for id in &due {
                let lift = self.lifts.by_id.get(id).filter(|lift| lift.waits & bit != 0);
                if let Some(lift) = lift {
                    let ban = lift.slot.ban(Default::default());
                    self.act(Some(action), VerbKind::Unban, ban, scene);
                }
            }
            if reflush & bit != 0 {
                self.push_act(Some(action.clone()), Verb::Flush, scene);
                // Who was banned since is banned again behind it.
                self.start_sweep(Some(place), VerbKind::Ban, scene);
            }
        }
    }
}

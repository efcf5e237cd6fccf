//! From a failure to a ban.

use super::{
    BANS_MAX, Jail, Scene,
    ask::Step,
    bans::{BanState, Slot},
    effects::{Ask, Level, Logger, Verb, VerbKind},
    ignore::{Reason, Verdict, guard},
    words::{cut, moment, shown, span},
};
use crate::{
    ticket::{Ban, BanTime, Entry, Id, Ticket},
    time::Timestamp,
};

/// Longer ids that are no address count under their beginning.
pub const ID_BYTES_MAX: usize = 1024;

/// Failures while banned make the banactions look after themselves, at most this often.
const CHECK_S: i64 = 3;

/// A failure whose waiting is over.
#[derive(Debug)]
pub(super) struct Ready {
    ticket: Ticket,
    /// Nothing more is asked about it.
    judged: bool,
}

/// What makes a ban of an offender.
pub(super) struct Cause<'a> {
    pub(super) ticket: &'a Ticket,
    pub(super) failures: u32,
    /// Somebody ordered it, for so long (the jail's own time if none).
    pub(super) ordered: Option<Option<BanTime>>,
}

impl Jail {
    /// A reader found a failure.
    pub fn handle_failure(&mut self, mut ticket: Ticket, scene: &mut Scene<'_>) {
        if self.idle {
            return;
        }
        ticket.time = ticket.time.min(scene.now);
        if let Id::Text(text) = &ticket.id
            && text.len() > ID_BYTES_MAX
        {
            ticket.id = Id::Text(cut(text, ID_BYTES_MAX).into());
        }
        self.judge(ticket, true, scene);
        self.report_losses(scene);
    }

    /// `ignorecommand` has answered.
    pub fn handle_answer(&mut self, number: u64, ignored: bool, scene: &mut Scene<'_>) {
        let cache = self.rules.ignorecache.as_ref();
        let tickets = self.asks.answer(number, ignored, cache, scene.now);
        for ticket in tickets {
            match ignored {
                true => self.ignored(&ticket.id, Reason::Command, scene),
                false => self.count(ticket, scene),
            }
        }
    }

    /// Whether somebody counts at all. With `patient` it may wait for names.
    fn judge(&mut self, ticket: Ticket, patient: bool, scene: &mut Scene<'_>) {
        if let Some(reason) = guard(&self.rules, scene.around, &ticket.id) {
            return self.ignored(&ticket.id, reason, scene);
        }
        match self.ignore.judge(&ticket.id) {
            Verdict::Ignored(reason) => return self.ignored(&ticket.id, reason, scene),
            Verdict::Open if patient => return self.asks.wait_for_names(ticket, scene.now),
            Verdict::Open | Verdict::Counts => {}
        }
        let Some(command) = &self.rules.ignorecommand else { return self.count(ticket, scene) };
        match self
            .asks
            .ask(&ticket, self.rules.ignorecache.as_ref(), scene.now, || scene.next_serial())
        {
            Step::Known(true) => self.ignored(&ticket.id, Reason::Command, scene),
            Step::Known(false) => self.count(ticket, scene),
            Step::Wait => {}
            Step::Ask(number) => {
                let (jail, command) = (self.name.clone(), command.clone());
                scene.effects.asks.push(Ask { jail, number, command, ticket });
            }
        }
    }

    /// Ends what has waited for too long: an answer that does not come ignores nobody.
    pub(super) fn give_up_waiting(&mut self, scene: &mut Scene<'_>) {
        let tickets = self.asks.take_named(false, scene.now);
        self.ready.extend(tickets.into_iter().map(|ticket| Ready { ticket, judged: false }));
        let mut overdue = 0;
        while let Some(tickets) = self.asks.overdue(scene.now) {
            overdue += 1;
            self.ready.extend(tickets.into_iter().map(|ticket| Ready { ticket, judged: true }));
        }
        if overdue > 0 {
            let text = format!(
                "ignorecommand has not answered {overdue} question(s) in time; the failures it was \
                 asked about count"
            );
            self.note(scene, Level::Warning, Logger::Filter, &text);
        }
        while let Some(Ready { ticket, judged }) = self.ready.pop_front() {
            match judged {
                true => self.count(ticket, scene),
                false => self.judge(ticket, false, scene),
            }
        }
    }

    /// Names or files have been answered: whoever waits is judged again.
    pub(super) fn judge_waiting(&mut self, scene: &mut Scene<'_>) {
        for ticket in self.asks.take_named(true, scene.now) {
            self.judge(ticket, true, scene);
        }
    }

    fn ignored(&self, id: &Id, reason: Reason, scene: &mut Scene<'_>) {
        let text = format!("Ignore {} by {reason}", shown(id));
        self.note(scene, Level::Info, Logger::Filter, &text);
    }

    fn count(&mut self, mut ticket: Ticket, scene: &mut Scene<'_>) {
        scene.effects.notes.found(&self.name, &ticket.id, ticket.time, scene.zone);
        let id = self.ignore.counted_as(&self.rules, scene.around, &ticket.id);
        ticket.attempts = ticket.attempts.max(1).saturating_add(self.bad(&id, &ticket, scene));
        ticket.id = id;
        self.count_as(ticket, scene);
    }

    /// Counts a failure under its id, with its weight, whatever anybody thinks of it.
    pub(super) fn count_as(&mut self, ticket: Ticket, scene: &mut Scene<'_>) {
        self.failed_total += 1;
        let line = ticket.evidence.lines().next_back();
        let handed = self.counter.add(&ticket.id, ticket.time, ticket.attempts, line, scene.now);
        let sensed = self.rules.sensor.then(|| self.bans.find_around(&ticket.id)).flatten();
        let jail = self.name.clone();
        if handed.is_none() && sensed.is_none() {
            // As nearly always.
            return scene.effects.store.push(Entry::Failure { jail, ticket });
        }
        scene.effects.store.push(Entry::Failure { jail, ticket: ticket.clone() });
        if let Some(number) = sensed {
            self.prolong(number, ticket.time, self.rules.bantime, scene);
        }
        if let Some(failures) = handed {
            self.handed_over(&ticket, failures, scene);
        }
    }

    pub(super) fn handed_over(&mut self, ticket: &Ticket, failures: u32, scene: &mut Scene<'_>) {
        match self.bans.find_around(&ticket.id) {
            Some(number) => self.already(number, ticket, scene),
            None => {
                let cause = Cause { ticket, failures, ordered: None };
                if self.decide(&ticket.id, &cause, scene) {
                    return;
                }
            }
        }
        let (jail, id) = (self.name.clone(), ticket.id.clone());
        scene.effects.store.push(Entry::Spent { jail, id });
    }

    /// How much more than others a failure of somebody weighs who was banned before.
    fn bad(&self, id: &Id, ticket: &Ticket, scene: &mut Scene<'_>) -> u32 {
        if !self.rules.increment.enabled {
            return 0;
        }
        let Some(past) = scene.history.past(Some(&self.name), id) else { return 0 };
        // What was read before the last ban led to that one.
        if past.count == 0 || ticket.time <= past.last {
            return 0;
        }
        let weight = ((1_u32 << past.count.min(20)) / 2 + 1).min(self.rules.maxretry);
        if weight <= 1 {
            return 0;
        }
        let text = format!(
            "Found {}, bad - {}, {} # -> {weight}{}",
            shown(&ticket.id),
            moment(ticket.time, scene.zone),
            past.count,
            if weight >= self.rules.maxretry { ", Ban" } else { "" },
        );
        self.note(scene, Level::Info, Logger::Observer, &text);
        weight - 1
    }

    /// Decides on a ban; false if there is none to be.
    pub(super) fn decide(&mut self, id: &Id, cause: &Cause<'_>, scene: &mut Scene<'_>) -> bool {
        if let Some(reason) = guard(&self.rules, scene.around, id) {
            self.ignored(id, reason, scene);
            return false;
        }
        if self.bans.len() >= BANS_MAX {
            self.refused += 1;
            return false;
        }
        let mut ban = Ban {
            id: id.clone(),
            from: cause.ticket.time,
            time: self.rules.bantime,
            count: 1,
            failures: cause.failures,
            restored: false,
            evidence: cause.ticket.evidence.evidence(),
        };
        self.grow(&mut ban, scene);
        let mut grown = ban.time != self.rules.bantime;
        if let Some(Some(time)) = cause.ordered {
            (ban.time, grown) = (time, false);
        }
        if ban.until().is_some_and(|until| until <= scene.now) {
            let text = format!("Ignore {}, expired bantime", shown(id));
            self.note(scene, Level::Info, Logger::Actions, &text);
            return false;
        }
        self.enter(ban, cause.ordered.is_some(), grown, scene);
        true
    }

    /// A ban begins: it is stored, and handed to the actions.
    fn enter(&mut self, ban: Ban, ordered: bool, grown: bool, scene: &mut Scene<'_>) {
        self.forget_lift(&ban.id, scene);
        let waits = self.deciders;
        let mut slot = Slot::new(&ban, ordered, waits);
        slot.grown = grown;
        let number = self.bans.insert(slot);
        self.counter.remove(&ban.id);
        self.banned_total += 1;
        let jail = self.name.clone();
        scene.effects.store.push(Entry::Ban { jail, ban: ban.clone(), ordered });
        match waits {
            0 => self.tell(number, scene),
            _ => {
                let since = self.act(None, VerbKind::Ban, ban, scene);
                if let Some(slot) = self.bans.get_mut(number) {
                    slot.since = since;
                }
            }
        }
    }

    /// The length of a ban grows by those before it.
    fn grow(&self, ban: &mut Ban, scene: &mut Scene<'_>) {
        let increment = &self.rules.increment;
        if !increment.enabled {
            return;
        }
        let jail = (!increment.overalljails).then_some(&*self.name);
        let Some(past) = scene.history.past(jail, &ban.id).filter(|past| past.count > 0) else {
            return;
        };
        ban.count = past.count.saturating_add(1);
        let BanTime::Seconds(first_s) = self.rules.bantime else { return };
        ban.time = BanTime::Seconds(increment.seconds(first_s, past.count, scene.chance.draw()));
        if ban.from > past.last {
            let text = format!(
                "IP {} is bad: {} # last {} - incr {} to {}",
                shown(&ban.id),
                past.count,
                moment(past.last, scene.zone),
                span(self.rules.bantime),
                span(ban.time),
            );
            self.note(scene, Level::Info, Logger::Observer, &text);
        }
    }

    /// Somebody who is banned is handed over again.
    fn already(&mut self, number: u32, ticket: &Ticket, scene: &mut Scene<'_>) {
        let Some(slot) = self.bans.get(number) else { return };
        let since_s = ticket.time.secs().saturating_sub(slot.from.secs());
        if slot.state() == BanState::Held {
            let level = match since_s {
                ..3 => Level::Debug,
                3..60 => Level::Notice,
                _ => Level::Warning,
            };
            let text = format!("{} already banned", shown(&slot.id));
            self.note(scene, level, Logger::Actions, &text);
            let again = self.checked.is_none_or(|at| scene.now > at.plus_secs(CHECK_S));
            if since_s > CHECK_S && again && self.deciders != 0 {
                self.checked = Some(scene.now);
                self.push_act(None, Verb::Check, scene);
            }
        }
        if self.rules.increment.enabled {
            self.prolong(number, ticket.time, self.rules.bantime, scene);
        }
    }

    /// A ban counts anew from `from`, if that makes it end later by a second at least.
    pub(super) fn prolong(
        &mut self,
        number: u32,
        from: Timestamp,
        time: BanTime,
        scene: &mut Scene<'_>,
    ) {
        let Some(until) = self.bans.get(number).and_then(Slot::until) else { return };
        if time.until(from).is_none_or(|later| later >= until.plus_secs(1)) {
            self.set_end(number, from, time, scene);
        }
    }

    /// A running ban gets another end.
    pub(super) fn set_end(
        &mut self,
        number: u32,
        from: Timestamp,
        time: BanTime,
        scene: &mut Scene<'_>,
    ) {
        self.bans.set_end(number, from, time);
        let Some(slot) = self.bans.get(number) else { return };
        let ban = slot.ban(Default::default());
        let end = match ban.until() {
            Some(until) => format!("until {}", moment(until, scene.zone)),
            None => "for good".to_owned(),
        };
        let text = format!("{} is now banned {end}", shown(&ban.id));
        self.note(scene, Level::Debug, Logger::Actions, &text);
        let (jail, ordered) = (self.name.clone(), slot.ordered);
        scene.effects.store.push(Entry::Prolong { jail, ban: ban.clone(), ordered });
        if self.deciders != 0 {
            self.act(None, VerbKind::Prolong, ban, scene);
        }
    }
}

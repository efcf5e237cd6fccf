//! What people want of a jail: bans, unbans, other rules, answers.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Jail, Scene,
    bans::{BanView, Slot},
    effects::{Level, Logger},
    failures::Cause,
    ignore::{Around, IgnoreList, Reason, Surroundings, Verdict, guard},
    rules::{IgnoreEntry, Rules},
    words::{moment, shown},
};
use crate::{
    net::Cidr,
    ticket::{BanTime, Entry, Evidence, Id, JailName, Ticket, Traces, UnbanWhy},
    time::Timestamp,
};

/// What came of an order to ban.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Banned {
    /// How many are banned now that were not before.
    pub new: usize,
    /// Those that are never banned, each with the reason.
    pub refused: Vec<(Id, String)>,
}

/// What came of an order to unban.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unbanned {
    /// How many bans were lifted.
    pub lifted: usize,
    /// Who was not banned.
    pub missed: Vec<Id>,
}

/// What a jail knows of an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// The jail.
    pub jail: JailName,
    /// Under which id it counts there: cut to the jail's prefix.
    pub counted_as: Id,
    /// Failures within `findtime`.
    pub failures: u32,
    /// So many are one too many.
    pub maxretry: u32,
    /// The last line, if it is still in memory; the store knows the others.
    pub last_line: Option<Arc<str>>,
    /// Its ban, if it is banned: its own, or that of a network around it.
    pub ban: Option<BanView>,
    /// Why it is not banned, in fail2ban's words (`ip`, `dns`, `ignoreself rule`) or ours.
    pub ignored: Option<Reason>,
}

impl Jail {
    /// `banip`: at once, exactly these ids, for `time` if given, else for the jail's (growth
    /// included). An id that is banned already gets the time given, counted from now.
    pub fn ban(&mut self, ids: &[Id], time: Option<BanTime>, scene: &mut Scene<'_>) -> Banned {
        let mut banned = Banned::default();
        for id in ids {
            if let Some(reason) = guard(&self.rules, scene.around, id) {
                banned.refused.push((id.clone(), reason.to_string()));
                continue;
            }
            if let Some(number) = self.bans.find(id) {
                if let Some(time) = time {
                    if let Some(slot) = self.bans.get_mut(number) {
                        slot.ordered = true;
                    }
                    self.set_end(number, scene.now, time, scene);
                }
                continue;
            }
            if let Verdict::Ignored(reason) = self.ignore.judge(id) {
                let text = format!("Ban of {} by order, though ignored by {reason}", shown(id));
                self.note(scene, Level::Warning, Logger::Actions, &text);
            }
            let evidence = Traces::default();
            let ticket = Ticket { id: id.clone(), time: scene.now, attempts: 1, evidence };
            let cause = Cause { ticket: &ticket, failures: 0, ordered: Some(time) };
            banned.new += usize::from(self.decide(id, &cause, scene));
        }
        banned
    }

    /// `unbanip`: an address finds the ban of a prefix around it, a network all bans within. Past
    /// bans and counted failures of the ids are forgotten, banned or not.
    pub fn unban(&mut self, ids: &[Id], scene: &mut Scene<'_>) -> Unbanned {
        let mut unbanned = Unbanned::default();
        for id in ids {
            let mut numbers: BTreeSet<u32> = self.bans.find_around(id).into_iter().collect();
            if let (Id::Net(network), true) = (id, numbers.is_empty()) {
                let within = self.bans.touching(*network).into_iter();
                numbers.extend(within.filter(|number| {
                    let slot = self.bans.get(*number);
                    slot.and_then(|slot| slot.id.network()).is_some_and(|own| network.covers(own))
                }));
            }
            let counted = self.ignore.counted_as(&self.rules, scene.around, id);
            self.spend(id, scene);
            self.spend(&counted, scene);
            if numbers.is_empty() {
                unbanned.missed.push(id.clone());
                let (jail, id) = (self.name.clone(), id.clone());
                scene.effects.store.push(Entry::Forget { jail, id });
            }
            for number in numbers {
                if let Some(slot) = self.bans.remove(number) {
                    self.spend(&slot.id, scene);
                    self.lift(slot, UnbanWhy::Ordered, scene);
                    unbanned.lifted += 1;
                }
            }
        }
        unbanned
    }

    fn spend(&mut self, id: &Id, scene: &mut Scene<'_>) {
        if self.counter.remove(id) {
            let (jail, id) = (self.name.clone(), id.clone());
            scene.effects.store.push(Entry::Spent { jail, id });
        }
    }

    /// `unban --all`: everybody; how many that were. Past bans and failures are forgotten.
    pub fn unban_all(&mut self, scene: &mut Scene<'_>) -> usize {
        self.counter.clear();
        self.lift_all(scene)
    }

    /// `attempt`: a failure for each line (one if there is none), whoever ignores the id.
    pub fn attempt(&mut self, id: &Id, lines: Vec<Arc<str>>, scene: &mut Scene<'_>) {
        let text = format!("Attempt {} - {}", shown(id), moment(scene.now, scene.zone));
        self.note(scene, Level::Info, Logger::Filter, &text);
        let attempts = u32::try_from(lines.len()).unwrap_or(u32::MAX).max(1);
        let evidence = Evidence { lines, ..Evidence::default() }.into();
        let id = self.ignore.counted_as(&self.rules, scene.around, id);
        self.count_as(Ticket { id, time: scene.now, attempts, evidence }, scene);
    }

    /// Other rules: counters and bans stay. Bans that are longer than the new rules allow are
    /// shortened, those of ids that are now ignored are lifted (neither if ordered), an action that
    /// is new gets all bans.
    pub fn set_rules(&mut self, rules: Rules, scene: &mut Scene<'_>) {
        let old = std::mem::replace(&mut self.rules, rules);
        let new = &self.rules;
        let names = |rules: &Rules| -> Vec<Arc<str>> {
            rules.actions.iter().map(|action| action.name.clone()).collect()
        };
        self.deciders = new.deciders();
        self.counter.set(new.maxretry, new.findtime_s);
        if (&old.ignorecommand, &old.ignorecache) != (&new.ignorecommand, &new.ignorecache) {
            self.asks.forget();
        }
        if old.actions != new.actions {
            self.change_actions(&names(&old), scene);
        }
        if old.ignoreip != self.rules.ignoreip {
            self.ask_names(scene);
            self.ask_files(scene);
        }
        self.reread_ignored(scene);
        if self.rules.longest() != old.longest() {
            self.shorten(scene);
        }
    }

    /// Names or files were answered, or the rules changed: `ignoreip` may say something else.
    pub fn reread_ignored(&mut self, scene: &mut Scene<'_>) {
        let list = IgnoreList::new(&self.rules, scene.around);
        if list == self.ignore {
            return;
        }
        self.ignore = list;
        let now_ignored = |slot: &Slot| {
            !slot.ordered && matches!(self.ignore.judge(&slot.id), Verdict::Ignored(_))
        };
        let numbers: Vec<u32> = self
            .bans
            .iter()
            .filter(|(_, slot)| now_ignored(slot))
            .map(|(number, _)| number)
            .collect();
        for number in numbers {
            self.release(number, scene);
        }
        self.judge_waiting(scene);
    }

    /// The text of a file of `ignoreip` is known: it may hold names, too.
    pub fn files_changed(&mut self, scene: &mut Scene<'_>) {
        let has_files =
            self.rules.ignoreip.iter().any(|entry| matches!(entry, IgnoreEntry::File(_)));
        if has_files {
            self.ask_names(scene);
            self.reread_ignored(scene);
        }
    }

    /// What is around us changed; `before` is what was. Who must not be banned is let in.
    pub fn surroundings_changed(&mut self, before: &Surroundings, scene: &mut Scene<'_>) {
        let now = &scene.around.given;
        let mut suspects: BTreeSet<u32> = BTreeSet::new();
        let before_it: HashSet<IpAddr> = before.addresses().collect();
        for address in now.addresses().filter(|address| !before_it.contains(address)) {
            suspects.extend(self.bans_around(address));
        }
        if self.bans.has_networks() {
            for network in
                now.connected.iter().filter(|network| !before.connected.contains(network))
            {
                suspects.extend(self.bans.touching(*network));
            }
        }
        for number in suspects {
            let slot = self.bans.get(number);
            if slot.is_some_and(|slot| guard(&self.rules, scene.around, &slot.id).is_some()) {
                self.release(number, scene);
            }
        }
    }

    /// The ban of an address, and that of the prefix around it.
    fn bans_around(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        let id = Id::from(address);
        let own = self.bans.find(&id);
        let around = match own {
            Some(_) => self.bans.touching(Cidr::new(address, 128)),
            None => self.bans.find_around(&id).into_iter().collect(),
        };
        own.into_iter().chain(around)
    }

    fn release(&mut self, number: u32, scene: &mut Scene<'_>) {
        if let Some(slot) = self.bans.remove(number) {
            let reason = match self.ignore.judge(&slot.id) {
                Verdict::Ignored(reason) => Some(reason),
                Verdict::Counts | Verdict::Open => guard(&self.rules, scene.around, &slot.id),
            };
            if let Some(reason) = reason {
                let text = format!("Ignore {} by {reason}", shown(&slot.id));
                self.note(scene, Level::Info, Logger::Filter, &text);
            }
            self.lift(slot, UnbanWhy::Ignored, scene);
        }
    }

    /// What is known of an id.
    pub fn why(&self, id: &Id, around: &Around, now: Timestamp) -> Why {
        let counted_as = self.ignore.counted_as(&self.rules, around, id);
        let ignored = guard(&self.rules, around, id).or(match self.ignore.judge(id) {
            Verdict::Ignored(reason) => Some(reason),
            Verdict::Counts | Verdict::Open => None,
        });
        Why {
            jail: self.name.clone(),
            failures: self.counter.count(&counted_as, now),
            maxretry: self.rules.maxretry,
            last_line: self.counter.last_line(&counted_as),
            ban: self.find_ban(id),
            ignored,
            counted_as,
        }
    }

    /// The jail ends, and its actions with it: the log says who is let in again. Given back are the
    /// failures of which it was not decided yet whether they count.
    pub fn end(mut self, scene: &mut Scene<'_>) -> Vec<Ticket> {
        for slot in self.bans.take().iter().filter(|slot| slot.told) {
            let text = format!("Unban {}", shown(&slot.id));
            self.note(scene, Level::Notice, Logger::Actions, &text);
        }
        self.asks.take_all()
    }
}

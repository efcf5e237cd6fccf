//! What stands around the engine in the simulation: a store, firewalls that fail and forget, and a
//! log whose lines have to be true.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use sentryban::{
    engine::{
        Act, Effects, Entry, History, Input, Outcome, Past, Restored, UnbanWhy, Verb, VerbKind,
    },
    ticket::{Ban, Id, Ticket},
};

use crate::common::Random;

/// Of one jail.
#[derive(Default)]
pub struct Stored {
    pub bans: BTreeMap<Id, (Ban, bool)>,
    pub failures: Vec<Ticket>,
    past: BTreeMap<Id, Past>,
}

/// The store: what a restart brings back.
#[derive(Default)]
pub struct Store {
    pub jails: RefCell<BTreeMap<String, Stored>>,
}

impl History for Store {
    fn past(&self, jail: Option<&str>, id: &Id) -> Option<Past> {
        let jails = self.jails.borrow();
        jails.get(jail?)?.past.get(id).copied()
    }
}

fn past_of(ban: &Ban) -> Past {
    Past { count: ban.count, last: ban.from, time: ban.time }
}

impl Store {
    pub fn write(&self, entry: &Entry) {
        let (Entry::Failure { jail, .. }
        | Entry::Ban { jail, .. }
        | Entry::Spent { jail, .. }
        | Entry::Prolong { jail, .. }
        | Entry::Unban { jail, .. }
        | Entry::Forget { jail, .. }
        | Entry::UnbanAll { jail }) = entry
        else {
            unreachable!("no jail writes {entry:?}")
        };
        let mut jails = self.jails.borrow_mut();
        let stored = jails.entry(jail.to_string()).or_default();
        match entry {
            Entry::Failure { ticket, .. } => stored.failures.push(ticket.clone()),
            Entry::Ban { ban, ordered, .. } => {
                stored.failures.retain(|ticket| ticket.id != ban.id);
                stored.past.insert(ban.id.clone(), past_of(ban));
                let doubled = stored.bans.insert(ban.id.clone(), (ban.clone(), *ordered));
                assert!(doubled.is_none(), "{jail}: {} is stored twice", ban.id);
            }
            Entry::Spent { id, .. } => stored.failures.retain(|ticket| ticket.id != *id),
            Entry::Prolong { ban, ordered, .. } => {
                let known = stored.bans.insert(ban.id.clone(), (ban.clone(), *ordered));
                assert!(known.is_some(), "{jail}: {} is prolonged and not banned", ban.id);
                if let Some(past) = stored.past.get_mut(&ban.id) {
                    past.last = ban.from;
                }
            }
            Entry::Unban { id, why, .. } => {
                let known = stored.bans.remove(id);
                assert!(known.is_some(), "{jail}: {id} is unbanned and not banned");
                if *why == UnbanWhy::Ordered {
                    stored.past.remove(id);
                }
            }
            Entry::Forget { id, .. } => {
                stored.past.remove(id);
            }
            Entry::UnbanAll { .. } => *stored = Stored::default(),
            other => unreachable!("no jail writes {other:?}"),
        }
    }

    pub fn restored(&self, jail: &str) -> (Vec<Restored>, Vec<Ticket>) {
        let jails = self.jails.borrow();
        let Some(stored) = jails.get(jail) else { return Default::default() };
        let bans = stored.bans.values();
        let bans = bans.map(|(ban, ordered)| Restored { ban: ban.clone(), ordered: *ordered });
        (bans.collect(), stored.failures.clone())
    }
}

/// Firewalls, the queue before them, and the log.
#[derive(Default)]
pub struct World {
    pub store: Store,
    /// Whom an action holds, by jail and action.
    pub held: BTreeMap<(String, String), BTreeSet<Id>>,
    /// The actions of each jail.
    pub actions: BTreeMap<String, Vec<&'static str>>,
    acts: VecDeque<Act>,
    outcomes: VecDeque<Outcome>,
    /// Whom the log calls banned, by jail.
    told: BTreeMap<String, BTreeSet<String>>,
    /// The actions that have taken a ban since it was decided, by jail and id.
    taken: BTreeMap<(String, Id), BTreeSet<String>>,
    /// Ids whom actions have given up to let in.
    pub stuck: BTreeSet<String>,
    /// Out of a hundred.
    pub failing: usize,
}

/// Mails decide nothing.
pub const MAIL: &str = "mail";

impl World {
    /// Carries out what the engine wants, as the daemon does: first the store, then the rest.
    pub fn take(&mut self, effects: Effects) {
        for entry in &effects.store {
            if let Entry::Ban { jail, ban, .. } = entry {
                let key = (jail.to_string(), ban.id.clone());
                self.taken.remove(&key);
            }
            self.store.write(entry);
        }
        for note in effects.notes.iter() {
            self.read_log(note.text);
        }
        self.acts.extend(effects.acts);
    }

    /// `Ban` and `Unban` take turns, and `Ban` is said of nobody whom a firewall does not hold.
    fn read_log(&mut self, line: &str) {
        let Some((jail, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] "))
        else {
            return;
        };
        let told = self.told.entry(jail.to_owned()).or_default();
        if let Some(id) = text.strip_prefix("Unban ") {
            assert!(told.remove(id), "{line}: the log never said Ban");
        } else if let Some(id) = text.strip_prefix("Restore Ban ").or(text.strip_prefix("Ban ")) {
            assert!(told.insert(id.to_owned()), "{line}: said twice");
            let key = (jail.to_owned(), Id::parse(id));
            let taken = self.taken.get(&key);
            for action in self.actions[jail].iter().filter(|action| **action != MAIL) {
                let has = taken.is_some_and(|taken| taken.contains(*action));
                assert!(has, "{line}: '{action}' does not hold it");
            }
        } else if let Some((id, _)) = text.split_once(" may still be shut out") {
            self.stuck.insert(id.to_owned());
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.acts.is_empty() && self.outcomes.is_empty()
    }

    /// The next answer of an action, if one is due.
    pub fn answer(&mut self) -> Option<Input> {
        self.outcomes.pop_front().map(Input::Outcome)
    }

    /// A runner carries out one act.
    pub fn act(&mut self, random: &mut Random) {
        let Some(act) = self.acts.pop_front() else { return };
        let jail = act.jail.to_string();
        let names: Vec<&'static str> = match &act.action {
            None => self.actions[&jail].clone(),
            Some(name) => self.actions[&jail].iter().copied().filter(|n| **n == **name).collect(),
        };
        assert!(!names.is_empty(), "{jail}: nobody is to do {:?}", act.verb);
        assert_ne!(act.action.as_deref(), Some(MAIL), "a mail is never sent again");
        for name in names {
            let mut outcome = Outcome {
                jail: act.jail.clone(),
                action: name.into(),
                serial: act.serial,
                verb: act.verb.kind(),
                done: Vec::new(),
                failed: Vec::new(),
                lost: false,
            };
            let held = self.held.entry((jail.clone(), name.to_owned())).or_default();
            let mut fails = || random.below(100) < self.failing;
            if matches!(act.verb, Verb::Flush) {
                match fails() {
                    true => outcome.failed.push((Id::Text("".into()), "busy".to_owned())),
                    false => held.clear(),
                }
            }
            for ban in act.verb.bans() {
                if fails() {
                    outcome.failed.push((ban.id.clone(), "no\nroom".to_owned()));
                    continue;
                }
                outcome.done.push(ban.id.clone());
                if outcome.verb == VerbKind::Unban {
                    held.remove(&ban.id);
                    continue;
                }
                held.insert(ban.id.clone());
                let taken = self.taken.entry((jail.clone(), ban.id.clone())).or_default();
                taken.insert(name.to_owned());
            }
            self.outcomes.push_back(outcome);
        }
    }

    /// Somebody flushes a firewall behind our back, and the runner sees it.
    pub fn lose(&mut self, jail: &str, action: &'static str) {
        self.held.entry((jail.to_owned(), action.to_owned())).or_default().clear();
        self.outcomes.push_back(Outcome {
            jail: Arc::from(jail),
            action: action.into(),
            serial: 0,
            verb: VerbKind::Check,
            done: Vec::new(),
            failed: Vec::new(),
            lost: true,
        });
    }

    /// The daemon is gone, with what was on its way. At its next start it takes from the firewalls
    /// what the store does not know.
    pub fn die(&mut self) {
        self.acts.clear();
        self.outcomes.clear();
        self.told.clear();
        self.taken.clear();
        let jails = self.store.jails.borrow();
        for ((jail, _), held) in &mut self.held {
            held.retain(|id| jails.get(jail).is_some_and(|stored| stored.bans.contains_key(id)));
        }
    }
}

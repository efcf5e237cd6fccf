//! A jail: counts failures, decides on bans, knows when each ends.
//!
//! ```text
//! Ticket ──► guard, ignoreip, ignorecommand ──► Counter ──► BanList ──► Entry, Act ──► store, banactions
//!             who is never banned              maxretry in    │ ▲
//!                                              findtime       │ └── Outcome: held, failed, lost
//!                                                             └──► deadline ──► Entry, Act
//! ```
//!
//! A [`Jail`] is a state machine without input, output or clock. Every call gets a [`Scene`]: what
//! time it is, what is around, what the store knows, and where to put what is to be done. A ban is
//! *decided* here, stored, and *held* when every deciding action has said so; only then the log
//! calls it one. What fails is tried again for as long as the ban lasts.
//!
//! Read `counter.rs` and `bans.rs` first; then `failures.rs` (from a failure to a ban), `hold.rs`
//! (from a ban to the kernel and back), `orders.rs` (what people want). This file ties them.

mod ask;
pub mod bans;
pub mod bantime;
pub mod counter;
pub mod effects;
mod entry;
mod failures;
mod formula;
mod hold;
pub mod ignore;
mod lift;
mod notes;
mod number;
mod orders;
pub mod rules;
mod slab;
mod words;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

pub use ask::COMMAND_WAIT_S;
pub use bans::{BanState, BanView};
pub use effects::{Act, Ask, Effects, Level, Logger, Outcome, Verb, VerbKind};
pub use formula::{FORMULA_BYTES_MAX, Formula, FormulaError};
pub use ignore::{Around, Reason, Session, Surroundings, file_entries};
pub use notes::{Note, Notes};
pub use orders::{Banned, Unbanned, Why};
pub use rules::{ActionRule, IgnoreCache, IgnoreEntry, Increment, Rules};

pub use crate::ticket::{Entry, UnbanWhy};
use crate::{
    ticket::{Ban, BanTime, Id, JailName},
    time::{Timestamp, Zone},
};
use ask::Asks;
use bans::BanList;
use counter::Counter;
use hold::{Restores, Sweep};
use ignore::IgnoreList;
use lift::Lifts;

/// So many bans end, and so many idle ids are forgotten, before other events have their turn.
pub const ENDS_PER_TURN_MAX: usize = 4096;

/// So many bans are held at once in a jail; whoever comes then is not banned, and that is counted.
pub const BANS_MAX: usize = 4_000_000;

/// The counter is swept at most every so many seconds.
const SWEEP_S: i64 = 5;

/// Names in `ignoreip` are looked up again after so many seconds.
pub const NAMES_REFRESH_S: i64 = 300;

/// What the store knows of former bans. It may lag behind by the effects of the call that asks.
pub trait History {
    /// The former bans of an id in one jail, or in all together (`None`); those running count too.
    /// None if there were none, or none that is remembered.
    fn past(&self, jail: Option<&str>, id: &Id) -> Option<Past>;
}

/// Former bans of one id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Past {
    /// How many.
    pub count: u32,
    /// When the last one began.
    pub last: Timestamp,
    /// How long it lasted.
    pub time: BanTime,
}

/// A history of nothing: for a daemon without a store, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHistory;

impl History for NoHistory {
    fn past(&self, _: Option<&str>, _: &Id) -> Option<Past> {
        None
    }
}

/// A ban that the store brings back.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The ban as stored.
    pub ban: Ban,
    /// Somebody ordered it ([`Entry::Ban`]).
    pub ordered: bool,
}

/// The numbers of `status JAIL`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Ids with failures within `findtime`.
    pub failed: u64,
    /// Failures since the jail began.
    pub failed_total: u64,
    /// Bans decided and not known to fail.
    pub banned: u64,
    /// Bans since the jail began, restored ones included.
    pub banned_total: u64,
    /// Bans that some deciding action could not put in force yet.
    pub failing: u64,
}

/// Numbers that nobody foresees, from a seed: for `bantime.rndtime`.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed, which should be unknown to others.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number from 0 to 1 (splitmix64).
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What a jail is told with every call, and what it fills.
pub struct Scene<'a> {
    /// The present moment, by the wall clock.
    pub now: Timestamp,
    /// In which zone log lines tell times.
    pub zone: Zone,
    /// What the store knows of former bans.
    pub history: &'a dyn History,
    /// What is around us.
    pub around: &'a Around,
    /// For random seconds.
    pub chance: &'a mut Chance,
    /// No ban ends before: the clock was set ahead and may be wrong.
    pub hold_until: Option<Timestamp>,
    /// The number of the last act or question of any jail. Numbers are never used again, so what
    /// answers a jail of former days says nothing to one of its name.
    pub serial: &'a mut u64,
    /// Where what is to be done is put.
    pub effects: &'a mut Effects,
}

impl Scene<'_> {
    /// A number that nothing had before.
    fn next_serial(&mut self) -> u64 {
        *self.serial += 1;
        *self.serial
    }
}

/// One jail.
#[derive(Debug)]
pub struct Jail {
    name: JailName,
    rules: Rules,
    /// [`Rules::deciders`].
    deciders: u32,
    ignore: IgnoreList,
    counter: Counter,
    bans: BanList,
    lifts: Lifts,
    asks: Asks,
    /// When which ban is tried again.
    retries: BTreeSet<(Timestamp, u32)>,
    sweeps: Vec<Sweep>,
    restores: Restores,
    /// Bans that there was no room for, not told yet.
    refused: u64,
    idle: bool,
    failed_total: u64,
    banned_total: u64,
    /// When the banactions were last asked whether all is in place.
    checked: Option<Timestamp>,
    /// Before that the counter is not swept again.
    sweep_at: Timestamp,
    /// When the names of `ignoreip` are looked up again.
    names_at: Option<Timestamp>,
    /// Tickets whose waiting is over; only filled within a call.
    ready: VecDeque<failures::Ready>,
}

impl Jail {
    /// A jail without bans; asks for the names and files of its `ignoreip`.
    pub fn new(name: JailName, rules: Rules, scene: &mut Scene<'_>) -> Jail {
        let mut jail = Jail {
            name,
            deciders: rules.deciders(),
            ignore: IgnoreList::new(&rules, scene.around),
            counter: Counter::new(rules.maxretry, rules.findtime_s),
            bans: BanList::default(),
            lifts: Lifts::default(),
            asks: Asks::default(),
            retries: BTreeSet::new(),
            sweeps: Vec::new(),
            restores: Restores::default(),
            refused: 0,
            idle: false,
            failed_total: 0,
            banned_total: 0,
            checked: None,
            sweep_at: Timestamp::from_micros(i64::MIN),
            names_at: None,
            ready: VecDeque::new(),
            rules,
        };
        jail.ask_names(scene);
        jail.ask_files(scene);
        jail
    }

    /// Its name.
    pub fn name(&self) -> &JailName {
        &self.name
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// True if it takes no failures for now.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// An idle jail takes no failures; its bans still end on time.
    pub fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
    }

    /// Its numbers.
    pub fn totals(&self) -> Totals {
        let bans = self.bans.iter();
        let failing = bans.filter(|(_, slot)| matches!(slot.state(), BanState::Failing(_))).count();
        Totals {
            failed: self.counter.len() as u64,
            failed_total: self.failed_total,
            banned: (self.bans.len() - failing) as u64,
            banned_total: self.banned_total,
            failing: failing as u64,
        }
    }

    /// Its bans, in no order.
    pub fn bans(&self) -> impl Iterator<Item = BanView> {
        self.bans.iter().map(|(_, slot)| slot.view())
    }

    /// The ban under which an id is out: its own, or that of a network around it.
    pub fn find_ban(&self, id: &Id) -> Option<BanView> {
        self.bans.find_around(id).and_then(|number| self.bans.get(number)).map(bans::Slot::view)
    }

    /// Does what time has made due.
    pub fn handle_timeout(&mut self, scene: &mut Scene<'_>) {
        self.end_bans(scene);
        self.retry(scene);
        self.retry_lifts(scene);
        self.give_up_waiting(scene);
        if self.names_at.is_some_and(|at| at <= scene.now) {
            self.ask_names(scene);
        }
        if self.sweep_at <= scene.now
            && self.counter.next_expiry().is_some_and(|at| at <= scene.now)
        {
            if self.counter.expire(scene.now, ENDS_PER_TURN_MAX) {
                self.sweep_at = scene.now.plus_secs(SWEEP_S);
            }
            self.report_losses(scene);
        }
    }

    /// When [`Jail::handle_timeout`] wants to be called next; a call too early is harmless.
    #[must_use]
    pub fn next_timeout(&self, hold_until: Option<Timestamp>) -> Option<Timestamp> {
        let end = self.bans.peek_deadline().filter(|_| self.lifts.has_room());
        let end = end.map(|end| hold_until.map_or(end, |hold| end.max(hold)));
        let retry = self.retries.first().map(|(at, _)| *at);
        let idle = self.counter.next_expiry().map(|at| at.max(self.sweep_at));
        [end, retry, idle, self.lifts.next_timeout(), self.asks.next_timeout(), self.names_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// The clock was set by `by_s` seconds: nothing that waits may wait for a time that has gone
    /// or is far off, and kernel timeouts are set anew.
    pub fn handle_clock_step(&mut self, by_s: i64, scene: &mut Scene<'_>) {
        if by_s < 0 {
            self.counter.set_back(scene.now.plus_secs(by_s.saturating_neg()), scene.now);
        }
        self.retries = self.retries.iter().map(|(_, number)| (scene.now, *number)).collect();
        self.lifts.retry_now(scene.now);
        self.asks.restart(scene.now);
        self.checked = None;
        self.sweep_at = scene.now;
        self.names_at = self.names_at.map(|_| scene.now);
        if self.bans.len() > 0 {
            self.start_sweep(None, VerbKind::Prolong, scene);
        }
    }

    /// Puts a ban behind others of the same kind, or into an act of its own; with which act.
    fn act(
        &mut self,
        action: Option<&Arc<str>>,
        kind: VerbKind,
        ban: Ban,
        scene: &mut Scene<'_>,
    ) -> u32 {
        if let Some(last) = scene.effects.acts.last_mut()
            && last.jail == self.name
            && last.action.as_ref() == action
            && last.verb.kind() == kind
            && let Verb::Ban(bans) | Verb::Unban(bans) | Verb::Prolong(bans) = &mut last.verb
            && bans.len() < effects::BANS_PER_ACT_MAX
        {
            bans.push(ban);
            return last.serial as u32;
        }
        let verb = match kind {
            VerbKind::Ban => Verb::Ban(vec![ban]),
            VerbKind::Unban => Verb::Unban(vec![ban]),
            VerbKind::Prolong => Verb::Prolong(vec![ban]),
            VerbKind::Flush => Verb::Flush,
            VerbKind::Check => Verb::Check,
        };
        self.push_act(action.cloned(), verb, scene)
    }

    fn push_act(&mut self, action: Option<Arc<str>>, verb: Verb, scene: &mut Scene<'_>) -> u32 {
        let (jail, serial) = (Arc::clone(&self.name), scene.next_serial());
        scene.effects.acts.push(Act { jail, serial, action, verb });
        serial as u32
    }

    fn note(&self, scene: &mut Scene<'_>, level: Level, logger: Logger, text: &str) {
        scene.effects.notes.of_jail(level, logger, &self.name, text);
    }

    fn ask_names(&mut self, scene: &mut Scene<'_>) {
        let names = |entries: &[IgnoreEntry]| -> Vec<Arc<str>> {
            let names = entries.iter().filter_map(|entry| match entry {
                IgnoreEntry::Name(name) => Some(name.as_str().into()),
                _ => None,
            });
            names.collect()
        };
        let mut wanted = names(&self.rules.ignoreip);
        for entry in &self.rules.ignoreip {
            if let IgnoreEntry::File(path) = entry
                && let Some(entries) = scene.around.files.get(path)
            {
                wanted.extend(names(entries));
            }
        }
        self.names_at = (!wanted.is_empty()).then(|| scene.now.plus_secs(NAMES_REFRESH_S));
        scene.effects.lookups.extend(wanted);
    }

    fn ask_files(&self, scene: &mut Scene<'_>) {
        for entry in &self.rules.ignoreip {
            if let IgnoreEntry::File(path) = entry {
                scene.effects.files.push(path.clone());
            }
        }
    }

    /// What was dropped for want of room is said, once in a while.
    fn report_losses(&mut self, scene: &mut Scene<'_>) {
        let forgotten = self.counter.take_forgotten();
        if forgotten > 0 {
            let most = counter::IDS_MAX;
            let text = format!(
                "{forgotten} idle offender(s) forgotten: more than {most} failed within findtime"
            );
            self.note(scene, Level::Warning, Logger::Filter, &text);
        }
        let refused = std::mem::take(&mut self.refused);
        if refused > 0 {
            let text = format!("{refused} offender(s) not banned: {BANS_MAX} are already");
            self.note(scene, Level::Error, Logger::Actions, &text);
        }
        let dropped = self.asks.take_dropped();
        if dropped > 0 {
            let most = ask::WAITING_MAX;
            let text = format!(
                "{dropped} failure(s) dropped: more than {most} wait to learn who is ignored"
            );
            self.note(scene, Level::Warning, Logger::Filter, &text);
        }
    }
}

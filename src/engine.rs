//! All jails: an event goes in, what is to be done comes out.
//!
//! ```text
//! Input, now, History ──► Engine::handle ──► Effects: store · acts · asks · lookups · files · notes
//! order (banip …)     ──► Engine::ban …  ──► an answer, and Effects
//! ```
//!
//! The rule of use: carry out the effects of each call in the order that [`Effects`] tells, call
//! [`Engine::handle_timeout`] when [`Engine::next_timeout`] is reached (a call too early is
//! harmless), and answer every [`Act`] with an [`Outcome`] of each action that it went to.
//!
//! The evidence of a ban in an act is that of its last failure when the ban is decided, and empty
//! when it is repeated or lifted: the store knows it all, and whoever runs an action with
//! `<matches>` asks there.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc};

use indexmap::IndexMap;

pub use crate::jail::{
    Act, ActionRule, Ask, BanState, BanView, Banned, Effects, Entry, History, IgnoreEntry, Jail,
    Level, Logger, NoHistory, Note, Notes, Outcome, Past, Reason, Restored, Rules, Session,
    Surroundings, Totals, UnbanWhy, Unbanned, Verb, VerbKind, Why, file_entries,
};
use crate::{
    jail::{Around, Chance, Scene},
    ticket::{BanTime, Id, JailName, Ticket},
    time::{Timestamp, Zone},
};

/// After a step forward by more than so many seconds the clock may be wrong …
pub const STEP_S_MAX: i64 = 3600;

/// … and no ban ends for so many seconds, unless the kernel calls it synchronised.
pub const HOLD_S: i64 = 60;

/// What every call is told, and what it fills.
pub struct Turn<'a> {
    /// The present moment, by the wall clock.
    pub now: Timestamp,
    /// What the store knows of former bans.
    pub history: &'a dyn History,
    /// Where what is to be done is put, behind what is there.
    pub effects: &'a mut Effects,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A reader found failures, in the order of its log.
    Failures {
        /// Whose.
        jail: JailName,
        /// What.
        tickets: Vec<Ticket>,
    },
    /// An action answers.
    Outcome(Outcome),
    /// `ignorecommand` answers an [`Ask`].
    Answer {
        /// Whose jail.
        jail: JailName,
        /// [`Ask::number`].
        number: u64,
        /// Exit code 0: ignore.
        ignored: bool,
    },
    /// What is around us changed: all of it, as it is now.
    Surroundings(Box<Surroundings>),
    /// The resolver answers one of [`Effects::lookups`]; an empty list is an answer, too. Where
    /// it could not find out, what was known is better left alone: answer nothing.
    Name {
        /// The name.
        name: Arc<str>,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// The text of one of [`Effects::files`], now or after a change; none if it cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: Option<String>,
    },
    /// The wall clock was set.
    ClockStep {
        /// By so many seconds; forward if positive.
        by_s: i64,
        /// The kernel calls the clock synchronised.
        synchronised: bool,
    },
    /// The kernel calls the clock synchronised from now on.
    Synchronised,
}

/// All jails and what they share.
#[derive(Debug)]
pub struct Engine {
    zone: Zone,
    chance: Chance,
    around: Around,
    jails: IndexMap<JailName, Jail>,
    hold_until: Option<Timestamp>,
    /// Of the last act or question.
    serial: u64,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrderError {
    /// There is no jail of this name.
    NoJail(String),
    /// The jail is there already.
    JailExists(String),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderError::NoJail(name) => write!(f, "there is no jail '{name}'"),
            OrderError::JailExists(name) => write!(f, "the jail '{name}' is there already"),
        }
    }
}

impl std::error::Error for OrderError {}

impl Engine {
    /// An engine without jails. `zone` is that of times in log lines; `seed` starts the chance of
    /// `bantime.rndtime`, so it should be unknown to others.
    pub fn new(zone: Zone, seed: u64) -> Engine {
        Engine {
            zone,
            chance: Chance::new(seed),
            around: Around::default(),
            jails: IndexMap::new(),
            hold_until: None,
            serial: 0,
        }
    }

    /// Something happened. What names a jail that is not there (any more) is dropped.
    pub fn handle(&mut self, input: Input, turn: &mut Turn<'_>) {
        match input {
            Input::Failures { jail, tickets } => {
                self.with(&jail, turn, |jail, scene| {
                    for ticket in tickets {
                        jail.handle_failure(ticket, scene);
                    }
                });
            }
            Input::Outcome(outcome) => {
                let name = outcome.jail.clone();
                self.with(&name, turn, |jail, scene| jail.handle_outcome(&outcome, scene));
            }
            Input::Answer { jail, number, ignored } => {
                self.with(&jail, turn, |jail, scene| jail.handle_answer(number, ignored, scene));
            }
            Input::Surroundings(given) => {
                let before = std::mem::replace(&mut self.around.given, *given);
                self.each(turn, |jail, scene| jail.surroundings_changed(&before, scene));
            }
            Input::Name { name, mut addresses } => {
                addresses.sort_unstable();
                if self.around.names.get(&name) != Some(&addresses) {
                    self.around.names.insert(name, addresses);
                    self.each(turn, Jail::reread_ignored);
                }
            }
            Input::File { path, text } => {
                let (entries, unread) = file_entries(text.as_deref().unwrap_or_default());
                let shown = path.display().to_string();
                self.around.files.insert(path, entries);
                if let Some(first) = unread.first() {
                    let text = format!(
                        "ignoreip file {shown}: {} word(s) are no address, network or name, such as {first:?}",
                        unread.len()
                    );
                    turn.effects.notes.push(Level::Warning, Logger::Filter, &text);
                }
                self.each(turn, Jail::files_changed);
            }
            Input::ClockStep { by_s, synchronised } => self.clock_step(by_s, synchronised, turn),
            Input::Synchronised => self.hold_until = None,
        }
    }

    fn clock_step(&mut self, by_s: i64, synchronised: bool, turn: &mut Turn<'_>) {
        let doubtful = by_s > STEP_S_MAX && !synchronised;
        // A hold that began before another step is measured anew.
        if doubtful || self.hold_until.is_some() {
            self.hold_until = (!synchronised).then(|| turn.now.plus_secs(HOLD_S));
        }
        self.each(turn, |jail, scene| jail.handle_clock_step(by_s, scene));
    }

    /// Does what time has made due: bans end, failed ones are tried again.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.hold_until = self.hold_until.filter(|hold| turn.now < *hold);
        self.each(turn, Jail::handle_timeout);
    }

    /// When [`Engine::handle_timeout`] wants to be called next; ask after every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.jails.values().filter_map(|jail| jail.next_timeout(self.hold_until)).min()
    }

    /// A jail begins.
    ///
    /// # Errors
    /// It is there already.
    pub fn add_jail(
        &mut self,
        name: &str,
        rules: Rules,
        turn: &mut Turn<'_>,
    ) -> Result<(), OrderError> {
        if self.jails.contains_key(name) {
            return Err(OrderError::JailExists(name.to_owned()));
        }
        let name: JailName = name.into();
        let (_, mut scene) = self.scene(turn);
        let jail = Jail::new(Arc::clone(&name), rules, &mut scene);
        self.jails.insert(name, jail);
        Ok(())
    }

    /// Brings back what the store holds of a jail: bans (in batches of any size, one call each) and
    /// failures that still count. Call it before the jail's readers begin, and after
    /// [`Input::Surroundings`], [`Input::Name`] and [`Input::File`] as far as they are known.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn restore(
        &mut self,
        jail: &str,
        bans: Vec<Restored>,
        failures: Vec<Ticket>,
        turn: &mut Turn<'_>,
    ) -> Result<(), OrderError> {
        self.order(jail, turn, |jail, scene| jail.restore(bans, failures, scene))
    }

    /// A jail ends; its bans stay stored. The daemon stops its actions, which lets everybody in;
    /// the lines that say so are among the effects. Failures that still waited to learn whether
    /// somebody is ignored are given back: a jail that takes its place at once has them judged.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn remove_jail(
        &mut self,
        jail: &str,
        turn: &mut Turn<'_>,
    ) -> Result<Vec<Ticket>, OrderError> {
        let gone = self.jails.shift_remove(jail);
        let gone = gone.ok_or_else(|| OrderError::NoJail(jail.to_owned()))?;
        let (_, mut scene) = self.scene(turn);
        Ok(gone.end(&mut scene))
    }

    /// The rules of a jail.
    pub fn rules(&self, jail: &str) -> Option<&Rules> {
        self.jails.get(jail).map(Jail::rules)
    }

    /// A reload, or `set JAIL OPTION`: other rules for a running jail. Counters and bans stay. Bans
    /// that are longer than the new rules allow are shortened, those of ids that are now ignored
    /// are lifted (neither if ordered); an action that is new gets all bans, so its runner must
    /// know it first. An action that was replaced under its old name answers with
    /// [`Outcome::lost`], and gets all bans, too.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn set_rules(
        &mut self,
        jail: &str,
        rules: Rules,
        turn: &mut Turn<'_>,
    ) -> Result<(), OrderError> {
        self.order(jail, turn, |jail, scene| jail.set_rules(rules, scene))
    }

    /// `set JAIL idle on|off`: an idle jail takes no failures; its bans still end on time.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn set_idle(&mut self, jail: &str, idle: bool) -> Result<(), OrderError> {
        let found = self.jails.get_mut(jail);
        found.ok_or_else(|| OrderError::NoJail(jail.to_owned()))?.set_idle(idle);
        Ok(())
    }

    /// True if the jail is idle.
    pub fn is_idle(&self, jail: &str) -> bool {
        self.jails.get(jail).is_some_and(Jail::is_idle)
    }

    /// `set JAIL banip`: at once, exactly these ids, for `time` if given, else for the jail's
    /// (growth included). Not even by order: our own addresses, link-local ones, protected ones,
    /// live sessions, networks around these.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn ban(
        &mut self,
        jail: &str,
        ids: &[Id],
        time: Option<BanTime>,
        turn: &mut Turn<'_>,
    ) -> Result<Banned, OrderError> {
        self.order(jail, turn, |jail, scene| jail.ban(ids, time, scene))
    }

    /// `unbanip`: in one jail, or in all. An address finds the ban of a prefix around it, a network
    /// all bans within. Past bans of the ids are forgotten, banned or not. With all jails, missed
    /// are those who were banned in none.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn unban(
        &mut self,
        jail: Option<&str>,
        ids: &[Id],
        turn: &mut Turn<'_>,
    ) -> Result<Unbanned, OrderError> {
        if let Some(jail) = jail {
            return self.order(jail, turn, |jail, scene| jail.unban(ids, scene));
        }
        let mut all = Unbanned { lifted: 0, missed: ids.to_vec() };
        self.each(turn, |jail, scene| {
            let unbanned = jail.unban(ids, scene);
            all.lifted += unbanned.lifted;
            all.missed.retain(|id| unbanned.missed.contains(id));
        });
        Ok(all)
    }

    /// `unban --all`: everybody, in one jail or in all; the number of bans lifted.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn unban_all(
        &mut self,
        jail: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Result<usize, OrderError> {
        if let Some(jail) = jail {
            return self.order(jail, turn, Jail::unban_all);
        }
        let mut lifted = 0;
        self.each(turn, |jail, scene| lifted += jail.unban_all(scene));
        Ok(lifted)
    }

    /// `set JAIL attempt ID [LINES]`: a failure for each line, whoever ignores the id.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn attempt(
        &mut self,
        jail: &str,
        id: &Id,
        lines: Vec<Arc<str>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), OrderError> {
        self.order(jail, turn, |jail, scene| jail.attempt(id, lines, scene))
    }

    /// The names of all jails, in the order in which they were added.
    pub fn jails(&self) -> impl Iterator<Item = &JailName> {
        self.jails.keys()
    }

    /// One jail.
    pub fn jail(&self, name: &str) -> Option<&Jail> {
        self.jails.get(name)
    }

    /// The numbers of a jail.
    pub fn totals(&self, jail: &str) -> Option<Totals> {
        self.jails.get(jail).map(Jail::totals)
    }

    /// The bans of a jail, in no order; nothing for a jail that is not there.
    pub fn bans(&self, jail: &str) -> impl Iterator<Item = BanView> {
        self.jails.get(jail).into_iter().flat_map(Jail::bans)
    }

    /// The ban under which an id is out in a jail: its own, or that of a prefix around it.
    pub fn find_ban(&self, jail: &str, id: &Id) -> Option<BanView> {
        self.jails.get(jail)?.find_ban(id)
    }

    /// What is known of an id, jail by jail.
    pub fn why(&self, id: &Id, now: Timestamp) -> Vec<Why> {
        self.jails.values().map(|jail| jail.why(id, &self.around, now)).collect()
    }

    /// Whether lines of our own sensor count in a jail when they come back through a log: unless
    /// it says so itself, not while some jail hears the sensor directly.
    pub fn counts_own_lines(&self, jail: &str) -> bool {
        let said = self.jails.get(jail).and_then(|jail| jail.rules().count_own_lines);
        said.unwrap_or_else(|| !self.jails.values().any(|jail| jail.rules().sensor))
    }

    /// Who must never be banned, as known now.
    pub fn surroundings(&self) -> &Surroundings {
        &self.around.given
    }

    fn scene<'a>(
        &'a mut self,
        turn: &'a mut Turn<'_>,
    ) -> (&'a mut IndexMap<JailName, Jail>, Scene<'a>) {
        let scene = Scene {
            now: turn.now,
            zone: self.zone,
            history: turn.history,
            around: &self.around,
            chance: &mut self.chance,
            hold_until: self.hold_until,
            serial: &mut self.serial,
            effects: turn.effects,
        };
        (&mut self.jails, scene)
    }

    fn with<T>(
        &mut self,
        jail: &str,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut Jail, &mut Scene<'_>) -> T,
    ) -> Option<T> {
        let (jails, mut scene) = self.scene(turn);
        Some(act(jails.get_mut(jail)?, &mut scene))
    }

    fn order<T>(
        &mut self,
        jail: &str,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut Jail, &mut Scene<'_>) -> T,
    ) -> Result<T, OrderError> {
        self.with(jail, turn, act).ok_or_else(|| OrderError::NoJail(jail.to_owned()))
    }

    fn each(&mut self, turn: &mut Turn<'_>, mut act: impl FnMut(&mut Jail, &mut Scene<'_>)) {
        let (jails, mut scene) = self.scene(turn);
        for jail in jails.values_mut() {
            act(jail, &mut scene);
        }
    }
}

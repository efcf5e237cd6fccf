//! All jails: an event goes in, what is to be done comes out.
//!
//! ```text
//! Input, now, History ──► Engine::handle ──► Effects: store · acts · asks · lookups · notes
//! order (banip …)     ──► Engine::ban …  ──► an answer, and Effects
//! ```
//!
//! The rule of use: carry out the effects of each call in the order that
//! [`Effects`](crate::jail::Effects) tells, call [`Engine::handle_timeout`] when
//! [`Engine::next_timeout`] is reached (a call too early is harmless), and answer every
//! [`Act`](crate::jail::Act) with an [`Outcome`](crate::jail::Outcome) of each action it went to.

use std::{fmt, sync::Arc};

pub use crate::jail::{
    Act, ActionRule, Ask, BanState, BanView, Effects, Entry, History, IgnoreEntry, Level, Logger,
    Note, Outcome, Past, Restored, Rules, Surroundings, Totals, UnbanCause, Verb, VerbKind,
};
use crate::{
    ticket::{BanTime, Id, JailName, Ticket},
    time::{Timestamp, Zone},
};

/// What every call is told and fills.
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
    /// What is around us changed.
    Surroundings(Box<Surroundings>),
    /// The wall clock was set.
    ClockStep {
        /// By so many seconds; forward if positive.
        by_s: i64,
        /// The kernel calls the clock synchronised.
        synchronised: bool,
    },
}

/// All jails and what they share.
#[derive(Debug)]
pub struct Engine {
    zone: Zone,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrderError {
    /// There is no jail of this name.
    NoJail(String),
    /// The jail is there already.
    JailExists(String),
}

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

/// What the engine knows of an id in one jail.
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
    /// Its ban, if it is banned: its own, or that of a prefix around it.
    pub ban: Option<BanView>,
    /// Why it would not be banned, in fail2ban's words (`ip`, `dns`, `ignoreself rule`) or ours.
    pub ignored: Option<String>,
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

#[allow(unused_variables)]
impl Engine {
    /// An engine without jails. `zone` is that of times in log lines; `seed` starts the chance of
    /// `bantime.rndtime`, so it should be unknown to others.
    pub fn new(zone: Zone, seed: u64) -> Engine {
        Engine { zone }
    }

    /// Something happened. What names a jail that is not there (any more) is dropped.
    pub fn handle(&mut self, input: Input, turn: &mut Turn<'_>) {}

    /// Does what time has made due: bans end, failed ones are tried again.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {}

    /// When [`Engine::handle_timeout`] wants to be called next; ask after every other call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        None
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
        Ok(())
    }

    /// Brings back what the store holds of a jail: bans (in batches of any size, one call each) and
    /// failures that still count. Before the jail's readers begin.
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
        Ok(())
    }

    /// A jail ends; its bans stay stored, and the daemon stops its actions (which flushes).
    ///
    /// # Errors
    /// There is no such jail.
    pub fn remove_jail(&mut self, jail: &str, turn: &mut Turn<'_>) -> Result<(), OrderError> {
        Ok(())
    }

    /// The rules of a jail.
    pub fn rules(&self, jail: &str) -> Option<&Rules> {
        None
    }

    /// A reload, or `set JAIL OPTION`: other rules for a running jail. Counters and bans stay. Bans
    /// that are longer than the new rules allow are shortened, those of ids that are now ignored
    /// are lifted (neither if ordered); an action that is new gets all bans.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn set_rules(
        &mut self,
        jail: &str,
        rules: Rules,
        turn: &mut Turn<'_>,
    ) -> Result<(), OrderError> {
        Ok(())
    }

    /// `set JAIL idle on|off`: an idle jail takes no failures; its bans still end on time.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn set_idle(&mut self, jail: &str, idle: bool) -> Result<(), OrderError> {
        Ok(())
    }

    /// True if the jail is idle.
    pub fn is_idle(&self, jail: &str) -> bool {
        false
    }

    /// `set JAIL banip`: at once, for `time` if given, else for the jail's (growth included). Not
    /// even by order: own addresses, link-local ones, protected ones, live sessions.
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
        Ok(Banned::default())
    }

    /// `unbanip`: in one jail, or in all. An address finds the ban of a prefix around it, a network
    /// all bans within. Past bans of the ids are forgotten, banned or not.
    ///
    /// # Errors
    /// There is no such jail.
    pub fn unban(
        &mut self,
        jail: Option<&str>,
        ids: &[Id],
        turn: &mut Turn<'_>,
    ) -> Result<Unbanned, OrderError> {
        Ok(Unbanned::default())
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
        Ok(0)
    }

    /// `set JAIL attempt ID [LINES]`: counts as a failure (one for each line) that nobody ignores.
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
        Ok(())
    }

    /// The names of all jails, in the order in which they were added.
    pub fn jails(&self) -> impl Iterator<Item = &JailName> {
        std::iter::empty()
    }

    /// The numbers of a jail.
    pub fn totals(&self, jail: &str) -> Option<Totals> {
        None
    }

    /// The bans of a jail, in no order; nothing for a jail that is not there.
    pub fn bans(&self, jail: &str) -> impl Iterator<Item = BanView> {
        std::iter::empty()
    }

    /// The ban under which an id is out in a jail: its own, or that of a prefix around it.
    pub fn find_ban(&self, jail: &str, id: &Id) -> Option<BanView> {
        None
    }

    /// What is known of an id, jail by jail.
    pub fn why(&self, id: &Id, now: Timestamp) -> Vec<Why> {
        Vec::new()
    }
}

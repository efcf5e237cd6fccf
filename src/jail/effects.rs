//! What is to be done: [`Effects`], filled by the jails, carried out by the daemon.
//!
//! The order in which to carry them out: [`store`](Effects::store) in one transaction, then
//! [`acts`](Effects::acts) to each jail's runner in their order, the rest at leisure. Everything is
//! an owned value; nothing here waits or fails.

use std::{path::PathBuf, sync::Arc};

use super::notes::Notes;
use crate::ticket::{Ban, Entry, Id, JailName, Ticket};

/// So many bans are put in one [`Act`] at most.
pub const BANS_PER_ACT_MAX: usize = 4096;

/// What is to be done after an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// To be written down, in this order, before anything else is done.
    pub store: Vec<Entry>,
    /// To be done by banactions, in this order within a jail.
    pub acts: Vec<Act>,
    /// Questions to `ignorecommand`; each is answered once
    /// ([`Input::Answer`](crate::engine::Input::Answer)).
    pub asks: Vec<Ask>,
    /// Names whose addresses are wanted (again), for `ignoreip`.
    pub lookups: Vec<Arc<str>>,
    /// Files whose text is wanted, now and whenever it changes, for `ignoreip`.
    pub files: Vec<PathBuf>,
    /// Lines for the log.
    pub notes: Notes,
}

/// Something for the banactions of a jail.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// Whose jail.
    pub jail: JailName,
    /// Its number, growing within a jail, to be handed back with each answer.
    pub serial: u64,
    /// For this action alone; for all of the jail if none. With all, those with `norestored` leave
    /// restored bans out.
    pub action: Option<Arc<str>>,
    /// What.
    pub verb: Verb,
}

/// What banactions do. Each is answered by an [`Outcome`] of each action.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Shut out. A ban may come again for an id that is out already (a retry, a restart, a kernel
    /// that lost it): it must hold afterwards, with the new end.
    Ban(Vec<Ban>),
    /// Let in again. One with `restored` may have gone on its own (its time was over before the
    /// daemon came back): that is no failure.
    Unban(Vec<Ban>),
    /// Hold with another end.
    Prolong(Vec<Ban>),
    /// Let all in again.
    Flush,
    /// Look whether what should be there is there; answer with [`Outcome::lost`] if not.
    Check,
}

/// [`Verb`] without what it is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VerbKind {
    /// [`Verb::Ban`].
    Ban,
    /// [`Verb::Unban`].
    Unban,
    /// [`Verb::Prolong`].
    Prolong,
    /// [`Verb::Flush`].
    Flush,
    /// [`Verb::Check`].
    Check,
}

impl Verb {
    /// Which one it is.
    pub fn kind(&self) -> VerbKind {
        match self {
            Verb::Ban(_) => VerbKind::Ban,
            Verb::Unban(_) => VerbKind::Unban,
            Verb::Prolong(_) => VerbKind::Prolong,
            Verb::Flush => VerbKind::Flush,
            Verb::Check => VerbKind::Check,
        }
    }

    /// The bans it is about.
    pub fn bans(&self) -> &[Ban] {
        match self {
            Verb::Ban(bans) | Verb::Unban(bans) | Verb::Prolong(bans) => bans,
            Verb::Flush | Verb::Check => &[],
        }
    }
}

/// What one action made of one [`Act`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whose jail.
    pub jail: JailName,
    /// Which of its actions.
    pub action: Arc<str>,
    /// [`Act::serial`] of the act that it answers: of the last one, if several were done at once
    /// (only neighbours of one kind may be). 0 if nobody asked.
    pub serial: u64,
    /// What was asked for.
    pub verb: VerbKind,
    /// It worked for these. An action that leaves a ban out on purpose (`norestored`, no such hook)
    /// names it here, too.
    pub done: Vec<Id>,
    /// It did not work for these, with the reason on one line.
    pub failed: Vec<(Id, String)>,
    /// The action found that what it held is gone (somebody flushed the firewall): every ban is
    /// handed to it anew.
    pub lost: bool,
}

/// A question to `ignorecommand`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Whose jail.
    pub jail: JailName,
    /// To be handed back with the answer.
    pub number: u64,
    /// The command with its tags (`<ip>`, `<F-USER>` …): whoever runs it gives them as environment
    /// variables, never as text of the command.
    pub command: Arc<str>,
    /// Whose failure it is.
    pub ticket: Ticket,
}

/// Levels of the log, under fail2ban's names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// `DEBUG`.
    Debug,
    /// `INFO`.
    Info,
    /// `NOTICE`.
    Notice,
    /// `WARNING`.
    Warning,
    /// `ERROR`.
    Error,
}

/// Loggers of fail2ban that speak of jails.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Logger {
    /// `filter`: what was found and what was ignored.
    Filter,
    /// `actions`: bans.
    Actions,
    /// `observer`: how bans grow.
    Observer,
    /// `jail`: a jail as a whole.
    Jail,
}

impl Logger {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Logger::Filter => "filter",
            Logger::Actions => "actions",
            Logger::Observer => "observer",
            Logger::Jail => "jail",
        }
    }
}

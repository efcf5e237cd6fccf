//! A jail: counts failures, decides on bans, knows when each ends.

pub mod bantime;
pub mod effects;
mod entry;
pub mod rules;

pub use bantime::{Formula, FormulaError};
pub use effects::{
    Act, Ask, Effects, Entry, Level, Logger, Note, Outcome, UnbanCause, Verb, VerbKind,
};
pub use rules::{ActionRule, IgnoreCache, IgnoreEntry, Increment, Rules};

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc};

use crate::{
    net::Cidr,
    ticket::{Ban, Id},
    time::Timestamp,
};

/// What the store knows of former bans.
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
    pub time: crate::ticket::BanTime,
}

/// What is around us, and must never be banned: handed in, and again whenever it changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// Addresses of this host.
    pub own: Vec<IpAddr>,
    /// Networks that our interfaces stand in.
    pub connected: Vec<Cidr>,
    /// The default gateways and the resolvers.
    pub protected: Vec<IpAddr>,
    /// Where administrators are logged in from.
    pub sessions: Vec<IpAddr>,
    /// Addresses of the names in `ignoreip`, as far as the resolver has answered. An empty list is
    /// an answer as well.
    pub names: HashMap<Arc<str>, Vec<IpAddr>>,
    /// The entries of the files in `ignoreip`.
    pub files: HashMap<PathBuf, Vec<IgnoreEntry>>,
}

/// A ban that the store brings back.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The ban as stored.
    pub ban: Ban,
    /// Somebody ordered it ([`Entry::Ban`]).
    pub ordered: bool,
}

/// Where a ban stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BanState {
    /// Decided, and no banaction has answered yet.
    Pending,
    /// All deciding actions hold it.
    Held,
    /// Some deciding action failed, so many times; it is tried again.
    Failing(u32),
}

/// A ban as listings show it.
#[derive(Clone, Debug, PartialEq)]
pub struct BanView {
    /// Who.
    pub id: Id,
    /// Since when.
    pub from: Timestamp,
    /// Until when; none for good.
    pub until: Option<Timestamp>,
    /// Which ban of this id it is.
    pub count: u32,
    /// Failures that led to it.
    pub failures: u32,
    /// Where it stands.
    pub state: BanState,
    /// Somebody ordered it.
    pub ordered: bool,
}

/// The numbers of `status JAIL`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Ids with failures within `findtime`.
    pub failed: u64,
    /// Failures since the jail began.
    pub failed_total: u64,
    /// Bans in force (those that fail again and again are not).
    pub banned: u64,
    /// Bans since the jail began, restored ones included.
    pub banned_total: u64,
    /// Bans that no banaction could yet put in force.
    pub failing: u64,
}

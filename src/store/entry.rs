//! What is written down: the entries of a batch.

use std::sync::Arc;

use crate::{
    ticket::{Ban, BanTime, Id, JailName, Ticket},
    time::Timestamp,
};

/// One thing that happened. Entries of one batch are written in their order and all at once: after
/// a crash either all of them are there or none.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A jail runs with this `findtime` (seconds): its failures are kept for as long.
    JailStart {
        /// Which jail.
        jail: JailName,
        /// Its `findtime`, in seconds.
        findtime_s: u64,
    },
    /// A jail is gone for good: its bans end (they stay in the history), its failures are forgotten.
    ForgetJail {
        /// Which jail.
        jail: JailName,
    },
    /// A failure was counted. Those of one id and one moment are one row with their sum.
    Failure {
        /// Which jail counted it.
        jail: JailName,
        /// The failure.
        ticket: Ticket,
    },
    /// All failures of an id are forgotten.
    ForgetFailures {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
    },
    /// An id is banned; its failures in this jail become the evidence, where the ban brings less
    /// of its own, and are forgotten. The same ban (jail, id, beginning) once more changes the row;
    /// another one moves the row before it into the history.
    Ban {
        /// In which jail.
        jail: JailName,
        /// The ban.
        ban: Ban,
    },
    /// The current ban of an id lasts so long, counted from its beginning as before.
    Prolong {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
        /// Its whole length now.
        time: BanTime,
    },
    /// The ban of an id is over: it moves into the history, and the failures of the id are forgotten.
    Unban {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
        /// When it was lifted.
        when: Timestamp,
        /// What ended it.
        why: UnbanWhy,
    },
    /// How far a source has been read. The store does not look into it.
    Position {
        /// The source: a path, or the name of a journal.
        key: Arc<str>,
        /// Whatever the source needs for going on.
        value: Arc<str>,
    },
    /// A position is of no use any more.
    ForgetPosition {
        /// The source.
        key: Arc<str>,
    },
    /// The totals of a jail.
    Counters {
        /// Which jail.
        jail: JailName,
        /// The totals, which replace those before.
        counters: Counters,
    },
}

/// What ended a ban.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnbanWhy {
    /// Its time was over.
    Lapsed,
    /// Somebody lifted it. Such an entry is on the disk before [`commit`](super::Store::commit)
    /// returns: not even a power cut brings the ban back.
    Manual,
    /// Its jail is gone, or another ban of the same id took its place.
    Replaced,
}

/// Totals of a jail since its first start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Failures.
    pub failed: u64,
    /// Bans.
    pub banned: u64,
}

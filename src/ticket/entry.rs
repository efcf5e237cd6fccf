//! What is written down: jails say what is to be remembered, the daemon adds how far it has read, and
//! the store keeps it.

use std::sync::Arc;

use super::{Ban, Id, JailName, Ticket};
use crate::time::Timestamp;

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
    /// An id is banned; its failures in this jail are forgotten, and their lines become the
    /// evidence where the ban brings fewer of its own. The same ban (jail, id, beginning) once more
    /// changes the row; another one moves the row before it into the history.
    Ban {
        /// In which jail.
        jail: JailName,
        /// The ban. A jail gives it the evidence of the last failure alone.
        ban: Ban,
        /// Somebody ordered it: neither a change of `bantime` nor of `ignoreip` touches it.
        ordered: bool,
    },
    /// The failures of an id are forgotten, though they led to no ban.
    Spent {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
    },
    /// The current ban of the id is now this one: beginning, length and counts change, its evidence
    /// does not, and its failures are forgotten. Nothing changes if the id is not banned.
    Prolong {
        /// In which jail.
        jail: JailName,
        /// The ban as it is now.
        ban: Ban,
        /// Somebody ordered it.
        ordered: bool,
    },
    /// The ban of an id is over: it moves into the history, and the failures of the id are forgotten.
    Unban {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
        /// What ended it.
        why: UnbanWhy,
    },
    /// A clean slate for an id that is not banned: its failures are forgotten, and its past bans do
    /// not count any more.
    Forget {
        /// In which jail.
        jail: JailName,
        /// Whose.
        id: Id,
    },
    /// A clean slate for a jail: all its bans are over by order, its failures are forgotten, and
    /// past bans do not count any more.
    UnbanAll {
        /// Which jail.
        jail: JailName,
    },
    /// A ban that is over already, of another program (`import`): for the history alone. Nothing
    /// happens if it is there.
    PastBan {
        /// In which jail.
        jail: JailName,
        /// The ban.
        ban: Ban,
        /// When it ended.
        end: Timestamp,
    },
    /// How far a source has been read. The store does not look into it.
    Position {
        /// The source: a path, or the name of a journal.
        key: Arc<str>,
        /// Whatever the source needs for going on.
        value: Arc<[u8]>,
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

impl Entry {
    /// True if somebody ordered it, so that it must not be undone by a power cut.
    pub fn is_order(&self) -> bool {
        matches!(
            self,
            Entry::Unban { why: UnbanWhy::Ordered, .. }
                | Entry::Forget { .. }
                | Entry::UnbanAll { .. }
        )
    }
}

/// What ended a ban.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnbanWhy {
    /// Its time was over.
    Lapsed,
    /// Somebody lifted it: it and those before it in this jail do not count any more. Such an entry
    /// is on the disk before [`commit`](crate::store::Store::commit) returns: not even a power cut brings
    /// the ban back.
    Ordered,
    /// The id is ignored now, or protected.
    Ignored,
    /// Its jail is gone, or another ban of the same id took its place.
    Replaced,
}

impl UnbanWhy {
    /// The number under which the store keeps it.
    pub fn code(self) -> i64 {
        match self {
            UnbanWhy::Lapsed => 0,
            UnbanWhy::Ordered => 1,
            UnbanWhy::Ignored => 2,
            UnbanWhy::Replaced => 3,
        }
    }

    /// What such a number stands for.
    pub fn from_code(code: i64) -> UnbanWhy {
        match code {
            1 => UnbanWhy::Ordered,
            2 => UnbanWhy::Ignored,
            3 => UnbanWhy::Replaced,
            _ => UnbanWhy::Lapsed,
        }
    }
}

/// Totals of a jail since its first start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Failures.
    pub failed: u64,
    /// Bans.
    pub banned: u64,
}

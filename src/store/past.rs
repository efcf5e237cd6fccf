//! What the store remembers of an id.

use std::sync::Arc;

use crate::{
    store::UnbanWhy,
    ticket::{BanTime, Evidence, JailName},
    time::Timestamp,
};

/// How often an id was banned: what `bantime.increment` grows by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Past {
    /// Which ban the last one was, counted from 1; over several jails their sum.
    pub count: u32,
    /// When the last one began.
    pub last: Timestamp,
    /// How long that one was.
    pub time: BanTime,
}

/// A ban, as the history holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct PastBan {
    /// In which jail.
    pub jail: JailName,
    /// Since when.
    pub from: Timestamp,
    /// For how long.
    pub time: BanTime,
    /// Which ban of this id in this jail it was, counted from 1.
    pub count: u32,
    /// How many failures led to it.
    pub failures: u32,
    /// When and how it ended; none if it still stands.
    pub end: Option<(Timestamp, UnbanWhy)>,
    /// What led to it, as far as it is still kept.
    pub evidence: Arc<Evidence>,
}

/// What several bans of one id have against it: the tags `ipmatches`, `ipfailures` and their like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The lines, oldest first, at most `dbmaxmatches` of them.
    pub lines: Vec<Arc<str>>,
    /// The failures, all bans together.
    pub failures: u64,
    /// How many bans that were.
    pub bans: u64,
}

/// What is known of a jail.
#[derive(Clone, Debug, PartialEq)]
pub struct JailRow {
    /// Its name.
    pub jail: JailName,
    /// Its `findtime` when it last started, in seconds.
    pub findtime_s: u64,
    /// Bans that stand.
    pub current: u64,
    /// Totals since its first start.
    pub counters: crate::store::Counters,
}

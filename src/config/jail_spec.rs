//! What a jail is told: every option parsed into its type. An invalid jail cannot be written down
//! here; what is wrong with one is a [`Finding`](super::Finding) instead.

use std::path::PathBuf;

use super::actions::ActionSpec;
pub use crate::ticket::BanTime;
use crate::{
    filter::FilterSpec,
    net::Cidr,
    place::{Located, Place},
};

/// One enabled jail.
#[derive(Clone, Debug)]
pub struct JailSpec {
    /// Its name: the section.
    pub name: String,
    /// Where its section begins.
    pub at: Place,
    /// Where its lines come from.
    pub backend: Located<Backend>,
    /// Files, as globs, in order.
    pub logpath: Vec<LogPath>,
    /// Without a file the jail is quietly left out (`skip_if_nologs`).
    pub skip_if_nologs: bool,
    /// Without a file a jail with `backend = auto` turns to the journal (`systemd_if_nologs`).
    pub systemd_if_nologs: bool,
    /// Encoding of the lines; `auto` is that of the locale.
    pub logencoding: Located<String>,
    /// Zone of stamps without one (`UTC+0200`, `GMT`, …).
    pub logtimezone: Option<Located<String>>,
    /// What to look for; none means that only `banip` fills the jail.
    pub filter: Option<FilterSpec>,
    /// So many failures are one too many; at least 1.
    pub maxretry: u32,
    /// So many lines are kept of one offender.
    pub maxmatches: u32,
    /// Failures older than this no longer count; seconds, at least 1.
    pub findtime_s: u64,
    /// How long a ban lasts.
    pub bantime: BanTime,
    /// How bans grow with repetition.
    pub increment: Increment,
    /// Our own addresses are never banned.
    pub ignoreself: bool,
    /// Who is never banned.
    pub ignoreip: Vec<Located<IgnoreEntry>>,
    /// A command that says by its exit code whether an address is ignored.
    pub ignorecommand: Option<Located<String>>,
    /// How long its answers are remembered.
    pub ignorecache: Option<IgnoreCache>,
    /// What bans.
    pub actions: Vec<ActionSpec>,
    /// IPv4 offenders are counted and banned by this prefix length.
    pub banprefix4: Option<u8>,
    /// IPv6 offenders are counted and banned by this prefix length; `None` leaves the choice to
    /// the banaction.
    pub banprefix6: Option<u8>,
    /// The gateway and the resolvers are never banned.
    pub protect: bool,
    /// Addresses with a live login of an administrator are never banned.
    pub protect_sessions: bool,
    /// Whether our own sensor's lines count when they come back through a log; `None` is `auto`.
    pub count_own_lines: Option<bool>,
}

/// Where lines come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backend {
    /// Files, watched in the best way there is; the journal where there are none.
    Auto,
    /// Files, woken by the kernel.
    Notify,
    /// Files, looked at from time to time.
    Polling,
    /// The journal, with its options (`journalpath`, `namespace`, …).
    Systemd(Vec<(String, String)>),
    /// The sensor of this very daemon.
    Sensor,
}

/// A file to follow, or a glob for several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogPath {
    /// Path or glob.
    pub glob: String,
    /// Only what is written from now on counts (`tail` behind the path).
    pub from_end: bool,
    /// Where it is written.
    pub at: Place,
}

/// `bantime.increment` and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Increment {
    /// Whether bans grow at all.
    pub enabled: bool,
    /// `banFactor` of the formula.
    pub factor: Option<f64>,
    /// An arithmetic expression, not yet parsed.
    pub formula: Option<Located<String>>,
    /// Instead of a formula: the multiplier for the first, second, … ban; the last one repeats.
    pub multipliers: Vec<u64>,
    /// No ban lasts longer; seconds.
    pub maxtime_s: Option<u64>,
    /// Up to so many seconds are added at random.
    pub rndtime_s: Option<u64>,
    /// Bans of all jails count.
    pub overalljails: bool,
}

/// One entry of `ignoreip`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IgnoreEntry {
    /// An address or a network.
    Net(Cidr),
    /// A host's name, or an id that is no address.
    Name(String),
    /// Entries in a file, read again when it changes.
    File(PathBuf),
}

/// As `ignoreip` has it.
impl std::fmt::Display for IgnoreEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IgnoreEntry::Net(network) => network.fmt(f),
            IgnoreEntry::Name(name) => name.fmt(f),
            IgnoreEntry::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// `ignorecache`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IgnoreCache {
    /// What is remembered under: text with tags.
    pub key: String,
    /// So many answers.
    pub count_max: u32,
    /// For so many seconds.
    pub time_s: u64,
}

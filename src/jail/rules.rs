//! What a jail is told, as it stands in force: [`Rules`].
//!
//! `config` fills them from files, the control socket changes them while the jail runs
//! ([`Jail::set_rules`](super::Jail::set_rules)).

use std::{path::PathBuf, sync::Arc};

use super::{entry, formula::Formula};
use crate::{net::Cidr, ticket::BanTime};

/// So many actions of a jail are watched for whether they hold a ban; those beyond decide nothing.
pub const DECIDERS_MAX: usize = 32;

/// Every option of a jail that counting and banning depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// So many failures within [`findtime_s`](Rules::findtime_s) are one too many; at least 1.
    pub maxretry: u32,
    /// A failure counts for so many seconds; at least 1.
    pub findtime_s: u64,
    /// How long a first ban lasts.
    pub bantime: BanTime,
    /// How bans grow with repetition.
    pub increment: Increment,
    /// So many lines of an offender are kept (by the store).
    pub maxmatches: u32,
    /// Our own addresses, loopback among them, are never banned.
    pub ignoreself: bool,
    /// Who is never banned, in order.
    pub ignoreip: Vec<IgnoreEntry>,
    /// A command that says by its exit code 0 that an address is to be ignored.
    pub ignorecommand: Option<Arc<str>>,
    /// How long its answers are remembered.
    pub ignorecache: Option<IgnoreCache>,
    /// IPv4 offenders are counted and banned by this prefix length, 1 to 32.
    pub banprefix4: u8,
    /// IPv6 offenders are counted and banned by this prefix length, 1 to 128.
    pub banprefix6: u8,
    /// The gateway and the resolvers are never banned.
    pub protect: bool,
    /// Addresses with a live login of an administrator are never banned.
    pub protect_sessions: bool,
    /// Whether our own sensor's lines count when they come back through a log; `None` is `auto`:
    /// not where an enabled jail on the sensor has the detection already.
    pub count_own_lines: Option<bool>,
    /// The jail hears the sensor: a banned address that goes on probing is banned anew from then.
    pub sensor: bool,
    /// What bans, in order.
    pub actions: Vec<ActionRule>,
}

impl Default for Rules {
    /// fail2ban's defaults.
    fn default() -> Rules {
        Rules {
            maxretry: 5,
            findtime_s: 600,
            bantime: BanTime::Seconds(600),
            increment: Increment::default(),
            maxmatches: 5,
            ignoreself: true,
            ignoreip: Vec::new(),
            ignorecommand: None,
            ignorecache: None,
            banprefix4: 32,
            banprefix6: 128,
            protect: true,
            protect_sessions: true,
            count_own_lines: None,
            sensor: false,
            actions: Vec::new(),
        }
    }
}

impl Rules {
    /// No ban of this jail lasts longer; none if that is open (permanent, or growing without
    /// `bantime.maxtime`).
    pub fn longest(&self) -> Option<BanTime> {
        match (self.increment.enabled, self.bantime) {
            (_, BanTime::Permanent) => None,
            (false, bantime) => Some(bantime),
            (true, BanTime::Seconds(first)) => self
                .increment
                .maxtime_s
                .map(|most| most.saturating_add(self.increment.rndtime_s.unwrap_or(0)))
                .map(|most| BanTime::Seconds(most.max(first))),
        }
    }

    /// Which actions decide that a ban is held, as bits of their places: those that undo what they
    /// do, or all if none does.
    pub fn deciders(&self) -> u32 {
        match self.undoers() {
            0 => self.bits(|_| true),
            some => some,
        }
    }

    /// The actions that undo what they do, as bits of their places: those that are tried again.
    pub fn undoers(&self) -> u32 {
        self.bits(|action| action.undoes)
    }

    fn bits(&self, wanted: fn(&ActionRule) -> bool) -> u32 {
        let actions = self.actions.iter().take(DECIDERS_MAX).enumerate();
        let wanted = actions.filter(|(_, action)| wanted(action));
        wanted.fold(0, |bits, (place, _)| bits | 1_u32 << place)
    }
}

/// What a jail has to know of one of its actions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ActionRule {
    /// Its name within the jail.
    pub name: Arc<str>,
    /// It takes back what it did (a firewall does, a mail does not), so it decides whether a ban
    /// is held, and is tried again when it fails.
    pub undoes: bool,
    /// It is not for bans that a restart brings back.
    pub norestored: bool,
}

/// `bantime.increment` and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Increment {
    /// Whether bans grow at all.
    pub enabled: bool,
    /// `banFactor` of the formula; 1 if not set.
    pub factor: Option<f64>,
    /// How they grow; twice as long each time if not set.
    pub formula: Option<Formula>,
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

impl IgnoreEntry {
    /// Reads one word of `ignoreip`: an address, address/bits, address/mask, `file:PATH`, a name.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the word.
    pub fn parse(word: &str) -> Result<IgnoreEntry, &'static str> {
        entry::parse(word)
    }
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

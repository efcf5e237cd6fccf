//! What the server tells about itself: typed, so that `--json` is what travels.
//!
//! Times are seconds since the epoch, spans are seconds; -1 is for ever, as fail2ban writes it.

use serde::{Deserialize, Serialize};

/// How much `status JAIL` tells.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// Counts and the banned.
    #[default]
    Basic,
    /// Counts alone.
    Short,
    /// A row of counts.
    Stats,
    /// With origins looked up over the network: refused, since this daemon looks up nothing.
    Cymru,
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerStatus {
    /// The jails that there are, sorted by name: running, waiting and resting ones.
    pub jails: Vec<String>,
    /// Those among them that wait, with what they wait for.
    pub waiting: Vec<JailTrouble>,
    /// Those among them that rest.
    #[serde(default)]
    pub idle: Vec<String>,
    /// Those that cannot run, with the reason.
    pub disabled: Vec<JailTrouble>,
    /// What a human should know: packets dropped, a database set aside …
    pub notes: Vec<String>,
}

/// How a jail is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It counts and bans.
    #[default]
    Running,
    /// It was told to rest (`set JAIL idle on`), or was added and not started.
    Idle,
    /// It will run as soon as what it waits for is there.
    Waiting(String),
    /// It cannot run, for this reason.
    Disabled(String),
}

/// Where a jail's lines come from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// These files are followed now.
    Files(Vec<String>),
    /// These matches of the journal: words to be joined by blanks, groups by ` + `.
    Journal(Vec<Vec<String>>),
    /// The sensor.
    Sensor,
}

/// `status JAIL`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JailStatus {
    /// Its name.
    pub jail: String,
    /// How it is.
    pub health: Health,
    /// Ids with failures that still count.
    pub failed: u64,
    /// Failures since the start.
    pub failed_total: u64,
    /// Where its lines come from.
    pub source: Source,
    /// Bans now.
    pub banned: u64,
    /// Bans since the start.
    pub banned_total: u64,
    /// Who is banned; none with [`Flavor::Short`].
    pub ids: Option<Vec<String>>,
    /// Bans that the firewall has not taken yet, with its answer.
    pub pending: Vec<Pending>,
}

/// A jail that does not run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JailTrouble {
    /// Its name.
    pub jail: String,
    /// Why it does not.
    pub reason: String,
}

/// A ban that the firewall has not taken yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pending {
    /// Who is to be out.
    pub id: String,
    /// What the firewall, or its command, said; empty if it was not tried yet.
    pub trouble: String,
}

/// A row of `stats`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JailStats {
    /// The jail.
    pub jail: String,
    /// How it is.
    pub health: Health,
    /// Its backend's name.
    pub backend: String,
    /// Ids with failures that still count.
    pub failed: u64,
    /// Failures since the start.
    pub failed_total: u64,
    /// Bans now.
    pub banned: u64,
    /// Bans since the start.
    pub banned_total: u64,
}

/// The banned of one jail.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JailBans {
    /// The jail.
    pub jail: String,
    /// Who is banned in it.
    pub ids: Vec<String>,
}

/// One ban with its times.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BanRow {
    /// Who is out.
    pub id: String,
    /// Since when.
    pub from: i64,
    /// How long in all; -1 for ever.
    pub bantime: i64,
    /// Which ban of this id it is, from 1.
    pub count: u32,
}

/// `why ID`: what every jail says of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Case {
    /// Who was asked for.
    pub id: String,
    /// The moment of asking.
    pub now: i64,
    /// Every jail that is not disabled.
    pub jails: Vec<JailCase>,
}

/// What one jail says of somebody.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JailCase {
    /// The jail.
    pub jail: String,
    /// How the jail is: one that waits has seen nobody.
    pub health: Health,
    /// Its verdict.
    pub verdict: Verdict,
    /// Earlier bans in this jail, as far as the store remembers.
    pub earlier: u32,
}

/// What a jail thinks of somebody.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is known of it.
    Unseen,
    /// It is never banned here; by `ip`, `dns`, `cidr`, `command`, `ignoreself`, `protected` …
    Ignored {
        /// The rule.
        rule: String,
        /// What of it: the entry of `ignoreip`, the session.
        detail: String,
    },
    /// It failed, but not often enough.
    Counted {
        /// So often within `findtime`.
        failures: u32,
        /// So often is too often.
        maxretry: u32,
        /// Seconds in which failures count.
        findtime: u64,
        /// The last failure.
        last: i64,
        /// When the last failure no longer counts.
        forgotten: i64,
        /// The last line, if it is still known: text from a log.
        line: Option<String>,
        /// The failregex that matched last, from 1.
        regex: Option<u32>,
        /// Its text.
        failregex: Option<String>,
    },
    /// It is out.
    Banned {
        /// What is banned: the address itself, or the network that holds it.
        banned: String,
        /// Since when.
        from: i64,
        /// Until when; none is for ever.
        until: Option<i64>,
        /// Which ban it is, from 1.
        count: u32,
        /// So many failures led to it.
        failures: u32,
        /// The lines that did, oldest first: text from a log.
        lines: Vec<String>,
        /// The failregex that matched last, from 1; none if somebody ordered the ban.
        regex: Option<u32>,
        /// Its text.
        failregex: Option<String>,
        /// True once the firewall has confirmed it.
        enforced: bool,
        /// What the firewall says instead.
        trouble: Option<String>,
    },
}

/// What an import brought in.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ImportReport {
    /// What kind of file it was.
    pub kind: String,
    /// Bans that hold now, by jail.
    pub bans: Vec<JailCount>,
    /// Former bans, kept as history.
    pub history: u64,
    /// Rows that could not be used.
    pub skipped: u64,
    /// Why not, for the first of them, and what else a human should know.
    pub notes: Vec<String>,
}

/// So many of something in a jail.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JailCount {
    /// The jail.
    pub jail: String,
    /// So many.
    pub count: u64,
}

//! What can be asked of, and changed in, the server and one of its jails while it runs.

use serde::{Deserialize, Serialize};

/// A setting of the server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerOption {
    /// `loglevel`: text.
    LogLevel,
    /// `logtarget`: text.
    LogTarget,
    /// `syslogsocket`: text.
    SyslogSocket,
    /// `dbfile`: text, or nothing if there is no database.
    DbFile,
    /// `dbmaxmatches`: a number, or nothing.
    DbMaxMatches,
    /// `dbpurgeage`: seconds, or nothing.
    DbPurgeAge,
}

/// A change of a setting of the server; values are as typed, the server reads them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerChange {
    /// Which.
    pub option: ServerOption,
    /// What it is to be.
    pub value: String,
}

/// What can be asked of a jail (`get JAIL …`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// Who is banned, or for each of these: is it?
    Banned(Vec<String>),
    /// The bans, in the order in which they end, each with its times.
    BanIp,
    /// The files that are followed.
    LogPath,
    /// Their encoding.
    LogEncoding,
    /// The zone of stamps without one.
    LogTimeZone,
    /// What is taken from the journal.
    JournalMatch,
    /// Whether own addresses are spared.
    IgnoreSelf,
    /// Who else is spared.
    IgnoreIp,
    /// The command that decides who is spared.
    IgnoreCommand,
    /// How long its answers are remembered.
    IgnoreCache,
    /// The expression in front of all others.
    PrefRegex,
    /// What counts.
    FailRegex,
    /// What does not.
    IgnoreRegex,
    /// Seconds.
    FindTime,
    /// Seconds; -1 is for ever.
    BanTime,
    /// One of `increment`, `factor`, `formula`, `multipliers`, `maxtime`, `rndtime`,
    /// `overalljails`.
    BanTimeExtra(String),
    /// How dates are found.
    DatePattern,
    /// Whether names are looked up.
    UseDns,
    /// So many failures are one too many.
    MaxRetry,
    /// So many lines are kept of an offender.
    MaxMatches,
    /// So many lines may an expression span.
    MaxLines,
    /// Whether the jail rests.
    Idle,
    /// The names of its actions.
    Actions,
    /// A property of an action.
    Action(ActionQuery),
    /// The names of an action's properties.
    ActionProperties(String),
    /// The names of what an action can be told to do.
    ActionMethods(String),
}

/// A property of an action.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActionQuery {
    /// The action's name within the jail.
    pub action: String,
    /// `actionban`, `timeout`, or an option of its.
    pub property: String,
}

/// What can be changed in a jail (`set JAIL …`); values are as typed, the server reads them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Rest, or go on.
    Idle(bool),
    /// Spare own addresses.
    IgnoreSelf(String),
    /// Spare these.
    AddIgnoreIp(Vec<String>),
    /// Spare these no longer; `--all` is everybody.
    DelIgnoreIp(Vec<String>),
    /// The command that decides who is spared; empty for none.
    IgnoreCommand(String),
    /// How long its answers are remembered.
    IgnoreCache(String),
    /// Follow a file.
    AddLogPath {
        /// Path or glob.
        path: String,
        /// From its end on.
        tail: bool,
    },
    /// Follow it no longer.
    DelLogPath(String),
    /// The encoding of the lines.
    LogEncoding(String),
    /// The zone of stamps without one.
    LogTimeZone(String),
    /// Take this from the journal, too.
    AddJournalMatch(Vec<String>),
    /// Take it no longer.
    DelJournalMatch(Vec<String>),
    /// The expression in front of all others; empty for none.
    PrefRegex(String),
    /// One more expression.
    AddFailRegex(String),
    /// The expression of this index, from 0, goes.
    DelFailRegex(usize),
    /// One more exception.
    AddIgnoreRegex(String),
    /// The exception of this index, from 0, goes.
    DelIgnoreRegex(usize),
    /// A span of time.
    FindTime(String),
    /// A span of time; negative is for ever.
    BanTime(String),
    /// One of `increment`, `factor`, `formula`, `multipliers`, `maxtime`, `rndtime`,
    /// `overalljails`, and its value; empty for none.
    BanTimeExtra(String, String),
    /// How dates are found.
    DatePattern(String),
    /// `yes`, `warn`, `no` or `raw`.
    UseDns(String),
    /// So many failures are one too many.
    MaxRetry(u32),
    /// So many lines are kept of an offender.
    MaxMatches(u32),
    /// So many lines may an expression span.
    MaxLines(u32),
    /// A failure of this id, reported by hand, with what speaks against it.
    Attempt {
        /// Whose it is.
        id: String,
        /// One line for each failure; none at all is one failure.
        lines: Vec<String>,
    },
    /// Ban them now.
    BanIp(Vec<String>),
    /// Let them go.
    UnbanIp {
        /// Whom; `--all` is everybody.
        ids: Vec<String>,
        /// Refuse if one of them is not banned.
        report_absent: bool,
    },
    /// One more action, without hooks yet.
    AddAction(String),
    /// An action less; its bans are lifted from the firewall.
    DelAction(String),
    /// A property of an action.
    Action(ActionChange),
}

/// A property of an action is to be this.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActionChange {
    /// The action's name within the jail.
    pub action: String,
    /// `actionban`, `timeout`, or an option of its.
    pub property: String,
    /// The new value; none if only a name was given, as for a method.
    pub value: Option<String>,
}

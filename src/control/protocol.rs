//! What travels over the socket: one JSON object a line, a [`Request`] there, a [`Reply`] back.
//!
//! A connection may carry several requests, one after the other. Lines have a limit, and whatever
//! does not parse is answered with a [`Refusal`], never run.

use serde::{Deserialize, Serialize};

use super::{
    report::{BanRow, Case, Flavor, ImportReport, JailBans, JailStats, JailStatus, ServerStatus},
    settings::{Change, Query, ServerChange, ServerOption},
};

/// What a client asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Are you there?
    Ping,
    /// Which version are you?
    Version,
    /// Say this.
    Echo(Vec<String>),
    /// How is the server?
    Status,
    /// How is this jail?
    JailStatus {
        /// Its name; none is all of them.
        jail: Option<String>,
        /// How much to tell.
        flavor: Flavor,
    },
    /// A row of counts for each jail.
    Stats,
    /// Who is banned where; of these ids, or of all.
    Banned(Vec<String>),
    /// Why is this one banned, or why not?
    Why(String),
    /// A setting of the server.
    Get(ServerOption),
    /// A setting of a jail, or what it knows.
    GetJail {
        /// The jail.
        jail: String,
        /// What of it.
        query: Query,
    },
    /// Change a setting of the server.
    Set(ServerChange),
    /// Change a jail, or ban and unban in it.
    SetJail {
        /// The jail.
        jail: String,
        /// What about it.
        change: Change,
    },
    /// Let them go, in all jails.
    Unban(Whom),
    /// End.
    Stop {
        /// Keep the bans in the firewall if the service manager is about to restart us.
        unless_restarting: bool,
        /// Keep them, since whoever asks starts us again.
        restarting: bool,
    },
    /// Start a jail that was added.
    StartJail(String),
    /// Stop and remove a jail; none is all of them.
    StopJail(Option<String>),
    /// Read the configuration again.
    Reload {
        /// This jail alone.
        jail: Option<String>,
        /// Stop and start the jails instead of changing them.
        restart: bool,
        /// Lift their bans.
        unban: bool,
        /// A jail that does not exist is no fault.
        if_exists: bool,
    },
    /// A new jail, with nothing in it.
    Add {
        /// Its name.
        jail: String,
        /// Where its lines come from.
        backend: String,
    },
    /// Open the log anew, after somebody moved it away.
    FlushLogs,
    /// Take over bans from fail2ban's database or portsentry's files.
    Import {
        /// The files, as absolute paths.
        files: Vec<String>,
        /// Into this jail, whatever they say; none leaves it to them.
        jail: Option<String>,
    },
}

/// Whom an order is about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// Everybody.
    All,
    /// These ids.
    Ids(Vec<String>),
}

/// What the server says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// Done, or known.
    Ok(Answer),
    /// Not done.
    Error(Refusal),
}

/// An answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Done, and nothing to say; or a setting that is not set.
    Nothing,
    /// A text: a setting, a version, an echo.
    Text(String),
    /// A number: a setting, a count.
    Number(i64),
    /// A number with a fraction.
    Fraction(f64),
    /// Yes or no.
    Flag(bool),
    /// Texts.
    List(Vec<String>),
    /// For each id that was asked for: is it banned?
    Flags(Vec<bool>),
    /// `datepattern`: the pattern, and how it is called in plain words.
    DatePattern {
        /// As written; none for a default.
        pattern: Option<String>,
        /// For humans.
        name: String,
    },
    /// `journalmatch`: groups of words.
    Matches(Vec<Vec<String>>),
    /// `ignorecache`.
    Cache {
        /// What answers are remembered under.
        key: String,
        /// So many of them.
        count_max: u32,
        /// For so many seconds.
        time: u64,
    },
    /// `status`.
    Status(ServerStatus),
    /// `status JAIL`.
    Jail(Box<JailStatus>),
    /// `status --all`.
    Jails(Vec<JailStatus>),
    /// `stats`.
    Stats(Vec<JailStats>),
    /// `banned`.
    Banned(Vec<JailBans>),
    /// `banned ID…`: for each, the jails in which it is banned.
    BannedIn(Vec<Vec<String>>),
    /// `get JAIL banip`.
    Bans(Vec<BanRow>),
    /// `why ID`.
    Why(Case),
    /// `import FILE`.
    Imported(ImportReport),
}

/// Why something was not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// There is no such jail; perhaps this one was meant, or it is disabled for a reason.
    UnknownJail {
        /// The name that was asked for.
        jail: String,
        /// What to say about it.
        hint: Option<String>,
    },
    /// A jail of this name is there already.
    DuplicateJail(String),
    /// The request cannot be understood.
    Invalid(String),
    /// This peer may not do that.
    Forbidden(String),
    /// It was tried, or cannot be done: what is wrong, and what to do instead.
    Failed(String),
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is no request: [`Refusal::Invalid`].
    pub fn read(line: &[u8]) -> Result<Request, Refusal> {
        serde_json::from_slice(line)
            .map_err(|error| Refusal::Invalid(format!("this is no request: {error}")))
    }

    /// The line that it travels in, its end included.
    pub fn line(&self) -> Vec<u8> {
        ended(serde_json::to_vec(self))
    }

    /// True if it changes nothing: whoever may only ask may send it.
    pub fn only_asks(&self) -> bool {
        match self {
            Request::Ping
            | Request::Version
            | Request::Echo(_)
            | Request::Status
            | Request::JailStatus { .. }
            | Request::Stats
            | Request::Banned(_)
            | Request::Why(_)
            | Request::Get(_)
            | Request::GetJail { .. } => true,
            Request::Set(_)
            | Request::SetJail { .. }
            | Request::Unban(_)
            | Request::Stop { .. }
            | Request::StartJail(_)
            | Request::StopJail(_)
            | Request::Reload { .. }
            | Request::Add { .. }
            | Request::FlushLogs
            | Request::Import { .. } => false,
        }
    }
}

impl Reply {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is no reply.
    pub fn read(line: &[u8]) -> Result<Reply, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The line that it travels in, its end included. One that would be longer than `most` becomes
    /// a refusal that says so.
    pub fn line(&self, most: usize) -> Vec<u8> {
        let line = ended(serde_json::to_vec(self));
        if line.len() <= most {
            return line;
        }
        let refusal = format!("the answer would have {} bytes; ask for less", line.len());
        ended(serde_json::to_vec(&Reply::Error(Refusal::Failed(refusal))))
    }
}

/// Nothing in these types can fail to be written; a line that is none is refused by its reader.
fn ended(line: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    let mut line = line.unwrap_or_default();
    line.push(b'\n');
    line
}

impl Answer {
    /// The answer alone, for whoever asked and knows what: `600`, `["192.0.2.1"]`, `{"jails": …}`.
    pub fn value(&self) -> serde_json::Value {
        match serde_json::to_value(self) {
            // What is in it stands under its name.
            Ok(serde_json::Value::Object(named)) => {
                named.into_iter().next().map_or(serde_json::Value::Null, |(_, value)| value)
            }
            // `"nothing"`.
            _ => serde_json::Value::Null,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::UnknownJail { jail, .. } => {
                write!(f, "Sorry but the jail '{jail}' does not exist")
            }
            Refusal::DuplicateJail(jail) => write!(f, "The jail '{jail}' already exists"),
            Refusal::Invalid(text) | Refusal::Forbidden(text) | Refusal::Failed(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for Refusal {}

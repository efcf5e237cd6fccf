//! Requests of the control socket: what is asked is answered from the daemon's state, what is
//! ordered becomes an [`Order`] for the loop.
//!
//! ```text
//! match answer(&state, &asked.request) {
//!     Step::Reply(reply) => asked.reply_to.send(reply),
//!     Step::Order(order) => { carry it out; asked.reply_to.send(finish(&state, &asked.request, outcome)) }
//! }
//! ```
//!
//! Nothing here changes anything: a change of a jail comes out as its whole new [`JailSpec`],
//! checked, to be put in the place of the old one as a reload would.

use std::path::PathBuf;

use crate::{
    config::JailSpec,
    control::{BanRow, Health, ImportReport, Pending, Refusal, Reply, Request, Verdict},
    ticket::{Id, JailName},
    time::Timestamp,
};

/// What the daemon knows, as far as anybody may ask. Implemented by the loop.
pub trait State {
    /// The present.
    fn now(&self) -> Timestamp;
    /// Settings of the server, as they are now.
    fn server(&self) -> ServerView;
    /// Every enabled jail, disabled ones among them, in any order.
    fn jails(&self) -> Vec<JailView<'_>>;
    /// One of them, by name.
    fn jail(&self, name: &str) -> Option<JailView<'_>>;
    /// The current bans of a jail, in the order in which they were made. May be a million.
    fn bans(&self, jail: &str) -> Vec<BanRow>;
    /// The ban of a jail that shuts this id out: its own, or that of a network that holds it.
    fn banned(&self, jail: &str, id: &Id) -> Option<Id>;
    /// What a jail thinks of this id, and how many bans of it the store remembers in this jail.
    /// Expressions are filled in by the caller of this.
    fn verdict(&self, jail: &str, id: &Id) -> (Verdict, u32);
    /// What a human should know beside all that, one line each.
    fn notes(&self) -> Vec<String>;
}

/// Settings of the server, as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerView {
    /// `INFO`, or a number.
    pub loglevel: String,
    /// A file, `STDOUT` …
    pub logtarget: String,
    /// `auto`, or a path.
    pub syslogsocket: String,
    /// The database; none if there is none.
    pub dbfile: Option<String>,
    /// So many lines are stored of each offender.
    pub dbmaxmatches: u32,
    /// Bans older than this are forgotten; seconds.
    pub dbpurgeage_s: u64,
}

/// One jail.
#[derive(Clone, Debug)]
pub struct JailView<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is told to do; none if it is disabled because that cannot be read.
    pub spec: Option<&'a JailSpec>,
    /// How it is.
    pub health: Health,
    /// The files that it follows now.
    pub files: Vec<String>,
    /// True if its lines come from the journal.
    pub journal: bool,
    /// Ids with failures that still count.
    pub failed: u64,
    /// Failures since the start.
    pub failed_total: u64,
    /// Bans now.
    pub banned: u64,
    /// Bans since the start.
    pub banned_total: u64,
    /// Bans that the firewall has not taken yet, with its answer; some of them are enough.
    pub pending: Vec<Pending>,
}

/// Something that changes the daemon. Everything in it is checked as far as it can be.
#[derive(Clone, Debug)]
pub enum Order {
    /// End. The bans stay in the firewall only if the service manager is about to restart us.
    Stop {
        /// To be asked of the service manager; else they are lifted.
        unless_restarting: bool,
    },
    /// Read the configuration again.
    Reload {
        /// This jail alone.
        jail: Option<JailName>,
        /// Stop and start the jails instead of changing them.
        restart: bool,
        /// Lift their bans, in the store, too.
        unban: bool,
    },
    /// A new jail that rests until [`Order::StartJail`].
    AddJail(Box<JailSpec>),
    /// Start a jail that was added or rests; nothing to do if it runs.
    StartJail(JailName),
    /// Stop and remove a jail; its bans are lifted from the firewall and stay in the store.
    StopJail(JailName),
    /// The same with all of them.
    StopAllJails,
    /// Let a jail rest, or go on.
    Idle(JailName, bool),
    /// Put this in the place of the jail's spec.
    Change(Box<JailSpec>),
    /// Ban them now. [`Done::Count`]: how many are new.
    Ban(JailName, Vec<Id>),
    /// Let them go, in the store, too; no jail is all jails. [`Done::Count`]: how many were banned.
    Unban(Option<JailName>, Vec<Id>),
    /// Let everybody go, in the store, too; no jail is all jails. [`Done::Count`]: how many.
    UnbanAll(Option<JailName>),
    /// Failures reported by hand, now: one for each line, or one without any. [`Done::Count`]: how
    /// many failures of it count now.
    Attempt(JailName, Id, Vec<String>),
    /// Change a setting of the server.
    Server(Setting),
    /// Open the log anew. [`Done::Text`]: `rolled over` if it is a file, else `flushed`.
    FlushLogs,
    /// Take over bans, all into this jail if one is named. [`Done::Imported`], all files together.
    Import(Vec<PathBuf>, Option<JailName>),
}

/// A setting of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `CRITICAL` … `HEAVYDEBUG`, or a number: upper case.
    LogLevel(String),
    /// As the configuration has it.
    LogTarget(String),
    /// `auto`, or a path.
    SyslogSocket(String),
    /// Another database; none switches it off.
    DbFile(Option<PathBuf>),
    /// So many lines are stored of each offender.
    DbMaxMatches(u32),
    /// Bans older than this are forgotten; seconds.
    DbPurgeAge(u64),
}

/// How an order went.
pub type Outcome = Result<Done, Refusal>;

/// What came of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// It is done.
    Yes,
    /// It is done, so many times.
    Count(u64),
    /// It is done, in a word.
    Text(String),
    /// It is done, and this came of it.
    Imported(ImportReport),
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// This is the reply.
    Reply(Reply),
    /// This is to be done; then [`finish`] makes the reply.
    Order(Order),
}

/// What to do about a request.
pub fn answer(state: &impl State, request: &Request) -> Step {
    let _ = (state, request);
    Step::Reply(Reply::Error(Refusal::Failed("not yet".to_owned())))
}

/// The reply to a request whose order was carried out, or failed.
pub fn finish(state: &impl State, request: &Request, outcome: Outcome) -> Reply {
    let _ = (state, request, outcome);
    Reply::Error(Refusal::Failed("not yet".to_owned()))
}

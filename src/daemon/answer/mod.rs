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

mod query;
mod status;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::{
    config::{JailSpec, change, main_conf::LOG_LEVELS, words},
    control::{
        Answer, BanRow, Change, Health, ImportReport, Pending, Refusal, Reply, Request,
        ServerChange, ServerOption, Verdict, Whom,
    },
    net::Cidr,
    ticket::{Id, JailName},
    time::Timestamp,
};

/// An id that somebody types is at most so long, in bytes.
pub const ID_MAX: usize = 255;

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
    /// End. The bans are lifted from the firewall, with these exceptions.
    Stop {
        /// They stay if the service manager, which is to be asked, is about to restart us.
        unless_restarting: bool,
        /// They stay: whoever orders it starts us again.
        restarting: bool,
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
    /// Let them go, in the store, too; no jail is all jails. [`Done::Unbanned`].
    Unban(Option<JailName>, Vec<Id>),
    /// Let everybody go, in the store, too; no jail is all jails. [`Done::Count`]: how many.
    UnbanAll(Option<JailName>),
    /// Failures reported by hand, now: one for each line, or one without any.
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
    /// So many bans were lifted, and these were not banned.
    Unbanned {
        /// How many.
        lifted: u64,
        /// Who was not.
        missed: Vec<Id>,
    },
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
    match step(state, request) {
        Ok(step) => step,
        Err(refusal) => Step::Reply(Reply::Error(refusal)),
    }
}

/// The reply to a request whose order was carried out, or failed.
pub fn finish(state: &impl State, request: &Request, outcome: Outcome) -> Reply {
    let done = match (outcome, request) {
        // fail2ban's word for "taken": the failures may have become a ban by now.
        (Ok(_), Request::SetJail { change: Change::Attempt { .. }, .. }) => Done::Count(1),
        (Ok(done), _) => done,
        (Err(Refusal::UnknownJail { .. }), Request::Reload { if_exists: true, .. }) => Done::Yes,
        (Err(refusal), _) => return Reply::Error(refusal),
    };
    match done {
        Done::Count(count) => Reply::Ok(number(count)),
        Done::Unbanned { lifted, missed } => {
            let reports = matches!(
                request,
                Request::SetJail { change: Change::UnbanIp { report_absent: true, .. }, .. }
            );
            if reports && !missed.is_empty() {
                let missed: Vec<String> = missed.iter().map(|id| format!("'{id}'")).collect();
                let text = format!("not banned: [{}]", missed.join(", "));
                return Reply::Error(Refusal::Failed(text));
            }
            Reply::Ok(number(lifted))
        }
        Done::Text(text) => Reply::Ok(Answer::Text(text)),
        Done::Imported(report) => Reply::Ok(Answer::Imported(report)),
        Done::Yes => match after(state, request) {
            Ok(answer) => Reply::Ok(answer),
            Err(refusal) => Reply::Error(refusal),
        },
    }
}

/// What a client is told when its order is done: as fail2ban does, the setting as it is now.
fn after(state: &impl State, request: &Request) -> Result<Answer, Refusal> {
    match request {
        Request::Set(change) => Ok(server_setting(&state.server(), change.option)),
        Request::SetJail { jail, change } => query::after(state, &known(state, jail)?, change),
        Request::Add { jail, .. } => Ok(Answer::Text(jail.clone())),
        Request::Reload { .. } => Ok(Answer::Text("OK".to_owned())),
        _ => Ok(Answer::Nothing),
    }
}

fn step(state: &impl State, request: &Request) -> Result<Step, Refusal> {
    let answer = match request {
        Request::Ping => Answer::Text("pong".to_owned()),
        Request::Version => Answer::Text(crate::VERSION.to_owned()),
        Request::Echo(words) => Answer::List(words.clone()),
        Request::Status => Answer::Status(status::server(state)),
        Request::JailStatus { jail, flavor } => status::jails(state, jail.as_deref(), *flavor)?,
        Request::Stats => Answer::Stats(status::stats(state)),
        Request::Banned(ids) => status::banned(state, ids)?,
        Request::Why(id) => Answer::Why(status::why(state, &id_of(id)?)),
        Request::Get(option) => server_setting(&state.server(), *option),
        Request::GetJail { jail, query } => query::get(state, &known(state, jail)?, query)?,
        order => return order_of(state, order),
    };
    Ok(Step::Reply(Reply::Ok(answer)))
}

fn order_of(state: &impl State, request: &Request) -> Result<Step, Refusal> {
    let name = |jail: &str| known(state, jail).map(|view| JailName::from(view.name));
    Ok(Step::Order(match request {
        Request::Set(change) => Order::Server(setting(change)?),
        Request::SetJail { jail, change } => {
            return change_of(state, &known(state, jail)?, change);
        }
        Request::Unban(Whom::All) => Order::UnbanAll(None),
        Request::Unban(Whom::Ids(ids)) => {
            let jails = state.jails();
            let ids = with_those_inside(state, jails.iter().map(|jail| jail.name), &ids_of(ids)?);
            Order::Unban(None, ids)
        }
        Request::Stop { unless_restarting, restarting } => {
            Order::Stop { unless_restarting: *unless_restarting, restarting: *restarting }
        }
        Request::StartJail(jail) => match known(state, jail)?.health {
            Health::Disabled(reason) => return Err(disabled(jail, &reason)),
            _ => Order::StartJail(name(jail)?),
        },
        Request::StopJail(None) => Order::StopAllJails,
        Request::StopJail(Some(jail)) => Order::StopJail(name(jail)?),
        // A jail that does not run yet may be in the files by now: the reload will tell.
        Request::Reload { jail, restart, unban, .. } => Order::Reload {
            jail: jail.as_deref().map(JailName::from),
            restart: *restart,
            unban: *unban,
        },
        Request::Add { jail, .. } if state.jail(jail).is_some() => {
            return Err(Refusal::DuplicateJail(jail.clone()));
        }
        Request::Add { jail, backend } => {
            Order::AddJail(Box::new(change::bare(jail, backend).map_err(Refusal::Failed)?))
        }
        Request::FlushLogs => Order::FlushLogs,
        Request::Import { files, jail } => {
            let jail = jail.as_deref().map(name).transpose()?;
            if let Some(file) = files.iter().find(|file| !Path::new(file).is_absolute()) {
                return Err(Refusal::Invalid(format!("'{file}' is no absolute path")));
            }
            Order::Import(files.iter().map(PathBuf::from).collect(), jail)
        }
        // `step` has answered the others.
        _ => return Err(Refusal::Invalid("Invalid command".to_owned())),
    }))
}

fn change_of(state: &impl State, jail: &JailView<'_>, change: &Change) -> Result<Step, Refusal> {
    let name = || JailName::from(jail.name);
    let Some(spec) = jail.spec else { return Err(not_readable(jail)) };
    Ok(Step::Order(match change {
        Change::Idle(rests) => Order::Idle(name(), *rests),
        Change::Attempt { id, lines } => Order::Attempt(name(), id_of(id)?, lines.clone()),
        Change::BanIp(ids) => Order::Ban(name(), ids_of(ids)?),
        Change::UnbanIp { ids, .. } if matches!(ids.as_slice(), [all] if all == "--all") => {
            Order::UnbanAll(Some(name()))
        }
        Change::UnbanIp { ids, .. } => {
            let ids = ids_of(ids)?;
            Order::Unban(Some(name()), with_those_inside(state, [jail.name], &ids))
        }
        other => match change::changed(spec, other, state.now()) {
            Ok(Some(spec)) => Order::Change(Box::new(spec)),
            Ok(None) => return Err(Refusal::Invalid("Invalid command".to_owned())),
            Err(text) => return Err(Refusal::Failed(text)),
        },
    }))
}

/// These ids, and in the place of each network that is not banned itself those that lie in it and
/// are; one with nobody in it stays, for whoever tells who was missed.
fn with_those_inside<'a>(
    state: &impl State,
    jails: impl IntoIterator<Item = &'a str>,
    ids: &[Id],
) -> Vec<Id> {
    let networks: Vec<Cidr> = ids
        .iter()
        .filter_map(|id| match id {
            Id::Net(network) => Some(*network),
            _ => None,
        })
        .collect();
    let mut all = ids.to_vec();
    if networks.is_empty() {
        return all;
    }
    let mut seen: HashSet<Id> = all.iter().cloned().collect();
    let mut emptied: HashSet<Cidr> = HashSet::new();
    for jail in jails {
        for row in state.bans(jail) {
            let id = Id::parse(&row.id);
            let Some(inner) = id.network() else { continue };
            let outer = networks.iter().find(|outer| {
                inner.bits() > outer.bits() && Cidr::new(inner.address(), outer.bits()) == **outer
            });
            let Some(outer) = outer else { continue };
            emptied.insert(*outer);
            if seen.insert(id.clone()) {
                all.push(id);
            }
        }
        // A network that is banned itself is meant itself, too.
        emptied.retain(|network| state.banned(jail, &Id::Net(*network)).is_none());
    }
    all.retain(|id| !matches!(id, Id::Net(network) if emptied.contains(network)));
    all
}

/// The jail of this name.
fn known<'a>(state: &'a impl State, name: &str) -> Result<JailView<'a>, Refusal> {
    state.jail(name).ok_or_else(|| {
        let jails = state.jails();
        let near = crate::config::nearest(name, jails.iter().map(|jail| jail.name));
        Refusal::UnknownJail {
            jail: name.to_owned(),
            hint: near.map(|near| format!("did you mean '{near}'?")),
        }
    })
}

fn disabled(jail: &str, reason: &str) -> Refusal {
    Refusal::Failed(format!("the jail '{jail}' is disabled: {reason}"))
}

fn not_readable(jail: &JailView<'_>) -> Refusal {
    match &jail.health {
        Health::Disabled(reason) => disabled(jail.name, reason),
        _ => disabled(jail.name, "its configuration cannot be read"),
    }
}

fn ids_of(texts: &[String]) -> Result<Vec<Id>, Refusal> {
    texts.iter().map(|text| id_of(text)).collect()
}

/// Reads an id: an address, a network, or any word.
fn id_of(text: &str) -> Result<Id, Refusal> {
    let text = text.trim();
    let wrong = text.is_empty()
        || text.len() > ID_MAX
        || text.chars().any(char::is_control)
        || text.starts_with("--");
    if wrong {
        let text: String = text.chars().take(64).flat_map(char::escape_debug).collect();
        return Err(Refusal::Failed(format!(
            "'{text}' is no address, network or other id; write 192.0.2.1, 192.0.2.0/24 or a word \
             of at most {ID_MAX} bytes"
        )));
    }
    Ok(Id::parse(text))
}

fn number(count: u64) -> Answer {
    Answer::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

fn server_setting(server: &ServerView, option: ServerOption) -> Answer {
    let has_database = server.dbfile.is_some();
    match option {
        ServerOption::LogLevel => Answer::Text(server.loglevel.clone()),
        ServerOption::LogTarget => Answer::Text(server.logtarget.clone()),
        ServerOption::SyslogSocket => Answer::Text(server.syslogsocket.clone()),
        ServerOption::DbFile => server.dbfile.clone().map_or(Answer::Nothing, Answer::Text),
        ServerOption::DbMaxMatches if has_database => number(server.dbmaxmatches.into()),
        ServerOption::DbPurgeAge if has_database => number(server.dbpurgeage_s),
        ServerOption::DbMaxMatches | ServerOption::DbPurgeAge => Answer::Nothing,
    }
}

/// Reads a change of the server's settings.
fn setting(change: &ServerChange) -> Result<Setting, Refusal> {
    let value = change.value.as_str();
    let failed = |text: String| Err(Refusal::Failed(text));
    Ok(match change.option {
        ServerOption::LogLevel => {
            let level = value.trim().to_uppercase();
            let is_number = level.parse::<u8>().is_ok();
            if !is_number && !LOG_LEVELS.contains(&level.as_str()) {
                let names = LOG_LEVELS.join(", ");
                return failed(format!("Invalid log level '{level}'; write {names}"));
            }
            Setting::LogLevel(level)
        }
        ServerOption::LogTarget if value.is_empty() => {
            return failed("Failed to change log target".to_owned());
        }
        ServerOption::LogTarget => Setting::LogTarget(value.to_owned()),
        ServerOption::SyslogSocket => Setting::SyslogSocket(value.to_owned()),
        ServerOption::DbFile if value.is_empty() || value.eq_ignore_ascii_case("none") => {
            Setting::DbFile(None)
        }
        ServerOption::DbFile => Setting::DbFile(Some(value.into())),
        ServerOption::DbMaxMatches => match value.trim().parse() {
            Ok(count) => Setting::DbMaxMatches(count),
            Err(_) => return failed(format!("dbmaxmatches '{value}': write a whole number")),
        },
        ServerOption::DbPurgeAge => match words::seconds(value).map(words::Number::whole) {
            // A negative age means: never forget.
            Ok(seconds) => Setting::DbPurgeAge(u64::try_from(seconds).unwrap_or(u64::MAX)),
            Err(error) => return failed(format!("'dbpurgeage = {value}' {error}")),
        },
    })
}

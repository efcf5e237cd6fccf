//! The table of commands. Its order is the order of the docs.

use super::{
    Arg::{Any, Many, Maybe, One},
    Command, Group, Misuse, Show, Taken, Task,
};
use crate::control::{
    protocol::{Request, Whom},
    report::Flavor,
    settings::{ActionChange, ActionQuery, Change, Query, ServerChange, ServerOption},
};

type Made = Result<Task, Misuse>;

const fn row(
    group: Group,
    words: &'static [&'static str],
    args: &'static [super::Arg],
    doc: &'static str,
    make: fn(&mut Taken) -> Made,
) -> Command {
    Command { words, switches: &[], args, group, doc, make }
}

/// Makes the row of a query whose name is all there is to it.
macro_rules! get {
    ($name:literal, $query:expr, $doc:literal) => {
        row(Group::JailInformation, &["get", "JAIL", $name], &[], $doc, |taken| {
            get(taken, |_| Ok($query))
        })
    };
}

/// Makes the row of a change by one value.
macro_rules! set {
    ($name:literal, $value:literal, $change:expr, $doc:literal) => {
        row(Group::JailConfiguration, &["set", "JAIL", $name], &[One($value)], $doc, |taken| {
            set(taken, |taken| Ok($change(taken.value())))
        })
    };
}

/// Makes the row of a change by one number.
macro_rules! number {
    ($name:literal, $value:literal, $change:expr, $doc:literal) => {
        row(Group::JailConfiguration, &["set", "JAIL", $name], &[One($value)], $doc, |taken| {
            set(taken, |taken| Ok($change(whole($name, &taken.value())?)))
        })
    };
}

/// Makes the row that reads a setting of the server.
macro_rules! server {
    ($group:expr, $name:literal, $option:expr, $doc:literal) => {
        row($group, &["get", $name], &[], $doc, |_| ask(Request::Get($option)))
    };
    ($group:expr, $name:literal, $value:literal, $option:expr, $doc:literal) => {
        row($group, &["set", $name], &[One($value)], $doc, |taken| {
            ask(Request::Set(ServerChange { option: $option, value: taken.value() }))
        })
    };
}

/// Makes the row of an option of `bantime.*`.
macro_rules! extra {
    ($name:literal, $value:literal, $doc:literal) => {
        row(
            Group::JailConfiguration,
            &["set", "JAIL", concat!("bantime.", $name)],
            &[One($value)],
            $doc,
            |taken| set(taken, |taken| Ok(Change::BanTimeExtra($name.to_owned(), taken.value()))),
        )
    };
    ($name:literal) => {
        row(
            Group::JailInformation,
            &["get", "JAIL", concat!("bantime.", $name)],
            &[],
            concat!("Shows bantime.", $name, " of JAIL"),
            |taken| get(taken, |_| Ok(Query::BanTimeExtra($name.to_owned()))),
        )
    };
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    row(Group::Basic, &["start"], &[], "Starts the server, and waits until it answers", |_| {
        Ok(Task::Start)
    }),
    row(
        Group::Basic,
        &["restart"],
        &[],
        "Stops the server and starts it. Bans stay in force meanwhile where the firewall ends them \
         by itself (nft, ipset); other banactions lift them, and have them again with the next \
         server",
        |_| Ok(Task::Restart),
    ),
    Command {
        switches: &["--unban", "--if-exists"],
        ..row(
            Group::Basic,
            &["restart"],
            &[One("JAIL")],
            "Stops JAIL and starts it: as reload --restart JAIL",
            |taken| reload(taken, true),
        )
    },
    Command {
        switches: &["--restart", "--unban", "--if-exists", "--all"],
        ..row(
            Group::Basic,
            &["reload"],
            &[Maybe("JAIL")],
            "Reads the configuration again, of all jails or of JAIL alone. Counters and bans of \
             jails stay; with --restart they are stopped and started, with --unban their bans are \
             lifted",
            |taken| reload(taken, false),
        )
    },
    Command {
        switches: &["--unless-restarting"],
        ..row(
            Group::Basic,
            &["stop"],
            &[],
            "Stops the server and lifts its bans from the firewall; they stay in the database. \
             With --unless-restarting they are kept in force while the service manager restarts \
             the server",
            |taken| {
                let unless_restarting = taken.has("--unless-restarting");
                ask(Request::Stop { unless_restarting, restarting: false })
            },
        )
    },
    Command {
        switches: &["--all"],
        ..row(
            Group::Basic,
            &["unban"],
            &[Any("IP")],
            "Lifts the bans of these in all jails and in the database; with --all those of \
             everybody",
            |taken| {
                let (all, ids) = (taken.has("--all"), taken.all());
                match (all, ids.is_empty()) {
                    (true, true) => ask(Request::Unban(Whom::All)),
                    (false, false) => ask(Request::Unban(Whom::Ids(ids))),
                    _ => Err(Misuse::hinted("write unban --all, or unban IP...")),
                }
            },
        )
    },
    row(
        Group::Basic,
        &["banned"],
        &[Any("IP")],
        "Shows who is banned in each jail; or for each IP the jails in which it is",
        |taken| ask(Request::Banned(taken.all())),
    ),
    row(
        Group::Basic,
        &["why"],
        &[One("IP")],
        "Shows for each jail why IP is banned, by which lines and until when, or why it is not",
        |taken| ask(Request::Why(taken.value())),
    ),
    Command {
        switches: &["--all"],
        ..row(
            Group::Basic,
            &["status"],
            &[],
            "Shows the server's jails; with --all the status of each of them",
            |taken| match taken.has("--all") {
                true => status(None, None),
                false => ask(Request::Status),
            },
        )
    },
    Command {
        switches: &["--all"],
        ..row(Group::Basic, &["stats"], &[], "Shows a table of all jails with their counts", |_| {
            ask(Request::Stats)
        })
    },
    row(
        Group::Basic,
        &["import"],
        &[Many("FILE")],
        "Takes over the bans of fail2ban's database, or of portsentry's history and blocked files",
        |taken| ask(Request::Import { files: taken.all(), jail: None }),
    ),
    row(
        Group::Basic,
        &["ping"],
        &[Maybe("SECONDS")],
        "Tells whether the server answers, within SECONDS",
        |taken| {
            let Some(text) = taken.maybe() else { return Ok(Task::Ping(None)) };
            match text.parse() {
                Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Task::Ping(Some(seconds))),
                _ => Err(Misuse::new(format!("ping {text}: write a number of seconds"))),
            }
        },
    ),
    row(Group::Basic, &["echo"], &[Any("WORD")], "Lets the server say these words", |taken| {
        ask(Request::Echo(taken.all()))
    }),
    row(Group::Basic, &["help"], &[], "Shows the commands", |_| Ok(Task::Help)),
    row(Group::Basic, &["version"], &[], "Shows the version of the server", |_| {
        ask(Request::Version)
    }),
    server!(
        Group::Logging,
        "loglevel",
        "LEVEL",
        ServerOption::LogLevel,
        "Sets the log level: CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG, TRACEDEBUG, \
         HEAVYDEBUG, or a number from 50 to 5"
    ),
    server!(Group::Logging, "loglevel", ServerOption::LogLevel, "Shows the log level"),
    server!(
        Group::Logging,
        "logtarget",
        "TARGET",
        ServerOption::LogTarget,
        "Sets where the log goes: STDOUT, STDERR, SYSLOG, SYSTEMD-JOURNAL, SYSOUT or a file"
    ),
    server!(Group::Logging, "logtarget", ServerOption::LogTarget, "Shows where the log goes"),
    server!(
        Group::Logging,
        "syslogsocket",
        "SOCKET",
        ServerOption::SyslogSocket,
        "Sets the socket of syslog: auto or a path"
    ),
    server!(
        Group::Logging,
        "syslogsocket",
        ServerOption::SyslogSocket,
        "Shows the socket of syslog"
    ),
    row(Group::Logging, &["flushlogs"], &[], "Opens the log anew, for whoever rotates it", |_| {
        ask(Request::FlushLogs)
    }),
    server!(
        Group::Database,
        "dbfile",
        "FILE",
        ServerOption::DbFile,
        "Sets the database's file; None switches it off"
    ),
    server!(Group::Database, "dbfile", ServerOption::DbFile, "Shows the database's file"),
    server!(
        Group::Database,
        "dbmaxmatches",
        "COUNT",
        ServerOption::DbMaxMatches,
        "Sets how many lines are stored of each offender"
    ),
    server!(
        Group::Database,
        "dbmaxmatches",
        ServerOption::DbMaxMatches,
        "Shows how many lines are stored of each offender"
    ),
    server!(
        Group::Database,
        "dbpurgeage",
        "TIME",
        ServerOption::DbPurgeAge,
        "Sets how long former bans are remembered"
    ),
    server!(
        Group::Database,
        "dbpurgeage",
        ServerOption::DbPurgeAge,
        "Shows how long former bans are remembered, in seconds"
    ),
    row(
        Group::JailControl,
        &["add"],
        &[One("JAIL"), Maybe("BACKEND")],
        "Makes a jail with nothing in it that takes its lines from BACKEND",
        |taken| {
            let jail = taken.value();
            let backend = taken.maybe().unwrap_or_else(|| "auto".to_owned());
            ask(Request::Add { jail, backend })
        },
    ),
    row(Group::JailControl, &["start"], &[One("JAIL")], "Starts JAIL", |taken| {
        ask(Request::StartJail(taken.value()))
    }),
    row(
        Group::JailControl,
        &["stop"],
        &[One("JAIL")],
        "Stops JAIL and removes it; --all in its place is all of them",
        |taken| {
            let jail = taken.value();
            ask(Request::StopJail((jail != "--all").then_some(jail)))
        },
    ),
    row(
        Group::JailControl,
        &["status"],
        &[One("JAIL"), Maybe("FLAVOR")],
        "Shows the counts of JAIL and who is banned; FLAVOR is basic, short or stats",
        |taken| {
            let jail = taken.value();
            let flavor = taken.maybe();
            status((jail != "--all").then_some(jail), flavor.as_deref())
        },
    ),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "idle"],
        &[One("on|off")],
        "Lets JAIL rest, or go on",
        |taken| {
            set(taken, |taken| match taken.value().as_str() {
                "on" => Ok(Change::Idle(true)),
                "off" => Ok(Change::Idle(false)),
                _ => Err(Misuse::new("Invalid idle option, must be 'on' or 'off'")),
            })
        },
    ),
    set!("ignoreself", "true|false", Change::IgnoreSelf, "Spares own addresses, or not"),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "addignoreip"],
        &[Many("IP")],
        "Spares these: addresses, networks, names, file:PATH",
        |taken| set(taken, |taken| Ok(Change::AddIgnoreIp(taken.all()))),
    ),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "delignoreip"],
        &[Many("IP")],
        "Spares these no longer; --all is everybody",
        |taken| set(taken, |taken| Ok(Change::DelIgnoreIp(taken.all()))),
    ),
    set!(
        "ignorecommand",
        "COMMAND",
        Change::IgnoreCommand,
        "Sets the command that says by its exit code who is spared"
    ),
    set!(
        "ignorecache",
        "VALUE",
        Change::IgnoreCache,
        "Sets how long its answers are remembered: key=\"<ip>\", max-count=100, max-time=5m"
    ),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "addlogpath"],
        &[One("FILE"), Maybe("head|tail")],
        "Follows FILE, from its beginning or only from its end on",
        |taken| {
            set(taken, |taken| {
                let path = taken.value();
                let tail = match taken.maybe().unwrap_or_default().to_lowercase().as_str() {
                    "" | "head" => false,
                    "tail" => true,
                    _ => return Err(Misuse::new("File option must be 'head' or 'tail'")),
                };
                Ok(Change::AddLogPath { path, tail })
            })
        },
    ),
    set!("dellogpath", "FILE", Change::DelLogPath, "Follows FILE no longer"),
    set!("logencoding", "ENCODING", Change::LogEncoding, "Sets the encoding of the lines"),
    set!("logtimezone", "ZONE", Change::LogTimeZone, "Sets the zone of stamps without one"),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "addjournalmatch"],
        &[Many("MATCH")],
        "Takes what fits these from the journal, too",
        |taken| set(taken, |taken| Ok(Change::AddJournalMatch(taken.all()))),
    ),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "deljournalmatch"],
        &[Any("MATCH")],
        "Takes it no longer; without MATCH, nothing at all",
        |taken| set(taken, |taken| Ok(Change::DelJournalMatch(taken.all()))),
    ),
    set!("prefregex", "REGEX", Change::PrefRegex, "Sets the expression in front of all others"),
    set!("addfailregex", "REGEX", Change::AddFailRegex, "Adds an expression that counts"),
    number!("delfailregex", "INDEX", Change::DelFailRegex, "Removes it, by its number from 0"),
    set!("addignoreregex", "REGEX", Change::AddIgnoreRegex, "Adds an expression that excepts"),
    number!("delignoreregex", "INDEX", Change::DelIgnoreRegex, "Removes it, by its number from 0"),
    set!("findtime", "TIME", Change::FindTime, "Sets the span in which failures count"),
    set!("bantime", "TIME", Change::BanTime, "Sets how long bans last from now on; -1 is for ever"),
    extra!("increment", "true|false", "Lets bans grow with each repetition"),
    extra!("factor", "NUMBER", "Sets the factor by which they grow"),
    extra!("formula", "FORMULA", "Sets the formula by which they grow"),
    extra!("multipliers", "NUMBERS", "Sets the multipliers of the first, second … ban"),
    extra!("maxtime", "TIME", "Sets how long a ban may last at most"),
    extra!("rndtime", "TIME", "Sets how much of chance is added at most"),
    extra!("overalljails", "true|false", "Counts the bans of all jails"),
    set!("datepattern", "PATTERN", Change::DatePattern, "Sets how dates are found"),
    set!("usedns", "VALUE", Change::UseDns, "Sets whether names are looked up: yes, warn, no, raw"),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "attempt"],
        &[One("IP"), Any("LINE")],
        "Counts a failure of IP for each LINE, or one without any",
        |taken| set(taken, |taken| Ok(Change::Attempt { id: taken.value(), lines: taken.all() })),
    ),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "banip"],
        &[Many("IP")],
        "Bans these now; shows how many of them were not yet banned",
        |taken| set(taken, |taken| Ok(Change::BanIp(taken.all()))),
    ),
    Command {
        switches: &["--report-absent"],
        ..row(
            Group::JailConfiguration,
            &["set", "JAIL", "unbanip"],
            &[Many("IP")],
            "Lifts the bans of these in JAIL; shows how many of them were banned. With \
             --report-absent it is an error if one was not",
            |taken| {
                set(taken, |taken| {
                    let report_absent = taken.has("--report-absent");
                    Ok(Change::UnbanIp { ids: taken.all(), report_absent })
                })
            },
        )
    },
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "import"],
        &[Many("FILE")],
        "Takes over bans as import does, all of them into JAIL",
        |taken| {
            let jail = Some(taken.value());
            ask(Request::Import { files: taken.all(), jail })
        },
    ),
    number!("maxretry", "COUNT", Change::MaxRetry, "Sets how many failures are one too many"),
    number!(
        "maxmatches",
        "COUNT",
        Change::MaxMatches,
        "Sets how many lines are kept of an offender"
    ),
    number!("maxlines", "COUNT", Change::MaxLines, "Sets how many lines an expression may span"),
    row(
        Group::JailConfiguration,
        &["set", "JAIL", "addaction"],
        &[One("ACT"), Any("WORD")],
        "Adds an action without commands to JAIL",
        |taken| {
            set(taken, |taken| {
                let name = taken.value();
                match taken.maybe() {
                    None => Ok(Change::AddAction(name)),
                    Some(file) => Err(Misuse::new(format!(
                        "Python actions such as '{file}' are not run\n  write addaction {name}, \
                         then set its commands with set JAIL action {name} actionban COMMAND"
                    ))),
                }
            })
        },
    ),
    set!("delaction", "ACT", Change::DelAction, "Removes an action"),
    row(
        Group::ActionConfiguration,
        &["set", "JAIL", "action", "ACT"],
        &[One("PROPERTY"), Maybe("VALUE")],
        "Sets a property of ACT: actionstart, actionstop, actioncheck, actionban, actionunban, \
         timeout, or an option of its",
        |taken| {
            let jail = taken.value();
            let (action, property, value) = (taken.value(), taken.value(), taken.maybe());
            let change = Change::Action(ActionChange { action, property, value });
            ask(Request::SetJail { jail, change })
        },
    ),
    row(
        Group::JailInformation,
        &["get", "JAIL", "banned"],
        &[Any("IP")],
        "Shows who is banned; or for each IP 1 if it is and 0 if not",
        |taken| get(taken, |taken| Ok(Query::Banned(taken.all()))),
    ),
    row(
        Group::JailInformation,
        &["get", "JAIL", "banip"],
        &[Maybe("SEP|--with-time")],
        "Shows who is banned, with SEP between them, or each with its times",
        |taken| {
            let request = Request::GetJail { jail: taken.value(), query: Query::BanIp };
            let show = match taken.maybe() {
                None => Show::Plain,
                Some(word) if word == "--with-time" => Show::WithTime,
                Some(between) => Show::Between(between),
            };
            Ok(Task::Ask { request, show })
        },
    ),
    get!("logpath", Query::LogPath, "Shows the files that are followed"),
    get!("logencoding", Query::LogEncoding, "Shows their encoding"),
    get!("logtimezone", Query::LogTimeZone, "Shows the zone of stamps without one"),
    get!("journalmatch", Query::JournalMatch, "Shows what is taken from the journal"),
    get!("ignoreself", Query::IgnoreSelf, "Shows whether own addresses are spared"),
    get!("ignoreip", Query::IgnoreIp, "Shows who is spared"),
    get!("ignorecommand", Query::IgnoreCommand, "Shows the command that says who is spared"),
    get!("ignorecache", Query::IgnoreCache, "Shows how long its answers are remembered"),
    get!("prefregex", Query::PrefRegex, "Shows the expression in front of all others"),
    get!("failregex", Query::FailRegex, "Shows the expressions that count"),
    get!("ignoreregex", Query::IgnoreRegex, "Shows the expressions that except"),
    get!("findtime", Query::FindTime, "Shows the span in which failures count, in seconds"),
    get!("bantime", Query::BanTime, "Shows how long bans last, in seconds"),
    extra!("increment"),
    extra!("factor"),
    extra!("formula"),
    extra!("multipliers"),
    extra!("maxtime"),
    extra!("rndtime"),
    extra!("overalljails"),
    get!("datepattern", Query::DatePattern, "Shows how dates are found"),
    get!("usedns", Query::UseDns, "Shows whether names are looked up"),
    get!("maxretry", Query::MaxRetry, "Shows how many failures are one too many"),
    get!("maxmatches", Query::MaxMatches, "Shows how many lines are kept of an offender"),
    get!("maxlines", Query::MaxLines, "Shows how many lines an expression may span"),
    get!("idle", Query::Idle, "Shows whether JAIL rests"),
    get!("actions", Query::Actions, "Shows the names of its actions"),
    row(
        Group::ActionInformation,
        &["get", "JAIL", "action", "ACT"],
        &[One("PROPERTY")],
        "Shows a property of ACT",
        |taken| {
            let jail = taken.value();
            let (action, property) = (taken.value(), taken.value());
            let query = Query::Action(ActionQuery { action, property });
            ask(Request::GetJail { jail, query })
        },
    ),
    row(
        Group::ActionInformation,
        &["get", "JAIL", "actionproperties"],
        &[One("ACT")],
        "Shows the names of ACT's properties",
        |taken| get(taken, |taken| Ok(Query::ActionProperties(taken.value()))),
    ),
    row(
        Group::ActionInformation,
        &["get", "JAIL", "actionmethods"],
        &[One("ACT")],
        "Shows what ACT can be told to do",
        |taken| get(taken, |taken| Ok(Query::ActionMethods(taken.value()))),
    ),
];

fn ask(request: Request) -> Made {
    Ok(Task::Ask { request, show: Show::Plain })
}

fn get(taken: &mut Taken, query: fn(&mut Taken) -> Result<Query, Misuse>) -> Made {
    let jail = taken.value();
    ask(Request::GetJail { jail, query: query(taken)? })
}

fn set(taken: &mut Taken, change: fn(&mut Taken) -> Result<Change, Misuse>) -> Made {
    let jail = taken.value();
    ask(Request::SetJail { jail, change: change(taken)? })
}

fn reload(taken: &mut Taken, restart: bool) -> Made {
    let jail = taken.maybe().filter(|jail| jail != "--all");
    if let Some(switch) = jail.as_deref().filter(|jail| jail.starts_with('-')) {
        return Err(Misuse::new(format!(
            "reload knows no {switch}; write reload [--restart] [--unban] [--if-exists] [JAIL]"
        )));
    }
    ask(Request::Reload {
        jail,
        restart: restart || taken.has("--restart"),
        unban: taken.has("--unban"),
        if_exists: taken.has("--if-exists"),
    })
}

fn status(jail: Option<String>, flavor: Option<&str>) -> Made {
    let flavor = match flavor.unwrap_or("basic") {
        "basic" => Flavor::Basic,
        "short" => Flavor::Short,
        "stats" => Flavor::Stats,
        "cymru" => Flavor::Cymru,
        other => {
            return Err(Misuse::new(format!(
                "there is no flavor '{other}'; write basic, short or stats"
            )));
        }
    };
    ask(Request::JailStatus { jail, flavor })
}

fn whole<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Misuse> {
    let number = text.trim().parse();
    number.map_err(|_| Misuse::new(format!("{name} '{text}': write a whole number")))
}

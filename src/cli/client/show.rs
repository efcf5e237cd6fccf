//! Answers as people and their scripts read them: fail2ban-client's layouts, tabs and all.
//!
//! What an attacker may have chosen (an id, a line of a log) stays on its line: its line breaks are
//! written out. What a terminal would obey is taken care of where all text is printed.

use std::{borrow::Cow, fmt::Write as _};

use super::{tables, why};
use crate::{
    cli::python::repr_text,
    control::{
        Answer, BanRow, Change, Health, JailBans, JailStatus, Query, Request, ServerOption,
        ServerStatus, Source, commands::Show,
    },
    time::{Timestamp, Zone},
};

/// The text of an answer, without a newline at its end.
pub fn answer(request: &Request, show: &Show, answer: &Answer) -> String {
    match (request, answer) {
        (Request::Ping, Answer::Text(text)) => format!("Server replied: {text}"),
        (Request::Echo(_), Answer::List(words)) => words.join(" "),
        (Request::StartJail(_), _) => "Jail started".to_owned(),
        (Request::StopJail(_), _) => "Jail stopped".to_owned(),
        (Request::Stop { .. }, _) => "Shutdown successful".to_owned(),
        (Request::Add { .. }, Answer::Text(jail)) => format!("Added jail {jail}"),
        (Request::FlushLogs, Answer::Text(done)) => format!("logs: {done}"),
        (Request::Get(option), _) => server(*option, answer),
        (Request::Set(change), _) => server(change.option, answer),
        (Request::GetJail { jail, query }, _) => of_jail(jail, query, show, answer),
        // fail2ban tells a command that is none in two ways: this is the other.
        (Request::SetJail { change: Change::IgnoreCommand(_), .. }, Answer::Nothing) => {
            String::new()
        }
        (Request::SetJail { jail, change }, _) => match asked_by(change) {
            Some(query) => of_jail(jail, &query, show, answer),
            None => plain(answer),
        },
        _ => plain(answer),
    }
}

/// An answer whose kind says all.
fn plain(answer: &Answer) -> String {
    match answer {
        Answer::Nothing => "None".to_owned(),
        Answer::Text(text) => one_line(text).into_owned(),
        Answer::Number(number) => number.to_string(),
        Answer::Fraction(number) => number.to_string(),
        Answer::Flag(yes) => python_bool(*yes).to_owned(),
        Answer::List(texts) => list(texts),
        Answer::Flags(flags) => match flags.as_slice() {
            [one] => u8::from(*one).to_string(),
            several => {
                let bits: Vec<String> =
                    several.iter().map(|yes| u8::from(*yes).to_string()).collect();
                format!("[{}]", bits.join(", "))
            }
        },
        Answer::DatePattern { pattern, name } => match pattern {
            Some(pattern) => format!("{pattern} ({name})"),
            None => name.clone(),
        },
        Answer::Matches(groups) => {
            let groups: Vec<String> = groups.iter().map(|words| words.join(" ")).collect();
            groups.join(" + ")
        }
        Answer::Cache { key, count_max, time } => {
            format!("[{}, {count_max}, {time}]", repr_text(key))
        }
        Answer::Status(status) => tree("Status", &server_nodes(status)),
        Answer::Jail(jail) => jail_status(jail),
        Answer::Jails(jails) => {
            let blocks: Vec<String> = jails.iter().map(jail_status).collect();
            blocks.join("\n")
        }
        Answer::Stats(rows) => tables::stats(rows),
        Answer::Banned(jails) => {
            let dicts: Vec<String> = jails.iter().map(dict).collect();
            format!("[{}]", dicts.join(", "))
        }
        Answer::BannedIn(rows) => {
            let rows: Vec<String> = rows.iter().map(|jails| list(jails)).collect();
            format!("[{}]", rows.join(", "))
        }
        Answer::Bans(bans) => between(bans, " "),
        Answer::Why(case) => why::text(case),
        Answer::Imported(report) => tables::imported(report),
    }
}

fn server(option: ServerOption, answer: &Answer) -> String {
    match (option, answer) {
        (ServerOption::LogLevel, Answer::Text(level)) => {
            format!("Current logging level is {}", repr_text(level))
        }
        (ServerOption::LogTarget, Answer::Text(target)) => {
            format!("Current logging target is:\n`- {target}")
        }
        (ServerOption::SyslogSocket, Answer::Text(socket)) => {
            format!("Current syslog socket is:\n`- {socket}")
        }
        (ServerOption::DbFile, Answer::Text(file)) => {
            format!("Current database file is:\n`- {file}")
        }
        (ServerOption::DbPurgeAge, Answer::Number(seconds)) => {
            format!("Current database purge age is:\n`- {seconds}seconds")
        }
        (ServerOption::DbFile | ServerOption::DbPurgeAge, Answer::Nothing) => {
            "Database currently disabled".to_owned()
        }
        _ => plain(answer),
    }
}

/// The query whose answer a change has.
fn asked_by(change: &Change) -> Option<Query> {
    Some(match change {
        Change::AddLogPath { .. } | Change::DelLogPath(_) => Query::LogPath,
        Change::LogEncoding(_) => Query::LogEncoding,
        Change::AddJournalMatch(_) | Change::DelJournalMatch(_) => Query::JournalMatch,
        Change::DatePattern(_) => Query::DatePattern,
        Change::AddIgnoreIp(_) | Change::DelIgnoreIp(_) => Query::IgnoreIp,
        Change::AddFailRegex(_) | Change::DelFailRegex(_) => Query::FailRegex,
        Change::AddIgnoreRegex(_) | Change::DelIgnoreRegex(_) => Query::IgnoreRegex,
        _ => return None,
    })
}

fn of_jail(jail: &str, query: &Query, show: &Show, answer: &Answer) -> String {
    match (query, answer) {
        (Query::BanIp, Answer::Bans(bans)) => match show {
            Show::Plain => between(bans, " "),
            Show::Between(text) => between(bans, text),
            Show::WithTime => {
                let lines: Vec<String> = bans.iter().map(with_time).collect();
                lines.join("\n")
            }
        },
        (Query::LogPath, Answer::List(paths)) => branches(
            paths,
            "No file is currently monitored",
            "Current monitored log file(s):",
            false,
        ),
        (Query::IgnoreIp, Answer::List(entries)) => branches(
            entries,
            "No IP address/network is ignored",
            "These IP addresses/networks are ignored:",
            false,
        ),
        (Query::FailRegex | Query::IgnoreRegex, Answer::List(expressions)) => branches(
            expressions,
            "No regular expression is defined",
            "The following regular expression are defined:",
            true,
        ),
        (Query::LogEncoding, Answer::Text(name)) => {
            format!("Current log encoding is set to:\n{name}")
        }
        (Query::JournalMatch, Answer::Matches(groups)) if groups.is_empty() => {
            "No journal match filter set".to_owned()
        }
        (Query::JournalMatch, Answer::Matches(_)) => {
            format!("Current match filter:\n{}", plain(answer))
        }
        (Query::DatePattern, Answer::DatePattern { .. }) => {
            format!("Current date pattern set to: {}", plain(answer))
        }
        (Query::DatePattern, _) => "Current date pattern set to: Not set/required".to_owned(),
        (Query::IgnoreCommand, Answer::Nothing) => "False".to_owned(),
        (Query::Actions, Answer::List(names)) => named(
            names,
            &format!("No actions for jail {jail}"),
            &format!("The jail {jail} has the following actions:"),
        ),
        (Query::ActionProperties(action), Answer::List(names)) => named(
            names,
            &format!("No properties for jail {jail} action {action}"),
            &format!("The jail {jail} action {action} has the following properties:"),
        ),
        (Query::ActionMethods(action), Answer::List(names)) => named(
            names,
            &format!("No methods for jail {jail} action {action}"),
            &format!("The jail {jail} action {action} has the following methods:"),
        ),
        _ => plain(answer),
    }
}

fn branches(texts: &[String], none: &str, some: &str, numbered: bool) -> String {
    if texts.is_empty() {
        return none.to_owned();
    }
    let mut out = some.to_owned();
    for (at, text) in texts.iter().enumerate() {
        let branch = if at + 1 == texts.len() { "`-" } else { "|-" };
        let text = one_line(text);
        // Writing to a String cannot fail.
        let _ = match numbered {
            true => write!(out, "\n{branch} [{at}]: {text}"),
            false => write!(out, "\n{branch} {text}"),
        };
    }
    out
}

fn named(names: &[String], none: &str, some: &str) -> String {
    match names {
        [] => none.to_owned(),
        names => format!("{some}\n{}", names.join(", ")),
    }
}

fn python_bool(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

fn list<S: AsRef<str>>(texts: &[S]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| repr_text(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

fn dict(jail: &JailBans) -> String {
    format!("{{{}: {}}}", repr_text(&jail.jail), list(&jail.ids))
}

fn between(bans: &[BanRow], text: &str) -> String {
    let ids: Vec<Cow<'_, str>> = bans.iter().map(|ban| one_line(&ban.id)).collect();
    ids.join(text)
}

/// fail2ban's last moment, at which what never ends ends.
const NEVER: &str = "9999-12-31 23:59:59";

fn with_time(ban: &BanRow) -> String {
    let until = match ban.bantime {
        ..0 => NEVER.to_owned(),
        seconds => moment(ban.from.saturating_add(seconds)),
    };
    format!("{} \t{} + {} = {until}", one_line(&ban.id), moment(ban.from), ban.bantime)
}

/// `2026-11-21 11:35:10`, by the clock on the wall.
pub fn moment(seconds: i64) -> String {
    match Zone::Local.civil(Timestamp::from_secs(seconds)) {
        Some(civil) if civil.year <= 9999 => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
        ),
        _ => NEVER.to_owned(),
    }
}

/// Text that stays on its line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\r']) {
        true => Cow::Owned(text.replace('\n', "\\n").replace('\r', "\\r")),
        false => Cow::Borrowed(text),
    }
}

/// A part of a status: a heading with parts, or a name with its value.
enum Node {
    Branch(&'static str, Vec<Node>),
    Leaf(&'static str, String),
}

fn tree(title: &str, nodes: &[Node]) -> String {
    let mut out = title.to_owned();
    grow(&mut out, "", nodes);
    out
}

fn grow(out: &mut String, indent: &str, nodes: &[Node]) {
    for (at, node) in nodes.iter().enumerate() {
        let is_last = at + 1 == nodes.len();
        let branch = if is_last { "`-" } else { "|-" };
        // Writing to a String cannot fail.
        match node {
            Node::Leaf(name, value) => {
                let _ = write!(out, "\n{indent}{branch} {name}:\t{value}");
            }
            Node::Branch(name, inside) => {
                let _ = write!(out, "\n{indent}{branch} {name}");
                grow(out, &format!("{indent}{}", if is_last { "   " } else { "|  " }), inside);
            }
        }
    }
}

fn server_nodes(status: &ServerStatus) -> Vec<Node> {
    let mut nodes = vec![
        Node::Leaf("Number of jail", status.jails.len().to_string()),
        Node::Leaf("Jail list", status.jails.join(", ")),
    ];
    // What fail2ban has no words for stands behind what its users look for.
    for trouble in &status.waiting {
        let text = format!("{}: {}", trouble.jail, one_line(&trouble.reason));
        nodes.push(Node::Leaf("Waiting", text));
    }
    if !status.idle.is_empty() {
        nodes.push(Node::Leaf("Idle", status.idle.join(", ")));
    }
    for trouble in &status.disabled {
        let text = format!("{}: {}", trouble.jail, one_line(&trouble.reason));
        nodes.push(Node::Leaf("Disabled", text));
    }
    nodes.extend(status.notes.iter().map(|note| Node::Leaf("Note", one_line(note).into_owned())));
    nodes
}

/// How a jail is, if there is anything to say.
pub fn state(health: &Health) -> Option<String> {
    match health {
        Health::Running => None,
        Health::Idle => Some("idle".to_owned()),
        Health::Waiting(reason) => Some(format!("waiting: {}", one_line(reason))),
        Health::Disabled(reason) => Some(format!("disabled: {}", one_line(reason))),
    }
}

fn jail_status(jail: &JailStatus) -> String {
    let ids = |ids: &[String]| {
        let ids: Vec<Cow<'_, str>> = ids.iter().map(|id| one_line(id)).collect();
        ids.join(" ")
    };
    let source = match &jail.source {
        Source::Files(paths) => Node::Leaf("File list", ids(paths)),
        Source::Journal(groups) => {
            Node::Leaf("Journal matches", plain(&Answer::Matches(groups.clone())))
        }
        Source::Sensor => Node::Leaf("Sensor", "probes of this host".to_owned()),
    };
    let mut actions = vec![
        Node::Leaf("Currently banned", jail.banned.to_string()),
        Node::Leaf("Total banned", jail.banned_total.to_string()),
    ];
    actions.extend(jail.ids.as_deref().map(|held| Node::Leaf("Banned IP list", ids(held))));
    actions.extend(jail.pending.iter().map(|pending| {
        let (id, trouble) = (one_line(&pending.id), one_line(&pending.trouble));
        let text = if trouble.is_empty() { id.into_owned() } else { format!("{id}: {trouble}") };
        Node::Leaf("Not in force yet", text)
    }));
    let mut nodes = Vec::new();
    nodes.extend(state(&jail.health).map(|state| Node::Leaf("State", state)));
    nodes.push(Node::Branch(
        "Filter",
        vec![
            Node::Leaf("Currently failed", jail.failed.to_string()),
            Node::Leaf("Total failed", jail.failed_total.to_string()),
            source,
        ],
    ));
    nodes.push(Node::Branch("Actions", actions));
    tree(&format!("Status for the jail: {}", jail.jail), &nodes)
}

//! The options of a jail: their names, their kinds, and how each becomes a type.

use super::{
    finding::Finding,
    jail_spec::{Backend, BanTime, IgnoreCache, IgnoreEntry, LogPath},
    nearest, options,
    text::Text,
    words,
};
use crate::place::Located;

/// What kind of value an option takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
}

/// fail2ban's options, in the order in which it hands them to its server.
pub(super) const JAIL_OPTIONS: &[(&str, Kind)] = &[
    ("enabled", Kind::Flag),
    ("backend", Kind::Text),
    ("maxretry", Kind::Number),
    ("maxmatches", Kind::Number),
    ("findtime", Kind::Text),
    ("bantime", Kind::Text),
    ("bantime.increment", Kind::Flag),
    ("bantime.factor", Kind::Text),
    ("bantime.formula", Kind::Text),
    ("bantime.multipliers", Kind::Text),
    ("bantime.maxtime", Kind::Text),
    ("bantime.rndtime", Kind::Text),
    ("bantime.overalljails", Kind::Flag),
    ("ignorecommand", Kind::Text),
    ("ignoreself", Kind::Flag),
    ("ignoreip", Kind::Text),
    ("ignorecache", Kind::Text),
    ("filter", Kind::Text),
    ("logtimezone", Kind::Text),
    ("logencoding", Kind::Text),
    ("logpath", Kind::Text),
    ("skip_if_nologs", Kind::Flag),
    ("systemd_if_nologs", Kind::Flag),
    ("action", Kind::Text),
    ("usedns", Kind::Text),
    ("prefregex", Kind::Text),
    ("ignoreregex", Kind::Text),
    ("failregex", Kind::Text),
    ("maxlines", Kind::Number),
    ("datepattern", Kind::Text),
    ("journalmatch", Kind::Text),
];

/// Our own additions.
pub(super) const OWN_OPTIONS: &[(&str, Kind)] = &[
    ("banprefix4", Kind::Number),
    ("banprefix6", Kind::Number),
    ("protect", Kind::Flag),
    ("protect_sessions", Kind::Flag),
    ("count_own_lines", Kind::Text),
];

/// Options that mean nothing by themselves, but that stock files refer to.
pub(super) const USUAL_OPTIONS: &[&str] =
    &["mode", "port", "protocol", "chain", "banaction", "banaction_allports"];

/// Keys that people invent, or write where they do not belong, and what to write instead.
pub(super) const HINTS: &[(&str, &str)] = &[
    ("scan_detection_mode", MODES),
    ("advanced_scan_detection_mode", MODES),
    ("detection_mode", MODES),
    ("tcp_mode", MODES),
    ("udp_mode", MODES),
    ("scan_trigger", PORTSENTRY),
    ("tcp_ports", PORTSENTRY),
    ("udp_ports", PORTSENTRY),
    ("advanced_ports_tcp", PORTSENTRY),
    ("advanced_ports_udp", PORTSENTRY),
    ("advanced_exclude_tcp", PORTSENTRY),
    ("advanced_exclude_udp", PORTSENTRY),
    ("kill_route", PORTSENTRY),
    ("kill_hosts_deny", PORTSENTRY),
    ("kill_run_cmd", PORTSENTRY),
    ("block_tcp", PORTSENTRY),
    ("block_udp", PORTSENTRY),
    ("whitelist", "write `ignoreip = …`"),
    ("ignore", "write `ignoreip = …`"),
    ("logfile", "write `logpath = …`"),
    ("log", "write `logpath = …`"),
    ("regex", "write `failregex = …`"),
    ("retry", "write `maxretry = …`"),
    ("ban", "write `bantime = …`"),
];

const MODES: &str = "modes are words: `modes = atcp audp` in [sensor] of sentryban.conf, or TCP_MODE and UDP_MODE \
     in /etc/default/portsentry";
const PORTSENTRY: &str =
    "this belongs into portsentry.conf, which [sensor] `config = PATH` of sentryban.conf names";

/// Yes or no.
pub(super) fn flag(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" => Some(true),
        "0" | "off" | "false" | "no" | "" => Some(false),
        _ => None,
    }
}

pub(super) fn no_flag(name: &str, value: &Text) -> Finding {
    let what = format!("'{name} = {}' is neither yes nor no", value.as_str());
    let words = ["true", "false", "yes", "no", "on", "off"];
    let write = match nearest(value.as_str(), words.into_iter()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "write true or false".to_owned(),
    };
    Finding::fault(value.at(), what, write)
}

pub(super) fn no_number(name: &str, value: &Text) -> Finding {
    let what = format!("'{name} = {}' is not a whole number", value.as_str());
    Finding::fault(value.at(), what, "write digits only, such as 5")
}

/// A span of at least `least` seconds.
pub(super) fn span(name: &str, value: &Text, least: i64) -> Result<u64, Finding> {
    let fault = |what: String| {
        let what = format!("'{name} = {}' {what}", value.as_str());
        Finding::fault(value.at(), what, "write seconds or a span such as 10m, 1h 30m, 2w")
    };
    let seconds = words::seconds(value.as_str()).map_err(fault)?.whole();
    match u64::try_from(seconds) {
        Ok(seconds) if seconds >= least.unsigned_abs() => Ok(seconds),
        _ => Err(fault(format!("is less than {least} s"))),
    }
}

pub(super) fn bantime(value: &Text) -> Result<BanTime, Finding> {
    match words::seconds(value.as_str()) {
        Ok(number) if number.as_f64() == -1.0 => Ok(BanTime::Permanent),
        Ok(number) if number.as_f64() < 0.0 => {
            let what = format!("'bantime = {}' is less than nothing", value.as_str());
            Err(Finding::fault(value.at(), what, "write -1 for a ban without end, else seconds"))
        }
        _ => span("bantime", value, 0).map(BanTime::Seconds),
    }
}

pub(super) fn backend(value: &Text) -> Result<Backend, Finding> {
    let fault = |what: String, write: String| Err(Finding::fault(value.at(), what, write));
    let (name, list) = match options::parse(value.as_str()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let what = format!("'backend = {}' {error}", value.as_str());
            return fault(what, "write auto, polling, systemd or sensor".to_owned());
        }
    };
    match name.to_lowercase().as_str() {
        "auto" | "gamin" => Ok(Backend::Auto),
        "pyinotify" | "inotify" | "notify" => Ok(Backend::Notify),
        "polling" => Ok(Backend::Polling),
        "systemd" => Ok(Backend::Systemd(list)),
        "sensor" => Ok(Backend::Sensor),
        other => {
            let known = ["auto", "pyinotify", "polling", "systemd", "sensor"];
            let write = match nearest(other, known.into_iter()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "write auto, polling, systemd or sensor".to_owned(),
            };
            fault(format!("there is no backend '{name}'"), write)
        }
    }
}

/// One path or glob a line, `tail` or `head` behind it.
pub(super) fn logpath(value: &Text) -> Vec<LogPath> {
    let lines = value.lines().filter(|line| !line.value.trim().is_empty());
    let paths = lines.map(|line| {
        let (glob, from_end) = match line.value.rsplit_once(' ') {
            Some((path, "tail")) => (path, true),
            Some((path, "head")) => (path, false),
            _ => (line.value, false),
        };
        LogPath { glob: glob.trim().to_owned(), from_end, at: line.at }
    });
    paths.collect()
}

/// Entries separated by blanks, commas or lines.
pub(super) fn ignoreip(value: &Text, findings: &mut Vec<Finding>) -> Vec<Located<IgnoreEntry>> {
    let mut entries = Vec::new();
    for line in value.lines() {
        for word in words_of(line.value) {
            match IgnoreEntry::parse(word) {
                Ok(entry) => entries.push(Located::new(entry, line.at.clone())),
                Err(what) => {
                    let what = format!("ignoreip: '{word}' {what}");
                    let write = "write an address, address/bits, address/mask, or a host's name";
                    findings.push(Finding::fault(line.at.clone(), what, write));
                }
            }
        }
    }
    entries
}

/// Words, separated by blanks and commas.
pub(super) fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\n', '\t', '\r']).filter(|word| !word.is_empty())
}

/// `key="<F-ID>", max-count=100, max-time=5m`.
pub(super) fn ignorecache(value: &Text) -> Result<Option<IgnoreCache>, Finding> {
    let fault = |what: String| {
        let what = format!("'ignorecache = {}' {what}", value.as_str());
        Finding::fault(value.at(), what, "write `key=\"<F-ID>\", max-count=100, max-time=5m`")
    };
    if value.as_str().is_empty() {
        return Ok(None);
    }
    let list = options::parse_list(value.as_str()).map_err(fault)?;
    let get = |name: &str| list.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let key = get("key").ok_or_else(|| fault("has no key".to_owned()))?.clone();
    let count_max = match get("max-count") {
        None => 100,
        Some(count) => count.parse().map_err(|_| fault("has no number as max-count".to_owned()))?,
    };
    let time_s = match get("max-time") {
        None => 300,
        Some(time) => span("max-time", &Text::new(time.clone(), value.at()), 0)?,
    };
    Ok(Some(IgnoreCache { key, count_max, time_s }))
}

/// Whole numbers, separated by blanks.
pub(super) fn multipliers(value: &Text) -> Result<Vec<u64>, Finding> {
    let numbers = words_of(value.as_str()).map(str::parse);
    numbers.collect::<Result<_, _>>().map_err(|_| {
        let what = format!("'bantime.multipliers = {}' are not whole numbers", value.as_str());
        Finding::fault(value.at(), what, "write numbers with blanks between, such as 1 2 4 8")
    })
}

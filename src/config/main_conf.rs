//! The main file: `sentryban.conf`, else `fail2ban.conf`, else what is compiled in.
//!
//! A fail2ban tree is a guest's house: where its `fail2ban.conf` names fail2ban's stock socket,
//! pid file, database or log, ours are taken instead, so that neither harms the other.

use super::{
    finding::Finding,
    interpolate::Lack,
    jail_options, nearest,
    text::{Options, Text},
    tree::{Merged, Tree},
    words,
};
use crate::place::{Located, Place};

/// What the main file says.
#[derive(Clone, Debug)]
pub struct MainSpec {
    /// `CRITICAL` … `DEBUG`, `TRACEDEBUG`, `HEAVYDEBUG`, or a number.
    pub loglevel: Located<String>,
    /// A file, `STDOUT`, `STDERR`, `SYSLOG`, `SYSOUT` or `SYSTEMD-JOURNAL`.
    pub logtarget: Located<String>,
    /// `auto`, or a socket's path.
    pub syslogsocket: Located<String>,
    /// Our control socket.
    pub socket: Located<String>,
    /// Our pid file.
    pub pidfile: Located<String>,
    /// `auto`, yes or no; `None` is `auto`.
    pub allowipv6: Option<bool>,
    /// The database; `None` switches it off, `:memory:` keeps it in memory.
    pub dbfile: Located<String>,
    /// So many lines are kept of each offender.
    pub dbmaxmatches: u32,
    /// Bans older than this are forgotten; seconds.
    pub dbpurgeage_s: u64,
    /// A group that may ask, but not order.
    pub socketgroup: Option<Located<String>>,
    /// Loggers are named as fail2ban's are.
    pub fail2ban_lognames: bool,
    /// `[sensor]`, for the sensor to read.
    pub sensor: Options,
    /// True if DIR is a fail2ban tree.
    pub is_guest: bool,
    /// The socket on which the fail2ban of that tree would answer.
    pub fail2ban_socket: Option<Located<String>>,
    pub(super) written: Options,
}

/// BSD has no `/run`, and keeps what programs remember in `/var/db` (hier(7)).
const IS_LINUX: bool = cfg!(target_os = "linux");

/// Where the control socket lies unless the main file says otherwise.
pub const SOCKET: &str = match IS_LINUX {
    true => "/run/sentryban/sentryban.sock",
    false => "/var/run/sentryban/sentryban.sock",
};

/// Where the pid file lies.
pub const PIDFILE: &str = match IS_LINUX {
    true => "/run/sentryban/sentryban.pid",
    false => "/var/run/sentryban/sentryban.pid",
};

/// Where the database lies.
pub const DBFILE: &str = match IS_LINUX {
    true => "/var/lib/sentryban/sentryban.sqlite3",
    false => "/var/db/sentryban/sentryban.sqlite3",
};

/// Options of `[Definition]`, with their defaults.
pub(super) const MAIN_OPTIONS: &[(&str, Option<&str>)] = &[
    ("loglevel", Some("INFO")),
    ("logtarget", Some("/var/log/sentryban.log")),
    ("syslogsocket", Some("auto")),
    ("socket", Some(SOCKET)),
    ("pidfile", Some(PIDFILE)),
    ("allowipv6", Some("auto")),
    ("dbfile", Some(DBFILE)),
    ("dbmaxmatches", None),
    ("dbpurgeage", Some("1d")),
    ("socketgroup", None),
    ("lognames", None),
];

/// fail2ban's stock values, by option.
const GUEST_PATHS: &[(&str, &[&str])] = &[
    ("socket", &["/var/run/fail2ban/fail2ban.sock", "/run/fail2ban/fail2ban.sock"]),
    ("pidfile", &["/var/run/fail2ban/fail2ban.pid", "/run/fail2ban/fail2ban.pid"]),
    ("dbfile", &["/var/lib/fail2ban/fail2ban.sqlite3"]),
    ("logtarget", &["/var/log/fail2ban.log"]),
];

/// The names of log levels.
pub const LOG_LEVELS: &[&str] =
    &["CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "TRACEDEBUG", "HEAVYDEBUG"];

/// Reads the main file of a tree, with everything that is wrong in it.
///
/// This never fails, as the server always starts: a value that cannot be used is a fault among
/// the findings, and the default stands in its place.
pub fn read_main(tree: &Tree) -> (MainSpec, Vec<Finding>) {
    let has = |name: &str| {
        [".conf", ".local", ".d"].iter().any(|ending| tree.has_on_disk(&format!("{name}{ending}")))
    };
    let is_guest = !has("sentryban") && has("fail2ban");
    let name = if is_guest { "fail2ban" } else { "sentryban" };
    let mut merged = tree.read(name).unwrap_or_default();
    let mut findings = std::mem::take(&mut merged.findings);
    let root = Place::new(tree.root(), 0);
    let mut written = Options::new();
    for (option, _) in MAIN_OPTIONS {
        match merged.get("Definition", option, &Options::new()) {
            Ok(value) => {
                written.insert((*option).to_owned(), value);
            }
            Err(Lack::Broken(broken)) => findings.push(*broken),
            Err(Lack::Section | Lack::Option) => {}
        }
    }
    if let Ok(size) = merged.get("Thread", "stacksize", &Options::new()) {
        written.insert("stacksize".to_owned(), size);
    }
    let sensor = sensor(&merged, &mut findings);
    unknown(&merged, &mut findings);
    let mut values = Values { written: &written, root: &root, is_guest, findings: &mut findings };
    let spec = MainSpec {
        loglevel: values.loglevel(),
        logtarget: values.text("logtarget"),
        syslogsocket: values.text("syslogsocket"),
        socket: values.text("socket"),
        pidfile: values.text("pidfile"),
        allowipv6: values.allowipv6(),
        dbfile: values.text("dbfile"),
        dbmaxmatches: values.dbmaxmatches(),
        dbpurgeage_s: values.dbpurgeage(),
        socketgroup: written.get("socketgroup").map(Text::located),
        fail2ban_lognames: is_guest
            || written.get("lognames").is_some_and(|names| names.as_str() == "fail2ban"),
        sensor,
        is_guest,
        fail2ban_socket: is_guest.then(|| fail2ban_socket(&written, &root)),
        written: written.clone(),
    };
    (spec, findings)
}

fn fail2ban_socket(written: &Options, root: &Place) -> Located<String> {
    let stock = || Located::new("/var/run/fail2ban/fail2ban.sock".to_owned(), root.clone());
    written.get("socket").map_or_else(stock, Text::located)
}

struct Values<'a> {
    written: &'a Options,
    root: &'a Place,
    is_guest: bool,
    findings: &'a mut Vec<Finding>,
}

impl Values<'_> {
    fn text(&mut self, name: &str) -> Located<String> {
        let default = MAIN_OPTIONS.iter().find(|(known, _)| *known == name);
        let default = default.and_then(|(_, default)| *default).unwrap_or_default();
        let stock = GUEST_PATHS.iter().find(|(known, _)| *known == name);
        let is_stock = |text: &str| stock.is_some_and(|(_, paths)| paths.contains(&text));
        match self.written.get(name) {
            Some(text) if self.is_guest && is_stock(text.as_str()) => {
                Located::new(default.to_owned(), text.at())
            }
            Some(text) => text.located(),
            None => Located::new(default.to_owned(), self.root.clone()),
        }
    }

    fn loglevel(&mut self) -> Located<String> {
        let level = self.text("loglevel");
        let upper = level.value.trim().to_uppercase();
        let is_number = !upper.is_empty() && upper.chars().all(|c| c.is_ascii_digit());
        if !is_number && !LOG_LEVELS.contains(&upper.as_str()) {
            let what = format!("there is no log level '{}'", level.value);
            let write = match nearest(&upper, LOG_LEVELS.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", LOG_LEVELS.join(", ")),
            };
            self.findings.push(Finding::fault(level.at.clone(), what, write));
            return level.map(|_| "INFO".to_owned());
        }
        level.map(|_| upper)
    }

    fn allowipv6(&mut self) -> Option<bool> {
        let value = self.written.get("allowipv6").filter(|value| value.as_str() != "auto")?;
        let flag = jail_options::flag(value.as_str());
        if flag.is_none() {
            self.findings.push(jail_options::no_flag("allowipv6", value));
        }
        flag
    }

    fn dbmaxmatches(&mut self) -> u32 {
        let Some(value) = self.written.get("dbmaxmatches") else { return 10 };
        value.as_str().trim().parse().unwrap_or_else(|_| {
            self.findings.push(jail_options::no_number("dbmaxmatches", value));
            10
        })
    }

    fn dbpurgeage(&mut self) -> u64 {
        let Some(value) = self.written.get("dbpurgeage") else { return 86_400 };
        // A negative age means: never forget.
        if words::seconds(value.as_str()).is_ok_and(|age| age.as_f64() < 0.0) {
            return u64::MAX;
        }
        jail_options::span("dbpurgeage", value, 0).unwrap_or_else(|fault| {
            self.findings.push(fault);
            86_400
        })
    }
}

fn sensor(merged: &Merged, findings: &mut Vec<Finding>) -> Options {
    let mut options = Options::new();
    for name in merged.section("sensor").into_iter().flat_map(Options::keys) {
        match merged.get("sensor", name, &Options::new()) {
            Ok(value) => {
                options.insert(name.clone(), value);
            }
            Err(Lack::Broken(broken)) => findings.push(*broken),
            Err(_) => {}
        }
    }
    options
}

fn unknown(merged: &Merged, findings: &mut Vec<Finding>) {
    let known = || MAIN_OPTIONS.iter().map(|(name, _)| *name);
    for (name, value) in merged.section("Definition").into_iter().flatten() {
        if known().any(|known| known == name) {
            continue;
        }
        let hint = jail_options::HINTS.iter().find(|(known, _)| known == name);
        let write = match (hint, nearest(name, known())) {
            (Some((_, hint)), _) => (*hint).to_owned(),
            (None, Some(near)) => format!("did you mean '{near}'?"),
            (None, None) => "remove it".to_owned(),
        };
        let what = format!("nothing reads the option '{name}' of [Definition]");
        findings.push(Finding::warning(value.at(), what, write).within("Definition"));
    }
}

//! What is around this host and must never be banned: its own addresses, the networks in which it
//! stands, gateways, name servers, administrators who are logged in, and what `ignoreip` names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{inbox::Sender, sessions};
use crate::{
    jail::{Session, Surroundings},
    net::parse_address,
    time::Timestamp,
};

/// Name servers, as the C library reads them.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A file named in `ignoreip` is read up to here.
const IGNORE_FILE_BYTES_MAX: u64 = 16 << 20;
/// So many names of `ignoreip` are remembered.
const NAMES_MAX: usize = 1024;
/// A name that nobody knew is asked for again after so many seconds; one that is known, when the
/// engine says so (`jail::NAMES_REFRESH_S`).
const UNKNOWN_S: i64 = 60;

/// Looks around, and puts together what it sees.
#[derive(Debug)]
pub struct Watcher {
    seen: Surroundings,
    resolv_conf: Option<SystemTime>,
    /// What is known of the names in `ignoreip`.
    pub names: Names,
    /// With what each looked like when it was last read; none if it never was.
    files: BTreeMap<PathBuf, Option<Stamp>>,
    admins: sessions::Admins,
    /// Nothing was told yet.
    fresh: bool,
}

impl Watcher {
    /// Begins to watch; what the network says comes through the inbox.
    pub fn start(sender: Sender) -> Watcher {
        Watcher {
            seen: super::network::watch(sender),
            resolv_conf: None,
            names: Names::default(),
            files: BTreeMap::new(),
            admins: sessions::Admins::new(Path::new("/")),
            fresh: true,
        }
    }

    /// The network changed: addresses, networks and gateways are these now.
    pub fn network(&mut self, now: Surroundings) -> Surroundings {
        (self.seen.own, self.seen.connected) = (now.own, now.connected);
        self.seen.gateways = now.gateways;
        self.seen.clone()
    }

    /// This file of `ignoreip` is to be read whenever it changes.
    pub fn want_file(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_default();
    }

    /// The files of `ignoreip` that changed, with their text; none for one that cannot be read.
    pub fn files(&mut self) -> Vec<(PathBuf, Option<String>)> {
        let mut changed = Vec::new();
        for (path, known) in &mut self.files {
            let stamp = changed_at(path);
            if *known == Some(stamp) {
                continue;
            }
            *known = Some(stamp);
            changed.push((path.clone(), ignore_file(path)));
        }
        changed
    }

    /// Looks at files that say who is around; all of it, if anything changed.
    pub fn look(&mut self) -> Option<Surroundings> {
        let mut changed = std::mem::take(&mut self.fresh);
        let stamp = changed_at(Path::new(RESOLV_CONF)).map(|(time, _)| time);
        if stamp != self.resolv_conf {
            self.resolv_conf = stamp;
            let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            self.seen.resolvers = name_servers(&text);
            changed = true;
        }
        let sessions: Vec<Session> = self.admins.sessions().into_iter().collect();
        if sessions != self.seen.sessions {
            self.seen.sessions = sessions;
            changed = true;
        }
        changed.then(|| self.seen.clone())
    }
}

/// Names in `ignoreip`: which had an address once, and which are to be asked for again soon.
#[derive(Debug, Default)]
pub struct Names {
    found: BTreeSet<Arc<str>>,
    unknown: BTreeSet<Arc<str>>,
    due: Option<Timestamp>,
}

impl Names {
    /// The resolver answers. False if that is no news: no address, for a name that had one.
    pub fn answered(&mut self, name: &str, has_address: bool, now: Timestamp) -> bool {
        if has_address {
            self.unknown.remove(name);
            if self.found.len() < NAMES_MAX {
                self.found.insert(name.into());
            }
            return true;
        }
        if self.unknown.len() < NAMES_MAX {
            self.unknown.insert(name.into());
            self.due.get_or_insert(now.plus_secs(UNKNOWN_S));
        }
        !self.found.contains(name)
    }

    /// When [`Names::due`] has something; ask again after each answer.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due
    }

    /// The names that are to be asked for now, once.
    pub fn due(&mut self, now: Timestamp) -> BTreeSet<Arc<str>> {
        // A clock that was set back must not put it off.
        match self.due {
            Some(due) if due <= now || due > now.plus_secs(UNKNOWN_S) => {
                self.due = None;
                std::mem::take(&mut self.unknown)
            }
            _ => BTreeSet::new(),
        }
    }
}

/// Time of the last change and size; none for a file that is not there.
type Stamp = Option<(SystemTime, u64)>;

fn changed_at(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// The name servers that this host asks.
pub(super) fn resolvers() -> Vec<IpAddr> {
    name_servers(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let words = |line: &str| -> Option<IpAddr> {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => parse_address(address.split('%').next()?),
            _ => None,
        }
    };
    text.lines().filter_map(words).collect()
}

fn ignore_file(path: &Path) -> Option<String> {
    let size = fs::metadata(path).ok()?.len();
    let bytes = (size <= IGNORE_FILE_BYTES_MAX).then(|| fs::read(path).ok()).flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All names were asked for whenever the store had time for itself: under constant writing each
    /// second.
    #[test]
    fn only_names_that_nobody_knew_are_asked_for_before_their_time() {
        let at = Timestamp::from_secs;
        let mut names = Names::default();
        assert!(names.answered("gate.example", true, at(0)));
        assert!(names.answered("typo.example", false, at(1)), "no address is news at first");
        assert!(!names.answered("gate.example", false, at(2)), "what was known is better");
        assert_eq!(names.next_due(), Some(at(61)));
        assert!(names.due(at(60)).is_empty());
        let due: Vec<Arc<str>> = names.due(at(61)).into_iter().collect();
        assert_eq!(due, ["gate.example".into(), "typo.example".into()]);
        assert!(names.answered("gate.example", true, at(61)));
        assert_eq!((names.next_due(), names.due(at(9999)).len()), (None, 0));
        assert!(names.answered("typo.example", false, at(62)));
        assert_eq!(names.due(at(-5000)).len(), 1, "the clock was set back");
    }

    #[test]
    fn name_servers_are_read() {
        let text = "# none\nsearch example\nnameserver 192.0.2.53\n nameserver  fe80::1%eth0\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53", "fe80::1"]);
    }
}

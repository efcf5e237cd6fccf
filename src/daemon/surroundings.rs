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
use crate::{jail::Surroundings, net::parse_address};

/// Name servers, as the C library reads them.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A file named in `ignoreip` is read up to here.
const IGNORE_FILE_BYTES_MAX: u64 = 16 << 20;
/// So many names of `ignoreip` are looked up again and again.
const NAMES_MAX: usize = 1024;

/// Looks around, and puts together what it sees.
#[derive(Debug)]
pub struct Watcher {
    seen: Surroundings,
    gateways: Vec<IpAddr>,
    resolvers: Vec<IpAddr>,
    resolv_conf: Option<SystemTime>,
    sessions: BTreeSet<IpAddr>,
    names: BTreeSet<Arc<str>>,
    /// Those of them that had an address once.
    found: BTreeSet<Arc<str>>,
    /// With what each looked like when it was last read; none if it never was.
    files: BTreeMap<PathBuf, Option<Stamp>>,
    root: PathBuf,
    /// Nothing was told yet.
    fresh: bool,
}

impl Watcher {
    /// Begins to watch; what the network says comes through the inbox.
    pub fn start(sender: Sender) -> Watcher {
        let now = super::network::watch(sender);
        Watcher {
            gateways: now.protected.clone(),
            seen: now,
            resolvers: Vec::new(),
            resolv_conf: None,
            sessions: BTreeSet::new(),
            names: BTreeSet::new(),
            found: BTreeSet::new(),
            files: BTreeMap::new(),
            root: PathBuf::from("/"),
            fresh: true,
        }
    }

    /// The network changed: addresses, networks and gateways are these now.
    pub fn network(&mut self, now: Surroundings) -> Surroundings {
        (self.seen.own, self.seen.connected) = (now.own, now.connected);
        self.gateways = now.protected;
        self.put_together()
    }

    /// This name of `ignoreip` is to be looked up from time to time.
    pub fn want(&mut self, name: &Arc<str>) {
        if self.names.len() < NAMES_MAX {
            self.names.insert(Arc::clone(name));
        }
    }

    /// True if nothing was ever known of a name, so that no address is news; that one had an
    /// address is noted by [`Watcher::found`].
    pub fn lost(&self, name: &str) -> bool {
        !self.found.contains(name)
    }

    /// This name has an address.
    pub fn found(&mut self, name: &str) {
        if self.found.len() < NAMES_MAX {
            self.found.insert(name.into());
        }
    }

    /// The names to be looked up.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
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
            self.resolvers = name_servers(&text);
            changed = true;
        }
        let sessions = sessions::admin_addresses(&self.root);
        if sessions != self.sessions {
            self.sessions = sessions;
            changed = true;
        }
        changed.then(|| self.put_together())
    }

    fn put_together(&mut self) -> Surroundings {
        self.seen.protected = [self.gateways.as_slice(), &self.resolvers].concat();
        self.seen.sessions = self.sessions.iter().copied().collect();
        self.seen.clone()
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

    #[test]
    fn name_servers_are_read() {
        let text = "# none\nsearch example\nnameserver 192.0.2.53\n nameserver  fe80::1%eth0\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53", "fe80::1"]);
    }
}

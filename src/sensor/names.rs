//! `Names`: what hosts are called, for `RESOLVE_HOST`; nothing waits for it but lines.
//!
//! Lines about a host whose name is being looked up are held back for at most [`WAIT_S`]; jails and
//! commands never are. A name comes from whoever runs the attacker's DNS: of it only what a host's
//! name may hold is taken.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::blocks::Item;
use crate::time::Timestamp;

/// A line waits so many seconds for a name.
pub const WAIT_S: i64 = 3;

/// So many names are looked up at once; lines about other hosts name the address twice.
const LOOKUPS_MAX: usize = 256;

/// So many lines wait for one name; those beyond are not written before it either, but without it.
const ITEMS_MAX: usize = 128;

/// So many names are remembered.
const NAMES_MAX: usize = 4_096;

/// For so many seconds.
const NAME_AGE_MAX_S: i64 = 3_600;

#[derive(Debug)]
struct Lookup {
    until: Timestamp,
    items: Vec<(Timestamp, Item)>,
}

/// Names, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<IpAddr, (Option<String>, Timestamp)>,
    lookups: BTreeMap<IpAddr, Lookup>,
}

/// Whether something may be said now.
pub(super) enum Now {
    /// With this name, or the address.
    Say(Option<String>),
    /// Later; true if the name has to be looked up.
    Wait(bool),
}

impl Names {
    /// Takes an item that waits, unless it may be said at once.
    pub fn ask(&mut self, host: IpAddr, item: &Item, now: Timestamp) -> Now {
        if let Some(lookup) = self.lookups.get_mut(&host) {
            if lookup.items.len() >= ITEMS_MAX {
                return Now::Say(None);
            }
            lookup.items.push((now, item.clone()));
            return Now::Wait(false);
        }
        if let Some((name, at)) = self.known.get(&host)
            && now < at.plus_secs(NAME_AGE_MAX_S)
        {
            return Now::Say(name.clone());
        }
        if self.lookups.len() >= LOOKUPS_MAX {
            return Now::Say(None);
        }
        let items = vec![(now, item.clone())];
        self.lookups.insert(host, Lookup { until: now.plus_secs(WAIT_S), items });
        Now::Wait(true)
    }

    /// A name came; what waited for it, and the name as it may be written.
    pub fn answer(
        &mut self,
        host: IpAddr,
        name: Option<&str>,
        now: Timestamp,
    ) -> (Vec<(Timestamp, Item)>, Option<String>) {
        let name = name.and_then(harmless);
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, (_, at)| now < at.plus_secs(NAME_AGE_MAX_S));
            if self.known.len() >= NAMES_MAX {
                self.known.clear();
            }
        }
        self.known.insert(host, (name.clone(), now));
        let waited = self.lookups.remove(&host).map(|lookup| lookup.items);
        (waited.unwrap_or_default(), name)
    }

    /// A host whose name did not come in time; all of them one after the other if `all` is set.
    pub fn overdue(&self, now: Timestamp, all: bool) -> Option<IpAddr> {
        let late = |lookup: &Lookup| all || now >= lookup.until;
        self.lookups.iter().find(|(_, lookup)| late(lookup)).map(|(host, _)| *host)
    }

    /// When the next one is overdue.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.lookups.values().map(|lookup| lookup.until).min()
    }
}

/// A host's name without anything that a log could be misled by; none if it holds such.
fn harmless(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = !name.is_empty() && name.len() <= 253;
    (fits && name.chars().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_are_written() {
        for (name, shown) in [
            ("scan.example.org", Some("scan.example.org")),
            ("scan.example.org.", Some("scan.example.org")),
            ("a_b-c.example", Some("a_b-c.example")),
            ("x/192.0.2.9 to TCP port: 1", None),
            ("a\nb", None),
            ("\u{1b}[2J", None),
            ("", None),
        ] {
            assert_eq!(harmless(name).as_deref(), shown, "{name:?}");
        }
        assert_eq!(harmless(&"a".repeat(254)), None);
    }
}

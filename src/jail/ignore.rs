//! Whom a jail never bans, and by which prefix the others count.
//!
//! Two questions, since an order may do what a failure may not: [`guard`] names those who are not
//! banned even by order (ourselves, the gateway, a live login …); [`IgnoreList`] holds `ignoreip`.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use super::rules::{IgnoreEntry, Rules};
use crate::{
    net::{Cidr, plain},
    ticket::Id,
};

/// So many entries are read from one file of `ignoreip`.
pub const FILE_ENTRIES_MAX: usize = 100_000;

/// What is around us: handed in, and again whenever it changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Surroundings {
    /// Addresses of this host. Loopback counts as own without being listed.
    pub own: Vec<IpAddr>,
    /// Networks that our interfaces stand in.
    pub connected: Vec<Cidr>,
    /// The default gateways and the resolvers.
    pub protected: Vec<IpAddr>,
    /// Where administrators are logged in from.
    pub sessions: Vec<IpAddr>,
}

/// What the engine knows of the world: what is around us, names, files.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// What is around us.
    pub given: Surroundings,
    /// Addresses of the names in `ignoreip`, as far as the resolver has answered.
    pub names: HashMap<Arc<str>, Vec<IpAddr>>,
    /// The entries of the files in `ignoreip`, as far as they were read.
    pub files: HashMap<PathBuf, Vec<IgnoreEntry>>,
}

/// Why somebody is not banned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// One of our own addresses (`ignoreself`).
    Own,
    /// A network that one of our interfaces stands in; single addresses of it are banned.
    Connected,
    /// An entry of `ignoreip`: the address or the id itself.
    Ip,
    /// A network in `ignoreip`.
    Cidr,
    /// A name in `ignoreip`.
    Dns,
    /// `ignorecommand` says so.
    Command,
    /// Such addresses say nothing of who sent the packet.
    LinkLocal,
    /// A gateway or a resolver (`protect`).
    Protected,
    /// An administrator is logged in from there (`protect_sessions`).
    Session,
    /// A network so wide that it cannot be meant.
    TooWide,
}

impl Reason {
    /// As the log says it behind `Ignore 192.0.2.1 by`: fail2ban's words where it has some.
    pub fn words(self) -> &'static str {
        match self {
            Reason::Own => "ignoreself rule",
            Reason::Connected => "connected network rule",
            Reason::Ip => "ip",
            Reason::Cidr => "cidr",
            Reason::Dns => "dns",
            Reason::Command => "command",
            Reason::LinkLocal => "link-local rule",
            Reason::Protected => "protect rule",
            Reason::Session => "protect_sessions rule",
            Reason::TooWide => "width rule",
        }
    }
}

/// Networks wider than these are never banned.
const WIDEST_BITS: (u8, u8) = (8, 16);

/// Who is not banned even by order.
pub fn guard(rules: &Rules, around: &Around, id: &Id) -> Option<Reason> {
    let network = id.network()?;
    let given = &around.given;
    let any = |addresses: &[IpAddr]| addresses.iter().any(|address| network.contains(*address));
    let widest = if network.address().is_ipv4() { WIDEST_BITS.0 } else { WIDEST_BITS.1 };
    if network.bits() < widest {
        return Some(Reason::TooWide);
    }
    if rules.ignoreself && (any(&given.own) || touches_any(network, &LOOPBACK)) {
        return Some(Reason::Own);
    }
    if touches_any(network, &LINK_LOCAL) && network.address().is_ipv6() {
        return Some(Reason::LinkLocal);
    }
    if rules.protect && any(&given.protected) {
        return Some(Reason::Protected);
    }
    if rules.protect_sessions && any(&given.sessions) {
        return Some(Reason::Session);
    }
    let connected = !network.is_single() && given.connected.iter().any(|net| net.touches(network));
    connected.then_some(Reason::Connected)
}

const LOOPBACK: [(&str, u8); 2] = [("127.0.0.0", 8), ("::1", 128)];
const LINK_LOCAL: [(&str, u8); 2] = [("fe80::", 10), ("169.254.0.0", 16)];

fn touches_any(network: Cidr, known: &[(&str, u8)]) -> bool {
    let known = known.iter().filter_map(|(text, bits)| Some(Cidr::new(text.parse().ok()?, *bits)));
    known.into_iter().any(|known| known.touches(network))
}

/// `ignoreip`, ready to be asked. Built anew when the rules, a name or a file change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IgnoreList {
    singles: BTreeSet<IpAddr>,
    networks: Vec<Cidr>,
    named: BTreeSet<IpAddr>,
    raw: HashSet<String>,
    /// A name's answer or a file's text is still missing.
    pub(super) lacks: bool,
}

/// What a list says of an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It counts.
    Counts,
    /// It is ignored.
    Ignored(Reason),
    /// That depends on an answer that is still missing.
    Open,
}

impl IgnoreList {
    pub(super) fn new(rules: &Rules, around: &Around) -> IgnoreList {
        let mut list = IgnoreList::default();
        for entry in &rules.ignoreip {
            match entry {
                IgnoreEntry::File(path) => match around.files.get(path) {
                    Some(entries) => {
                        for entry in entries {
                            list.add(entry, around);
                        }
                    }
                    None => list.lacks = true,
                },
                entry => list.add(entry, around),
            }
        }
        list
    }

    fn add(&mut self, entry: &IgnoreEntry, around: &Around) {
        match entry {
            IgnoreEntry::Net(network) if network.is_single() => {
                self.singles.insert(network.address());
            }
            IgnoreEntry::Net(network) => self.networks.push(*network),
            IgnoreEntry::Name(name) => {
                match around.names.get(name.as_str()) {
                    Some(addresses) => self.named.extend(addresses.iter().copied().map(plain)),
                    None => self.lacks = true,
                }
                self.raw.insert(name.clone());
            }
            IgnoreEntry::File(_) => {} // a file names no files
        }
    }

    pub(super) fn judge(&self, id: &Id) -> Verdict {
        let reason = match id.network() {
            None => self.raw.contains(id.to_string().as_str()).then_some(Reason::Ip),
            Some(network) => self.reason(network),
        };
        match reason {
            Some(reason) => Verdict::Ignored(reason),
            None if self.lacks && id.network().is_some() => Verdict::Open,
            None => Verdict::Counts,
        }
    }

    /// A network is ignored as soon as one of its addresses is.
    fn reason(&self, network: Cidr) -> Option<Reason> {
        let holds_one =
            |set: &BTreeSet<IpAddr>| set.range(network.address()..=network.last()).next().is_some();
        if holds_one(&self.singles) {
            return Some(Reason::Ip);
        }
        if self.networks.iter().any(|known| known.touches(network)) {
            return Some(Reason::Cidr);
        }
        holds_one(&self.named).then_some(Reason::Dns)
    }

    /// Under which id an offender counts: the prefix of the jail, unless something in it must not
    /// be banned; then the address alone.
    pub(super) fn counted_as(&self, rules: &Rules, around: &Around, id: &Id) -> Id {
        let Id::Ip(address) = id else { return id.clone() };
        let bits = if address.is_ipv4() { rules.banprefix4 } else { rules.banprefix6 };
        let prefix = Cidr::new(*address, bits);
        if prefix.is_single() {
            return id.clone();
        }
        let given = &around.given;
        let holds = |addresses: &[IpAddr]| addresses.iter().any(|one| prefix.contains(*one));
        let unsafe_to_ban = touches_any(prefix, &LINK_LOCAL)
            || touches_any(prefix, &LOOPBACK)
            || holds(&given.own)
            || holds(&given.protected)
            || holds(&given.sessions)
            || given.connected.iter().any(|net| net.touches(prefix))
            || self.reason(prefix).is_some();
        match unsafe_to_ban {
            true => id.clone(),
            false => Id::of_network(prefix),
        }
    }
}

/// The entries of a file of `ignoreip`: words separated by blanks, commas and lines, `#` and `;`
/// begin comments. What cannot be read is left out; its words come back as well.
pub fn file_entries(text: &str) -> (Vec<IgnoreEntry>, Vec<String>) {
    let mut entries = Vec::new();
    let mut unread = Vec::new();
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split([' ', ',', '\t', '\r']));
    for word in words.filter(|word| !word.is_empty()).take(FILE_ENTRIES_MAX) {
        match IgnoreEntry::parse(word) {
            Ok(IgnoreEntry::File(_)) | Err(_) => unread.push(word.to_owned()),
            Ok(entry) => entries.push(entry),
        }
    }
    (entries, unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Around {
        Around {
            given: Surroundings {
                own: vec!["192.0.2.1".parse().unwrap(), "2001:db8:a::1".parse().unwrap()],
                connected: vec![Cidr::new("2001:db8:a::".parse().unwrap(), 64)],
                protected: vec!["192.0.2.254".parse().unwrap()],
                sessions: vec!["198.51.100.9".parse().unwrap(), "2001:db8:5::9".parse().unwrap()],
            },
            names: HashMap::from([("home.example".into(), vec!["203.0.113.5".parse().unwrap()])]),
            files: HashMap::from([(
                "/etc/friends".into(),
                file_entries("10.0.0.0/8 # lan\n::2,bob").0,
            )]),
        }
    }

    fn rules(ignoreip: &[&str]) -> Rules {
        let ignoreip = ignoreip.iter().map(|word| IgnoreEntry::parse(word).unwrap()).collect();
        Rules { ignoreip, banprefix6: 64, ..Rules::default() }
    }

    #[test]
    fn every_form_of_ignoreip_ignores() {
        let rules = rules(&[
            "198.51.100.7",
            "198.51.100.32/27",
            "198.18.0.0/255.254.0.0",
            "home.example",
            "session-7",
            "file:/etc/friends",
            "2001:db8:7::1",
        ]);
        let around = around();
        let list = IgnoreList::new(&rules, &around);
        assert!(list.lacks, "session-7 might be a name");
        let rows = [
            ("198.51.100.7", Some(Reason::Ip)),
            ("::ffff:198.51.100.7", Some(Reason::Ip)),
            ("198.51.100.8", None),
            ("198.51.100.63", Some(Reason::Cidr)),
            ("198.51.100.64", None),
            ("198.19.255.255", Some(Reason::Cidr)),
            ("203.0.113.5", Some(Reason::Dns)),
            ("session-7", Some(Reason::Ip)),
            ("session-8", None),
            ("10.9.8.7", Some(Reason::Cidr)),
            ("::2", Some(Reason::Ip)),
            ("bob", Some(Reason::Ip)),
            ("2001:db8:7::/64", Some(Reason::Ip)),
            ("2001:db8:7::2", None),
        ];
        for (id, expected) in rows {
            let got = match list.judge(&Id::parse(id)) {
                Verdict::Ignored(reason) => Some(reason),
                Verdict::Counts | Verdict::Open => None,
            };
            assert_eq!(got, expected, "{id}");
        }
        assert_eq!(list.judge(&Id::parse("198.51.100.8")), Verdict::Open);
        assert_eq!(list.judge(&Id::parse("session-8")), Verdict::Counts);
    }

    #[test]
    fn some_are_not_banned_even_by_order() {
        let (plain, around) = (rules(&[]), around());
        let off =
            Rules { ignoreself: false, protect: false, protect_sessions: false, ..rules(&[]) };
        let rows = [
            ("192.0.2.1", Some(Reason::Own), None),
            ("127.0.0.5", Some(Reason::Own), None),
            ("::1", Some(Reason::Own), None),
            ("192.0.2.254", Some(Reason::Protected), None),
            ("192.0.2.0/24", Some(Reason::Own), None),
            ("192.0.2.128/25", Some(Reason::Protected), None),
            ("198.51.100.9", Some(Reason::Session), None),
            ("2001:db8:5::/64", Some(Reason::Session), None),
            ("fe80::1", Some(Reason::LinkLocal), Some(Reason::LinkLocal)),
            ("0.0.0.0/0", Some(Reason::TooWide), Some(Reason::TooWide)),
            ("::/0", Some(Reason::TooWide), Some(Reason::TooWide)),
            ("2001:db8:a::77", None, None),
            ("203.0.113.5", None, None),
            ("bob", None, None),
        ];
        for (id, guarded, unguarded) in rows {
            let id = Id::parse(id);
            assert_eq!(guard(&plain, &around, &id), guarded, "{id}");
            assert_eq!(guard(&off, &around, &id), unguarded, "{id}, all off");
        }
    }

    #[test]
    fn a_prefix_that_holds_a_friend_is_never_counted() {
        let rules = Rules { banprefix4: 24, ..rules(&["2001:db8:7::1", "203.0.113.200"]) };
        let around = around();
        let list = IgnoreList::new(&rules, &around);
        for (address, expected) in [
            ("2001:db8:1::5", "2001:db8:1::/64"),
            ("2001:db8:7::2", "2001:db8:7::2"),
            ("2001:db8:5::1", "2001:db8:5::1"),
            ("2001:db8:a::1234", "2001:db8:a::1234"),
            ("fe80::5", "fe80::5"),
            ("192.0.2.77", "192.0.2.77"),
            ("203.0.113.77", "203.0.113.77"),
            ("198.51.101.77", "198.51.101.0/24"),
            ("bob", "bob"),
        ] {
            let counted = list.counted_as(&rules, &around, &Id::parse(address));
            assert_eq!(counted.to_string(), expected, "{address}");
        }
    }

    #[test]
    fn files_are_read_word_by_word() {
        let (entries, unread) =
            file_entries("192.0.2.1 ; me\n# all\n\n10.0.0.0/33, a.example\nfile:x");
        assert_eq!(entries.len(), 2);
        assert_eq!(unread, ["10.0.0.0/33", "file:x"]);
    }
}

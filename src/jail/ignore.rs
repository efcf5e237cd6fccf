//! Whom a jail never bans, and by which prefix the others count.
//!
//! Two questions, since an order may do what a failure may not: [`guard`] names those who are not
//! banned even by order (ourselves, the gateway, a live login …); [`IgnoreList`] holds `ignoreip`.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use super::{
    rules::{IgnoreEntry, Rules},
    words::one_line,
};
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
    /// The default gateways.
    pub gateways: Vec<IpAddr>,
    /// The name servers that this host asks.
    pub resolvers: Vec<IpAddr>,
    /// Where administrators are logged in from.
    pub sessions: Vec<Session>,
}

/// An administrator's login.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Session {
    /// Where it comes from.
    pub address: IpAddr,
    /// Whose it is.
    pub user: Arc<str>,
}

impl Surroundings {
    /// All single addresses of it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let named = [&self.own, &self.gateways, &self.resolvers].into_iter().flatten().copied();
        named.chain(self.sessions.iter().map(|session| session.address))
    }
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// One of our own addresses (`ignoreself`); which, if the question was about a network.
    Own(Option<IpAddr>),
    /// This network is one that an interface of ours stands in; single addresses of it are banned.
    Connected(Cidr),
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
    /// A default gateway (`protect`).
    Gateway(IpAddr),
    /// A name server (`protect`).
    Resolver(IpAddr),
    /// An administrator is logged in from there (`protect_sessions`).
    Session(Session),
    /// A network so wide that it cannot be meant.
    TooWide,
}

impl Reason {
    /// Which rule it is: fail2ban's words where it has some.
    pub fn rule(&self) -> &'static str {
        match self {
            Reason::Own(_) => "ignoreself rule",
            Reason::Connected(_) => "connected network rule",
            Reason::Ip => "ip",
            Reason::Cidr => "cidr",
            Reason::Dns => "dns",
            Reason::Command => "command",
            Reason::LinkLocal => "link-local rule",
            Reason::Gateway(_) | Reason::Resolver(_) => "protect rule",
            Reason::Session(_) => "protect_sessions rule",
            Reason::TooWide => "width rule",
        }
    }

    /// What of the rule it is, where the rule's name does not say so.
    pub fn detail(&self) -> Option<String> {
        match self {
            Reason::Own(address) => address.map(|own| format!("our address {own}")),
            Reason::Connected(network) => Some(format!("an interface stands in {network}")),
            Reason::Gateway(address) => Some(format!("the default gateway {address}")),
            Reason::Resolver(address) => Some(format!("the name server {address}")),
            Reason::Session(Session { address, user }) => {
                Some(format!("{} is logged in from {address}", one_line(user)))
            }
            Reason::Ip | Reason::Cidr | Reason::Dns | Reason::Command => None,
            Reason::LinkLocal | Reason::TooWide => None,
        }
    }
}

/// As the log says it behind `Ignore 192.0.2.1 by`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())?;
        self.detail().map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}

/// Networks wider than these are never banned.
const WIDEST_BITS: (u8, u8) = (8, 16);

/// Who is not banned even by order.
pub fn guard(rules: &Rules, around: &Around, id: &Id) -> Option<Reason> {
    let network = id.network()?;
    let given = &around.given;
    let one_of = |addresses: &[IpAddr]| addresses.iter().copied().find(|a| network.contains(*a));
    let widest = if network.address().is_ipv4() { WIDEST_BITS.0 } else { WIDEST_BITS.1 };
    if network.bits() < widest {
        return Some(Reason::TooWide);
    }
    if rules.ignoreself {
        let own = one_of(&given.own);
        if own.is_some() || touches_any(network, &LOOPBACK) {
            return Some(Reason::Own(own.filter(|_| !network.is_single())));
        }
    }
    // Of IPv4 a single one may be a host like any; a network of them is everybody next to us.
    let is_whole = network.address().is_ipv6() || !network.is_single();
    if is_whole && touches_any(network, &LINK_LOCAL) {
        return Some(Reason::LinkLocal);
    }
    if rules.protect {
        let resolver = || one_of(&given.resolvers).map(Reason::Resolver);
        let protected = one_of(&given.gateways).map(Reason::Gateway).or_else(resolver);
        if protected.is_some() {
            return protected;
        }
    }
    if rules.protect_sessions
        && let Some(session) = given.sessions.iter().find(|one| network.contains(one.address))
    {
        return Some(Reason::Session(session.clone()));
    }
    let mut connected = given.connected.iter().filter(|_| !network.is_single());
    connected.find(|net| net.touches(network)).copied().map(Reason::Connected)
}

/// One network of IPv4 and one of IPv6.
type Pair = [(IpAddr, u8); 2];

const LOOPBACK: Pair =
    [(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
const LINK_LOCAL: Pair = [
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

fn touches_any(network: Cidr, known: &Pair) -> bool {
    known.iter().any(|(address, bits)| Cidr::new(*address, *bits).touches(network))
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
#[derive(Clone, Debug, Eq, PartialEq)]
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
        let unsafe_to_ban = touches_any(prefix, &LINK_LOCAL)
            || touches_any(prefix, &LOOPBACK)
            || given.addresses().any(|one| prefix.contains(one))
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
                gateways: vec!["192.0.2.254".parse().unwrap()],
                resolvers: vec!["192.0.2.53".parse().unwrap()],
                sessions: vec![session("198.51.100.9", "root"), session("2001:db8:5::9", "ann")],
            },
            names: HashMap::from([("home.example".into(), vec!["203.0.113.5".parse().unwrap()])]),
            files: HashMap::from([(
                "/etc/friends".into(),
                file_entries("10.0.0.0/8 # lan\n::2,bob").0,
            )]),
        }
    }

    fn session(address: &str, user: &str) -> Session {
        Session { address: address.parse().unwrap(), user: user.into() }
    }

    fn rules(ignoreip: &[&str]) -> Rules {
        let ignoreip = ignoreip.iter().map(|word| IgnoreEntry::parse(word).unwrap()).collect();
        Rules { ignoreip, banprefix6: 64, ..Rules::default() }
    }

    #[test]
    fn networks_of_link_local_addresses_are_never_banned_by_either_family() {
        let reason = |text: &str, bits| {
            let id = Id::of_network(Cidr::new(text.parse().unwrap(), bits));
            guard(&rules(&[]), &around(), &id)
        };
        for (text, bits) in [("169.254.169.0", 24), ("fe80::", 64), ("fe80::1", 128)] {
            assert_eq!(reason(text, bits), Some(Reason::LinkLocal), "{text}/{bits}");
        }
        assert_eq!(reason("169.254.169.7", 32), None);
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

    /// `protect rule` alone may be any of several.
    #[test]
    fn who_is_not_banned_even_by_order_is_told_which_rule_it_is() {
        let (plain, around) = (rules(&[]), around());
        let off =
            Rules { ignoreself: false, protect: false, protect_sessions: false, ..rules(&[]) };
        let link_local = Some("link-local rule");
        let wide = Some("width rule");
        let rows = [
            ("192.0.2.1", Some("ignoreself rule"), None),
            ("127.0.0.5", Some("ignoreself rule"), None),
            ("::1", Some("ignoreself rule"), None),
            ("192.0.2.254", Some("protect rule (the default gateway 192.0.2.254)"), None),
            ("192.0.2.53", Some("protect rule (the name server 192.0.2.53)"), None),
            ("192.0.2.0/24", Some("ignoreself rule (our address 192.0.2.1)"), None),
            ("192.0.2.128/25", Some("protect rule (the default gateway 192.0.2.254)"), None),
            (
                "198.51.100.9",
                Some("protect_sessions rule (root is logged in from 198.51.100.9)"),
                None,
            ),
            (
                "2001:db8:5::/64",
                Some("protect_sessions rule (ann is logged in from 2001:db8:5::9)"),
                None,
            ),
            (
                "2001:db8:a:0:8000::/65",
                Some("connected network rule (an interface stands in 2001:db8:a::/64)"),
                Some("connected network rule (an interface stands in 2001:db8:a::/64)"),
            ),
            ("fe80::1", link_local, link_local),
            ("0.0.0.0/0", wide, wide),
            ("::/0", wide, wide),
            ("2001:db8:a::77", None, None),
            ("203.0.113.5", None, None),
            ("bob", None, None),
        ];
        for (id, guarded, unguarded) in rows {
            let id = Id::parse(id);
            let told = |rules| guard(rules, &around, &id).map(|reason| reason.to_string());
            assert_eq!(told(&plain).as_deref(), guarded, "{id}");
            assert_eq!(told(&off).as_deref(), unguarded, "{id}, all off");
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

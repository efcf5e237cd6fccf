//! Settings: what a jail tells a native banaction, in the words of fail2ban's option lists.

use super::sets::{Ports, Verdict};

/// The kernel whose firewall is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Platform {
    /// Linux.
    Linux,
    /// FreeBSD and its kin.
    Bsd,
}

/// What a jail says about one of its actions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The action's name within the jail.
    pub name: String,
    /// What chains, sets and tables are named for: the option `name`, else the jail.
    pub label: String,
    /// Which traffic is shut out.
    pub ports: Ports,
    /// What happens to a packet, if said.
    pub verdict: Option<Verdict>,
    /// The kernel.
    pub platform: Platform,
    options: Vec<(String, String)>,
}

/// Finds the number of a service: name and protocol as in `/etc/services`.
pub type Services<'a> = &'a dyn Fn(&str, &str) -> Option<u16>;

/// Options that fail2ban's actions share and a native banaction has no use for.
const SHARED: &[&str] = &[
    "name",
    "actname",
    "port",
    "protocol",
    "chain",
    "blocktype",
    "bantime",
    "ipsettime",
    "default-ipsettime",
    "lockingopt",
    "returntype",
    "iptables",
    "timeout",
    "families",
    "jail",
    "rejecttype",
    "type",
    "actiontype",
    "dest",
    "sender",
    "mailcmd",
    "logpath",
    "addr_family",
];

/// Ports in use by the shipped jails, for machines without `/etc/services`.
const WELL_KNOWN: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ftp-data", 20),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("imap2", 143),
    ("imap", 143),
    ("imap3", 220),
    ("ldap", 389),
    ("https", 443),
    ("ftps", 990),
    ("ftps-data", 989),
    ("imaps", 993),
    ("pop3s", 995),
    ("submission", 587),
    ("submissions", 465),
    ("smtps", 465),
    ("ssmtp", 465),
    ("465", 465),
    ("sieve", 4190),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("openvpn", 1194),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("squid", 3128),
    ("webcache", 8080),
    ("http-alt", 8080),
];

impl Settings {
    /// Reads the options of an action of jail `jail`.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write, when a port, protocol or blocktype cannot be read.
    pub fn new(
        jail: &str,
        name: &str,
        options: Vec<(String, String)>,
        allports: bool,
        platform: Platform,
        services: Services<'_>,
    ) -> Result<Settings, String> {
        let get = |key: &str| {
            options.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.trim())
        };
        let port = get("port").unwrap_or_default();
        let protocols = protocols(get("protocol").unwrap_or("tcp"))?;
        let ranges = match allports {
            true => Vec::new(),
            false => ranges(port, protocols.first().map_or("tcp", String::as_str), services)?,
        };
        // With every port closed every protocol is.
        let protocols = match (ranges.is_empty(), protocols.is_empty()) {
            (true, _) => Vec::new(),
            (false, false) => protocols,
            (false, true) => ["tcp", "udp", "sctp", "dccp"].map(str::to_owned).to_vec(),
        };
        let verdict = get("blocktype").filter(|text| !text.is_empty()).map(verdict).transpose()?;
        let label = get("name").filter(|name| !name.is_empty()).unwrap_or(jail).to_owned();
        let ports = Ports { protocols, ranges };
        Ok(Settings { name: name.to_owned(), label, ports, verdict, platform, options })
    }

    /// An option's value; empty ones count as not there.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.options.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// A number among the options.
    ///
    /// # Errors
    ///
    /// What to write, when it is none or out of bounds.
    pub fn number(&self, key: &str, least: u32, most: u32) -> Result<Option<u32>, String> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(format!("{key} = '{text}' is none: write a number from {least} to {most}")),
        }
    }

    /// A yes or no among the options.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "true" | "on" | "1") => true,
            Some("no" | "false" | "off" | "0") => false,
            _ => default,
        }
    }

    /// Options that neither `own` nor anybody else understands.
    pub fn strange(&self, own: &[&str]) -> Vec<String> {
        let known = |name: &&str| {
            let bare = name.split('?').next().unwrap_or(name);
            SHARED.contains(&bare) || own.contains(&bare) || bare.starts_with("action")
        };
        let names = self.options.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !known(name)).map(str::to_owned).collect()
    }
}

fn protocols(text: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "all" | "any" | "ip" => return Ok(Vec::new()),
            "tcp" | "udp" | "sctp" | "dccp" | "udplite" | "icmp" | "icmpv6" => {
                if !found.contains(&word) {
                    found.push(word);
                }
            }
            _ => {
                let text = format!("there is no protocol '{word}'");
                return Err(format!("{text}: write tcp, udp, sctp, dccp or all"));
            }
        }
    }
    // These have no ports: who names them closes everything.
    if found.iter().any(|word| word.starts_with("icmp")) {
        return Ok(Vec::new());
    }
    Ok(found)
}

/// Reads `ssh,80,1000:2000`; all ports are no range.
fn ranges(text: &str, protocol: &str, services: Services<'_>) -> Result<Vec<(u16, u16)>, String> {
    let one = |word: &str| -> Option<u16> {
        let known = || WELL_KNOWN.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
        word.parse().ok().or_else(|| services(word, protocol)).or_else(known)
    };
    let mut found = Vec::new();
    for word in text.split([',', ' ', '\n']).filter(|word| !word.is_empty()) {
        if matches!(word, "all" | "any" | "anyport") {
            return Ok(Vec::new());
        }
        let pair = || {
            let (from, to) = word.split_once([':', '-'])?;
            Some((if from.is_empty() { 0 } else { one(from)? }, one(to)?))
        };
        // A service may bear a dash in its name, so it is asked first.
        match one(word).map(|port| (port, port)).or_else(pair) {
            Some((from, to)) if from <= to => found.push((from, to)),
            _ => {
                let what = format!("port '{word}' is neither a number, a range nor a service");
                return Err(format!("{what}: write `22`, `1000:2000` or a name of /etc/services"));
            }
        }
    }
    found.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in found {
        match merged.last_mut() {
            Some(last) if u32::from(from) <= u32::from(last.1) + 1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    match merged.as_slice() {
        [(0 | 1, u16::MAX)] => Ok(Vec::new()),
        _ => Ok(merged),
    }
}

/// What `blocktype` says.
///
/// # Errors
///
/// It is another word; what to write.
pub fn verdict(text: &str) -> Result<Verdict, String> {
    let low = text.to_ascii_lowercase();
    let word = low.split_whitespace().next().unwrap_or_default();
    match word {
        "drop" | "deny" | "blackhole" | "block" => Ok(Verdict::Drop),
        "reject" | "unreach" | "reset" | "unreachable" | "prohibit" => Ok(Verdict::Reject),
        "return" | "accept" | "allow" => Err(format!(
            "blocktype '{text}' lets in whom a jail bans, and built-in banactions shut out: write \
             drop or reject, or set an action.d file of iptables for this jail, such as banaction = \
             iptables-multiport in a tree of fail2ban's"
        )),
        _ => Err(format!("blocktype '{text}' is not known: write drop or reject")),
    }
}

/// A name that every firewall takes: letters, digits, `-`, `_`, `.`, at most `max` bytes with the
/// prefix. What had to be changed for that is told apart by a few digits at the end.
pub fn short_name(prefix: &str, label: &str, max: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean: String = label.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    if clean == label && prefix.len() + clean.len() <= max {
        return format!("{prefix}{clean}");
    }
    // FNV-1a: the same name for the same jail, today and after an upgrade.
    let hash = label
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let room = max.saturating_sub(prefix.len() + 9);
    let kept: String = clean.chars().take(room).collect();
    format!("{prefix}{kept}-{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)], allports: bool) -> Result<Settings, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let services = |name: &str, _: &str| (name == "imap-ssl").then_some(993);
        Settings::new("sshd", "nft", options, allports, Platform::Linux, &services)
    }

    #[test]
    fn ports_are_read_as_people_write_them() {
        let rows: &[(&str, &[(u16, u16)])] = &[
            ("ssh", &[(22, 22)]),
            ("http,https", &[(80, 80), (443, 443)]),
            ("imap-ssl", &[(993, 993)]),
            ("10:20, 21 5", &[(5, 5), (10, 21)]),
            ("1000-2000", &[(1000, 2000)]),
            ("0:65535", &[]),
            ("1:65535", &[]),
            ("any", &[]),
            ("", &[]),
        ];
        for (text, expected) in rows {
            let ports = settings(&[("port", text)], false).unwrap().ports;
            assert_eq!(ports.ranges, *expected, "{text}");
            assert_eq!(ports.protocols.is_empty(), expected.is_empty(), "{text}");
        }
        for text in ["sshh", "20:10", "70000", "!22", "22;rm"] {
            let error = settings(&[("port", text)], false).unwrap_err();
            assert!(error.contains("/etc/services"), "{error}");
        }
        assert!(settings(&[("port", "ssh")], true).unwrap().ports.ranges.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let two = settings(&[("port", "53"), ("protocol", "tcp,udp")], false).unwrap();
        assert_eq!(two.ports.protocols, ["tcp", "udp"]);
        assert!(settings(&[("protocol", "tpc")], false).unwrap_err().contains("tcp"));
        assert!(settings(&[("blocktype", "blok")], false).unwrap_err().contains("drop"));
        let reject =
            settings(&[("blocktype", "REJECT --reject-with icmp-port-unreachable")], false);
        assert_eq!(reject.unwrap().verdict, Some(Verdict::Reject));
        let strange = settings(&[("prot", "tcp"), ("priority", "raw")], false).unwrap();
        assert_eq!(strange.strange(&["priority"]), ["prot"]);
    }

    #[test]
    fn names_stay_short_and_apart() {
        assert_eq!(short_name("sb4-", "sshd", 31), "sb4-sshd");
        let long = short_name("sb4-", &"a".repeat(40), 31);
        let other = short_name("sb4-", &"a".repeat(41), 31);
        assert!(long.len() == 31 && other.len() == 31 && long != other, "{long} {other}");
        assert_ne!(short_name("x-", "a b", 31), short_name("x-", "a_b", 31));
        assert!(short_name("x-", "öäü; drop", 31).is_ascii());
    }
}

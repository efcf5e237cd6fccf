//! Batches as the tools read them: `nft -f -`, `ipset restore -exist`, `iptables-restore --noflush`.

use std::{collections::HashSet, fmt::Write};

use super::{
    Change, Family, ICMPV6_PASSED, IpsetGuard, IptablesGuard, NFT_TABLE, NftGuard, Roll, SetBatch,
    SetVerb, Verdict, family_of,
};
use crate::net::Cidr;

impl SetBatch {
    /// The whole batch as text for its tool. For iptables this is the text for an empty firewall;
    /// [`IptablesGuard::restore`] takes what is there into account.
    pub fn text(&self) -> String {
        match self {
            SetBatch::Nft { guard, verb } => guard.text(verb),
            SetBatch::Ipset { guard, verb } => guard.text(verb),
            SetBatch::Iptables { guard, verb } => guard.restore(verb, ""),
        }
    }
}

/// A text of lines, written with `write!`, which cannot fail on a `String`.
macro_rules! line {
    ($text:expr, $($arg:tt)*) => {{ let _ = writeln!($text, $($arg)*); }};
}

impl NftGuard {
    fn text(&self, verb: &SetVerb) -> String {
        let mut text = String::new();
        let (table, chain) = (NFT_TABLE, &self.chain);
        match verb {
            SetVerb::Start => {
                self.declare(&mut text);
                line!(
                    text,
                    "add chain inet {table} {chain} {{ type filter hook prerouting priority {}; \
                     policy accept; }}",
                    self.priority
                );
                line!(text, "flush chain inet {table} {chain}");
                if !self.ports.ranges.is_empty() {
                    let ranges = joined(self.ports.ranges.iter().map(|range| span(*range, '-')));
                    let set = &self.port_set;
                    let kind = "type inet_service; flags interval;";
                    line!(text, "add set inet {table} {set} {{ {kind} }}");
                    line!(text, "flush set inet {table} {set}");
                    line!(text, "add element inet {table} {set} {{ {ranges} }}");
                }
                for rule in self.rules() {
                    line!(text, "add rule inet {table} {chain} {rule}");
                }
            }
            SetVerb::Change(changes) => self.change(&mut text, changes),
            SetVerb::Flush | SetVerb::Exactly(_) => {
                self.declare(&mut text);
                for (set, ..) in self.sets.all() {
                    line!(text, "flush set inet {table} {set}");
                }
                if let SetVerb::Exactly(roll) = verb {
                    self.change(&mut text, &additions(roll));
                }
            }
            SetVerb::Stop => {
                self.declare(&mut text);
                line!(text, "add chain inet {table} {chain}");
                line!(text, "flush chain inet {table} {chain}");
                line!(text, "delete chain inet {table} {chain}");
                for (set, ..) in self.sets.all() {
                    line!(text, "delete set inet {table} {set}");
                }
                let (set, kind) = (&self.port_set, "type inet_service; flags interval;");
                line!(text, "add set inet {table} {set} {{ {kind} }}");
                line!(text, "delete set inet {table} {set}");
            }
            SetVerb::Check(nets) => {
                line!(text, "list chain inet {table} {chain}");
                for net in nets {
                    let set = self.sets.home(*net);
                    line!(text, "get element inet {table} {set} {{ {net} }}");
                }
            }
            SetVerb::List => {
                for (set, ..) in self.sets.all() {
                    line!(text, "list set inet {table} {set}");
                }
            }
        }
        text
    }

    /// Table and sets: what is there stays as it is.
    fn declare(&self, text: &mut String) {
        line!(text, "add table inet {NFT_TABLE}");
        for (set, family, prefixes) in self.sets.all() {
            let kind = match family {
                Family::Inet4 => "ipv4_addr",
                Family::Inet6 => "ipv6_addr",
            };
            // Singles never share a set with prefixes: an interval set is rebuilt at each change.
            let flags = if prefixes { "interval, timeout" } else { "timeout" };
            line!(text, "add set inet {NFT_TABLE} {set} {{ type {kind}; flags {flags}; }}");
        }
    }

    /// The rules of the chain, in order.
    pub fn rules(&self) -> Vec<String> {
        let counter = if self.counter { "counter " } else { "" };
        let verdict = match self.verdict {
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
        };
        let ports = self.looks_at();
        let ask = |set: &str, word: &str| format!("{word} saddr @{set} {ports}{counter}{verdict}");
        let (from, to) = ICMPV6_PASSED;
        vec![
            "ct direction reply accept".to_owned(),
            ask(&self.sets.addr4, "ip"),
            ask(&self.sets.net4, "ip"),
            format!("icmpv6 type {from}-{to} accept"),
            ask(&self.sets.addr6, "ip6"),
            ask(&self.sets.net6, "ip6"),
        ]
    }

    /// `meta l4proto tcp ct original proto-dst @ports-sshd `, or nothing.
    fn looks_at(&self) -> String {
        let ports = match self.ports.ranges.is_empty() {
            true => String::new(),
            // A named set, as nft shows an anonymous one of these as `[invalid type]`.
            false => format!("ct original proto-dst @{} ", self.port_set),
        };
        match self.ports.protocols.as_slice() {
            [] => ports,
            [one] => format!("meta l4proto {one} {ports}"),
            several => format!("meta l4proto {{ {} }} {ports}", several.join(", ")),
        }
    }

    /// Elements. Adding, deleting and adding again in one transaction sets the timeout anew on
    /// every kernel, and lets one that has lapsed meanwhile be deleted without an error.
    fn change(&self, text: &mut String, changes: &[Change]) {
        for (set, ..) in self.sets.all() {
            let own = || changes.iter().filter(|change| self.sets.home(change.net()) == set);
            let gone = joined(own().map(|change| change.net().to_string()));
            let held = joined(own().filter_map(|change| match change {
                Change::Add { net, timeout_s: Some(seconds) } => {
                    Some(format!("{net} timeout {seconds}s"))
                }
                Change::Add { net, timeout_s: None } => Some(net.to_string()),
                Change::Delete { .. } => None,
            }));
            if gone.is_empty() {
                continue;
            }
            line!(text, "add element inet {NFT_TABLE} {set} {{ {gone} }}");
            line!(text, "delete element inet {NFT_TABLE} {set} {{ {gone} }}");
            if !held.is_empty() {
                line!(text, "add element inet {NFT_TABLE} {set} {{ {held} }}");
            }
        }
    }
}

/// A whole roll, as one change after another.
fn additions(roll: &Roll) -> Vec<Change> {
    roll.iter().map(|(net, timeout_s)| Change::Add { net, timeout_s }).collect()
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn span((from, to): (u16, u16), between: char) -> String {
    if from == to { from.to_string() } else { format!("{from}{between}{to}") }
}

impl IpsetGuard {
    fn text(&self, verb: &SetVerb) -> String {
        let mut text = String::new();
        match verb {
            SetVerb::Start => self.declare(&mut text),
            SetVerb::Exactly(roll) => {
                self.declare(&mut text);
                self.sets.of(self.family).iter().for_each(|set| line!(text, "flush {set}"));
                text += &self.text(&SetVerb::Change(additions(roll)));
            }
            SetVerb::Change(changes) => {
                for change in changes.iter().filter(|c| family_of(c.net()) == self.family) {
                    let set = self.sets.home(change.net());
                    match change {
                        Change::Add { net, timeout_s } => {
                            line!(text, "add {set} {net} timeout {}", timeout_s.unwrap_or(0));
                        }
                        Change::Delete { net } => line!(text, "del {set} {net}"),
                    }
                }
            }
            SetVerb::Flush => {
                self.declare(&mut text);
                self.sets.of(self.family).iter().for_each(|set| line!(text, "flush {set}"));
            }
            SetVerb::Stop => {
                self.declare(&mut text);
                self.sets.of(self.family).iter().for_each(|set| line!(text, "destroy {set}"));
            }
            SetVerb::Check(_) | SetVerb::List => {
                self.sets.of(self.family).iter().for_each(|set| line!(text, "list {set}"));
            }
        }
        text
    }

    /// Sets that are there stay as they are, if they are of the same kind.
    fn declare(&self, text: &mut String) {
        let family = match self.family {
            Family::Inet4 => "inet",
            Family::Inet6 => "inet6",
        };
        for (set, kind) in self.sets.of(self.family).into_iter().zip(["hash:ip", "hash:net"]) {
            // `timeout 0`: without it no element could have one.
            line!(
                text,
                "create {set} {kind} family {family} hashsize {} maxelem {} timeout 0",
                self.hashsize,
                self.maxelem
            );
        }
    }
}

impl IptablesGuard {
    /// The text for `iptables-restore --noflush` that makes `verb` true, where `found` is what
    /// `iptables -S` printed. Empty if nothing is to be done.
    pub fn restore(&self, verb: &SetVerb, found: &str) -> String {
        let chain = &self.chain;
        let stands = self.stands(found);
        let mut text = String::new();
        match verb {
            SetVerb::Start => {
                if !stands || self.ask.is_some() {
                    // Naming a chain empties it, in the same transaction that fills it.
                    line!(text, ":{chain} - [0:0]");
                    self.head().iter().for_each(|rule| line!(text, "-A {chain} {rule}"));
                }
                self.jumps_anew(&mut text, found);
            }
            SetVerb::Exactly(roll) => {
                let wanted: HashSet<Cidr> = roll.iter().map(|(net, _)| net).collect();
                let found = self.elements(found);
                for (_, rule) in found.iter().filter(|(net, _)| !wanted.contains(net)) {
                    line!(text, "-D {}", rule.trim_start_matches("-A "));
                }
                self.change(&mut text, &additions(roll), &found);
            }
            SetVerb::Change(changes) => self.change(&mut text, changes, &self.elements(found)),
            SetVerb::Flush => {
                line!(text, ":{chain} - [0:0]");
                self.head().iter().for_each(|rule| line!(text, "-A {chain} {rule}"));
            }
            SetVerb::Stop => {
                for jump in self.jumps_found(found) {
                    line!(text, "-D {jump}");
                }
                if stands || found.is_empty() {
                    line!(text, ":{chain} - [0:0]");
                    line!(text, "-X {chain}");
                }
            }
            SetVerb::Check(_) | SetVerb::List => return String::new(),
        }
        match text.is_empty() {
            true => text,
            false => format!("*filter\n{text}COMMIT\n"),
        }
    }

    /// What changes elements, of which these are there, each with its rule.
    fn change(&self, text: &mut String, changes: &[Change], found: &[(Cidr, &str)]) {
        let chain = &self.chain;
        for change in changes.iter().filter(|c| family_of(c.net()) == self.family) {
            let mut here = found.iter().filter(|(net, _)| *net == change.net()).peekable();
            match change {
                Change::Add { net, .. } if here.peek().is_none() => {
                    line!(text, "-A {chain} {}", self.rule(*net));
                }
                Change::Add { .. } => (),
                // As it stands there: the verdict may have been another one then.
                Change::Delete { .. } => here.for_each(|(_, rule)| {
                    line!(text, "-D {}", rule.trim_start_matches("-A "));
                }),
            }
        }
    }

    /// What of `verb` = check is missing, in words; `found` is what `iptables -S` printed.
    pub fn missing(&self, nets: &[Cidr], found: &str) -> Option<String> {
        if !self.stands(found) {
            return Some(format!("chain {} is gone", self.chain));
        }
        let count = self.parents.len() * self.matches().len();
        if self.jumps_found(found).count() < count {
            return Some(format!("a jump to chain {} is gone", self.chain));
        }
        let held = self.elements(found);
        let own = nets.iter().filter(|net| family_of(**net) == self.family);
        let lost = |net: &&Cidr| !held.iter().any(|(found, _)| found == *net);
        match &self.ask {
            Some(sets) => {
                let asked = |set: &&str| !found.contains(&format!("--match-set {set} src"));
                let gone = sets.of(self.family).into_iter().find(asked);
                gone.map(|set| format!("the rule that asks set {set} is gone"))
            }
            None => own.into_iter().find(lost).map(|net| format!("the rule for {net} is gone")),
        }
    }

    /// The elements of the chain, read from what `iptables -S` printed, with their rules.
    pub fn elements<'a>(&self, found: &'a str) -> Vec<(Cidr, &'a str)> {
        let own = format!("-A {} -s ", self.chain);
        let rules = found.lines().filter_map(|line| Some((line.strip_prefix(&own)?, line)));
        let element = |(rest, line): (&str, &'a str)| {
            let (address, bits) = rest.split(' ').next()?.split_once('/')?;
            Some((Cidr::new(address.parse().ok()?, bits.parse().ok()?), line))
        };
        rules.filter_map(element).collect()
    }

    /// True if the chain is among what `iptables -S` printed.
    pub fn stands(&self, found: &str) -> bool {
        let new = format!("-N {}", self.chain);
        found.lines().any(|line| line == new)
    }

    /// The rules that stand before the elements.
    pub fn head(&self) -> Vec<String> {
        let mut rules = vec!["-m conntrack --ctdir REPLY -j RETURN".to_owned()];
        if self.family == Family::Inet6 {
            let (from, to) = ICMPV6_PASSED;
            let pass = |kind| format!("-p ipv6-icmp --icmpv6-type {kind} -j RETURN");
            rules.extend((from..=to).map(pass));
        }
        if let Some(sets) = &self.ask {
            let target = self.target();
            let ask = |set| format!("-m set --match-set {set} src {target}");
            rules.extend(sets.of(self.family).map(ask));
        }
        rules
    }

    fn rule(&self, net: Cidr) -> String {
        let (address, bits) = (net.address(), net.bits());
        format!("-s {address}/{bits} {}", self.target())
    }

    fn target(&self) -> &'static str {
        match (self.verdict, self.family) {
            (Verdict::Drop, _) => "-j DROP",
            (Verdict::Reject, Family::Inet4) => "-j REJECT --reject-with icmp-port-unreachable",
            (Verdict::Reject, Family::Inet6) => "-j REJECT --reject-with icmp6-port-unreachable",
        }
    }

    /// What the jumps look at: one each for a protocol and a range, as the match for the
    /// destination before DNAT takes only one.
    fn matches(&self) -> Vec<String> {
        let mut found = Vec::new();
        for protocol in &self.ports.protocols {
            for range in &self.ports.ranges {
                let ports = span(*range, ':');
                found.push(format!("-p {protocol} -m conntrack --ctorigdstport {ports} "));
            }
        }
        if found.is_empty() { vec![String::new()] } else { found }
    }

    /// The jumps to the chain: whence, and the rule. Each is to be put on top, in this order.
    pub fn jumps(&self) -> Vec<(String, String)> {
        let rule = |matches: String| format!("{matches}-j {}", self.chain);
        let of = |parent: &String| {
            let parent = parent.clone();
            self.matches().into_iter().map(move |matches| (parent.clone(), rule(matches)))
        };
        self.parents.iter().flat_map(of).collect()
    }

    /// The jumps to the chain in what `iptables -S` printed: whence and rule, with a blank between.
    pub fn jumps_found<'a>(&self, found: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let end = format!(" -j {}", self.chain);
        found.lines().filter(move |line| line.ends_with(&end)).filter_map(|l| l.strip_prefix("-A "))
    }

    /// Takes the jumps that are there away and puts the right ones on top, in one transaction, if
    /// what is there is not just that already.
    fn jumps_anew(&self, text: &mut String, found: &str) {
        let wanted = self.jumps();
        let there: Vec<&str> = self.jumps_found(found).collect();
        let stands = |(parent, rule): &(String, String)| {
            there.iter().any(|jump| jump.split_once(' ') == Some((parent.as_str(), rule.as_str())))
        };
        if there.len() == wanted.len() && wanted.iter().all(stands) {
            return;
        }
        there.iter().for_each(|jump| line!(text, "-D {jump}"));
        for (parent, rule) in &wanted {
            line!(text, "-I {parent} 1 {rule}");
        }
    }
}

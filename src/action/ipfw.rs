//! ipfw: a table and a rule a jail, FreeBSD's way.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::{BATCH_MAX, ICMPV6_PASSED, Verdict},
    settings::{Settings, short_name},
};
use crate::{
    net::Cidr,
    ticket::{Ban, Id},
};

/// The longest name of a table, in bytes.
const NAME_MAX: usize = 63;

/// Rules get numbers from here on: before what `rc.firewall` allows from 100 on by hundreds is
/// rarely free, so ours stand just behind its first.
const NUMBER_FIRST: u32 = 111;

/// So many numbers are ours. Two jails may share one; each knows its rule by the table's name.
const NUMBERS: u32 = 80;

/// The banaction `ipfw`.
#[derive(Debug)]
pub struct Ipfw {
    name: String,
    table: String,
    rules: Vec<Vec<String>>,
    number: String,
}

impl Ipfw {
    /// Options: `port`, `protocol`, `blocktype` (deny), `number` (of the rule), `table`.
    ///
    /// # Errors
    ///
    /// What to write, when the number is none.
    pub fn new(settings: &Settings) -> Result<Ipfw, String> {
        let table = short_name("sb-", settings.get("table").unwrap_or(&settings.label), NAME_MAX);
        let spread = settings
            .label
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let number = settings.number("number", 1, 65534)?;
        let number = number.unwrap_or(NUMBER_FIRST + spread % NUMBERS).to_string();
        let deny: &[&str] = match settings.verdict.unwrap_or(Verdict::Drop) {
            Verdict::Drop => &["deny"],
            Verdict::Reject => &["unreach", "port"],
        };
        let from = format!("table({table})");
        let ports = &settings.ports;
        let rule = |protocol: &str| {
            let mut rule: Vec<String> = deny.iter().map(|word| (*word).to_owned()).collect();
            rule.extend([protocol, "from", &from, "to", "any"].map(str::to_owned));
            if ports.ranges.is_empty() {
                let (first, last) = ICMPV6_PASSED;
                let kinds: Vec<String> = (first..=last).map(|kind| kind.to_string()).collect();
                rule.extend(["not", "icmp6types"].map(str::to_owned));
                rule.push(kinds.join(","));
            } else {
                let span = |(from, to): &(u16, u16)| match from == to {
                    true => from.to_string(),
                    false => format!("{from}-{to}"),
                };
                let spans: Vec<String> = ports.ranges.iter().map(span).collect();
                rule.extend(["dst-port".to_owned(), spans.join(",")]);
            }
            rule
        };
        let rules = match ports.protocols.as_slice() {
            [] => vec![rule("ip")],
            several => several.iter().map(|protocol| rule(protocol)).collect(),
        };
        Ok(Ipfw { name: settings.name.clone(), table, rules, number })
    }

    /// With `-q` adding what is there and deleting what is not are no faults.
    fn change(&self, verb: &str, bans: &[Ban]) -> Plan {
        let nets: Vec<Cidr> = native::nets(bans).map(|(_, net)| net).collect();
        let line = |net: &Cidr| format!("table {} {verb} {net}", self.table);
        native::unless_empty(nets.is_empty(), || match nets.as_slice() {
            [net] => Plan::one(Work::Command(Command::words(&format!("ipfw -q {}", line(net))))),
            several => {
                let lines: String = several.iter().map(|net| line(net) + "\n").collect();
                Plan::one(Work::Command(Command::words("ipfw -q /dev/stdin").stdin(lines)))
            }
        })
    }

    fn ask_rule(&self) -> Command {
        // Other rules may bear the number: ours asks our table.
        Command::words("ipfw list").args([&self.number]).expect(format!("table({})", self.table))
    }

    fn about_table(&self, words: &str) -> Command {
        Command::words(&format!("ipfw -q table {} {words}", self.table))
    }
}

impl Banaction for Ipfw {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("ipfw"),
            checks_on_failure: true,
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            ..Traits::default()
        }
    }

    fn at_start(&self) -> Vec<Scope> {
        vec![None]
    }

    fn scope_of(&self, _ban: &Ban) -> Scope {
        None
    }

    fn start(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        let mut plan = Plan::one(Work::Unless {
            probe: self.about_table("info"),
            run: self.about_table("create type addr"),
        });
        let rule =
            |words: &Vec<String>| Command::words("ipfw -q add").args([&self.number]).args(words);
        match self.rules.as_slice() {
            [one] => plan.then(Work::Unless { probe: self.ask_rule(), run: rule(one) }),
            several => {
                for words in several {
                    let probe = self.ask_rule().expect(format!(" {} from", words_protocol(words)));
                    plan = plan.then(Work::Unless { probe, run: rule(words) });
                }
                plan
            }
        }
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("add", bans)
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("delete", bans)
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(Plan::one(Work::Command(self.about_table("flush"))))
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        let rule = Command::words("ipfw -q delete").args([&self.number]).forgive(&["not found"]);
        let table = self.about_table("destroy").forgive(&["not found"]);
        Plan::one(Work::Command(rule)).then(Work::Command(table))
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        let table = self.about_table("info");
        Some(Plan::one(Work::Command(table)).then(Work::Command(self.ask_rule())))
    }

    fn list(&self) -> Option<Plan> {
        Some(Plan::one(Work::Command(self.about_table("list"))))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        // `192.0.2.1/32 0`
        let first = output.lines().filter_map(|line| line.split_whitespace().next());
        native::addresses(&first.collect::<Vec<_>>().join(" "))
    }
}

/// The protocol of a rule: the word before `from`.
fn words_protocol(words: &[String]) -> &str {
    let from = words.iter().position(|word| word == "from").unwrap_or_default();
    words.get(from.wrapping_sub(1)).map_or("ip", String::as_str)
}

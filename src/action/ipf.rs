//! ipf: a rule for each ban, IPFilter's way.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::{BATCH_MAX, Verdict},
    settings::Settings,
};
use crate::{net::Cidr, ticket::Ban};

/// The banaction `ipf`.
#[derive(Debug)]
pub struct Ipf {
    name: String,
    verdict: Verdict,
    protocols: Vec<String>,
    ranges: Vec<(u16, u16)>,
}

impl Ipf {
    /// Options: `port`, `protocol`, `blocktype` (block).
    pub fn new(settings: &Settings) -> Ipf {
        Ipf {
            name: settings.name.clone(),
            verdict: settings.verdict.unwrap_or(Verdict::Drop),
            protocols: settings.ports.protocols.clone(),
            ranges: settings.ports.ranges.clone(),
        }
    }

    /// What a rule of an address says behind it; one for each protocol and range.
    fn tails(&self) -> Vec<(String, String)> {
        let mut tails = Vec::new();
        // A rule takes one range.
        for protocol in &self.protocols {
            for (from, to) in &self.ranges {
                let port = match (*from, *to) {
                    (from, to) if from == to => format!("port = {from}"),
                    (0, to) => format!("port <= {to}"),
                    (from, u16::MAX) => format!("port >= {from}"),
                    // ipf's `><` leaves both ends out.
                    (from, to) => format!("port {} >< {}", from - 1, to + 1),
                };
                tails.push((format!("proto {protocol} "), format!(" {port}")));
            }
        }
        if tails.is_empty() {
            tails.push((String::new(), String::new()));
        }
        tails
    }

    fn block(&self) -> &'static str {
        match self.verdict {
            Verdict::Drop => "block",
            Verdict::Reject => "block return-icmp(port-unr)",
        }
    }

    /// Each rule behind `place`: `@0` puts it before all others, so that `quick` counts.
    fn rules(&self, bans: &[Ban], place: &str, keep: &dyn Fn(usize, Cidr) -> bool) -> String {
        let (block, tails) = (self.block(), self.tails());
        let mut text = String::new();
        for (_, net) in native::nets(bans) {
            let kept = |part: usize| keep(part, net);
            let net = native::with_bits(net);
            for (part, (before, behind)) in tails.iter().enumerate() {
                if !kept(part) {
                    let rule =
                        format!("{place}{block} in quick {before}from {net} to any{behind}\n");
                    text.push_str(&rule);
                }
            }
        }
        text
    }

    fn plan(command: &str, rules: String, forgive: &[&str]) -> Plan {
        native::unless_empty(rules.is_empty(), || {
            let command = Command::words(command).stdin(rules).forgive(forgive);
            Plan::one(Work::Command(command))
        })
    }
}

impl Banaction for Ipf {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("ipf"),
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            shares: {
                let share = |(before, behind): &(String, String)| {
                    format!("{} {before}{behind}", self.block()).into()
                };
                self.tails().iter().map(share).collect()
            },
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
        // Nothing to make; that the tool answers at all is worth knowing before the first ban.
        Plan::one(Work::Command(Command::words("ipf -V")))
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        Ipf::plan("ipf -f -", self.rules(bans, "@0 ", &|_, _| false), &["File exists"])
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], _call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        let rules = self.rules(bans, "", keep);
        Ipf::plan("ipf -r -f -", rules, &["No such process", "rule not found"])
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        None
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        Plan::default()
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        None
    }
}

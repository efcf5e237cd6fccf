//! ipf: a rule for each ban, IPFilter's way.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::{BATCH_MAX, Verdict},
    settings::Settings,
};
use crate::ticket::Ban;

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

    /// Each rule behind `place`: `@0` puts it before all others, so that `quick` counts.
    fn rules(&self, bans: &[Ban], place: &str) -> String {
        let block = match self.verdict {
            Verdict::Drop => "block",
            Verdict::Reject => "block return-icmp(port-unr)",
        };
        let mut text = String::new();
        for (_, net) in native::nets(bans) {
            let net = native::with_bits(net);
            // A rule takes one range.
            let mut matches = Vec::new();
            for protocol in &self.protocols {
                for (from, to) in &self.ranges {
                    let port = match (*from, *to) {
                        (from, to) if from == to => format!("port = {from}"),
                        (0, to) => format!("port <= {to}"),
                        (from, u16::MAX) => format!("port >= {from}"),
                        // ipf's `><` leaves both ends out.
                        (from, to) => format!("port {} >< {}", from - 1, to + 1),
                    };
                    matches.push(format!("proto {protocol} from {net} to any {port}"));
                }
            }
            if matches.is_empty() {
                matches.push(format!("from {net} to any"));
            }
            let rule = |what: &String| format!("{place}{block} in quick {what}\n");
            text.extend(matches.iter().map(rule));
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
        Ipf::plan("ipf -f -", self.rules(bans, "@0 "), &["File exists"])
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        Ipf::plan("ipf -r -f -", self.rules(bans, ""), &["No such process", "rule not found"])
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

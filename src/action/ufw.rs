//! ufw: a rule for each ban, put before all others.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::Verdict,
    settings::Settings,
};
use crate::{net::Cidr, ticket::Ban};

/// So many commands go into one plan: each ban is at least one, of a third of a second.
const BATCH_MAX: usize = 16;

/// The banaction `ufw`.
#[derive(Debug)]
pub struct Ufw {
    name: String,
    deny: &'static str,
    /// What follows the address in a rule, for each rule of a ban.
    tails: Vec<Vec<String>>,
}

impl Ufw {
    /// Options: `port`, `protocol`, `blocktype` (deny), `destination` (any).
    pub fn new(settings: &Settings) -> Ufw {
        let destination = settings.get("destination").unwrap_or("any").to_owned();
        let to = || vec!["to".to_owned(), destination.clone()];
        let mut tails = Vec::new();
        for protocol in &settings.ports.protocols {
            let span = |(from, to): &(u16, u16)| match from == to {
                true => from.to_string(),
                false => format!("{from}:{to}"),
            };
            // ufw takes at most 15 ports in one rule, a range counts for two.
            for ranges in settings.ports.ranges.chunks(7) {
                let ports: Vec<String> = ranges.iter().map(span).collect();
                let mut tail = to();
                let port = ["port".to_owned(), ports.join(",")];
                tail.extend(port);
                tail.extend(["proto".to_owned(), protocol.clone()]);
                tails.push(tail);
            }
        }
        if tails.is_empty() {
            tails.push(to());
        }
        let deny = match settings.verdict.unwrap_or(Verdict::Drop) {
            Verdict::Drop => "deny",
            Verdict::Reject => "reject",
        };
        Ufw { name: settings.name.clone(), deny, tails }
    }

    fn change(
        &self,
        verb: &str,
        bans: &[Ban],
        forgive: &[&str],
        keep: &dyn Fn(usize, Cidr) -> bool,
    ) -> Plan {
        let mut plan = Plan::default();
        for (index, net) in native::nets(bans) {
            for (_, tail) in self.tails.iter().enumerate().filter(|(part, _)| !keep(*part, net)) {
                let words = ["ufw", verb, self.deny, "from", &net.to_string()].map(str::to_owned);
                let command = Command::new(words).args(tail).forgive(forgive);
                plan = plan.then_of(index, Work::Command(command));
            }
        }
        plan
    }
}

impl Banaction for Ufw {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("ufw"),
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            shares: self.tails.iter().map(|tail| tail.join(" ").into()).collect(),
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
        // Rules of an inactive ufw keep nobody out.
        Plan::one(Work::Command(Command::words("ufw status").expect("Status: active")))
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("prepend", bans, &[], &|_, _| false)
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], _call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        self.change("delete", bans, &["non-existent rule"], keep)
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

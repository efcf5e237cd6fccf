//! iptables: a chain a jail with a rule for each ban. Good for hundreds; sets do better.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::Work,
    sets::{self, BATCH_MAX, Change, IPTABLES_NAME_MAX, IptablesGuard, SetBatch, SetVerb, Verdict},
    settings::{Settings, short_name},
};
use crate::ticket::{Ban, Family, Id};

/// Every packet walks the rules; beyond this it is felt, and an `iptables -D` takes milliseconds.
const HELD_MAX: usize = 1000;

/// The banaction `iptables`.
#[derive(Debug)]
pub struct Iptables {
    name: String,
    chains: [IptablesGuard; 2],
}

/// The chain of a jail in a family.
pub(super) fn guard(settings: &Settings, prefix: &str, family: Family) -> IptablesGuard {
    let parents = settings.get("chain").unwrap_or("INPUT");
    let parents = parents.split([',', ' ', '\n']).filter(|name| !name.is_empty());
    IptablesGuard {
        family,
        chain: short_name(prefix, &settings.label, IPTABLES_NAME_MAX),
        parents: parents.map(|name| short_name("", name, IPTABLES_NAME_MAX)).collect(),
        ports: settings.ports.clone(),
        verdict: settings.verdict.unwrap_or(Verdict::Drop),
        ask: None,
    }
}

impl Iptables {
    /// Options: `port`, `protocol`, `chain` (INPUT), `blocktype` (drop).
    pub fn new(settings: &Settings) -> Iptables {
        let chain = |family| guard(settings, "sb-", family);
        Iptables {
            name: settings.name.clone(),
            chains: [chain(Family::Inet4), chain(Family::Inet6)],
        }
    }

    fn chain(&self, family: Family, verb: SetVerb) -> Work {
        let [four, six] = &self.chains;
        let guard = if family == Family::Inet4 { four } else { six };
        Work::Sets(SetBatch::Iptables { guard: guard.clone(), verb })
    }

    fn change(&self, changes: &[Change]) -> Plan {
        let mut plan = Plan::default();
        for family in [Family::Inet4, Family::Inet6] {
            let own = changes.iter().filter(|change| sets::family_of(change.net()) == family);
            let own: Vec<_> = own.copied().collect();
            if !own.is_empty() {
                plan = plan.then(self.chain(family, SetVerb::Change(own)));
            }
        }
        plan
    }
}

impl Banaction for Iptables {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        let warning = format!(
            "more than {HELD_MAX} bans in rules of iptables slow every packet down: write \
             `banaction = ipset` (or nft)"
        );
        Traits {
            kind: Arc::from("iptables"),
            watched: true,
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            warn_above: Some((HELD_MAX, warning)),
            ..Traits::default()
        }
    }

    fn at_start(&self) -> Vec<Scope> {
        vec![Some(Family::Inet4)]
    }

    fn scope_of(&self, ban: &Ban) -> Scope {
        Some(ban.id.family())
    }

    fn start(&self, scope: Scope, _done: &[Scope]) -> Plan {
        Plan::one(self.chain(scope.unwrap_or(Family::Inet4), SetVerb::Start))
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.change(&native::additions(bans, call, u64::MAX))
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change(&native::deletions(bans))
    }

    fn flush(&self, scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(Plan::one(self.chain(scope?, SetVerb::Flush)))
    }

    fn stop(&self, scope: Scope, _done: &[Scope]) -> Plan {
        Plan::one(self.chain(scope.unwrap_or(Family::Inet4), SetVerb::Stop))
    }

    fn check(&self, scope: Scope, sample: &[Ban]) -> Option<Plan> {
        let nets = native::nets(sample).map(|(_, net)| net).collect();
        Some(Plan::one(self.chain(scope?, SetVerb::Check(nets))))
    }

    fn list(&self) -> Option<Plan> {
        let list = |family| self.chain(family, SetVerb::List);
        Some(Plan::one(list(Family::Inet4)).then(list(Family::Inet6)))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        native::addresses(output)
    }
}

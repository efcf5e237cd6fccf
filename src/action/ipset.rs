//! ipset: two sets a family, and a chain of iptables that asks them.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, iptables, native,
    plan::Work,
    sets::{
        self, BATCH_MAX, IPSET_NAME_MAX, IPSET_TIMEOUT_MAX_S, IpsetGuard, IptablesGuard, Roll,
        SetBatch, SetVerb, Sets,
    },
    settings::{Settings, short_name},
};
use crate::{
    ticket::{Ban, Family, Id},
    time::Timestamp,
};

/// So many elements fit unless `maxelem` says otherwise; ipset's own default is 65536, and a full
/// set takes nobody in.
const MAXELEM: u32 = 4_194_304;

/// So many buckets at first; each growth of the table stalls the kernel for milliseconds.
const HASHSIZE: u32 = 4096;

/// The banaction `ipset`.
#[derive(Debug)]
pub struct Ipset {
    name: String,
    sets: Sets,
    maxelem: u32,
    hashsize: u32,
    chains: [IptablesGuard; 2],
}

impl Ipset {
    /// Options: `port`, `protocol`, `chain` (INPUT), `blocktype` (drop), `maxelem`, `hashsize`.
    ///
    /// # Errors
    ///
    /// What to write, when a number is none.
    pub fn new(settings: &Settings) -> Result<Ipset, String> {
        let name = |prefix| short_name(prefix, &settings.label, IPSET_NAME_MAX);
        let sets = Sets {
            addr4: name("sb4-"),
            addr6: name("sb6-"),
            net4: name("sbn4-"),
            net6: name("sbn6-"),
        };
        let chain = |family| IptablesGuard {
            ask: Some(sets.clone()),
            ..iptables::guard(settings, "sbs-", family)
        };
        Ok(Ipset {
            name: settings.name.clone(),
            maxelem: settings.number("maxelem", 64, u32::MAX)?.unwrap_or(MAXELEM),
            hashsize: settings.number("hashsize", 64, 1 << 24)?.unwrap_or(HASHSIZE),
            chains: [chain(Family::Inet4), chain(Family::Inet6)],
            sets,
        })
    }

    fn sets(&self, family: Family, verb: SetVerb) -> Work {
        let guard = IpsetGuard {
            sets: self.sets.clone(),
            family,
            maxelem: self.maxelem,
            hashsize: self.hashsize,
        };
        Work::Sets(SetBatch::Ipset { guard, verb })
    }

    fn chain(&self, family: Family, verb: SetVerb) -> Work {
        let [four, six] = &self.chains;
        let guard = if family == Family::Inet4 { four } else { six };
        Work::Sets(SetBatch::Iptables { guard: guard.clone(), verb })
    }

    /// One batch for each family that the changes are about.
    fn change(&self, changes: &[sets::Change]) -> Plan {
        let mut plan = Plan::default();
        for family in [Family::Inet4, Family::Inet6] {
            let own = changes.iter().filter(|change| sets::family_of(change.net()) == family);
            let own: Vec<_> = own.copied().collect();
            if !own.is_empty() {
                plan = plan.then(self.sets(family, SetVerb::Change(own)));
            }
        }
        plan
    }
}

impl Banaction for Ipset {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("ipset"),
            lapses: true,
            prolongs: true,
            watched: true,
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
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
        let family = scope.unwrap_or(Family::Inet4);
        Plan::one(self.sets(family, SetVerb::Start)).then(self.chain(family, SetVerb::Start))
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.change(&native::additions(bans, call, IPSET_TIMEOUT_MAX_S))
    }

    fn enrol(&self, ban: &Ban, call: &Call, roll: &mut Roll) -> bool {
        native::enrol(ban, call, IPSET_TIMEOUT_MAX_S, roll)
    }

    fn exactly(&self, roll: Roll) -> Option<Plan> {
        let [four, six] = roll.by_family();
        let four = self.sets(Family::Inet4, SetVerb::Exactly(four));
        Some(Plan::one(four).then(self.sets(Family::Inet6, SetVerb::Exactly(six))))
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change(&native::deletions(bans))
    }

    fn flush(&self, scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(Plan::one(self.sets(scope?, SetVerb::Flush)))
    }

    fn stop(&self, scope: Scope, _done: &[Scope]) -> Plan {
        // The chain first: a set that a rule asks cannot be destroyed.
        let family = scope.unwrap_or(Family::Inet4);
        Plan::one(self.chain(family, SetVerb::Stop)).then(self.sets(family, SetVerb::Stop))
    }

    fn check(&self, scope: Scope, sample: &[Ban]) -> Option<Plan> {
        let family = scope?;
        let own = native::nets(sample).map(|(_, net)| net);
        let own = own.filter(|net| sets::family_of(*net) == family).collect();
        let chain = self.chain(family, SetVerb::Check(Vec::new()));
        Some(Plan::one(self.sets(family, SetVerb::Check(own))).then(chain))
    }

    fn list(&self) -> Option<Plan> {
        let list = |family| self.sets(family, SetVerb::List);
        Some(Plan::one(list(Family::Inet4)).then(list(Family::Inet6)))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        native::addresses(output)
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        sets::refresh_after(ban, now, IPSET_TIMEOUT_MAX_S)
    }
}

//! For actions that want to know how a banned address is called (`<ip-host>`).

use crate::{
    action::{Banaction, Call, Plan, Roll, Scope, Traits, Want},
    ticket::{Ban, Id},
    time::Timestamp,
};

/// An action whose bans are given names. It asks name servers on the thread of its runner, so only
/// its own jail waits for them.
#[derive(Debug)]
pub struct WithNames(pub Box<dyn Banaction>);

fn named(bans: &[Ban], call: &Call) -> Call {
    let mut call = call.clone();
    for ban in bans {
        let Id::Ip(address) = &ban.id else { continue };
        // Without a name the library answers with the address itself.
        let name = dns_lookup::lookup_addr(address).ok();
        let name = name.filter(|name| name.parse::<std::net::IpAddr>().is_err());
        let answers = call.of_id.entry(ban.id.clone()).or_default();
        answers.push((Want::IpHost, name.unwrap_or_default()));
    }
    call
}

impl Banaction for WithNames {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn traits(&self) -> Traits {
        self.0.traits()
    }

    fn at_start(&self) -> Vec<Scope> {
        self.0.at_start()
    }

    fn scope_of(&self, ban: &Ban) -> Scope {
        self.0.scope_of(ban)
    }

    fn start(&self, scope: Scope, started: &[Scope]) -> Plan {
        self.0.start(scope, started)
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.0.ban(bans, &named(bans, call))
    }

    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        self.0.prolong(bans, &named(bans, call))
    }

    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.0.reban(bans, &named(bans, call))
    }

    fn enrol(&self, ban: &Ban, call: &Call, roll: &mut Roll) -> bool {
        self.0.enrol(ban, call, roll)
    }

    fn exactly(&self, roll: Roll) -> Option<Plan> {
        self.0.exactly(roll)
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.0.unban(bans, &named(bans, call))
    }

    fn flush(&self, scope: Scope, started: &[Scope]) -> Option<Plan> {
        self.0.flush(scope, started)
    }

    fn stop(&self, scope: Scope, started: &[Scope]) -> Plan {
        self.0.stop(scope, started)
    }

    fn check(&self, scope: Scope, sample: &[Ban]) -> Option<Plan> {
        self.0.check(scope, sample)
    }

    fn repair(&self, scope: Scope) -> Option<Plan> {
        self.0.repair(scope)
    }

    fn reload(&self, scope: Scope) -> Option<Plan> {
        self.0.reload(scope)
    }

    fn list(&self) -> Option<Plan> {
        self.0.list()
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        self.0.listed(output)
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        self.0.refresh_after(ban, now)
    }
}

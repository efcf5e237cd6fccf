//! route: packets to a banned address go nowhere, so that no answer ever leaves.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::BATCH_MAX,
    settings::{Platform, Settings},
};
use crate::{net::Cidr, ticket::Ban};

/// The banaction `route`.
#[derive(Debug)]
pub struct Route {
    name: String,
    kind: String,
    platform: Platform,
}

impl Route {
    /// Option: `blocktype` or `rejecttype` (blackhole): also unreachable, prohibit.
    ///
    /// # Errors
    ///
    /// What to write, when it is another word.
    pub fn new(settings: &Settings) -> Result<Route, String> {
        let kind = settings.get("rejecttype").or(settings.get("blocktype")).unwrap_or("blackhole");
        let kind = match kind.to_ascii_lowercase().as_str() {
            "drop" | "blackhole" => "blackhole",
            "reject" | "unreachable" => "unreachable",
            "prohibit" => "prohibit",
            _ => {
                let text = format!("blocktype '{kind}' is no kind of route");
                return Err(format!("{text}: write blackhole, unreachable or prohibit"));
            }
        };
        let platform = settings.platform;
        Ok(Route { name: settings.name.clone(), kind: kind.to_owned(), platform })
    }

    fn change(&self, verb: &str, nets: Vec<(usize, Cidr)>, forgive: &[&str]) -> Plan {
        match self.platform {
            Platform::Linux => {
                let line = |net| format!("route {verb} {} {}\n", self.kind, native::with_bits(net));
                let lines: String = nets.into_iter().map(|(_, net)| line(net)).collect();
                native::unless_empty(lines.is_empty(), || {
                    // -force: one that fails does not keep the others from being tried.
                    let command = Command::words("ip -force -batch -").stdin(lines);
                    Plan::one(Work::Command(command.forgive(forgive)))
                })
            }
            Platform::Bsd => nets.into_iter().fold(Plan::default(), |plan, (index, net)| {
                let verb = if verb == "del" { "delete" } else { "add" };
                let v6 = net.address().is_ipv6();
                let (family, gate) = if v6 { ("-inet6", "::1") } else { ("-inet", "127.0.0.1") };
                let kind = if self.kind == "blackhole" { "-blackhole" } else { "-reject" };
                let net = native::with_bits(net);
                let words = ["route", "-n", "-q", verb, family, "-net", &net, gate, kind];
                let command = Command::new(words).forgive(&["File exists", "not in table"]);
                plan.then_of(index, Work::Command(command))
            }),
        }
    }
}

impl Banaction for Route {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("route"),
            watched: self.platform == Platform::Linux,
            guards: true,
            takes_networks: true,
            // An address has one route, of whatever kind.
            shares: vec![Arc::from("route")],
            batch_max: if self.platform == Platform::Linux { BATCH_MAX } else { 64 },
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
        Plan::default()
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("replace", native::nets(bans).collect(), &[])
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], _call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        let gone = native::nets(bans).filter(|(_, net)| !keep(0, *net)).collect();
        self.change("del", gone, &["No such process", "Command failed -:"])
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        // Other routes of that kind may be the administrator's own.
        None
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        Plan::default()
    }

    fn check(&self, _scope: Scope, sample: &[Ban]) -> Option<Plan> {
        if self.platform == Platform::Bsd || sample.is_empty() {
            return None;
        }
        let plan = native::nets(sample).fold(Plan::default(), |plan, (_, net)| {
            let family = if net.address().is_ipv6() { "-6" } else { "-4" };
            let net = native::with_bits(net);
            let words = ["ip", family, "-o", "route", "show", "exact", &net, "type", &self.kind];
            plan.then(Work::Command(Command::new(words).expect(self.kind.clone())))
        });
        Some(plan)
    }
}

//! firewallcmd: rich rules of firewalld, which lapse by themselves.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::{self, Verdict},
    settings::{Settings, short_name},
};
use crate::{net::Cidr, ticket::Ban, time::Timestamp};

/// So many commands go into one plan: each ban is at least one, of a third of a second.
const BATCH_MAX: usize = 16;

/// The longest time that is handed to firewalld, in seconds (its C library counts in 32 bits).
const TIMEOUT_MAX_S: u64 = 2_147_483;

/// The banaction `firewallcmd`.
#[derive(Debug)]
pub struct Firewallcmd {
    name: String,
    zone: Option<String>,
    /// What follows the address in a rule, for each rule of a ban.
    tails: Vec<String>,
}

impl Firewallcmd {
    /// Options: `port`, `protocol`, `blocktype` (drop), `zone` (firewalld's default).
    pub fn new(settings: &Settings) -> Firewallcmd {
        let verdict = match settings.verdict.unwrap_or(Verdict::Drop) {
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
        };
        let mut tails = Vec::new();
        for protocol in &settings.ports.protocols {
            for (from, to) in &settings.ports.ranges {
                let port = if from == to { from.to_string() } else { format!("{from}-{to}") };
                tails.push(format!(" port port=\"{port}\" protocol=\"{protocol}\" {verdict}"));
            }
        }
        if tails.is_empty() {
            tails.push(format!(" {verdict}"));
        }
        let zone = settings.get("zone").map(|zone| short_name("", zone, 40));
        Firewallcmd { name: settings.name.clone(), zone, tails }
    }

    fn rule(net: Cidr, tail: &str) -> String {
        let family = if net.address().is_ipv6() { "ipv6" } else { "ipv4" };
        // A negative priority: before what the zone allows.
        format!("rule priority=\"-100\" family=\"{family}\" source address=\"{net}\"{tail}")
    }

    /// Each rule in its zone.
    fn shares(&self) -> Vec<Arc<str>> {
        let zone = self.zone.as_deref().unwrap_or_default();
        self.tails.iter().map(|tail| format!("{zone}{tail}").into()).collect()
    }

    fn command(&self, change: String) -> Command {
        let zone = self.zone.iter().map(|zone| format!("--zone={zone}"));
        Command::new(["firewall-cmd"]).args(zone).args([change])
    }

    fn remove(&self, net: Cidr, tail: &str) -> Work {
        let command = self.command(format!("--remove-rich-rule={}", Self::rule(net, tail)));
        Work::Command(command.forgive(&["NOT_ENABLED"]))
    }
}

impl Banaction for Firewallcmd {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("firewallcmd"),
            lapses: true,
            prolongs: true,
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            shares: self.shares(),
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
        Plan::one(Work::Command(Command::words("firewall-cmd --state")))
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        let mut plan = Plan::default();
        for (index, ban) in bans.iter().enumerate() {
            let Some(net) = ban.id.network() else { continue };
            for tail in &self.tails {
                let add = self.command(format!("--add-rich-rule={}", Self::rule(net, tail)));
                let timeout = sets::timeout_s(ban, call.now, TIMEOUT_MAX_S);
                let add = add.args(timeout.map(|seconds| format!("--timeout={seconds}")));
                plan = plan.then_of(index, Work::Command(add.forgive(&["ALREADY_ENABLED"])));
            }
        }
        plan
    }

    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        // The time of a rule that is there cannot be changed: it goes and comes back.
        let mut plan = Plan::default();
        for (index, net) in native::nets(bans) {
            for tail in &self.tails {
                plan = plan.then_of(index, self.remove(net, tail));
            }
        }
        plan.and(self.ban(bans, call))
    }

    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.prolong(bans, call)
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], _call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        let mut plan = Plan::default();
        for (index, net) in native::nets(bans) {
            for (_, tail) in self.tails.iter().enumerate().filter(|(part, _)| !keep(*part, net)) {
                plan = plan.then_of(index, self.remove(net, tail));
            }
        }
        plan
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        None
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        Plan::default()
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        Some(Plan::one(Work::Command(Command::words("firewall-cmd --state"))))
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        sets::refresh_after(ban, now, TIMEOUT_MAX_S)
    }
}

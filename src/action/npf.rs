//! npf: a table that npf.conf declares, NetBSD's way.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    settings::{Settings, short_name},
};
use crate::{
    net::Cidr,
    ticket::{Ban, Id},
};

/// So many commands go into one plan: each ban is one.
const BATCH_MAX: usize = 64;

/// The banaction `npf`. npf.conf needs `table <sentryban> type lpm` and a rule that blocks it.
#[derive(Debug)]
pub struct Npf {
    name: String,
    table: String,
}

impl Npf {
    /// Option: `tablename` (sentryban).
    pub fn new(settings: &Settings) -> Npf {
        let table = short_name("", settings.get("tablename").unwrap_or("sentryban"), 31);
        Npf { name: settings.name.clone(), table }
    }

    fn npfctl(&self, words: &str) -> Command {
        Command::words("npfctl table").args([&self.table]).args(words.split(' '))
    }

    fn change(
        &self,
        verb: &str,
        nets: impl Iterator<Item = (usize, Cidr)>,
        forgive: &[&str],
    ) -> Plan {
        nets.fold(Plan::default(), |plan, (index, net)| {
            let command = self.npfctl(&format!("{verb} {net}")).forgive(forgive);
            plan.then_of(index, Work::Command(command))
        })
    }
}

impl Banaction for Npf {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("npf"),
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            shares: vec![self.table.as_str().into()],
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
        Plan::one(Work::Command(self.npfctl("list")))
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("add", native::nets(bans), &["exists"])
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], _call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        let gone = native::nets(bans).filter(|(_, net)| !keep(0, *net));
        self.change("rem", gone, &["No such", "not found"])
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        // The table may serve several jails.
        None
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        Plan::default()
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        Some(Plan::one(Work::Command(self.npfctl("list"))))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        native::addresses(output)
    }
}

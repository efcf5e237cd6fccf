//! pf: an anchor with a table a jail. The main ruleset has to ask `anchor "sentryban/*"`.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{Command, Work},
    sets::{BATCH_MAX, ICMPV6_PASSED, Ports, Verdict},
    settings::{Settings, short_name},
};
use crate::ticket::{Ban, Id};

/// The table in each anchor.
const TABLE: &str = "banned";

/// The longest name of an anchor's part, in bytes.
const NAME_MAX: usize = 60;

/// The banaction `pf`.
#[derive(Debug)]
pub struct Pf {
    name: String,
    anchor: String,
    rules: String,
}

impl Pf {
    /// Options: `port`, `protocol`, `blocktype` (drop).
    pub fn new(settings: &Settings) -> Pf {
        let anchor = short_name("sentryban/", &settings.label, NAME_MAX);
        let verdict = settings.verdict.unwrap_or(Verdict::Drop);
        Pf { name: settings.name.clone(), anchor, rules: rules(&settings.ports, verdict) }
    }

    fn pfctl(&self, words: &str) -> Command {
        // pf says on stderr whether ALTQ is there and how many addresses it took.
        Command::words("pfctl -q -a").args([&self.anchor]).args(words.split(' '))
    }

    fn change(&self, verb: &str, bans: &[Ban]) -> Plan {
        let lines: String = native::nets(bans).map(|(_, net)| format!("{net}\n")).collect();
        native::unless_empty(lines.is_empty(), || {
            let command = self.pfctl(&format!("-t {TABLE} -T {verb} -f -"));
            Plan::one(Work::Command(command.stdin(lines)))
        })
    }
}

/// The rules of an anchor.
fn rules(ports: &Ports, verdict: Verdict) -> String {
    let block = match verdict {
        Verdict::Drop => "block drop",
        Verdict::Reject => "block return",
    };
    let (first, last) = ICMPV6_PASSED;
    let kinds: Vec<String> = (first..=last).map(|kind| kind.to_string()).collect();
    let kinds = kinds.join(", ");
    let mut protocol = String::new();
    if !ports.protocols.is_empty() {
        protocol = format!(" proto {{ {} }}", ports.protocols.join(", "));
    }
    let mut port = String::new();
    if !ports.ranges.is_empty() {
        let span = |(from, to): &(u16, u16)| match from == to {
            true => from.to_string(),
            false => format!("{from}:{to}"),
        };
        let spans: Vec<String> = ports.ranges.iter().map(span).collect();
        port = format!(" port {{ {} }}", spans.join(", "));
    }
    format!(
        "table <{TABLE}> persist counters\n\
         pass in quick inet6 proto icmp6 from <{TABLE}> to any icmp6-type {{ {kinds} }} no state\n\
         {block} in quick{protocol} from <{TABLE}> to any{port}\n"
    )
}

impl Banaction for Pf {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("pf"),
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
        // A table that is there keeps its addresses.
        Plan::one(Work::Command(self.pfctl("-f -").stdin(self.rules.clone())))
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        let mut plan = self.change("add", bans);
        // States outlive the rule that made them: what is open is cut.
        for (_, net) in native::nets(bans) {
            let kill = Command::words("pfctl -q -k").args([net.to_string()]).forgive(&[""]);
            plan = plan.then(Work::Command(kill));
        }
        plan
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn reban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("add", bans)
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.change("delete", bans)
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(Plan::one(Work::Command(self.pfctl(&format!("-t {TABLE} -T flush")))))
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        let table = self.pfctl(&format!("-t {TABLE} -T kill")).forgive(&["does not exist"]);
        Plan::one(Work::Command(self.pfctl("-F rules"))).then(Work::Command(table))
    }

    fn check(&self, _scope: Scope, _sample: &[Ban]) -> Option<Plan> {
        let rules = self.pfctl("-s rules").expect(format!("<{TABLE}>"));
        Some(Plan::one(Work::Command(rules)))
    }

    fn list(&self) -> Option<Plan> {
        Some(Plan::one(Work::Command(self.pfctl(&format!("-t {TABLE} -T show")))))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        native::addresses(output)
    }
}

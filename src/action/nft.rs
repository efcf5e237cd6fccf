//! nft: a chain and four sets a jail in the table `inet sentryban`.

use std::sync::Arc;

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::Work,
    sets::{
        self, BATCH_MAX, NFT_PRIORITY, NFT_PRIORITY_RAW, NFT_TIMEOUT_MAX_S, NftGuard, Roll,
        SetBatch, SetVerb, Sets, Verdict,
    },
    settings::{Settings, short_name},
};
use crate::{
    ticket::{Ban, Id},
    time::Timestamp,
};

/// The longest name of a chain or set, in bytes, with room to spare below the kernel's 255.
const NAME_MAX: usize = 120;

/// The banaction `nft`.
#[derive(Clone, Debug)]
pub struct Nft {
    name: String,
    guard: NftGuard,
}

impl Nft {
    /// Options: `port`, `protocol`, `blocktype` (drop), `priority` (`raw`, or a number before that
    /// of DNAT), `counter` (yes).
    ///
    /// # Errors
    ///
    /// What to write, when the priority is none.
    pub fn new(settings: &Settings) -> Result<Nft, String> {
        let priority = match settings.get("priority") {
            None => NFT_PRIORITY,
            Some("raw") => NFT_PRIORITY_RAW,
            Some(text) => match text.parse() {
                Ok(number) if (-400..-100).contains(&number) => number,
                _ => {
                    let what = format!("priority = '{text}' is not before DNAT (-100)");
                    return Err(format!("{what}: leave it out, or write raw"));
                }
            },
        };
        let name = |prefix| short_name(prefix, &settings.label, NAME_MAX);
        let guard = NftGuard {
            chain: name("jail-"),
            sets: Sets {
                addr4: name("addr4-"),
                addr6: name("addr6-"),
                net4: name("net4-"),
                net6: name("net6-"),
            },
            priority,
            ports: settings.ports.clone(),
            port_set: name("ports-"),
            verdict: settings.verdict.unwrap_or(Verdict::Drop),
            counter: settings.flag("counter", true),
        };
        Ok(Nft { name: settings.name.clone(), guard })
    }

    fn plan(&self, verb: SetVerb) -> Plan {
        Plan::one(Work::Sets(SetBatch::Nft { guard: self.guard.clone(), verb }))
    }
}

impl Banaction for Nft {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("nft"),
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
        vec![None]
    }

    fn scope_of(&self, _ban: &Ban) -> Scope {
        None
    }

    fn start(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        self.plan(SetVerb::Start)
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.plan(SetVerb::Change(native::additions(bans, call, NFT_TIMEOUT_MAX_S)))
    }

    fn enrol(&self, ban: &Ban, call: &Call, roll: &mut Roll) -> bool {
        native::enrol(ban, call, NFT_TIMEOUT_MAX_S, roll)
    }

    fn exactly(&self, roll: Roll) -> Option<Plan> {
        Some(self.plan(SetVerb::Exactly(roll)))
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.plan(SetVerb::Change(native::deletions(bans)))
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(self.plan(SetVerb::Flush))
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        self.plan(SetVerb::Stop)
    }

    fn check(&self, _scope: Scope, sample: &[Ban]) -> Option<Plan> {
        let nets = native::nets(sample).map(|(_, net)| net).collect();
        Some(self.plan(SetVerb::Check(nets)))
    }

    fn list(&self) -> Option<Plan> {
        Some(self.plan(SetVerb::List))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        native::addresses(output)
    }

    fn twin(&self) -> Option<Box<dyn Banaction>> {
        Some(Box::new(self.clone()))
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        sets::refresh_after(ban, now, NFT_TIMEOUT_MAX_S)
    }
}

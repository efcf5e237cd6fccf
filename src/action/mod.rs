//! Banactions: how a firewall is told, as plans that somebody else runs.
//!
//! ```text
//! verb + bans ──► Banaction ──► Plan: Step, Step, … ──► runner: netlink, or processes
//! ```
//!
//! Always slices: each banaction says its own way how many bans travel at once. Nothing here
//! touches a clock, a file or a process, so each plan can be compared with golden text.

pub mod dry_run;
pub mod firewallcmd;
pub mod hostsdeny;
pub mod ipf;
pub mod ipfw;
pub mod ipset;
pub mod iptables;
pub mod native;
pub mod nft;
pub mod npf;
pub mod pf;
pub mod plan;
pub mod route;
pub mod sets;
pub mod settings;
pub mod tags;
pub mod template;
pub mod ufw;

use std::{collections::HashMap, fmt, sync::Arc};

pub use native::{candidates, native};
pub use plan::{Plan, Step};
pub use sets::{Change, Roll, SetBatch};
pub use settings::{Platform, Settings};
pub use template::{Template, TemplateSpec};

use crate::{
    net::Cidr,
    ticket::{Ban, Family, Id},
    time::Timestamp,
};

/// What a start, stop, flush or check is about: one family, or the action as a whole.
pub type Scope = Option<Family>;

/// What does an action's work: plans for each verb. Every plan may be run again without harm.
pub trait Banaction: Send + fmt::Debug {
    /// The action's name within its jail.
    fn name(&self) -> &str;

    /// What the runner and the engine need to know of it.
    fn traits(&self) -> Traits;

    /// The scopes to start together with the jail; the others start before their first ban.
    fn at_start(&self) -> Vec<Scope>;

    /// Which scope a ban needs started; none for an action that is started whole.
    fn scope_of(&self, ban: &Ban) -> Scope;

    /// Makes tables, sets, chains and rules for `scope`; those that stand already, with all they
    /// hold, are left alone. `done` names the scopes that run already.
    fn start(&self, scope: Scope, done: &[Scope]) -> Plan;

    /// Shuts out. Whoever is out already gets the new time.
    fn ban(&self, bans: &[Ban], call: &Call) -> Plan;

    /// Sets a new time for those who are out.
    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        self.ban(bans, call)
    }

    /// Bans once more after a repair, or as the new life of a lapsed kernel timeout.
    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.ban(bans, call)
    }

    /// Puts a ban into a roll of all; false if it takes looking at what is held to shut out these
    /// and nobody else.
    fn enrol(&self, _ban: &Ban, _call: &Call, _roll: &mut Roll) -> bool {
        false
    }

    /// Shuts out those on a roll and nobody else; none where nobody can be enrolled.
    fn exactly(&self, _roll: Roll) -> Option<Plan> {
        None
    }

    /// Lets in again. Whoever is not out is no fault.
    fn unban(&self, bans: &[Ban], call: &Call) -> Plan;

    /// The same, but leaves rules alone that `keep` names: by their place in [`Traits::shares`], and
    /// the address. For an action that shares none, nothing is to be kept.
    fn unban_but(&self, bans: &[Ban], call: &Call, _keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        self.unban(bans, call)
    }

    /// Lets everybody in at once; none if this can only be done one by one. `done` names the scopes
    /// that were flushed just before.
    fn flush(&self, scope: Scope, done: &[Scope]) -> Option<Plan>;

    /// Removes all that [`start`](Banaction::start) made. `done` names the scopes that were stopped
    /// just before.
    fn stop(&self, scope: Scope, done: &[Scope]) -> Plan;

    /// Succeeds while the firewall still has what start made and, as far as that can be asked
    /// cheaply, the bans of `sample`. None if there is nothing to ask.
    fn check(&self, scope: Scope, sample: &[Ban]) -> Option<Plan>;

    /// Instead of stop and start after a failed check.
    fn repair(&self, _scope: Scope) -> Option<Plan> {
        None
    }

    /// After the jail was read anew.
    fn reload(&self, _scope: Scope) -> Option<Plan> {
        None
    }

    /// Prints who is out; [`listed`](Banaction::listed) reads it.
    fn list(&self) -> Option<Plan> {
        None
    }

    /// Who is out, read from what the plan of [`list`](Banaction::list) printed.
    fn listed(&self, _output: &str) -> Vec<Id> {
        Vec::new()
    }

    /// To be kept from before a plan is asked for until it has been carried out, where others must
    /// not work on the same rules meanwhile; waits for them.
    fn turn(&self) -> Option<Box<dyn Send>> {
        None
    }

    /// The same action once more, for somebody on another thread who shuts out a single address now
    /// and then; none where bans have to be in one order with all else that the action does.
    fn twin(&self) -> Option<Box<dyn Banaction>> {
        None
    }

    /// When a ban has to be told to the kernel again because the kernel cannot hold its time;
    /// none if it can.
    fn refresh_after(&self, _ban: &Ban, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}

/// What the runner and the engine need to know of a banaction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traits {
    /// The tool or file behind it: `nft`, `ipset`, `nftables-multiport`, …
    pub kind: Arc<str>,
    /// Bans lapse in the kernel by themselves: they may stay when the daemon ends.
    pub lapses: bool,
    /// Not for bans that a restart brings back.
    pub norestored: bool,
    /// It can prolong a ban that is in force.
    pub prolongs: bool,
    /// After a failed command the invariant is checked, repaired, and the command tried again.
    pub checks_on_failure: bool,
    /// The same for an unban.
    pub repairs_on_unban: bool,
    /// The check costs so little that it may be asked twice a second while bans are held.
    pub watched: bool,
    /// It keeps somebody out; false for one that only tells, such as a mail.
    pub guards: bool,
    /// A ban can be for ids that are no address.
    pub takes_text: bool,
    /// It can ban networks.
    pub takes_networks: bool,
    /// So many bans go into one plan, at least 1.
    pub batch_max: usize,
    /// What the daemon has to find out before it asks for a plan.
    pub wants: Vec<Want>,
    /// An address has a rule for each of these, or a route: whatever other action says the same
    /// shares that rule. None where each action has rules of its own.
    pub shares: Vec<Arc<str>>,
    /// It is said in the log when so many bans are held at once.
    pub warn_above: Option<(usize, String)>,
}

/// Tags that only the daemon can answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Want {
    /// `<ip-host>`: the name of the address, or nothing.
    IpHost,
    /// `<ipmatches>`: what the address did in all jails.
    IpMatches,
    /// `<ipjailmatches>`: what it did in this jail.
    IpJailMatches,
    /// `<ipfailures>`: how often, in all jails.
    IpFailures,
    /// `<ipjailfailures>`: how often, in this jail.
    IpJailFailures,
    /// `<jail.banned>`: who is out now.
    JailBanned,
    /// `<jail.banned_total>`.
    JailBannedTotal,
    /// `<jail.found>`: who is counted now.
    JailFound,
    /// `<jail.found_total>`.
    JailFoundTotal,
}

/// Around the bans of a plan: the present, and what the daemon found out.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The present moment.
    pub now: Timestamp,
    /// Answers about one id.
    pub of_id: HashMap<Id, Vec<(Want, String)>>,
    /// Answers about the jail.
    pub of_jail: Vec<(Want, String)>,
}

impl Call {
    /// A call at `now` without answers.
    pub fn at(now: Timestamp) -> Call {
        Call { now, ..Call::default() }
    }

    /// The answer for an id, else that for the jail.
    pub fn answer(&self, id: &Id, want: Want) -> Option<&str> {
        let own = self.of_id.get(id).map(Vec::as_slice).unwrap_or_default();
        let found = own.iter().chain(&self.of_jail).find(|(asked, _)| *asked == want);
        found.map(|(_, text)| text.as_str())
    }
}

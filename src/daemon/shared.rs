//! For banactions whose rule of an address is one for all jails: it goes with the last jail that
//! wants it, and lasts as long as the one that wants it longest.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    action::{Banaction, Call, Plan, Roll, Scope, Traits},
    net::Cidr,
    ticket::{Ban, BanTime, Id},
    time::Timestamp,
};

/// Who wants which rules. It is as new as the process: after a restart each jail orders its bans
/// once more, and by that says what it wants.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<(Mutex<Pages>, Condvar)>);

#[derive(Debug, Default)]
struct Pages {
    owners: HashMap<Arc<str>, Owned>,
    /// Kinds of rules that somebody is at work on.
    busy: HashSet<Arc<str>>,
}

/// What an action of a jail wants.
#[derive(Debug, Default)]
struct Owned {
    /// [`Traits::shares`].
    parts: Vec<Arc<str>>,
    /// Whose bans, and until when.
    bans: HashMap<Cidr, Option<Timestamp>>,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The action of a jail, counted with the others where it shares its rules.
    pub fn count(&self, jail: &str, action: Box<dyn Banaction>) -> Box<dyn Banaction> {
        let traits = action.traits();
        if traits.shares.is_empty() {
            return action;
        }
        let owner = format!("{jail}/{}", action.name()).into();
        Box::new(SharedRules { inner: action, traits, owner, book: self.clone() })
    }
}

impl Pages {
    /// What others than `owner` want of an address, with rules of which one is among `parts`.
    fn others<'a>(
        &'a self,
        owner: &'a str,
        parts: &'a [Arc<str>],
        net: Cidr,
    ) -> impl Iterator<Item = Option<Timestamp>> + 'a {
        let others = self.owners.iter().filter(move |(other, _)| ***other != *owner);
        let shares = |owned: &Owned| owned.parts.iter().any(|part| parts.contains(part));
        others
            .filter(move |(_, owned)| shares(owned))
            .filter_map(move |(_, o)| o.bans.get(&net))
            .copied()
    }
}

/// Nobody else is at work on this kind of rules.
struct Turn {
    book: Book,
    kind: Arc<str>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.book.pages().busy.remove(&self.kind);
        self.book.0.1.notify_all();
    }
}

/// An action that shares its rules.
#[derive(Debug)]
struct SharedRules {
    inner: Box<dyn Banaction>,
    traits: Traits,
    owner: Arc<str>,
    book: Book,
}

impl SharedRules {
    /// Notes that these bans are wanted. Each comes back with the longest time that anybody wants
    /// for it; true if that is longer than what the others have asked for.
    fn want(&self, bans: &[Ban]) -> (Vec<Ban>, bool) {
        let mut pages = self.book.pages();
        let mut is_longer = false;
        let mut wanted = Vec::with_capacity(bans.len());
        for ban in bans {
            let mut ban = ban.clone();
            if let Some(net) = ban.id.network() {
                let own = ban.until();
                for other in pages.others(&self.owner, &self.traits.shares, net) {
                    let is_shorter = match (other, own) {
                        (Some(other), Some(own)) => other < own,
                        (Some(_), None) => true,
                        (None, _) => false,
                    };
                    is_longer |= is_shorter;
                    ban.time = longest(&ban, other);
                }
                let owned = pages.owners.entry(Arc::clone(&self.owner)).or_default();
                owned.bans.insert(net, own);
                if owned.parts.is_empty() {
                    owned.parts.clone_from(&self.traits.shares);
                }
            }
            wanted.push(ban);
        }
        (wanted, is_longer)
    }
}

/// How long a ban lasts that somebody else wants until `other`.
fn longest(ban: &Ban, other: Option<Timestamp>) -> BanTime {
    match (ban.time, other) {
        (BanTime::Permanent, _) | (_, None) => BanTime::Permanent,
        (BanTime::Seconds(own), Some(other)) => {
            let other = u64::try_from(other.secs() - ban.from.secs()).unwrap_or(0);
            BanTime::Seconds(own.max(other))
        }
    }
}

impl Banaction for SharedRules {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn traits(&self) -> Traits {
        self.traits.clone()
    }

    fn at_start(&self) -> Vec<Scope> {
        self.inner.at_start()
    }

    fn scope_of(&self, ban: &Ban) -> Scope {
        self.inner.scope_of(ban)
    }

    fn start(&self, scope: Scope, started: &[Scope]) -> Plan {
        self.inner.start(scope, started)
    }

    fn ban(&self, bans: &[Ban], call: &Call) -> Plan {
        let (wanted, is_longer) = self.want(bans);
        match is_longer && self.traits.lapses {
            // The rule is there with a time that is too short.
            true => self.inner.reban(&wanted, call),
            false => self.inner.ban(&wanted, call),
        }
    }

    fn prolong(&self, bans: &[Ban], call: &Call) -> Plan {
        self.inner.prolong(&self.want(bans).0, call)
    }

    fn reban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.inner.reban(&self.want(bans).0, call)
    }

    fn enrol(&self, ban: &Ban, call: &Call, roll: &mut Roll) -> bool {
        self.inner.enrol(ban, call, roll)
    }

    fn exactly(&self, roll: Roll) -> Option<Plan> {
        self.inner.exactly(roll)
    }

    fn unban(&self, bans: &[Ban], call: &Call) -> Plan {
        self.unban_but(bans, call, &|_, _| false)
    }

    fn unban_but(&self, bans: &[Ban], call: &Call, keep: &dyn Fn(usize, Cidr) -> bool) -> Plan {
        let mut pages = self.book.pages();
        if let Some(owned) = pages.owners.get_mut(&self.owner) {
            bans.iter().filter_map(|ban| ban.id.network()).for_each(|net| {
                owned.bans.remove(&net);
            });
        }
        self.inner.unban_but(bans, call, &|part, net| {
            let part = self.traits.shares.get(part..=part).unwrap_or_default();
            keep(0, net) || pages.others(&self.owner, part, net).next().is_some()
        })
    }

    fn flush(&self, scope: Scope, started: &[Scope]) -> Option<Plan> {
        self.inner.flush(scope, started)
    }

    fn stop(&self, scope: Scope, started: &[Scope]) -> Plan {
        self.inner.stop(scope, started)
    }

    fn check(&self, scope: Scope, sample: &[Ban]) -> Option<Plan> {
        self.inner.check(scope, sample)
    }

    fn repair(&self, scope: Scope) -> Option<Plan> {
        self.inner.repair(scope)
    }

    fn reload(&self, scope: Scope) -> Option<Plan> {
        self.inner.reload(scope)
    }

    fn list(&self) -> Option<Plan> {
        self.inner.list()
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        self.inner.listed(output)
    }

    fn refresh_after(&self, ban: &Ban, now: Timestamp) -> Option<Timestamp> {
        self.inner.refresh_after(ban, now)
    }

    fn turn(&self) -> Option<Box<dyn Send>> {
        let kind = Arc::clone(&self.traits.kind);
        let mut pages = self.book.pages();
        while pages.busy.contains(&kind) {
            pages = self.book.0.1.wait(pages).unwrap_or_else(PoisonError::into_inner);
        }
        pages.busy.insert(Arc::clone(&kind));
        drop(pages);
        Some(Box::new(Turn { book: self.book.clone(), kind }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Platform, Settings, native};

    fn action(book: &Book, jail: &str, name: &str, ports: &str) -> Box<dyn Banaction> {
        let options = vec![("port".to_owned(), ports.to_owned())];
        let settings =
            Settings::new(jail, name, options, false, Platform::Linux, &|_, _| None).unwrap();
        book.count(jail, native(name, &settings).unwrap())
    }

    fn ban(seconds: u64) -> Vec<Ban> {
        vec![Ban {
            id: Id::parse("198.51.100.1"),
            from: Timestamp::from_secs(1000),
            time: BanTime::Seconds(seconds),
            count: 1,
            failures: 1,
            restored: false,
            evidence: Arc::default(),
        }]
    }

    fn at() -> Call {
        Call::at(Timestamp::from_secs(1000))
    }

    /// An unban in one jail lifted the rule that another one still wanted.
    #[test]
    fn a_rule_goes_with_the_last_jail_that_wants_it() {
        for name in ["route", "ipf", "npf", "ufw", "firewallcmd"] {
            let book = Book::default();
            let [one, other] = ["one", "other"].map(|jail| action(&book, jail, name, "22"));
            for action in [&one, &other] {
                assert!(!action.ban(&ban(600), &at()).steps.is_empty(), "{name}");
            }
            assert!(one.unban(&ban(600), &at()).steps.is_empty(), "{name}");
            // Once more: what failed is tried again.
            assert!(one.unban(&ban(600), &at()).steps.is_empty(), "{name}");
            assert!(!other.unban(&ban(600), &at()).steps.is_empty(), "{name}");
            assert!(!one.unban(&ban(600), &at()).steps.is_empty(), "{name}");
        }
    }

    #[test]
    fn of_several_rules_only_those_stay_that_somebody_else_wants() {
        for name in ["ipf", "firewallcmd"] {
            let book = Book::default();
            let one = action(&book, "one", name, "22,80");
            let other = action(&book, "other", name, "80");
            one.ban(&ban(600), &at());
            other.ban(&ban(600), &at());
            let plan = format!("{}", one.unban(&ban(600), &at()));
            assert!(plan.contains("22") && !plan.contains("80"), "{name}: {plan}");
        }
        // Rules of other ports are other rules.
        let book = Book::default();
        let [one, other] = ["22", "80"].map(|port| action(&book, port, "ufw", port));
        one.ban(&ban(600), &at());
        other.ban(&ban(600), &at());
        assert!(!one.unban(&ban(600), &at()).steps.is_empty());
    }

    /// firewalld ends a rule by itself, and a second ban of it changed nothing.
    #[test]
    fn a_shared_rule_lasts_as_long_as_the_one_that_wants_it_longest() {
        let book = Book::default();
        let [one, other] = ["one", "other"].map(|jail| action(&book, jail, "firewallcmd", "22"));
        one.ban(&ban(600), &at());
        let longer = format!("{}", other.ban(&ban(3600), &at()));
        assert!(longer.contains("--remove-rich-rule") && longer.contains("=3600"), "{longer}");
        let again = format!("{}", one.ban(&ban(600), &at()));
        assert!(!again.contains("--remove-rich-rule") && again.contains("=3600"), "{again}");
        assert!(format!("{}", one.reban(&ban(600), &at())).contains("=3600"));
    }

    #[test]
    fn two_jails_take_turns() {
        let book = Book::default();
        let [one, other] = ["one", "other"].map(|jail| action(&book, jail, "route", "22"));
        let turn = one.turn();
        let (tell, told) = std::sync::mpsc::channel();
        let waits = std::thread::spawn(move || {
            let _turn = other.turn();
            tell.send(()).unwrap();
        });
        assert!(told.try_recv().is_err());
        drop(turn);
        waits.join().unwrap();
        assert!(told.try_recv().is_ok());
        // Rules of another kind are not waited for.
        let (_route, _ufw) = (one.turn(), action(&book, "one", "ufw", "22").turn());
    }
}
